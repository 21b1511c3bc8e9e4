"""BatchBALD: which examples, labelled together, tell most about the model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["batch_bald"]

_CONFIGURATIONS = 10_000  # of labels of a batch, up to which all are counted, else so many drawn
_ENTRIES = 2**22  # of the largest intermediate array


def batch_bald(
    draws: Float[Tensor, "M N C"], k: int, generator: torch.Generator | None = None
) -> Int[Tensor, "k"]:
    """Return k examples, chosen one after the other, whose labels share most with the draw.

    Each adds the mutual information of its label and the draw, given the labels of those before it,
    I(y; θ | y₁ … yₙ) = H(y | y₁ … yₙ) − H(y | θ), which by the chain rule is what BatchBALD's joint
    entropy gains. All Cⁿ configurations of the labels before it are counted up to 10,000; beyond,
    10,000 are drawn, as many from each draw. Of equals the first example is taken.
    Source: Kirsch et al. 2019, algorithm 1.

    Args:
        draws: probabilities.
        k: at most N.
        generator: of the configurations; torch's global one by default.

    >>> sure = [[[0.9, 0.1], [0.9, 0.1], [0.8, 0.2]], [[0.1, 0.9], [0.1, 0.9], [0.8, 0.2]]]
    >>> batch_bald(torch.tensor(sure), 2)
    tensor([0, 1])
    """
    probs = draws.double()
    expected = torch.special.entr(probs).sum(2).mean(0)
    labels = _Labels.none(len(probs), probs.device)
    chosen: list[int] = []
    taken = torch.zeros_like(expected)
    while True:
        gain = labels.conditional_entropy(probs) - expected - taken
        chosen.append(int(gain.argmax()))
        taken[chosen[-1]] = math.inf
        if len(chosen) == k:
            return torch.tensor(chosen)
        labels = labels.extended(probs[:, chosen[-1]], generator)


@dataclass(frozen=True, eq=False)
class _Labels:
    """K configurations of the labels that some examples may have.

    Args:
        weight: `(K)`, their probabilities, or 1 / K where they are drawn.
        likelihood: `(K, M)`, their probability under each draw, relative to the mean over draws.
        origin: `(K)`, the draw that each comes from; None where all configurations are counted.
    """

    weight: Float[Tensor, "K"]
    likelihood: Float[Tensor, "K M"]
    origin: Int[Tensor, "K"] | None = None

    @classmethod
    def none(cls, draws: int, device: torch.device | str = "cpu") -> Self:
        """Return the one configuration of no labels."""
        ones = torch.ones(1, dtype=torch.float64, device=device)
        return cls(ones, ones.expand(1, draws))

    def conditional_entropy(self, probs: Float[Tensor, "M N C"]) -> Float[Tensor, "N"]:
        """Return the expected entropy of each example's label once these labels are known, nats."""
        draws, _, classes = probs.shape
        size = max(1, _ENTRIES // (len(self.weight) * classes))
        parts = []
        for part in torch.split(probs, size, dim=1):
            known = self.likelihood @ part.reshape(draws, -1) / draws
            entropy = torch.special.entr(known).reshape(len(known), -1, classes).sum(2)
            parts.append(self.weight @ entropy)
        return torch.cat(parts)

    def extended(self, probs: Float[Tensor, "M C"], generator: torch.Generator | None) -> _Labels:
        """Return the configurations with the label of one more example."""
        if self.origin is None and len(self.weight) * probs.shape[1] <= _CONFIGURATIONS:
            joint = self.likelihood[:, None] * probs.T
            weight = self.weight.repeat_interleave(probs.shape[1])
            return self._normalised(joint.flatten(0, 1), weight)
        if self.origin is None:
            return self._sampled(generator).extended(probs, generator)
        chances = probs[self.origin].cpu()  # so that draws are the same on every device
        label = chances.multinomial(1, generator=generator).squeeze(1).to(probs.device)
        joint = self.likelihood * probs[:, label].T
        mean = joint.mean(1, keepdim=True)
        return _Labels(self.weight, joint / mean, self.origin)

    def _normalised(self, joint: Tensor, weight: Tensor) -> _Labels:
        mean = joint.mean(1)
        possible = mean > 0
        mean = mean[possible]
        return _Labels(weight[possible] * mean, joint[possible] / mean[:, None])

    def _sampled(self, generator: torch.Generator | None) -> _Labels:
        """Return 10,000 configurations, about as many drawn from each draw."""
        draws = self.likelihood.shape[1]
        of_each = math.ceil(_CONFIGURATIONS / draws)
        chances = (self.weight[:, None] * self.likelihood).T.cpu()  # as above
        picked = chances.multinomial(of_each, replacement=True, generator=generator).flatten()
        picked = picked.to(self.weight.device)
        count = len(picked)
        return _Labels(
            self.weight.new_full((count,), 1 / count),
            self.likelihood[picked],
            torch.arange(draws, device=picked.device).repeat_interleave(of_each),
        )
