"""Predictions as somebody writes them by hand for one network, whose calls of torch are counted.

They hold what a prediction of duda holds or is asked for here, from the same random numbers: mean
probabilities, votes, the entropy and its aleatoric part, or mean, aleatoric and epistemic variance.
Sums over draws are in float64, and one number is read in the end, which is finite if all are. There
is no check of inputs, no guard of weights and modes, and nothing against underflow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

from duda.streams import draw_key, draw_keys

Numbers = tuple[Tensor, ...]


@lru_cache
def places(size: int) -> Tensor:
    return draw_keys(0, range(size))


def kept(features: Tensor, draws: int, seed: int) -> Tensor:
    """Return masks of half of the features by a seed, each draw's by its own number."""
    torch.manual_seed(seed)
    keys = draw_keys(int(torch.randint(2**63 - 1, ())), range(draws)).unsqueeze(1)
    keys ^= draw_key(0, 0)
    words = (places(-(-features.numel() // 8)) ^ keys) * (keys | 1)
    words += words >> 32
    words *= 0x9E3779B97F4A7C15 - 2**64
    return words.view(torch.uint8).view(draws, *features.shape) >= 128


def dropped(trunk: nn.Module, head: nn.Module, x: Tensor, draws: int, seed: int) -> Tensor:
    """Return draws of what a network gives, with dropout of a half between its two parts."""
    features = trunk(x)
    return head(features * 2 * kept(features, draws, seed))


def members(networks: Sequence[nn.Module], x: Tensor) -> Tensor:
    """Return what each of several networks gives."""
    return torch.stack([network(x) for network in networks])


def classes(logits: Tensor) -> Numbers:
    """Return mean probabilities, the entropy of these, its aleatoric part, and votes."""
    log_probs = logits.log_softmax(2)
    each = log_probs.exp()
    probs = each.mean(0, dtype=torch.float64).float()
    entropy = -(probs * probs.log()).sum(1)
    aleatoric = -(each * log_probs).sum(2).mean(0)
    votes = torch.zeros_like(probs, dtype=torch.int32)
    votes.scatter_(1, log_probs.argmax(2).T, 1, reduce="add")
    return finite(probs, entropy, aleatoric, votes)


def numbers(outputs: Tensor) -> Numbers:
    """Return mean, aleatoric and epistemic variance of draws of a mean and a raw scale."""
    means, raw = outputs.chunk(2, dim=2)
    aleatoric = (nn.functional.softplus(raw) + 1e-6).mean(0, dtype=torch.float64).float()
    mean = means.mean(0, dtype=torch.float64)
    epistemic = (means - mean).square().mean(0).float()
    return finite(mean.float(), aleatoric, epistemic)


def finite(*found: Tensor) -> Numbers:
    assert math.isfinite(float(found[1].sum()))
    return found
