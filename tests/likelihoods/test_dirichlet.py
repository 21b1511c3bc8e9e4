"""Evidence for classes: closed forms against scipy and torch, and their limits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import kl_divergence

import duda
from duda import Dirichlet


def raw(alpha: Tensor) -> Tensor:
    """Return the outputs that mean `alpha`."""
    return (alpha - 1).expm1().log()


def test_loss_is_the_risk_under_the_dirichlet_and_the_divergence_of_torch() -> None:
    alpha = 1 + 5 * torch.rand(4, 3, dtype=torch.float64)
    y = torch.tensor([0, 2, 1, 1])
    shares = torch.nn.functional.one_hot(y, 3).double()
    exact = [scipy.stats.dirichlet(a.numpy()) for a in alpha]
    # E (y - p)² = (y - E p)² + Var p.
    risk = [
        ((s - e.mean()) ** 2 + e.var()).sum() for s, e in zip(shares.numpy(), exact, strict=True)
    ]
    misleading = torch.distributions.Dirichlet(shares + (1 - shares) * alpha)
    divergence = kl_divergence(misleading, torch.distributions.Dirichlet(torch.ones(3).double()))
    likelihood = Dirichlet()
    for weight in (0.0, 0.3, 1.0):
        expected = np.mean(risk) + weight * float(divergence.mean())
        assert float(likelihood.loss(raw(alpha), y, weight)) == pytest.approx(expected, rel=1e-9)
    assert likelihood.loss(raw(alpha), y) == likelihood.loss(raw(alpha), y, 1.0)
    assert likelihood.negative_log_likelihood(raw(alpha), y) == likelihood.loss(raw(alpha), y)


def test_soft_labels_of_one_class_are_hard_ones() -> None:
    outputs, y = torch.randn(6, 3, 2), torch.randint(3, (6, 2))
    soft = torch.nn.functional.one_hot(y, 3).movedim(-1, 1).float()
    assert float(Dirichlet().loss(outputs, soft)) == pytest.approx(
        float(Dirichlet().loss(outputs, y)), rel=1e-6
    )


@pytest.mark.parametrize("alpha", [(1.0, 1.0), (1.5, 4.0), (30.0, 1.1)])
def test_expected_entropy_is_the_integral_over_the_beta_distribution(
    alpha: tuple[float, float],
) -> None:
    beta = scipy.stats.beta(*alpha)
    expected, _ = scipy.integrate.quad(
        lambda p: beta.pdf(p) * scipy.stats.entropy([p, 1 - p]), 0, 1, epsabs=1e-11
    )
    answer = Dirichlet().reduce(raw(torch.tensor([[alpha]], dtype=torch.float64)))
    assert float(answer.aleatoric) == pytest.approx(expected, abs=1e-8)


def test_expected_entropy_is_that_of_scipys_draws() -> None:
    alpha = torch.tensor([1.2, 3.0, 1.0, 2.0], dtype=torch.float64)
    sampled = scipy.stats.dirichlet(alpha.numpy()).rvs(200_000, random_state=0)
    entropies = scipy.stats.entropy(sampled, axis=1)
    answer = Dirichlet().reduce(raw(alpha)[None, None])
    near = 5 * entropies.std() / np.sqrt(len(entropies))
    assert float(answer.aleatoric) == pytest.approx(entropies.mean(), abs=near)
    np.testing.assert_allclose(answer.probs[0], alpha / alpha.sum(), rtol=1e-12)


@given(st.integers(0, 2**32), st.integers(1, 5))
@settings(max_examples=50)
def test_entropy_splits_and_evidence_is_averaged_over_draws(seed: int, members: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    draws = 4 * torch.randn(members, 3, 4, generator=generator, dtype=torch.float64)
    answer = Dirichlet().reduce(draws, keep_draws=True)
    alpha = Dirichlet().concentration(draws)
    probs = alpha / alpha.sum(2, keepdim=True)
    torch.testing.assert_close(answer.draws, probs)
    torch.testing.assert_close(answer.probs, probs.mean(0))
    torch.testing.assert_close(answer.entropy, answer.aleatoric + answer.epistemic)
    # Not to know the probabilities, and to have draws that disagree, both add to what is unknown.
    between = answer.entropy - torch.from_numpy(scipy.stats.entropy(probs, axis=2)).mean(0)
    assert (answer.epistemic >= between - 1e-12).all()
    assert (answer.aleatoric > 0).all()


def test_evidence_removes_epistemic_uncertainty_and_leaves_aleatoric() -> None:
    shares = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    answers = [Dirichlet().reduce((s * shares)[None, None] - 1) for s in (1e2, 1e4, 1e6)]
    epistemic = [float(answer.epistemic) for answer in answers]
    assert epistemic[0] > epistemic[1] > epistemic[2]
    # To first order (C - 1) / 2S: the label tells of the probabilities what one more count would.
    np.testing.assert_allclose(epistemic, [1e-2, 1e-4, 1e-6], rtol=0.05)
    assert float(answers[2].aleatoric) == pytest.approx(scipy.stats.entropy(shares), abs=1e-5)


def test_it_is_frozen() -> None:
    one, other = Dirichlet(), Dirichlet()
    assert one == other
    assert hash(one) == hash(other)
    assert repr(one) == repr(other) == "Dirichlet(ignore_index=None, class_dim=None)"
    assert vars(one) == {"ignore_index": None, "class_dim": None}


@pytest.mark.parametrize("positions", [(), (4,), (3, 2)])
@pytest.mark.parametrize("class_dim", [None, -1])
def test_ignored_labels_add_nothing(positions: tuple[int, ...], class_dim: int | None) -> None:
    outputs, y = torch.randn(6, 3, *positions), torch.randint(3, (6, *positions))
    ignored = torch.rand(y.shape) < 0.4
    ignored.view(-1)[:2] = torch.tensor([True, False])
    likelihood = Dirichlet(ignore_index=255, class_dim=class_dim)
    marked = y.masked_fill(ignored, 255)
    rows = outputs.movedim(1, -1)[~ignored]
    given = outputs.movedim(1, -1) if class_dim else outputs
    for weight in (0.0, 0.5, 1.0):
        expected = Dirichlet().loss(rows, y[~ignored], weight)
        torch.testing.assert_close(likelihood.loss(given, marked, weight), expected)
    assert int(likelihood.terms(marked)) == len(rows)
    answer = likelihood.reduce(given[None])
    expected = Dirichlet().prediction_loss(Dirichlet().reduce(rows[None]), y[~ignored])
    torch.testing.assert_close(likelihood.prediction_loss(answer, marked), expected)


def test_where_all_is_ignored_the_loss_is_zero_and_so_is_its_gradient() -> None:
    outputs = torch.randn(4, 3, requires_grad=True)
    loss = Dirichlet(ignore_index=-1).loss(outputs, torch.full((4,), -1))
    loss.backward()
    assert float(loss.detach()) == 0
    assert not outputs.grad.any()
    with pytest.raises(ValueError, match="holds the label -1, expected 0 to 2"):
        Dirichlet().loss(outputs, torch.full((4,), -1))
    assert repr(Dirichlet(ignore_index=-1)) == "Dirichlet(ignore_index=-1, class_dim=None)"


def test_a_segmentation_with_ignored_pixels_is_trained_and_kept(tmp_path: Path) -> None:
    x, y = torch.randn(20, 1, 4, 4), torch.randint(3, (20, 4, 4))
    y[:, 0] = 255
    net = torch.nn.Conv2d(1, 3, 3, padding=1)
    for method in (duda.Deterministic, duda.Variational):
        model = method(net, Dirichlet(ignore_index=255))
        history = duda.fit(model, (x, y), epochs=2, validation=(x, y), seed=0)
        assert history.losses.isfinite().all()
        duda.save(model, tmp_path / "model")
        assert duda.load(tmp_path / "model", network=net).likelihood == model.likelihood
