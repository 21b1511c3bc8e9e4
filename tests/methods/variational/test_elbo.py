"""The ELBO's data term is a sum over examples and positions, whatever the likelihood averages."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import duda
from duda.hooks import FitState
from duda.likelihoods import LIKELIHOODS
from tests.pairs import as_targets, takes_labels

N = 6


def labels(*shape: int) -> Tensor:
    return torch.arange(math.prod(shape)).view(shape) % 3


def soft(*shape: int) -> Tensor:
    return torch.rand(shape[0], 3, *shape[1:]).softmax(1)


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape[0], 2, *shape[1:])


POSITIONS: dict[str, tuple[int, ...]] = {"none": (), "sequence": (5,), "image": (4, 3)}
KINDS: dict[str, tuple[Callable[[], duda.Likelihood], Callable[..., Tensor]]] = {
    "labels": (duda.Categorical, labels),
    "soft labels": (duda.Categorical, soft),
    "sampled": (duda.SampledSoftmax, labels),
    "evidence": (duda.Dirichlet, labels),
    "soft evidence": (duda.Dirichlet, soft),
    "gaussian": (duda.Gaussian, numbers),
    "quantiles": (duda.Quantiles, numbers),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("positions", POSITIONS)
def test_the_loss_is_the_negative_elbo_for_one_term(kind: str, positions: str) -> None:
    make, targets = KINDS[kind]
    shape, likelihood = POSITIONS[positions], make()
    y = targets(N, *shape)
    outputs = likelihood.width(3 if takes_labels(likelihood) else 2)
    model = duda.Variational(nn.Linear(4, outputs * math.prod(shape)), likelihood, examples=50)
    model.network = nn.Sequential(model.network, nn.Unflatten(1, (outputs, *shape)))
    model._names = [f"0.{name}" for name in model._names]
    model.eval()
    x = torch.randn(N, 4)
    torch.manual_seed(0)
    loss = model.loss(x, y)
    torch.manual_seed(0)
    raw = model(x)
    each = [  # every term by itself
        likelihood.negative_log_likelihood(
            raw.flatten(2)[n : n + 1, :, p] if shape else raw[n : n + 1], at(y, n, p, shape)
        )
        for n in range(N)
        for p in range(math.prod(shape))
    ]
    # The sum over the 50 examples' terms, of which the batch has a share, and the divergence once.
    terms = math.prod((50, *shape))
    elbo = torch.stack(each).mean() * terms + model.kl_divergence()
    rel = 0.05 if kind == "sampled" else 1e-4  # which draws its noise anew
    assert float(loss.detach()) == pytest.approx(float(elbo.detach()) / terms, rel=rel)


def at(y: Tensor, example: int, position: int, shape: tuple[int, ...]) -> Tensor:
    """Return the target of one position of an example, as of an example without positions."""
    one = y[example : example + 1]
    if not shape:
        return one
    return (
        one.flatten(1)[:, position] if not y.is_floating_point() else one.flatten(2)[..., position]
    )


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_a_mean_over_terms_makes_their_sum(likelihood: str) -> None:
    meaning = LIKELIHOODS[likelihood]()
    classes = takes_labels(meaning)
    for shape in POSITIONS.values():
        outputs = torch.randn(N, meaning.width(3 if classes else 2), *shape)
        for y in [labels(N, *shape), soft(N, *shape)] if classes else [numbers(N, *shape)]:
            y = as_targets(meaning, y)
            assert int(meaning.terms(y)) == math.prod((N, *shape))
            parts = (slice(0, 2), slice(2, N))
            torch.manual_seed(0)
            whole = meaning.loss(outputs, y) * meaning.terms(y)
            split = [
                meaning.loss(outputs[part], y[part]) * meaning.terms(y[part]) for part in parts
            ]
            rel = 0.1 if likelihood == "sampled-softmax" else 1e-4
            assert float(whole) == pytest.approx(float(torch.stack(split).sum()), rel=rel)


@pytest.mark.parametrize("positions", [1, 16, 256])
@pytest.mark.parametrize("outputs", [1, 2])
def test_gradient_is_zero_at_the_posterior_over_positions(positions: int, outputs: int) -> None:
    # y = w x + noise at each position, one weight for each output, all of them independent.
    rows, noise, prior = 20, 0.5, 1.0
    x = torch.randn(rows, 1, positions).double()
    y = 0.7 * x.expand(-1, outputs, -1) + noise * torch.randn(rows, outputs, positions).double()
    model = duda.Variational(
        nn.Conv1d(1, outputs, 1, bias=False).double(),
        duda.FixedGaussian(noise),
        duda.GaussianPrior(prior),
        examples=rows,
    )
    precision = x.square().sum() / noise**2 + prior**-2
    with torch.no_grad():
        model.network.weight.copy_(((x * y).sum((0, 2)) / noise**2 / precision).view(-1, 1, 1))
        model.raw_stds[0].fill_(float(precision.rsqrt().expm1().log()))
    parameters = list(model.parameters())
    found = torch.stack(
        [
            torch.cat([g.flatten() for g in torch.autograd.grad(model.loss(x, y), parameters)])
            for _ in range(400)
        ]
    )
    assert (found.mean(0).abs() <= 5 * found.std(0) / math.sqrt(len(found))).all()
    assert (found.std(0) > 0).all()


def pixels(share: float, rows: int = N) -> Tensor:
    """Return labels of 20 positions, of which only a share counts."""
    y = labels(rows, 20)
    y[:, round(20 * share) :] = 255
    return y


def segmenter(examples: int = 50) -> duda.Variational:
    return duda.Variational(
        nn.Conv1d(4, 3, 1), duda.Categorical(ignore_index=255), examples=examples
    )


def test_positions_that_are_ignored_are_no_terms() -> None:
    model, x, y = segmenter(), torch.randn(N, 4, 20), pixels(0.25)
    torch.manual_seed(0)
    loss = model.loss(x, y)
    torch.manual_seed(0)
    data = F.cross_entropy(model(x), y, ignore_index=255)
    torch.testing.assert_close(loss, data + model.kl_divergence() / (50 * 5))


def test_batches_weigh_by_their_terms_once_these_are_known() -> None:
    model, x = segmenter(examples=2 * N), torch.randn(N, 4, 20)
    terms = N * (1 + 20)
    model._seen.copy_(10**9 * torch.tensor([2 * N, terms]))  # many epochs
    losses = data = torch.zeros(())
    for seed, share in enumerate((0.05, 1.0)):
        torch.manual_seed(seed)
        losses = losses + model.loss(x, pixels(share))
        torch.manual_seed(seed)
        data = data + F.cross_entropy(model(x), pixels(share), ignore_index=255, reduction="sum")
    torch.testing.assert_close(losses * terms / 2, data + model.kl_divergence())


def test_a_batch_in_which_all_is_ignored_counts_as_one_without_terms() -> None:
    model, x = segmenter(), torch.randn(N, 4, 20)
    first = model.loss(x, pixels(0.0))
    torch.testing.assert_close(first, model.kl_divergence() / 50)
    model.loss(x, pixels(0.5))
    third = model.loss(x, pixels(0.0))
    torch.testing.assert_close(third, model.kl_divergence() / (50 * 10 / 3))


def test_what_was_seen_is_forgotten_with_a_new_training_and_no_part_of_a_file() -> None:
    model = segmenter()
    model.loss(torch.randn(N, 4, 20), pixels(1.0))
    assert "_seen" not in model.state_dict()
    assert model._seen.tolist() == [N, 20 * N]
    model.on_fit_start(FitState())
    assert model._seen.tolist() == [0, 0]
