"""Methods x consumers of their draws: metrics, decisions, files and the report, for every method.

A consumer says the same of the same draws, however they came: in other batches and chunks, in
parts, from a file. Who looks at several inputs together takes an input and its copy for one, or
says that these draws do not tell.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import duda
from duda import decisions, evaluation
from duda.evaluation.ood_scores import std
from duda.methods import METHODS, UncertainModel
from duda.predictions import Prediction
from duda.reporting.contributions import measure
from tests.methods.test_contract import N, assert_near, build, centre, inputs, targets
from tests.pairs import PAIRS

COPIES, DRAWS = 3, 4

Consumer = Callable[[Any, Tensor], Any]

# What needs draws that are functions, what needs draws, and what needs neither.
TOGETHER: dict[str, Consumer] = {
    "epig": lambda answer, y: decisions.epig(answer, answer[:2]),
    "joint nll": lambda answer, y: evaluation.joint_nll(answer, y, size=len(y) // 2),
    "batch-bald": lambda answer, y: decisions.acquire(answer, 2, "batch-bald", seed=0),
    "best epig": lambda answer, y: decisions.acquire(answer, 1, "epig", target=answer[:2]),
    "thompson": lambda answer, y: decisions.thompson(answer, per="batch", seed=0),
}
OF_DRAWS: dict[str, Consumer] = {
    "std": lambda answer, y: std(answer),
    "thompson for each": lambda answer, y: decisions.thompson(answer, seed=0),
}
OTHERS: dict[str, Consumer] = {
    "bald": lambda answer, y: decisions.acquire(answer, 2, "bald"),
    "nll": lambda answer, y: evaluation.nll(answer, y),
    "ece": lambda answer, y: evaluation.reliability(answer, y).ece,
    "temperature": lambda answer, y: decisions.Temperature().fit(answer, y)(answer).probs,
    "sets": lambda answer, y: decisions.ConformalClassifier(alpha=0.4).fit(answer, y)(answer).sets,
    "greedy": lambda answer, y: decisions.greedy(answer),
    "cautious": lambda answer, y: decisions.action_uncertainty(answer),
    "density": lambda answer, y: evaluation.density_nll(answer, y),
    "crps": lambda answer, y: evaluation.crps(answer, y),
    "pit": lambda answer, y: evaluation.pit(answer, y).histogram(5)[1],
    "coverage": lambda answer, y: evaluation.coverage(answer, y).observed,
    "intervals": lambda answer, y: (
        decisions.ConformalRegressor(alpha=0.4).fit(answer, y)(answer).upper
    ),
    "score": lambda answer, y: answer.score,
    "table": lambda answer, y: torch.tensor(list(measure(answer, y).values())).nan_to_num(-1),
    "report": lambda answer, y: duda.report({"it": answer}, y).table,
}
# A likelihood of each family of predictions.
FAMILIES = ("categorical", "gaussian", "normal-inverse-gamma", "quantiles", "log-normal")
# Quantile by quantile, of a mixture of Student t distributions; and pages of many quantiles.
SLOW = {(name, "normal-inverse-gamma") for name in ("crps", "coverage", "table")}
REPORTED = ("categorical", "gaussian")


@cache
def model_of(method: str, likelihood: str) -> UncertainModel:
    return build(method, likelihood)


def copied(values: Tensor) -> Tensor:
    """Return inputs or targets with copies of the first of them at the end."""
    return torch.cat([values, values[:COPIES]])


def predicted(model: UncertainModel, **options: Any) -> Any:
    draws = min(DRAWS, model.samples)
    return model.predict(copied(inputs()), samples=draws, seed=0, **options)


@cache
def joint(method: str, likelihood: str) -> Any:
    return predicted(model_of(method, likelihood), keep_draws=True, joint=True)


def said(consumer: Consumer, answer: Prediction, y: Tensor) -> Any:
    """Return what a consumer says of a prediction, or why it does not take it."""
    try:
        found = consumer(answer, y)
    except (TypeError, ValueError) as error:
        return str(error)
    return found if isinstance(found, Tensor | float) else repr(found)


def takes(consumer: Consumer, answer: Prediction, y: Tensor) -> bool:
    return not isinstance(said(consumer, answer, y), str)


def assert_same(one: Any, other: Any) -> None:
    assert torch.equal(one, other) if isinstance(one, Tensor) else one == other


def assert_alike(one: Any, other: Any) -> None:
    """Check numbers but for rounding; what is chosen by them may be another."""
    if isinstance(one, float) or (isinstance(one, Tensor) and one.is_floating_point()):
        values = torch.as_tensor(one)
        torch.testing.assert_close(torch.as_tensor(other), values, rtol=1e-2, atol=1e-4)
    assert type(one) is type(other)


@pytest.mark.filterwarnings("ignore:no temperature was found")
@pytest.mark.parametrize(("method", "likelihood"), [pair for pair in PAIRS if pair[1] in FAMILIES])
def test_the_same_draws_say_the_same(method: str, likelihood: str, tmp_path: Path) -> None:
    model, answer = model_of(method, likelihood), joint(method, likelihood)
    y = copied(targets(model.likelihood))
    parts = type(answer).concatenate([answer[: N - 2], answer[N - 2 :]])
    kept = duda.load_prediction(parts.save(tmp_path / "answer"))
    again = predicted(model, keep_draws=True, joint=True, batch_size=4, chunk=2)
    taken = 0
    for name, consumer in (TOGETHER | OF_DRAWS | OTHERS).items():
        if (name, likelihood) not in SLOW and (name != "report" or likelihood in REPORTED):
            first = said(consumer, answer, y)
            taken += not isinstance(first, str)
            assert_same(first, said(consumer, kept, y))
            assert_alike(first, said(consumer, again, y))
    assert taken > 3


@pytest.mark.parametrize(("method", "likelihood"), PAIRS)
def test_draws_that_do_not_tell_are_refused(method: str, likelihood: str) -> None:
    model, answer = model_of(method, likelihood), joint(method, likelihood)
    y = copied(targets(model.likelihood))
    plain, kept = predicted(model), predicted(model, keep_draws=True)
    for name, consumer in (TOGETHER | OF_DRAWS).items():
        if not takes(consumer, answer, y):
            continue  # of another family
        if plain.draws is None and (name != "std" or not plain.can("std")):
            with pytest.raises(ValueError, match="keep_draws=True"):
                consumer(plain, y)
        if name in TOGETHER and not kept.joint:
            with pytest.raises(ValueError, match="joint=True"):
                consumer(kept, y)
        else:
            consumer(kept, y)


@pytest.mark.parametrize(("method", "likelihood"), PAIRS)
def test_copies_are_one_input_to_who_looks_at_several(method: str, likelihood: str) -> None:
    model, answer = model_of(method, likelihood), joint(method, likelihood)
    y = copied(targets(model.likelihood))
    draws = min(DRAWS, model.samples)
    curves = duda.function_draws(model, copied(inputs()), draws, seed=0, batch_size=4)
    assert len(curves) == draws
    assert_near(curves[:, :COPIES], curves[:, N:])
    assert_near(curves.mean(0), centre(answer).to(curves))
    if takes(TOGETHER["epig"], answer, y):
        gains, probs = decisions.epig(answer, answer), answer.draws.double()
        assert_near(gains[:COPIES], gains[N:])
        assert_near(gains, brute_epig(probs))
        [first] = decisions.acquire(answer, 1, "batch-bald", seed=0)
        bald = entropy(probs.mean(0)) - entropy(probs).mean(0)
        assert_near(bald[first], bald.max())
    if takes(TOGETHER["thompson"], answer, y):
        for seed in range(3):
            plan = decisions.thompson(answer, per="batch", seed=seed)
            assert torch.equal(plan[:COPIES], plan[N:])
    if takes(TOGETHER["joint nll"], answer, y):
        pair = torch.tensor([0, N])  # an input and its copy, whose targets are the same
        logs = torch.stack(
            [each.reshape(2, -1).sum(1) for each in answer[pair].log_likelihoods(y[pair])]
        )
        expected = -logs.sum(1).exp().mean().log()
        found = torch.tensor(evaluation.joint_nll(answer[pair], y[pair], size=2))
        assert_near(found.double(), expected)


def entropy(probs: Tensor) -> Tensor:
    return torch.special.entr(probs).sum(-1)


def brute_epig(probs: Tensor) -> Tensor:
    """Return the mutual information of each label with those of all, by draws `(M, N, C)`."""
    pairs = torch.einsum("mnc,mkd->nkcd", probs, probs) / len(probs)
    entropies = entropy(probs.mean(0))
    together = torch.special.entr(pairs).sum((2, 3))
    return (entropies[:, None] + entropies - together).mean(1)


@pytest.mark.parametrize(("method", "likelihood"), PAIRS)
def test_quantiles_of_a_mixture_are_between_those_of_its_draws(
    method: str, likelihood: str
) -> None:
    answer = joint(method, likelihood)
    if not answer.can("quantile"):
        return
    for q in (0.1, 0.5, 0.9):
        each = torch.stack([part.quantile(q) for part in answer.components()])
        found, slack = answer.quantile(q), 1e-4 * (1 + each.abs().amax(0))
        assert bool((found >= each.amin(0) - slack).all())
        assert bool((found <= each.amax(0) + slack).all())
        if answer.can("interval_probability"):  # of counts, the first that reaches it
            assert bool((answer.cdf(found) >= q).all())
            assert bool((answer.cdf(found - 1) < q).all())
        elif answer.can("cdf"):
            assert_near(answer.cdf(found).to(found), torch.full_like(found, q))
            parts = torch.stack([part.cdf(found) for part in answer.components()])
            assert_near(parts.mean(0).to(found), torch.full_like(found, q))


def has_just_so_many(model: UncertainModel) -> bool:
    """Return whether no seed changes the draws, and there are just those that it has."""
    drawn = (model.predict(inputs(), seed=seed).score for seed in (0, 1))
    return torch.equal(*drawn) and not hasattr(model, "transforms")


@pytest.mark.parametrize("method", METHODS)
def test_samples_are_draws_or_refused_by_their_name(method: str) -> None:
    model = model_of(method, "categorical")
    for asked in (1, 2, 8):
        if has_just_so_many(model) and asked > model.samples:
            for call in (model.predict, partial(duda.function_draws, model)):
                with pytest.raises(ValueError, match=f"`samples` is {asked}, but "):
                    call(inputs(), samples=asked)
            continue
        answer: Any = model.predict(inputs(), samples=asked, seed=0, keep_draws=True)
        assert len(answer.draws) == asked
        assert bool((answer.votes.sum(1) == asked).all())
    if hasattr(model, "members"):
        with pytest.raises(ValueError, match="`members` is 99, but the ensemble has"):
            model.predict(inputs(), members=99)  # type: ignore[call-arg]
