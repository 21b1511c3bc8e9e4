"""Raw outputs: classes or numbers on the last dimension, and probabilities in place of logits."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from duda import Categorical, Dirichlet, Gaussian, SampledSoftmax
from duda.likelihoods import LIKELIHOODS
from duda.likelihoods.outputs import CHANCE, CHANCE_IN_A_STEP
from tests.pairs import as_targets, takes_labels

N, TARGETS, LENGTH = 4, 3, 5


def last(name: str, **arguments: Any) -> Any:
    kind = LIKELIHOODS[name]
    dim = "class_dim" if takes_labels(kind()) else "output_dim"
    return kind(**{dim: -1}, **arguments)


def targets(name: str, shape: tuple[int, ...], soft: bool) -> Tensor:
    if not takes_labels(LIKELIHOODS[name]()):
        return as_targets(LIKELIHOODS[name](), torch.randn(N, TARGETS, *shape))
    if soft:
        return torch.rand(N, TARGETS, *shape).softmax(1)
    return torch.randint(TARGETS, (N, *shape))


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("shape", [(), (LENGTH,), (TARGETS,), (2, LENGTH)], ids=str)
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_the_last_dimension_means_the_same_as_the_first(
    name: str, shape: tuple[int, ...], soft: bool
) -> None:
    first, other = LIKELIHOODS[name](), last(name)
    draws = torch.randn(6, N, first.width(TARGETS), *shape)
    y = targets(name, shape, soft)
    moved = draws.movedim(2, -1)
    y_moved = y.movedim(1, -1) if y.is_floating_point() else y
    torch.manual_seed(0)
    expected = first.loss(draws[0], y)
    torch.manual_seed(0)
    torch.testing.assert_close(other.loss(moved[0], y_moved), expected)
    assert other.terms(y_moved) == first.terms(y) == N * math.prod(shape)
    torch.manual_seed(0)
    one = first.reduce(draws, keep_draws=True).numpy()
    torch.manual_seed(0)
    two = other.reduce(moved, keep_draws=True).numpy()
    assert one.keys() == two.keys()
    torch.manual_seed(0)
    judged = first.prediction_loss(first.reduce(draws), y)
    torch.manual_seed(0)
    torch.testing.assert_close(other.prediction_loss(other.reduce(moved), y_moved), judged)
    for field, values in one.items():
        torch.testing.assert_close(torch.as_tensor(two[field]), torch.as_tensor(values))


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_other_dimensions_are_told(name: str) -> None:
    kind = LIKELIHOODS[name]
    dim = "class_dim" if takes_labels(kind()) else "output_dim"
    with pytest.raises(ValueError, match=f"`{dim}` is 2, expected 1, or -1"):
        kind(**{dim: 2})


@pytest.mark.parametrize("name", [n for n in LIKELIHOODS if not takes_labels(LIKELIHOODS[n]())])
def test_targets_of_one_number_may_be_a_row(name: str) -> None:
    likelihood = LIKELIHOODS[name]()
    outputs, y = torch.randn(N, likelihood.width(1)), as_targets(likelihood, torch.randn(N))
    assert torch.equal(likelihood.loss(outputs, y), likelihood.loss(outputs, y.unsqueeze(1)))
    said = likelihood.reduce(outputs.unsqueeze(0))
    one, other = (likelihood.prediction_loss(said, each) for each in (y, y.unsqueeze(1)))
    assert torch.equal(one, other)
    with pytest.raises(ValueError, match=r"`y` has shape \(4,\), expected \(4, 2\)"):
        likelihood.loss(torch.randn(N, likelihood.width(2)), y)
    with pytest.raises(ValueError, match=r"`y` has shape \(3,\), expected \(4, 1\)"):
        likelihood.loss(outputs, y[:3])


@st.composite
def shapes(draw: st.DrawFn) -> tuple[int, ...]:
    rows, classes = draw(st.integers(1, 12)), draw(st.sampled_from([2, 3, 10, 100]))
    positions = draw(st.sampled_from([(), (3,), (2, 4)]))
    return (rows, classes, *positions)


@given(
    shapes(),
    st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    st.floats(0.05, 30),
    st.integers(0, 2**31),
)
def test_a_softmax_is_found_in_any_dtype_and_logits_are_not(
    shape: tuple[int, ...], dtype: torch.dtype, size: float, seed: int
) -> None:
    logits = size * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    logits = logits.to(dtype)
    rows = logits.numel() // shape[1]
    for likelihood in (Categorical(), Dirichlet()):
        likelihood.check_outputs(logits)
        likelihood.check_outputs(logits, CHANCE_IN_A_STEP)
        likelihood.check_outputs(-logits.abs() - 0.1)
        likelihood.check_outputs(logits.relu())
        probs = logits.softmax(1)
        saturated = bool(((probs == 0) | (probs == 1)).all(1).any())
        if rows < 8 or saturated:  # may be chance, or logits that somebody wrote by hand
            continue
        with pytest.raises(ValueError, match=r"outputs lie in \[0, 1\] and add up to 1"):
            likelihood.check_outputs(probs)
    Categorical().check_outputs(logits.log_softmax(1))


@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
def test_one_row_of_single_precision_is_enough_in_a_prediction(classes: int) -> None:
    probs = torch.randn(1, classes).softmax(1)
    with pytest.raises(ValueError, match=r"remove that last layer, or give `Categorical\(probs="):
        Categorical().check_outputs(probs, CHANCE)


def test_small_logits_are_hardly_ever_taken_for_probabilities() -> None:
    """Uniform in [0, 1], the worst of all: two numbers whose sum must not be 1."""
    logits = torch.rand(20_000, 2)
    wrong = 0
    for row in logits:
        try:
            Categorical().check_outputs(row.unsqueeze(0))
        except ValueError:
            wrong += 1
    assert wrong <= 1
    with pytest.raises(ValueError, match="add up to 1"):
        Categorical().check_outputs(torch.tensor([[0.3, 0.7]]))


@pytest.mark.parametrize(
    "logits",
    [
        torch.eye(3),
        torch.zeros(4, 2),
        torch.full((4, 2), 0.5),
        torch.tensor([[0.3, 0.7], [0.3, 0.8]]),
        torch.tensor([[1.2, -0.2]]),
        torch.ones(3, 1),
        torch.zeros(3),
        torch.zeros(0, 3),
        torch.ones(2, 2, dtype=torch.long),
    ],
    ids=str,
)
def test_what_is_no_softmax(logits: Tensor) -> None:
    Categorical().check_outputs(logits)


@pytest.mark.parametrize("width", [1, 2])
def test_other_likelihoods_of_classes_refuse_logs_of_a_softmax_too(width: int) -> None:
    raw = torch.randn(6, 4)
    one = torch.cat([raw] * width, 1)
    likelihood = Dirichlet() if width == 1 else SampledSoftmax()
    likelihood.check_outputs(one)
    for ends in (raw.softmax(1), raw.log_softmax(1)):
        outputs = ends if width == 1 else torch.cat([ends, raw], 1)
        with pytest.raises(ValueError, match="add up to 1"):
            likelihood.check_outputs(outputs)
        with pytest.raises(ValueError, match="add up to 1"):
            likelihood.loss(outputs, torch.arange(6) % 4)


@pytest.mark.parametrize("dim", [None, -1])
@pytest.mark.parametrize("shape", [(), (LENGTH,)], ids=str)
@pytest.mark.parametrize("soft", [False, True])
def test_probabilities_are_taken_exactly(shape: tuple[int, ...], soft: bool, dim: Any) -> None:
    logits = 20 * torch.randn(3, N, TARGETS, *shape, dtype=torch.float64)
    probs, y = logits.softmax(2), targets("categorical", shape, soft).double()
    y = y if soft else y.long()
    if dim == -1:
        given_probs, given_y = probs.movedim(2, -1), y.movedim(1, -1) if soft else y
    else:
        given_probs, given_y = probs, y
    likelihood = Categorical(probs=True, class_dim=dim)
    answer = likelihood.reduce(given_probs)
    torch.testing.assert_close(answer.probs, probs.mean(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(
        likelihood.loss(given_probs[0], given_y), Categorical().loss(logits[0], y)
    )
    torch.testing.assert_close(
        likelihood.prediction_loss(answer, given_y), Categorical().prediction_loss(answer, y)
    )


def test_probabilities_of_zero_have_no_log_but_a_loss_and_a_gradient() -> None:
    probs = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]], requires_grad=True)
    likelihood = Categorical(probs=True)
    loss = likelihood.loss(probs, torch.tensor([0, 1]))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(math.log(2) / 2)
    assert bool(probs.grad.isfinite().all())  # type: ignore[union-attr]
    soft = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    assert float(likelihood.loss(probs.detach(), soft)) == pytest.approx(math.log(2) / 2)
    assert likelihood.reduce(probs.detach().unsqueeze(0)).probs[0].tolist() == [1, 0, 0]
    assert math.isinf(likelihood.loss(probs.detach(), torch.tensor([1, 1])))


def test_ignored_positions_with_probabilities() -> None:
    probs = torch.randn(2, 3, 4).softmax(1)
    y = torch.tensor([[0, 1, -100, 2], [-100, -100, 1, 1]])
    one = Categorical(-100, probs=True).loss(probs, y)
    torch.testing.assert_close(one, Categorical(-100).loss(probs.log(), y))


@pytest.mark.parametrize("outputs", [torch.randn(4, 3), torch.rand(4, 3) + 0.5])
def test_logits_are_no_probabilities(outputs: Tensor) -> None:
    likelihood = Categorical(probs=True)
    with pytest.raises(ValueError, match=r"`outputs` .*expected .*: leave `probs` out for logits"):
        likelihood.loss(outputs, torch.tensor([0, 1, 2, 0]))
    with pytest.raises(ValueError, match="leave `probs` out for logits"):
        likelihood.reduce(outputs.unsqueeze(0))


def test_numbers_in_the_unit_interval_are_numbers() -> None:
    outputs = torch.randn(5, 2).softmax(1)
    Gaussian().check_outputs(outputs)
    assert Gaussian().reduce(outputs.unsqueeze(0)).mean.shape == (5, 1)
