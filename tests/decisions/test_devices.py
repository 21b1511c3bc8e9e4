"""Decisions are made where the data are, on a device that is not the CPU's: tests/far.py."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import duda
from duda import Gate, decisions
from tests.far import FAR, far, far_device

N = 400
CLASSES = ("BetaCalibration", "HistogramBinning", "Isotonic", "MatrixScaling", "Temperature")
CLASSES += ("VectorScaling",)
GATES: dict[str, Callable[[], Gate]] = {
    "keep": lambda: Gate.keep(0.9),
    "risk": lambda: Gate.risk(0.9),
    "false alarm": lambda: Gate.false_alarm(0.1),
    "false alarm, batch": lambda: Gate.false_alarm(0.1, batch=True),
    "cost": lambda: Gate.cost(error=3, refusal=1),
    "cost, asking": lambda: Gate.cost(error=3, refusal=1, asking=0.5, refused_error=0),
}
# How many bytes for each example may go to the CPU, and why.
LEAVES = {
    "Isotonic": 8 * 5 * 2,  # scikit-learn's regression takes them there
    "false alarm": 8,  # the scores that are kept are the result
    "QuantileRecalibration": 8 * 2 * 3,  # the knots are the result
    "acquire, batch-bald": 5000,  # drawn by the CPU's generator, as on every device
}


def cases() -> dict[str, tuple[Any, ...]]:
    """Return functions that fit and apply, and what to call them with."""
    g = torch.Generator().manual_seed(0)
    y = torch.randint(5, (N,), generator=g)
    draws = (2 * torch.randn(7, N, 5, generator=g)).scatter_add(
        2, y.expand(7, N).unsqueeze(2), torch.ones(7, N, 1)
    )
    answer = duda.Categorical().reduce(draws, keep_draws=True).with_joint(True)
    mean, noise = torch.randn(2, N, 2, generator=g, dtype=torch.float64)
    std = torch.rand(N, 2, generator=g, dtype=torch.float64) + 0.1
    target, mask = mean + std * noise, torch.rand(N, 2, generator=g) > 0.3
    kept = torch.cat([torch.randn(3, N, 2, generator=g), torch.rand(3, N, 2, generator=g)], 2)
    moments = kept[:, :, :2].mean(0), kept[:, :, 2:].mean(0), kept[:, :, :2].var(0, correction=0)
    normal = duda.GaussianPrediction(mean, std**2)
    mixed = duda.GaussianPrediction(*moments, kept, joint=True)
    score, bad, d = answer.score, answer.is_bad(y), decisions
    found: dict[str, tuple[Any, ...]] = {
        "StdScale": (_mapped(d.StdScale), normal, target, mask),
        "QuantileRecalibration": (_mapped(d.QuantileRecalibration), normal, target, mask),
        "epig": (lambda p: d.epig(p[:100], p[100:200]), answer),
        "acquire, epig": (lambda p: d.acquire(p[:100], 8, "epig", target=p[100:200]), answer),
        "thompson": (lambda p: d.thompson(p, seed=0), mixed),
        "greedy": (d.greedy, mixed),
        "action_uncertainty": (d.action_uncertainty, mixed),
        "cautious": (lambda p: d.cautious(p, _known(p), 0), mixed),
        "conformal_p_values": (d.conformal_p_values, score, score[:100]),
        "conformal_quantile": (lambda s: d.conformal_quantile(s, 0.1), score),
        "missed_shares": (
            lambda p: d.missed_shares(p.probs, p.probs > 0.2, torch.linspace(1, 0, 5)),
            answer,
        ),
        "benjamini_hochberg": (lambda s: d.benjamini_hochberg(s / s.max(), 0.1), score),
    }
    for by in ("entropy", "bald", "variation-ratio", "margin", "batch-bald", "random"):
        found[f"acquire, {by}"] = (lambda p, by=by: d.acquire(p[:100], 5, by, seed=0), answer)
    for name, make in GATES.items():
        found[name] = (_gated(make), answer, y)
        found[f"{name}, scores"] = (lambda s, b, m=make: m().fit(s, is_bad=b)(s), score, bad)
    for name in ("lac", "aps", "raps"):
        for each in (False, True):
            found[f"{name}, {each}"] = (_sets(name, each), answer, y)
    for name in ("absolute", "normalized", "cqr"):
        found[name] = (_intervals(name), normal, target, mask)
    for name in CLASSES:
        found[name] = (_recalibrated(getattr(d, name)), answer, y)
    by_counts = lambda: d.HistogramBinning(binning="quantile")  # noqa: E731
    found["HistogramBinning, quantile"] = (_recalibrated(by_counts), answer, y)
    return found


def _known(prediction: Any) -> Gate:
    return Gate.keep(0.5).fit(decisions.action_uncertainty(prediction))


def _mapped(make: Callable[[], Any]) -> Callable[..., Any]:
    def function(prediction: Any, y: Tensor, mask: Tensor) -> list[Any]:
        fitted = make().fit(prediction, y, mask=mask)
        return [fitted(prediction).quantile(0.25), *fitted.state()["learned"].values()]

    return function


def _recalibrated(make: Callable[[], Any]) -> Callable[..., Any]:
    def function(prediction: Any, y: Tensor) -> list[Any]:
        fitted = make().fit(prediction, y, ignore_index=2 if make is decisions.Temperature else -1)
        found = fitted(prediction)
        return [found.log_probs, found.aleatoric, *fitted.state()["learned"].values()]

    return function


def _gated(make: Callable[[], Gate]) -> Callable[..., Any]:
    def function(prediction: Any, y: Tensor) -> list[Any]:
        gate = make().fit(prediction, y, ignore_index=2)
        found = gate(prediction)
        return [found.decisions, found.p_values, gate.summary(), found.counts.values()]

    return function


def _sets(score: str, per_class: bool) -> Callable[..., Any]:
    def function(prediction: Any, y: Tensor) -> list[Any]:
        fitted = decisions.ConformalClassifier(0.1, score, per_class, seed=0).fit(prediction, y)
        found = fitted(prediction)
        return [found.sets, found.sizes, fitted.thresholds, str(found.summary(y))]

    return function


def _intervals(score: Any) -> Callable[..., Any]:
    def function(prediction: Any, y: Tensor, mask: Tensor) -> list[Any]:
        fitted = decisions.ConformalRegressor(0.1, score).fit(prediction, y, mask=mask)
        found = fitted(prediction)
        ends = [found.lower, found.upper, found.contains(y)]
        return [*ends, fitted.thresholds, str(found.summary(y, mask=mask))]

    return function


def parts(result: Any) -> list[Any]:
    """Return what a result is made of."""
    if isinstance(result, decisions.Decisions):
        result = [result.decisions, result.p_values]
    if isinstance(result, Tensor) or not hasattr(result, "__iter__") or isinstance(result, str):
        return [result]
    return [part for each in result for part in parts(each)]


CASES = cases()


@pytest.mark.filterwarnings("ignore:no temperature", "ignore:the fit stopped")
@pytest.mark.parametrize("name", CASES)
def test_what_is_decided_on_a_device(name: str) -> None:
    function, *given = CASES[name]
    known = parts(function(*given))
    with far_device() as device:
        moved = far(given)
        device.forget()
        found = parts(function(*moved))
        read = device.read - 8 * device.waits
        if not name.startswith("Quantile"):  # whose knots are read back
            of_each = [each for each in found if isinstance(each, Tensor) and each.numel() >= N]
            assert all(each.device == FAR for each in of_each)
        found = [each.cpu() if isinstance(each, Tensor) else each for each in found]
    for one, other in zip(known, found, strict=True):
        if isinstance(one, Tensor):
            torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-10, equal_nan=True)
        else:
            assert one == other or one == pytest.approx(other)
    allowed = next((bytes_ for each, bytes_ in LEAVES.items() if name.startswith(each)), 0)
    parameters = 20_000 if "Scaling" in name or "Beta" in name else 2_000  # of each step of a fit
    assert read <= allowed * N + parameters


def test_every_function_and_class_is_tried() -> None:
    public = {name for name in decisions.__all__ if inspect.isfunction(getattr(decisions, name))}
    assert {name.split(",")[0] for name in CASES} >= public | set(CLASSES)


@pytest.mark.parametrize("name", ["keep", "lac, True", "normalized", "Temperature", "StdScale"])
def test_labels_go_to_the_prediction(name: str) -> None:
    function, prediction, *others = CASES[name]
    with far_device():
        found = parts(function(far(prediction), *others))
        found = [each.cpu() if isinstance(each, Tensor) else each for each in found]
    for one, other in zip(parts(function(prediction, *others)), found, strict=True):
        if isinstance(one, Tensor):
            torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("name", [*GATES, "HistogramBinning", "Isotonic", "StdScale"])
def test_what_was_fitted_on_one_device_serves_another(name: str) -> None:
    _, prediction, y, *_ = CASES[name]
    make = GATES.get(name) or getattr(decisions, name)
    known = make().fit(prediction, y)
    with far_device():
        fitted = make().fit(far(prediction), far(y))
        there = parts(_answer(known(far(prediction))))[0].cpu()
    here = parts(_answer(fitted(prediction)))[0]
    torch.testing.assert_close(here, parts(_answer(known(prediction)))[0])
    torch.testing.assert_close(there, here, rtol=1e-7, atol=1e-10)


def _answer(found: Any) -> Any:
    return next(
        getattr(found, name) for name in ("decisions", "log_probs", "std") if hasattr(found, name)
    )
