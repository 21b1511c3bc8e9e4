"""Draws of logits make one class prediction: golden values, laws, and streaming in any chunks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from duda import Categorical, ClassPrediction, Dirichlet

# Inputs of the golden cases 110 to 114, `(N, M, C)`; a draw of log-probabilities is one of logits.
GOLDEN = torch.tensor(
    [
        [[0.9, 0.1], [0.1, 0.9]],
        [[0.5, 0.5], [0.5, 0.5]],
        [[1.0, 0.0], [1.0, 0.0]],
        [[0.8, 0.2], [0.6, 0.4]],
    ],
    dtype=torch.float64,
).movedim(1, 0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # baal 2.1.0
        ("epistemic", [0.3680642071684971, 0.0, 0.0, 0.02415725678117131]),
        ("entropy", [0.6931471805599453, 0.6931471805599453, 0.0, 0.6108643020548935]),
        # scipy 1.17.1
        ("aleatoric", [0.3250829733914482, 0.6931471805599453, 0.0, 0.5867070452737222]),
        # numpy 2.4.6
        ("confidence", [0.5, 0.5, 1.0, 0.7]),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_golden_values(name: str, expected: list[float], dtype: torch.dtype) -> None:
    answer = Categorical().reduce(GOLDEN.to(dtype).log())
    np.testing.assert_allclose(getattr(answer, name), expected, rtol=0, atol=1e-6)


def test_golden_variation_ratio() -> None:
    # Closed form: 1 - mode count / M, for the votes (0, 0, 1) and (2, 1, 0).
    votes = torch.tensor([[0, 0, 1], [2, 1, 0]]).T
    answer = Categorical().reduce(3.0 * torch.nn.functional.one_hot(votes, 3).double())
    expected = torch.tensor([1 / 3, 2 / 3], dtype=torch.float64)
    torch.testing.assert_close(answer.variation_ratio, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("members", [1, 2, 3, 7, 10, 50])
def test_saturated_logits_have_entropies_of_exactly_zero(dtype: torch.dtype, members: int) -> None:
    # Torch 2.13.0: naive p log p is NaN in float32, the safe path 0.
    draws = torch.tensor([[[1000.0, 0.0, -1000.0]]], dtype=dtype).expand(members, 4, 3)
    reduction = Categorical().reduction()
    for chunk in draws.split(2):
        reduction.add(chunk)
    answer = reduction.result()
    for name in ("entropy", "aleatoric", "epistemic", "variation_ratio"):
        value = getattr(answer, name)
        assert torch.equal(value, torch.zeros_like(value)), name
        assert not torch.signbit(value).any(), name
    assert torch.equal(answer.confidence, torch.ones_like(answer.confidence))


def test_improbable_classes_keep_finite_log_probabilities() -> None:
    logits = torch.tensor([[[0.0, -200.0]], [[0.0, -300.0]]])
    answer = Categorical().reduce(logits)
    expected = torch.tensor([[0.0, -200 - math.log(2)]])
    torch.testing.assert_close(answer.log_probs, expected)


def test_classes_that_no_draw_allows_have_probability_zero() -> None:
    answer = Categorical().reduce(torch.tensor([[[0.0, 0.0, -torch.inf]]] * 3))
    assert answer.probs.tolist() == [[0.5, 0.5, 0.0]]
    assert answer.log_probs[0, 2] == -torch.inf
    torch.testing.assert_close(answer.entropy, torch.tensor([math.log(2)]))


@st.composite
def logits(draw: st.DrawFn, dtypes: tuple[torch.dtype, ...]) -> Tensor:
    """Draws `(M, N, C, *positions)` from tame to extreme, some of them -inf."""
    members, classes = draw(st.integers(1, 6)), draw(st.integers(2, 5))
    positions = draw(st.sampled_from([(), (2,), (2, 3)]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    shape = (members, 3, classes, *positions)
    values = torch.randn(shape, generator=generator).clamp(-5, 5)
    values *= draw(st.sampled_from([1e-4, 1.0, 30.0, 1e4]))
    forbidden = torch.rand(shape, generator=generator) < draw(st.sampled_from([0.0, 0.4]))
    forbidden[:, :, 0] = False
    values[forbidden] = -torch.inf
    return values.to(draw(st.sampled_from(dtypes)))


def tolerance(answer: ClassPrediction) -> float:
    return 1e-12 if answer.log_probs.dtype == torch.float64 else 2e-6


ALL_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@given(logits(ALL_FLOATS))
@settings(max_examples=150, deadline=None)
def test_entropy_splits_into_aleatoric_and_epistemic(draws: Tensor) -> None:
    answer = Categorical().reduce(draws)
    near = tolerance(answer)
    total, aleatoric, epistemic = answer.entropy, answer.aleatoric, answer.epistemic
    torch.testing.assert_close(total, aleatoric + epistemic, rtol=0, atol=near)
    assert (total >= 0).all()
    assert (aleatoric >= 0).all()
    assert (epistemic >= 0).all()
    assert (epistemic <= total).all()
    assert (epistemic <= math.log(len(draws)) + near).all()
    assert (total <= math.log(draws.shape[2]) + near).all()
    assert (answer.log_probs <= near).all()
    torch.testing.assert_close(
        answer.probs.sum(1), torch.ones_like(total), rtol=0, atol=near, msg="probs sum to 1"
    )


@given(logits((torch.float32, torch.float64)))
@settings(max_examples=100, deadline=None)
def test_moments_are_those_of_scipy(draws: Tensor) -> None:
    answer = Categorical().reduce(draws)
    probs = draws.double().softmax(2).numpy()
    near = 10 * tolerance(answer)
    np.testing.assert_allclose(answer.probs, probs.mean(0), rtol=0, atol=near)
    entropies = scipy.stats.entropy(probs, axis=2)
    np.testing.assert_allclose(answer.aleatoric, entropies.mean(0), rtol=0, atol=near)
    total = scipy.stats.entropy(probs.mean(0), axis=1)
    np.testing.assert_allclose(answer.entropy, total, rtol=0, atol=near)


@given(logits(ALL_FLOATS), st.data())
@settings(max_examples=100, deadline=None)
def test_chunks_and_order_of_the_draws_do_not_matter(draws: Tensor, data: st.DataObject) -> None:
    whole = Categorical().reduce(draws)
    order = data.draw(st.permutations(range(len(draws))))
    cuts = data.draw(st.sets(st.integers(1, len(draws)))) - {len(draws)}
    reduction = Categorical().reduction()
    for chunk in draws[list(order)].tensor_split(sorted(cuts)):
        reduction.add(chunk)
    parts = reduction.result()
    assert torch.equal(parts.votes, whole.votes)
    torch.testing.assert_close(parts.probs, whole.probs, rtol=0, atol=1e-6)
    torch.testing.assert_close(parts.aleatoric, whole.aleatoric, rtol=0, atol=1e-6)
    torch.testing.assert_close(parts.epistemic, whole.epistemic, rtol=0, atol=2e-6)


@given(logits(ALL_FLOATS), st.integers(2, 60))
@settings(max_examples=60, deadline=None)
def test_draws_that_agree_leave_nothing_to_learn(draws: Tensor, members: int) -> None:
    one = Categorical().reduce(draws[:1])
    many = Categorical().reduce(draws[:1].expand(members, *draws.shape[1:]))
    assert torch.equal(many.log_probs, one.log_probs)
    torch.testing.assert_close(many.aleatoric, one.aleatoric, rtol=1e-15, atol=0)
    assert float(many.epistemic.max()) <= tolerance(many) / 10
    assert not many.variation_ratio.any()


def test_votes_are_counted_at_each_position() -> None:
    draws = torch.randn(9, 2, 4, 3, 5)
    answer = Categorical().reduce(draws)
    first = draws.argmax(2)
    for label in range(4):
        assert torch.equal(answer.votes[:, label], (first == label).sum(0).int())
    modes = torch.stack([(first == label).sum(0) for label in range(4)]).amax(0)
    torch.testing.assert_close(answer.variation_ratio, 1 - modes / 9)


@pytest.mark.parametrize("likelihood", [Categorical(), Dirichlet()])
def test_votes_tell_classes_apart_whose_probabilities_are_rounded_alike(
    likelihood: Categorical | Dirichlet,
) -> None:
    low = torch.tensor(0.01)
    draws = torch.stack([low, low.nextafter(torch.tensor(1.0)), torch.tensor(-1.0)]).view(1, 1, 3)
    assert likelihood.reduce(draws).votes.tolist() == [[0, 1, 0]]


def test_draws_are_kept_only_if_asked_for() -> None:
    draws = torch.randn(6, 5, 3)
    assert Categorical().reduce(draws).draws is None
    reduction = Categorical().reduction(keep_draws=True)
    for chunk in draws.split(4):
        reduction.add(chunk)
    torch.testing.assert_close(reduction.result().draws, draws.softmax(2))


@pytest.mark.parametrize(
    ("draws", "message"),
    [
        (torch.zeros(0, 3, 2), "at least one draw"),
        (torch.zeros(3, 2), r"expected \(M, N, C, \*positions\)"),
        (torch.zeros(3, 2, 1), "at least two classes"),
        (torch.full((1, 1, 2), torch.nan), "2 NaN of 2 values"),
        (torch.tensor([[[torch.inf, 0.0]]]), "NaN.*check the network"),
    ],
)
def test_bad_draws_are_told(draws: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Categorical().reduce(draws)


def test_draws_of_another_shape_are_not_broadcast() -> None:
    reduction = Categorical().reduction()
    reduction.add(torch.zeros(2, 5, 3))
    with pytest.raises(ValueError, match=r"shape \(2, 1, 3\), expected \(2, 5, 3\)"):
        reduction.add(torch.zeros(2, 1, 3))


def test_no_draws_make_no_prediction() -> None:
    with pytest.raises(ValueError, match="no draws to reduce"):
        Categorical().reduction().result()
