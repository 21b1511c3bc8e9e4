"""Panels of one picture: what is predicted of each pixel, how unsure, and where it is wrong."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_whole
from duda.predictions import Prediction

__all__ = ["panels"]


def panels(
    prediction: Prediction,
    y: ArrayLike | None = None,
    *,
    picture: Float[Tensor, "C H W"] | None = None,
    index: int = 0,
    ignore_index: int | None = None,
) -> dict[str, Tensor]:
    """Return the maps of one picture by what they are, as `duda.plots.maps` draws them.

    Args:
        prediction: of pixels, `(N, ..., H, W)`.
        y: what came true, as `prediction.loss` takes it; adds the truth and the error.
        picture: to draw before them.
        index: which of N.
        ignore_index: the label of pixels that are left out: -1 in the truth, and no errors.

    Raises:
        ValueError: if the prediction is not of pixels, or `y` does not fit.

    >>> from duda import ClassPrediction
    >>> import torch
    >>> list(panels(ClassPrediction.from_probs(torch.full((1, 2, 4, 4), 0.5)), torch.zeros(1, 4, 4).long()))
    ['truth', 'prediction', 'entropy', 'aleatoric', 'epistemic', 'error']
    """  # noqa: E501 # one call
    chosen = prediction[check_whole(index, "index")]
    said = chosen.labels if chosen.can("labels") else chosen.centre  # type: ignore[attr-defined] # of a family with either
    if said.ndim < 3:
        raise ValueError(
            f"`prediction` says something of shape {tuple(prediction.said_shape)} of an example, "
            "expected maps (..., H, W)."
        )
    found = {} if picture is None else {"picture": picture}
    errors: dict[str, Tensor] = {}
    if y is not None:
        true = as_tensor(y, "y")[index : index + 1]
        counted = true != ignore_index if ignore_index is not None else true == true
        loss = chosen.loss(true.where(counted, 0))[0]
        loss = loss.where(counted[0].reshape(loss.shape), 0)
        errors["error"] = loss > 0 if chosen.can("labels") else loss.sqrt()
        found["truth"] = true[0] if ignore_index is None else true.where(counted, -1)[0]
    found |= {"prediction": said[0], chosen.score_name: chosen.score[0]}
    parts = chosen.parts()
    if parts is not None:
        found |= {"aleatoric": parts.aleatoric[0], "epistemic": parts.epistemic[0]}
    return {name: _flat(value) for name, value in (found | errors).items()}


def _flat(value: Tensor) -> Tensor:
    """Return a map without the dimension of the only output."""
    return value.squeeze(0) if value.ndim == 3 and value.shape[0] == 1 else value
