"""Every metric over every family: what it finds, or which ability it says is missing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from duda import (
    Categorical,
    ClassPrediction,
    GaussianPrediction,
    Histogram,
    LaplacianPrediction,
    NumberPrediction,
    Prediction,
    QuantilePrediction,
    ScoredClassPrediction,
    StudentTPrediction,
    evaluation,
)
from duda.evaluation import streaming
from duda.predictions import AffinePrediction
from tests.families import LogisticPrediction

N, D = 12, 2
LEVELS = [0.25, 0.5, 0.75]


class FullLogisticPrediction(LogisticPrediction):
    """The same with a distribution function and a density, in float32 where its tensors are."""

    def cdf(self, y: Any) -> Tensor:
        return ((torch.as_tensor(y) - self.mean) / self.scale).sigmoid().to(self.mean)

    def log_prob(self, y: Any) -> Tensor:
        z = (torch.as_tensor(y) - self.mean) / self.scale
        both = torch.nn.functional.logsigmoid(z) + torch.nn.functional.logsigmoid(-z)
        return (both - self.scale.log()).to(self.mean)


def moments(kind: type, dtype: torch.dtype, draws: int, **shape: float) -> NumberPrediction:
    mean, variance = torch.randn(draws, N, D), torch.rand(draws, N, D) + 0.1
    kept = torch.cat([mean, variance, *(torch.full_like(mean, s) for s in shape.values())], 2)
    each = mean.mean(0), variance.mean(0), mean.var(0, correction=0)
    shapes = {name: torch.full((N, D), value) for name, value in shape.items()}
    answer = kind(*each, kept if draws > 1 else None, joint=True, **shapes)
    return answer.to("cpu", dtype)


def quantiles() -> QuantilePrediction:
    values = torch.randn(N, 3, D).sort(dim=1).values
    return QuantilePrediction(values, LEVELS, None, values[None], joint=True)


def histogram(dtype: torch.dtype) -> NumberPrediction:
    edges = tuple(torch.linspace(-4, 4, 9).tolist())
    draws = torch.randn(3, N, 8 * D, dtype=dtype)
    return Histogram(edges=edges).reduce(draws, keep_draws=True).with_joint(True)


def logistic(kind: type, dtype: torch.dtype = torch.float64) -> NumberPrediction:
    return kind(torch.randn(N, D, dtype=dtype), torch.rand(N, D, dtype=dtype) + 0.5)


def affine(base: NumberPrediction) -> AffinePrediction:
    factor, offset = torch.rand(N, D).to(base.centre) + 1, torch.randn(N, D).to(base.centre)
    return AffinePrediction(base, factor, offset).with_joint(base.joint)


NUMBERS: dict[str, Callable[[], NumberPrediction]] = {
    "logistic": lambda: logistic(LogisticPrediction),
    "logistic, float32": lambda: logistic(LogisticPrediction, torch.float32),
    "full logistic": lambda: logistic(FullLogisticPrediction),
    "full logistic, float32": lambda: logistic(FullLogisticPrediction, torch.float32),
    "affine logistic": lambda: affine(logistic(FullLogisticPrediction)),
    "quantiles": quantiles,
    "affine quantiles": lambda: affine(quantiles()),
    "histogram": lambda: histogram(torch.float64),
    "histogram, float32": lambda: histogram(torch.float32),
    "affine histogram": lambda: affine(histogram(torch.float64)),
}
for kind, shape in (
    (GaussianPrediction, {}),
    (LaplacianPrediction, {}),
    (StudentTPrediction, {"df": 4.0}),
):
    for dtype in (torch.float32, torch.float64):
        for draws in (1, 3):
            name = f"{kind.__name__}, {str(dtype)[6:]}, {draws}"
            NUMBERS[name] = lambda a=(kind, dtype, draws), s=shape: moments(*a, **s)

# What each metric of numbers needs, what it is called with, and what it should find.
Numbers = Callable[[Any, Tensor], Any]
OF_NUMBERS: dict[str, tuple[str, Numbers, Numbers]] = {
    "rmse": (
        "centre",
        lambda p, y: evaluation.rmse(p, y),
        lambda p, y: (p.centre.double() - y).square().mean().sqrt(),
    ),
    "mae": (
        "centre",
        lambda p, y: evaluation.mae(p, y),
        lambda p, y: (p.centre.double() - y).abs().mean(),
    ),
    "density_nll": (
        "log_prob",
        lambda p, y: evaluation.density_nll(p, y),
        lambda p, y: -p.log_prob(y).double().mean(),
    ),
    "crps": (
        "quantile",
        lambda p, y: evaluation.crps(p, y),
        lambda p, y: p.crps(y).double().mean(),
    ),
    "pit": (
        "cdf",
        lambda p, y: evaluation.pit(p, y, bins=4).one_sided.observed,
        lambda p, y: evaluation.pit_of_values(p.cdf(y), bins=4).one_sided.observed,
    ),
    "StreamingPit": (
        "cdf",
        lambda p, y: streamed(streaming.StreamingPit(bins=4), p, y),
        lambda p, y: evaluation.pit(p, y, bins=4).coverage.mean_error,
    ),
    "coverage": (
        "quantile",
        lambda p, y: evaluation.coverage(p, y, [0.5]).observed[0],
        lambda p, y: evaluation.interval_coverage(*p.interval(0.5), y),
    ),
    "coverage of the levels that are known": (
        "quantile",
        lambda p, y: len(evaluation.coverage(p, y).levels),
        lambda p, y: 19 if p.interval_levels is None else 1,
    ),
    "pinball": (
        "quantile",
        lambda p, y: evaluation.pinball(p, y, LEVELS),
        lambda p, y: evaluation.pinball_of_quantiles(
            torch.stack([p.quantile(q) for q in LEVELS], 1), LEVELS, y
        ).mean(),
    ),
    "interval_coverage": (
        "quantile",
        lambda p, y: evaluation.interval_coverage(p, y, level=0.5),
        lambda p, y: evaluation.interval_coverage(*p.interval(0.5), y),
    ),
    "interval_width": (
        "quantile",
        lambda p, y: evaluation.interval_width(p, level=0.5),
        lambda p, y: evaluation.interval_width(*p.interval(0.5)),
    ),
    "interval_score": (
        "quantile",
        lambda p, y: evaluation.interval_score(p, y=y, level=0.5),
        lambda p, y: evaluation.interval_score(*p.interval(0.5), y, level=0.5),
    ),
    "spread": (
        "std",
        lambda p, y: evaluation.spread(p, y, bins=3).ence,
        lambda p, y: evaluation.spread(p.std, p.mean.double() - y, bins=3).ence,
    ),
    "sharpness": (
        "std",
        lambda p, y: evaluation.sharpness(p),
        lambda p, y: p.std.double().square().mean().sqrt(),
    ),
    "joint_nll": (
        "log_prob",
        lambda p, y: evaluation.joint_nll(p, y, size=4),
        lambda p, y: evaluation.joint_nll_of_draws(torch.stack(list(p.log_likelihoods(y))), size=4),
    ),
}
OF_SCORES: dict[str, tuple[Numbers, Numbers]] = {
    "selective": (
        lambda p, y: evaluation.selective(p, y).aurc,
        lambda p, y: evaluation.selective(p.score, p.loss(y)).aurc,
    ),
    "sparsification": (
        lambda p, y: evaluation.sparsification(p, y).ause,
        lambda p, y: evaluation.sparsification(p.score, p.loss(y).sqrt()).ause,
    ),
    "rank": (
        lambda p, y: (
            evaluation.rank(p, torch.arange(p.score.numel()).view(p.score.shape) < 4).auroc
        ),
        lambda p, y: evaluation.rank(p.score.flatten(), torch.arange(p.score.numel()) < 4).auroc,
    ),
    "ood": (
        lambda p, y: evaluation.ood(p[:5], p[5:]).auroc,
        lambda p, y: evaluation.ood(p.score[:5], p.score[5:]).auroc,
    ),
}


def streamed(metric: Any, prediction: Prediction, y: Tensor) -> Tensor:
    for part in (slice(0, 5), slice(5, None)):
        metric.update(prediction[part], y[part])
    found: Tensor = metric.compute()
    return found


def assert_same(found: Any, expected: Any) -> None:
    found, expected = (torch.as_tensor(value).double() for value in (found, expected))
    assert bool(found.isfinite().all())
    torch.testing.assert_close(found, expected, rtol=2e-5, atol=1e-6)


def is_told(metric: str, answer: Prediction) -> bool:
    """Return whether draws are asked for that are missing, and that it is said."""
    missing = metric == "joint_nll" and answer.draws is None
    if missing:
        with pytest.raises(ValueError, match="joint=True, keep_draws=True"):
            evaluation.joint_nll(answer, torch.zeros(N, D))
    return missing


@pytest.mark.parametrize("family", NUMBERS)
@pytest.mark.parametrize("metric", OF_NUMBERS)
def test_numbers(metric: str, family: str) -> None:
    answer, y = NUMBERS[family](), torch.randn(N, D).double()
    ability, call, expected = OF_NUMBERS[metric]
    if is_told(metric, answer):
        return
    if answer.can(ability):
        assert_same(call(answer, y), expected(answer, y))
        return
    with pytest.raises(TypeError, match=rf"has no `{ability}`, which this needs: .* call \S"):
        call(answer, y)


@pytest.mark.parametrize("family", NUMBERS)
@pytest.mark.parametrize("metric", OF_SCORES)
def test_scores_of_numbers(metric: str, family: str) -> None:
    answer, y = NUMBERS[family](), torch.randn(N, D).double()
    call, expected = OF_SCORES[metric]
    assert_same(call(answer, y), expected(answer, y))


def classes(dtype: torch.dtype, *positions: int) -> ClassPrediction:
    logits = 2 * torch.randn(3, N, 2, *positions, dtype=dtype)
    return Categorical().reduce(logits, keep_draws=True).with_joint(True)


CLASSES: dict[str, Callable[[], ClassPrediction]] = {
    "float32": lambda: classes(torch.float32),
    "float64": lambda: classes(torch.float64),
    "positions": lambda: classes(torch.float32, 3),
    "own scores": lambda: ScoredClassPrediction.from_prediction(
        classes(torch.float64), torch.randn(N)
    ),
    "from probabilities": lambda: ClassPrediction.from_probs(torch.randn(N, 2).softmax(1)),
}
BY_LOGITS = (
    "accuracy",
    "nll",
    "brier",
    "brier_parts",
    "rps",
    "reliability",
    "smooth_ece",
    "confusion",
)
VALUES = {
    "brier_parts": lambda found: found.resolution,
    "reliability": lambda found: found.ece,
    "confusion": lambda found: found.matrix,
}
OF_CLASSES: dict[str, tuple[Numbers, Numbers]] = {
    name: (
        lambda p, y, name=name: VALUES.get(name, float)(getattr(evaluation, name)(p, y)),
        lambda p, y, name=name: VALUES.get(name, float)(
            getattr(evaluation, name)(y=y, logits=p.log_probs)
        ),
    )
    for name in BY_LOGITS
} | {
    "reliability_of": (
        lambda p, y: evaluation.reliability_of(p, y).ece,
        lambda p, y: evaluation.reliability_of(p.confidence, p.labels == y).ece,
    ),
    "smooth_ece_of": (
        lambda p, y: evaluation.smooth_ece_of(p, y),
        lambda p, y: evaluation.smooth_ece_of(p.confidence, p.labels == y),
    ),
    "accuracy_above": (
        lambda p, y: evaluation.accuracy_above(p, y).hits,
        lambda p, y: evaluation.accuracy_above(p.confidence, p.labels == y).hits,
    ),
    "vote_distance": (
        lambda p, y: evaluation.vote_distance(p, torch.ones_like(p.votes)).total_variation,
        lambda p, y: evaluation.vote_distance(p.probs, torch.ones_like(p.votes)).total_variation,
    ),
    "joint_nll": (
        lambda p, y: evaluation.joint_nll(p, y, size=4),
        lambda p, y: evaluation.joint_nll_of_draws(torch.stack(list(p.log_likelihoods(y))), size=4),
    ),
    "StreamingAccuracy": (
        lambda p, y: streamed(streaming.StreamingAccuracy(), p, y),
        lambda p, y: evaluation.accuracy(p, y),
    ),
    "StreamingNLL": (
        lambda p, y: streamed(streaming.StreamingNLL(), p, y),
        lambda p, y: evaluation.nll(p, y),
    ),
    "StreamingBrier": (
        lambda p, y: streamed(streaming.StreamingBrier(), p, y),
        lambda p, y: evaluation.brier(p, y),
    ),
    "StreamingReliability": (
        lambda p, y: streamed(streaming.StreamingReliability(), p, y),
        lambda p, y: evaluation.reliability(p, y).ece,
    ),
    "StreamingIoU": (
        lambda p, y: streamed(streaming.StreamingIoU(2), p, y),
        lambda p, y: evaluation.confusion(p, y).mean_iou,
    ),
}


@pytest.mark.parametrize("family", CLASSES)
@pytest.mark.parametrize("metric", [*OF_CLASSES, *OF_SCORES])
def test_classes(metric: str, family: str) -> None:
    answer = CLASSES[family]()
    y = torch.randint(2, answer.labels.shape)
    call, expected = (OF_CLASSES | OF_SCORES)[metric]
    if not is_told(metric, answer):
        assert_same(call(answer, y), expected(answer, y))


@pytest.mark.parametrize("metric", [name for name in OF_CLASSES if name != "joint_nll"])
def test_numbers_are_no_classes(metric: str) -> None:
    answer = NUMBERS["GaussianPrediction, float32, 1"]()
    said = r"is a GaussianPrediction, expected a ClassPrediction or .*: call `evaluation\.\w+"
    if metric == "vote_distance":
        with pytest.raises(TypeError, match="is a GaussianPrediction, expected a ClassPrediction"):
            evaluation.vote_distance(answer, torch.ones(N, D))
        return
    with pytest.raises(TypeError, match=said):
        OF_CLASSES[metric][0](answer, torch.zeros(N, dtype=torch.int64))


@pytest.mark.parametrize("metric", [name for name in OF_NUMBERS if name != "joint_nll"])
def test_classes_are_no_numbers(metric: str) -> None:
    said = r"is a ClassPrediction, expected a NumberPrediction or .*: call `evaluation\.\w+"
    with pytest.raises(TypeError, match=said):
        OF_NUMBERS[metric][1](CLASSES["float32"](), torch.zeros(N, D))


def test_every_public_function_is_in_a_table_or_takes_arrays_alone() -> None:
    public = {
        name
        for name in evaluation.__all__
        if name[0].islower() and name != "streaming" and not name.startswith(("crps_", "pit_"))
    }
    arrays = {"pinball_of_quantiles", "joint_nll_of_draws"}
    # What no family here predicts, see test_pavpu.py and test_multilabel.py.
    others = {"pavpu", "multilabel"}
    assert public - arrays - others <= {*OF_NUMBERS, *OF_CLASSES, *OF_SCORES}


MEAN, STD = torch.randn(N).double(), torch.rand(N).double() + 0.5
ARRAYS: dict[str, Callable[..., Any]] = {
    "density_nll": evaluation.density_nll,
    "crps": evaluation.crps,
    "pit": lambda *a, **k: evaluation.pit(*a, **k).counts,
    "coverage": lambda *a, **k: evaluation.coverage(*a, **k).inside,
    "pinball": lambda *a, **k: evaluation.pinball(*a, LEVELS, **k),
}


@pytest.mark.parametrize("metric", ARRAYS)
def test_means_and_standard_deviations_are_gaussians(metric: str) -> None:
    call, y = ARRAYS[metric], torch.randn(N).double()
    answer = GaussianPrediction(MEAN.unsqueeze(1), STD.square().unsqueeze(1))
    expected = call(answer, y.unsqueeze(1))
    assert_same(call(MEAN, y, std=STD), expected)
    assert_same(call(MEAN.numpy(), y.tolist(), std=STD.numpy()), expected)
    image = call(MEAN.view(2, 1, 6), y.view(2, 1, 6), std=STD.view(2, 1, 6))
    assert_same(image, expected)
    if metric != "density_nll":
        mask = torch.arange(N) < 5
        some = call(MEAN[:5], y[:5], std=STD[:5])
        assert_same(call(MEAN, y.where(mask, math.nan), std=STD, mask=mask), some)
    with pytest.raises(TypeError, match="`std` is missing beside a Tensor"):
        call(MEAN, y)
    with pytest.raises(TypeError, match="`std` comes with the GaussianPrediction already"):
        call(answer, y.unsqueeze(1), std=STD.unsqueeze(1))
    with pytest.raises(ValueError, match="`std` holds -"):
        call(MEAN, y, std=-STD)
    with pytest.raises(ValueError, match=r"`std` has shape \(3,\), expected \(12,\)"):
        call(MEAN, y, std=STD[:3])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: evaluation.accuracy(p, [0] * N, logits=p.log_probs), "either `probs` or `logit"),
        (lambda p: evaluation.accuracy(logits=p, y=[0] * N), "`logits` is a Class.* no array"),
        (lambda p: evaluation.accuracy(p), "`y` is missing"),
        (lambda p: evaluation.reliability(p.probs, p), "`y` is a ClassPrediction, .* no array"),
        (
            lambda p: evaluation.rank(p, torch.arange(len(p)) % 2),
            "numbers beside a ClassPrediction, .*`prediction.is_bad",
        ),
        (lambda p: evaluation.rank([0.0], p), "`is_bad` is a ClassPrediction, .* no array"),
    ],
)
def test_mixed_up_arguments(call: Callable[[ClassPrediction], object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call(CLASSES["float32"]())


def test_ends_of_intervals_and_predictions_are_not_mixed() -> None:
    answer, y = NUMBERS["logistic"](), torch.zeros(N, D)
    with pytest.raises(TypeError, match="`level` is missing beside a LogisticPrediction"):
        evaluation.interval_coverage(answer, y)
    with pytest.raises(TypeError, match="`level` is missing"):
        evaluation.interval_score(answer, y)
    with pytest.raises(TypeError, match="`upper` came beside a LogisticPrediction"):
        evaluation.interval_coverage(answer, y, y, level=0.5)
    with pytest.raises(TypeError, match="`upper` came beside a LogisticPrediction"):
        evaluation.interval_width(answer, y, level=0.5)
    with pytest.raises(TypeError, match=r"`level` is 0\.5 beside the ends of intervals"):
        evaluation.interval_width([0.0], [1.0], level=0.5)
