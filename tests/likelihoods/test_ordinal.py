"""Ordinal: probabilities by cut points, what a prediction in an order says, and gaps in labels."""

from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import logistic
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import duda
from duda import Ordinal, OrdinalPrediction
from duda.layers import CutPoints
from duda.reporting.contributions import measure


def some_outputs(classes: int, seed: int, rows: int = 4, scale: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(rows, classes - 1, generator=generator, dtype=torch.float64)


@given(classes=st.integers(2, 7), seed=st.integers(0, 2**31))
def test_probabilities_are_those_of_a_latent_logistic_variable(classes: int, seed: int) -> None:
    outputs = some_outputs(classes, seed)
    cuts = torch.nn.functional.softplus(outputs[:, 1:]).cumsum(1)
    cuts = torch.cat([torch.zeros(4, 1).double(), cuts], 1)
    cuts = (cuts - cuts.mean(1, keepdim=True)).numpy()
    below = torch.as_tensor(logistic.cdf(cuts, loc=outputs[:, :1].numpy()))
    answer = Ordinal().reduce(outputs[None])
    assert isinstance(answer, OrdinalPrediction)
    torch.testing.assert_close(answer.cumulative[:, :-1], below)
    torch.testing.assert_close(answer.probs.sum(1), torch.ones(4).double())


@given(classes=st.integers(2, 7), seed=st.integers(0, 2**31))
def test_classes_from_behind_are_the_mirrored_outputs(classes: int, seed: int) -> None:
    outputs = some_outputs(classes, seed)
    mirrored = torch.cat([-outputs[:, :1], outputs[:, 1:].flip(1)], 1)
    one, other = (Ordinal().log_probs(each) for each in (outputs, mirrored))
    torch.testing.assert_close(one, other.flip(1))


def test_two_classes_are_a_logistic_regression() -> None:
    outputs, y = torch.randn(6, 1), torch.tensor([0, 1, 1, 0, 1, 0])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(outputs[:, 0], y.float())
    torch.testing.assert_close(Ordinal().loss(outputs, y), expected)


def test_likelihood_of_sure_outputs_does_not_underflow() -> None:
    loss = Ordinal().loss(torch.tensor([[200.0, -200.0]]), torch.tensor([1]))
    assert float(loss) == pytest.approx(400, rel=1e-6)


@given(members=st.integers(1, 5), classes=st.integers(2, 6), seed=st.integers(0, 2**31))
def test_variance_is_that_within_draws_and_between(members: int, classes: int, seed: int) -> None:
    draws = some_outputs(classes, seed, rows=3 * members).view(members, 3, -1)
    answer = Ordinal().reduce(draws, keep_draws=True)
    numbers = torch.arange(classes).double().view(-1, 1).expand(classes, 1)[:, 0]
    means = answer.draws @ numbers
    within = (answer.draws * (numbers - means.unsqueeze(2)).square()).sum(2).mean(0)
    torch.testing.assert_close(answer.epistemic_variance, means.var(0, correction=0))
    torch.testing.assert_close(answer.aleatoric_variance, within)
    torch.testing.assert_close(answer.variance, within + answer.epistemic_variance)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_each_draw_votes_for_its_most_probable_class(dtype: torch.dtype) -> None:
    draws = some_outputs(5, 0, rows=4 * 9).view(9, 4, -1).to(dtype)
    answer, each = Ordinal().reduce(draws), Ordinal().reduce(draws.double(), keep_draws=True).draws
    assert each is not None
    expected = torch.nn.functional.one_hot(each.argmax(2), 5).sum(0)
    assert torch.equal(answer.votes.long(), expected)
    torch.testing.assert_close(answer.probs, each.mean(0), check_dtype=False)


def test_median_costs_least() -> None:
    answer = Ordinal().reduce(some_outputs(5, 0, rows=50)[None])
    steps = torch.arange(5)
    costs = answer.probs @ (steps[:, None] - steps).abs().double()
    chosen = costs.gather(1, answer.median.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(chosen, costs.amin(1))
    assert OrdinalPrediction.from_probs([[0.5, 0.5]]).median.tolist() == [0]


def test_rps_is_that_of_scoringrules_and_the_crps_of_whole_numbers() -> None:
    probs = [[0.1, 0.2, 0.4, 0.3], [0.25, 0.25, 0.25, 0.25], [0.7, 0.1, 0.1, 0.1]]
    y = torch.tensor([2, 0, 3])
    # scoringrules 0.10.0: rps_score(y + 1, probs)
    each = [0.19, 0.875, 1.94]
    for label, row, expected in zip(y, probs, each, strict=True):
        assert duda.evaluation.rps([row], label.view(1)) == pytest.approx(expected)
    answer = OrdinalPrediction.from_probs(probs)
    assert float(answer.contributions(y)["rps"].values.mean()) == pytest.approx(sum(each) / 3)
    assert duda.evaluation.rps(answer, y) == pytest.approx(sum(each) / 3)
    found = measure(answer, y)
    assert found["rps"] == pytest.approx(sum(each) / 3)
    assert found["mae"] == pytest.approx(4 / 3)  # medians 2, 1 and 0


def test_recalibration_keeps_the_order() -> None:
    answer = Ordinal().reduce(some_outputs(4, 0, rows=200)[None])
    y = torch.multinomial(answer.probs.sqrt(), 1).squeeze(1)
    cooler = duda.decisions.Temperature().fit(answer, y)(answer)
    assert isinstance(cooler, OrdinalPrediction)
    assert duda.evaluation.rps(cooler, y) < duda.evaluation.rps(answer, y)


@pytest.mark.parametrize("loader", [False, True])
def test_gaps_in_labels_are_told(loader: bool) -> None:
    x, y = torch.randn(8, 2), torch.tensor([0, 1, 3, 3, 0, 1, 3, 0])
    model = duda.Deterministic(nn.Linear(2, 3), Ordinal(ignore_index=-1))
    data = DataLoader(TensorDataset(x, y), 4) if loader else (x, y)
    with pytest.warns(UserWarning, match="`y` has no label 2 although it has 3"):
        duda.fit(model, data, epochs=1, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        duda.fit(model, (x, y.where(y < 3, -1)), epochs=1, seed=0)


def test_cut_points_for_all_inputs_are_learned_by_an_ensemble(tmp_path: object) -> None:
    def network() -> nn.Module:
        return nn.Sequential(nn.Linear(1, 1), CutPoints(4))

    x = torch.linspace(-3, 3, 400).unsqueeze(1)
    cuts = torch.tensor([-2.0, 0.0, 0.5])  # of a logistic variable about 2 x
    u = torch.rand(400, 1, generator=torch.Generator().manual_seed(0))
    y = (2 * x + u.logit() > cuts).sum(1)
    model = duda.DeepEnsemble(network, Ordinal(), members=2)
    duda.fit(model, (x, y), epochs=60, lr=0.1, seed=0)
    for member in model.members:
        gaps = torch.nn.functional.softplus(member[1].gaps)
        torch.testing.assert_close(gaps, cuts.diff(), rtol=0.3, atol=0.1)
    path = duda.save(model, f"{tmp_path}/ordinal")
    loaded = duda.load(path, network)
    assert torch.equal(loaded.predict(x, seed=0).probs, model.predict(x, seed=0).probs)
    assert duda.evaluation.rps(model.predict(x), y) < 0.5 * duda.evaluation.rps(
        y.bincount().double().div(400).expand(400, 4), y
    )


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(ValueError, match=r"expected K - 1 numbers on dimension 1"):
        Ordinal().loss(torch.zeros(3, 0), torch.tensor([0, 1, 1]))
    with pytest.raises(ValueError, match="`y` holds the label 3, expected 0 to 2"):
        Ordinal().loss(torch.zeros(1, 2), torch.tensor([3]))
    with pytest.raises(ValueError, match="`classes` is 2, expected at least 3"):
        CutPoints(2)
    with pytest.raises(ValueError, match=r"`location` has shape \(4, 2\)"):
        CutPoints(3)(torch.zeros(4, 2))
    with pytest.raises(ValueError, match="`epistemic_variance` has a variance of -1"):
        OrdinalPrediction.from_probs([[0.5, 0.5]]).__class__(
            torch.tensor([[0.5, 0.5]]).log(),
            torch.zeros(1),
            torch.ones(1, 2).int(),
            epistemic_variance=-torch.ones(1),
        )
