"""Acquisition functions for active learning: which examples of a pool to have labelled next."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_count, nearest, seeded
from duda.decisions.batch_bald import batch_bald
from duda.devices import on_exact_device
from duda.predictions import ClassPrediction, Prediction
from duda.predictions.given import ClassesGiven, ScoresGiven, prediction_given
from duda.probabilities import check_probs

__all__ = ["acquire", "epig"]

_ENTRIES = 2**22  # of the largest intermediate array

_SCORES: dict[str, Callable[[ClassPrediction], Tensor]] = {
    "entropy": lambda pool: pool.entropy,
    "bald": lambda pool: pool.epistemic,
    "variation-ratio": lambda pool: pool.variation_ratio,
    "margin": lambda pool: -pool.margin,
}
_KNOWN = (*_SCORES, "batch-bald", "epig", "random")


def acquire(
    prediction: Prediction | ArrayLike,
    k: int,
    by: str = "bald",
    *,
    target: ClassesGiven = None,
    seed: int | None = None,
) -> Int[Tensor, "k"]:
    """Return k examples of a pool to have labelled, best first; of equals the first in the pool.

    It computes on the device of the pool; what it chose is read back.

    Args:
        prediction: for the pool of N examples, or draws `(M, N, C)` of their probabilities.
        k: at most N.
        by: `"entropy"`; `"bald"`, the mutual information of label and draw (Houlsby et al. 2011);
            `"variation-ratio"` (Freeman 1965); `"margin"`, smallest first (Scheffer et al. 2001);
            `"batch-bald"`, for k labels together (Kirsch et al. 2019); `"epig"`, what a label tells
            of those of `target` (Bickford Smith et al. 2023); or `"random"`. BatchBALD and EPIG
            need draws that are `joint`, of `predict(x, keep_draws=True, joint=True)`.
        target: for inputs like those of interest, with the same joint draws, for `"epig"`.
        seed: of `"random"`, and of `"batch-bald"` where it draws; torch's global generator if None.

    Raises:
        TypeError: if labels are asked for and the prediction is not of classes.
        ValueError: if k > N, `by` is unknown, or draws are needed and were not kept, or not joint.

    >>> pool = ClassPrediction.from_probs([[0.9, 0.1], [0.5, 0.5], [0.7, 0.3]])
    >>> acquire(pool, 2, by="entropy")
    tensor([1, 2])
    """
    pool = prediction_given(prediction, Prediction, "prediction")
    if pool is None:
        pool = _classes(prediction, "prediction")
    if check_count(k, "k") > len(pool):
        raise ValueError(f"`k` is {k}, expected at most {len(pool)}, the size of the pool.")
    if by not in _KNOWN:
        raise ValueError(nearest(by, _KNOWN, "acquisition function"))
    if target is not None and by != "epig":
        raise ValueError(f"`target` is given, but {by!r} looks at the pool only: leave it out.")
    random = seeded(seed)
    if by == "random":
        return torch.randperm(len(pool), generator=random)[:k]
    if by == "batch-bald":
        return batch_bald(_joint_draws(pool, "prediction", by), k, random)
    if by in _SCORES:
        return _highest(_SCORES[by](_classes(pool, "prediction")), k)
    if target is None:
        raise ValueError(
            "`target` is missing, expected for 'epig' the prediction for inputs like those that "
            "the model is to be used on."
        )
    return _highest(_information_of(pool, target, ("prediction", "target")), k)


def epig(draws: ClassesGiven, target_draws: ClassesGiven) -> Float[Tensor, "N"]:
    """Return the expected predictive information gain of each example, nats.

    It is the mutual information of the example's label and that of a target, the mean over targets,
    both from the same M draws. Source: Bickford Smith et al. 2023.

    Args:
        draws: probabilities `(M, N, C)`, or a `ClassPrediction` with joint draws.
        target_draws: `(M, T, C)`, or a `ClassPrediction` by the same draws.

    Raises:
        TypeError: if a prediction is not of classes.
        ValueError: if the draws or classes are not as many, or no probabilities, or not joint.

    >>> sure = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    >>> epig(sure, sure)
    tensor([0.6931], dtype=torch.float64)
    """
    return _information_of(draws, target_draws, ("draws", "target_draws"))


def _information_of(
    pool: ScoresGiven | None, target: ClassesGiven, names: tuple[str, str]
) -> Tensor:
    draws = [
        _joint_draws(each, name, "epig") for each, name in zip((pool, target), names, strict=True)
    ]
    drawn = {getattr(each, "drawn", None) for each in (pool, target)} - {None}
    if len(drawn) > 1:
        raise ValueError(
            f"`{names[0]}` and `{names[1]}` have draws of different functions, expected the same: "
            "predict both with one model and the same `seed`."
        )
    return _information(*draws)


def _information(probs: Float[Tensor, "M N C"], targets: Float[Tensor, "M T C"]) -> Tensor:
    if probs.shape[::2] != targets.shape[::2]:
        raise ValueError(
            f"the targets' draws have shape {tuple(targets.shape)} and those of the pool "
            f"{tuple(probs.shape)}, expected as many draws and classes: predict both with one "
            "model and the same `seed` and `samples`."
        )
    targets = targets.to(probs.device)
    count, classes = targets.shape[1:]
    of_target = _entropy(targets.mean(0), -1).mean()
    flat = targets.flatten(1) / len(targets)
    size = max(1, _ENTRIES // (classes * classes * count))
    gains = []
    for part in torch.split(probs, size, dim=1):
        joint = (part.flatten(1).T @ flat).reshape(part.shape[1], classes, count, classes)
        of_both = _entropy(joint, (1, 3)).mean(1)
        gains.append(_entropy(part.mean(0), -1) + of_target - of_both)
    # Never negative (Jensen), but for rounding.
    return torch.cat(gains).clamp(min=0)


def _entropy(probs: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    each: Tensor = torch.special.entr(probs)
    return each.sum(dim)


def _highest(score: Float[Tensor, "N"], k: int) -> Int[Tensor, "k"]:
    return score.sort(descending=True, stable=True).indices[:k].cpu()


def _classes(source: ScoresGiven | None, name: str) -> ClassPrediction:
    """Return a prediction of one label for each example, as it came or of draws `(M, N, C)`."""
    found = prediction_given(source, ClassPrediction, name, "draws (M, N, C)")
    if found is None:
        return _of_draws(as_tensor(source, name), name)  # type: ignore[arg-type] # no prediction
    if found.log_probs.ndim != 2:
        raise ValueError(
            f"`{name}` is a {found!r}, expected one label for each example: rank others by a score "
            "of your own."
        )
    return found


def _of_draws(draws: Tensor, name: str) -> ClassPrediction:
    if draws.ndim != 3:
        raise ValueError(
            f"`{name}` has shape {tuple(draws.shape)}, expected (M, N, C): draws, examples, "
            "classes."
        )
    rows = check_probs(draws.flatten(0, 1), name, "call `logits.softmax(2)` on raw outputs")
    draws = on_exact_device(rows.view(draws.shape)).double()
    votes = torch.nn.functional.one_hot(draws.argmax(2), draws.shape[2]).sum(0)
    aleatoric = _entropy(draws, 2).mean(0)
    return ClassPrediction(draws.mean(0).log(), aleatoric, votes, draws, joint=True)


def _joint_draws(source: ScoresGiven | None, name: str, by: str) -> Float[Tensor, "M N C"]:
    """Return draws of which each is one function for all examples; of arrays that is believed."""
    prediction = _classes(source, name)
    remedy = f"which {by!r} needs: call `model.predict(x, keep_draws=True, joint=True)`."
    if prediction.draws is None:
        raise ValueError(f"`{name}` has no draws, {remedy}")
    if not prediction.joint:
        raise ValueError(f"`{name}` has draws that are not one function for all examples, {remedy}")
    return on_exact_device(prediction.draws).double()
