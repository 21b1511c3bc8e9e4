"""Active learning: which examples of a pool to have labelled next."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.checks import check_count, nearest
from duda.decisions.batch_bald import batch_bald
from duda.predictions import ClassPrediction, Prediction

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
    prediction: Prediction,
    k: int,
    by: str = "bald",
    *,
    target: ClassPrediction | None = None,
    seed: int | None = None,
) -> Int[Tensor, "k"]:
    """Return k examples of a pool to have labelled, best first; of equals the first in the pool.

    Args:
        prediction: for the pool of N examples.
        k: at most N.
        by: `"entropy"`; `"bald"`, the mutual information of label and draw (Houlsby et al. 2011);
            `"variation-ratio"` (Freeman 1965); `"margin"`, smallest first (Scheffer et al. 2001);
            `"batch-bald"`, for k labels together (Kirsch et al. 2019); `"epig"`, what a label tells
            of those of `target` (Bickford Smith et al. 2023); or `"random"`.
        target: for inputs like those of interest, with the draws of the same model, for `"epig"`.
        seed: of `"random"`, and of `"batch-bald"` where it draws; torch's global generator if None.

    Raises:
        ValueError: if k > N, `by` is unknown, or draws are needed and were not kept.

    >>> pool = ClassPrediction.from_probs([[0.9, 0.1], [0.5, 0.5], [0.7, 0.3]])
    >>> acquire(pool, 2, by="entropy")
    tensor([1, 2])
    """
    if check_count(k, "k") > len(prediction):
        raise ValueError(f"`k` is {k}, expected at most {len(prediction)}, the size of the pool.")
    if by not in _KNOWN:
        raise ValueError(nearest(by, _KNOWN, "acquisition function"))
    if target is not None and by != "epig":
        raise ValueError(f"`target` is given, but {by!r} looks at the pool only: leave it out.")
    random = None if seed is None else torch.Generator().manual_seed(seed)
    if by == "random":
        return torch.randperm(len(prediction), generator=random)[:k]
    pool = _classes(prediction, "prediction")
    if by == "batch-bald":
        return batch_bald(_draws(pool, "prediction", by), k, random)
    if by in _SCORES:
        return _highest(_SCORES[by](pool).cpu(), k)
    if target is None:
        raise ValueError(
            "`target` is missing, expected for 'epig' the prediction for inputs like those that "
            "the model is to be used on."
        )
    interest = _classes(target, "target")
    return _highest(epig(_draws(pool, "prediction", by), _draws(interest, "target", by)), k)


def epig(draws: Float[Tensor, "M N C"], target_draws: Float[Tensor, "M T C"]) -> Float[Tensor, "N"]:
    """Return the expected predictive information gain of each example, nats.

    It is the mutual information of the example's label and that of a target, the mean over targets,
    both from the same M draws. Source: Bickford Smith et al. 2023.

    Raises:
        ValueError: if the draws or classes are not as many.

    >>> sure = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    >>> epig(sure, sure)
    tensor([0.6931], dtype=torch.float64)
    """
    if draws.shape[::2] != target_draws.shape[::2]:
        raise ValueError(
            f"`target_draws` has shape {tuple(target_draws.shape)} and `draws` "
            f"{tuple(draws.shape)}, expected as many draws and classes: predict both with one "
            "model and the same `seed` and `samples`."
        )
    probs, targets = draws.double(), target_draws.double()
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
    return score.sort(descending=True, stable=True).indices[:k]


def _classes(prediction: Prediction, name: str) -> ClassPrediction:
    if not isinstance(prediction, ClassPrediction) or prediction.log_probs.ndim != 2:
        raise ValueError(
            f"`{name}` is a {prediction!r}, expected a ClassPrediction with one label for each "
            "example; rank others by a score of your own."
        )
    return prediction


def _draws(prediction: ClassPrediction, name: str, by: str) -> Float[Tensor, "M N C"]:
    if prediction.draws is None:
        raise ValueError(
            f"`{name}` has no draws, which {by!r} needs: call `model.predict(x, keep_draws=True)`."
        )
    return prediction.draws.cpu()
