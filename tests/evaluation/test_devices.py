"""Metrics are computed where the data are, on a device that is not the CPU's: tests/far.py."""

from __future__ import annotations

import copy
import inspect
import logging
import math
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

import duda
from duda import devices, evaluation
from duda.evaluation import streaming
from duda.evaluation.sums import cumulated, summed_by
from tests.far import FAR, far, far_device

LEVELS = [0.25, 0.5, 0.75]
GRID = 8 * 2**14  # bytes of the sums that smooth calibration errors are made from
Case = tuple[Any, ...]


def cases(n: int) -> dict[str, Case]:
    """Return functions and what to call them with, n examples; a name is that of the function."""
    g = torch.Generator().manual_seed(0)
    logits, y = 2 * torch.randn(n, 5, generator=g), torch.randint(5, (n,), generator=g)
    probs, flag = logits.softmax(1), torch.rand(n, generator=g) > 0.5
    counts = torch.randint(1, 5, (n, 5), generator=g)
    votes = counts / counts.sum(1, keepdim=True)
    answer = duda.ClassPrediction.from_probs(probs)
    bits = torch.nn.functional.one_hot(y, probs.shape[1])
    score, bad, loss = answer.score, answer.is_bad(y), torch.rand(n, generator=g)
    mean, noise = torch.randn(2, n, 2, generator=g, dtype=torch.float64)
    std = torch.rand(n, 2, generator=g, dtype=torch.float64) + 0.1
    target, mask = mean + std * noise, torch.rand(n, 2, generator=g) > 0.3
    some = torch.randn(3, n, 2, generator=g), torch.rand(3, n, 2, generator=g) + 0.1
    moments = some[0].mean(0), some[1].mean(0), some[0].var(0, correction=0)
    normal = duda.GaussianPrediction(mean, std**2)
    mixed = duda.GaussianPrediction(*moments, torch.cat(some, 2), joint=True)
    laplacian = duda.LaplacianPrediction(*moments, torch.cat(some, 2))
    points = torch.randn(n, 3, 2, generator=g).sort(1).values
    by_levels = duda.QuantilePrediction(points, LEVELS)
    families = {"normal": normal, "mixed": mixed, "laplacian": laplacian, "levels": by_levels}
    e = evaluation
    found: dict[str, Case] = {
        "accuracy": (e.accuracy, answer, y),
        "accuracy_above": (e.accuracy_above, answer, y),
        "brier": (e.brier, probs, y),
        "brier, votes": (e.brier, probs, votes),
        "brier_parts": (e.brier_parts, probs, y),
        "confusion": (e.confusion, probs, y),
        "crps_of_draws": (e.crps_of_draws, some[0], target),
        "crps_of_gaussian": (e.crps_of_gaussian, mean, std, target),
        "crps_of_laplacian": (e.crps_of_laplacian, mean, std, target),
        "crps_of_mixture": (e.crps_of_mixture, *some, target),
        "crps_of_quantiles": (e.crps_of_quantiles, points, LEVELS, target),
        "interval_coverage": (e.interval_coverage, mean - std, mean + std, target),
        "interval_coverage, 50 %": (_with(e.interval_coverage, level=0.5), normal, target),
        "interval_score": (lambda *a: e.interval_score(*a, level=0.9), mean, mean + std, target),
        "interval_width": (e.interval_width, mean - std, mean + std),
        "joint_nll": (e.joint_nll, mixed, target),
        "joint_nll_of_draws": (e.joint_nll_of_draws, some[0]),
        "multilabel": (e.multilabel, duda.BernoulliPrediction.from_probs(probs), bits),
        "nll": (e.nll, answer, y),
        "nll, logits": (lambda logits, y: e.nll(logits=logits, y=y), logits, y),
        "nll, votes": (e.nll, answer, votes),
        "ood": (e.ood, score, score + 0.1),
        "pavpu": (_with(e.pavpu, patch=2), score.view(-1, 2, 2), bad.view(-1, 2, 2)),
        "pinball_of_quantiles": (e.pinball_of_quantiles, points, LEVELS, target),
        "pit_of_draws": (e.pit_of_draws, some[0], target),
        "pit_of_values": (e.pit_of_values, loss),
        "rank": (e.rank, score, bad),
        "rank, prediction": (lambda p, y: e.rank(p, y, ignore_index=2), answer, y),
        "reliability": (e.reliability, probs, y),
        "reliability, prediction": (e.reliability, answer, y),
        "reliability, votes": (e.reliability, probs, votes),
        "reliability, some": (lambda p, y: e.reliability(p, y, ignore_index=2), answer, y),
        "reliability_of": (e.reliability_of, answer, y),
        "rps": (e.rps, answer, y),
        "rps, votes": (e.rps, answer, votes),
        "selective": (e.selective, answer, y),
        "selective, some": (lambda s, y, m: e.selective(s, y, mask=m), score, loss, flag),
        "sharpness": (e.sharpness, normal),
        "smooth_ece": (e.smooth_ece, answer, y),
        "smooth_ece_of": (e.smooth_ece_of, answer, y),
        "sparsification": (e.sparsification, score, loss),
        "sparsification, prediction": (e.sparsification, normal, target),
        "spread": (e.spread, std, noise),
        "spread, some": (lambda s, y, m: e.spread(s, y, mask=m), normal, target, mask),
        "spread, quantile": (lambda s, y: e.spread(s, y, binning="quantile"), std, noise),
        "vote_distance": (e.vote_distance, probs, counts),
    }
    for kind in ("top", "class"):
        for binning in ("uniform", "quantile"):
            of = lambda p, y, **options: e.reliability(p, y, **options)  # noqa: E731
            found[f"reliability, {kind}, {binning}"] = (_with(of, kind=kind, binning=binning),)
            found[f"reliability, {kind}, {binning}"] += (probs, y)
    for name in ("rmse", "mae", "density_nll", "crps", "coverage", "pit", "pinball"):
        called: Any = getattr(e, name)
        function = _with(called, levels=LEVELS) if name == "pinball" else called
        for family, prediction in families.items():
            if prediction.can({"density_nll": "log_prob", "pit": "cdf"}.get(name, "quantile")):
                found[f"{name}, {family}"] = (function, prediction, target)
        found[f"{name}, some"] = (_masked(function), normal, target, mask)
    return found


def _with(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    return lambda *given, **others: function(*given, **options, **others)


def _masked(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda prediction, y, mask: function(prediction, y, mask=mask)


def parts(result: Any) -> list[Tensor]:
    """Return the tensors and numbers that a result is made of."""
    if isinstance(result, Tensor):
        return [result]
    if is_dataclass(result):
        return [part for each in fields(result) for part in parts(getattr(result, each.name))]
    return [torch.tensor(result, dtype=torch.float64)]


class Traffic(NamedTuple):
    """What was found on the far device, and what it took but for numbers that were waited for."""

    found: list[Tensor]
    read: int
    sent: int
    waits: int

    @classmethod
    def of(cls, case: Case) -> Traffic:
        function, *given = case
        with far_device() as device:
            moved = far(given)
            device.forget()
            found = parts(function(*moved))
            here = sum(each.nbytes for each in found if each.device.type == "cpu" and each.ndim)
            read = device.read - 8 * device.waits - here
            counts = read, device.sent, device.waits
            return cls([each.cpu() for each in found], *counts)


SMALL, LARGE = cases(200), cases(600)


@pytest.mark.parametrize("name", SMALL)
def test_what_is_found_on_a_device(name: str) -> None:
    function, *given = SMALL[name]
    small, large = Traffic.of(SMALL[name]), Traffic.of(LARGE[name])
    for one, other in zip(parts(function(*given)), small.found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13, equal_nan=True)
    # However many examples there are, only results and numbers that checks ask for go to and fro.
    assert (small.read, small.sent) == (large.read, large.sent)
    assert small.read <= (GRID if name.startswith("smooth") else 256)  # levels of quantiles
    assert small.sent <= 1024
    # Each quantile of a mixture takes some steps, after every fourth of which it may be enough.
    levels = {"coverage": 38, "pinball": 3}.get(name.split(",")[0], 0)
    assert small.waits <= 25 + 16 * levels * name.endswith(("mixed", "laplacian"))


def test_every_function_is_tried() -> None:
    functions = {
        name for name in evaluation.__all__ if inspect.isfunction(getattr(evaluation, name))
    }
    assert {name.split(",")[0] for name in SMALL} >= functions


@pytest.mark.parametrize("where", ["prediction", "labels"])
@pytest.mark.parametrize("name", ["brier", "nll, votes", "rank", "crps, mixed", "spread"])
def test_labels_go_to_the_prediction(name: str, where: str) -> None:
    function, prediction, y = LARGE[name]
    with far_device():
        given = (far(prediction), y) if where == "prediction" else (prediction, far(y))
        found = [each.cpu() for each in parts(function(*given))]
    for one, other in zip(parts(function(prediction, y)), found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13, equal_nan=True)


@pytest.mark.parametrize("name", ["ood", "rank", "selective"])
def test_figures_of_results_that_stay_there(name: str) -> None:
    def figures(result: Any) -> dict[str, float]:
        ranking = getattr(result, "ranking", result)
        names = ("auroc", "average_precision", "aupr_trapezoid", "autc", "fpr95_in", "threshold_in")
        names += ("aurc", "aurc_of_prefixes", "eaurc", "augrc")
        found = {each: getattr(result, each) for each in names if hasattr(result, each)}
        if hasattr(ranking, "opposite"):
            found |= {"fpr": ranking.fpr_at(0.9), "opposite": ranking.opposite.threshold_at(0.9)}
        return found

    function, *given = LARGE[name]
    known = figures(function(*given))
    with far_device() as device:
        result = function(*far(given))
        device.forget()
        found = figures(result)
        assert device.read == 8 * device.waits <= 8 * 3 * len(found)
        axes = result.plot()
    assert found == pytest.approx(known, rel=1e-12)
    assert len(axes.get_lines()) + len(axes.patches) > 0


@pytest.mark.parametrize("home", ["cpu", FAR])
def test_streaming(home: Any) -> None:
    *_, normal, target = LARGE["crps, normal"]
    *_, probs, y = LARGE["reliability"]
    metrics = (
        streaming.StreamingReliability(),
        streaming.StreamingReliability(kind="class", classes=5),
        streaming.StreamingNLL(),
        streaming.StreamingBrier(),
        streaming.StreamingAccuracy(),
        streaming.StreamingIoU(5),
    )
    for metric in metrics:
        _check_stream(metric, home, probs, y)
    _check_stream(streaming.StreamingPit(), home, normal, target)


def _check_stream(metric: Any, home: Any, prediction: Any, y: Tensor) -> None:
    known = copy.deepcopy(metric)
    known.update(prediction, y)
    with far_device() as device:
        metric = metric.to(home)
        moved = far((prediction, y))
        device.forget()
        metric.update(*moved)
        # Some numbers for each wait, such as what is odd of several checks, but none for each row.
        assert device.read <= 64 * device.waits + (0 if home == FAR else 4000)
        assert float(metric.compute()) == pytest.approx(float(known.compute()), rel=1e-12)


def test_sums_do_not_depend_on_the_order() -> None:
    g = torch.Generator().manual_seed(0)
    index = torch.randint(7, (5000,), generator=g)
    values = torch.randn(5000, generator=g, dtype=torch.float64).exp() * 1e-3
    order = torch.randperm(5000, generator=g)
    assert not torch.equal(summed_by(index, values, 7), summed_by(index[order], values[order], 7))
    with far_device():
        one = summed_by(far(index), far(values), 7).cpu()
        other = summed_by(far(index[order]), far(values[order]), 7).cpu()
        running = cumulated(far(values - 0.1)).cpu()
    assert torch.equal(one, other)
    exact = [math.fsum(values[index == each].tolist()) for each in range(7)]
    assert one.tolist() == pytest.approx(exact, rel=1e-15)
    torch.testing.assert_close(running, (values - 0.1).cumsum(0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scale", [0.0, 1e-300, 1e-30, 1e30, 1e300])
def test_sums_of_any_size(scale: float) -> None:
    values = scale * torch.tensor([1.0, -2.5, 0.3], dtype=torch.float64)
    index = torch.tensor([1, 1, 3])
    with far_device():
        found = summed_by(far(index), far(values), 5).cpu()
        nothing = summed_by(far(index[:0]), far(values[:0]), 5).cpu()
    torch.testing.assert_close(found, summed_by(index, values, 5), rtol=1e-15, atol=0)
    assert not nothing.any()


def test_a_device_without_float64(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(devices, "_has_float64", lambda device: False)
    devices.exact_device.cache_clear()
    caplog.set_level(logging.WARNING, "duda")
    try:
        for name in ("reliability", "rank", "crps, mixed", "selective"):
            function, *given = SMALL[name]
            with far_device():
                found = parts(function(*far(given)))
            assert {each.device.type for each in found} == {"cpu"}
            for one, other in zip(parts(function(*given)), found, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6, equal_nan=True)
    finally:
        devices.exact_device.cache_clear()
    [line] = [each.getMessage() for each in caplog.records if "float64" in each.getMessage()]
    assert line.startswith("meta has no float64")
