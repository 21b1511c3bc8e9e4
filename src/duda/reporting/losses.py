"""What each example costs: an error of a class, the squared error of a number."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, as_tensor
from duda.inputs import hard_labels
from duda.predictions import (
    ClassPrediction,
    LocationScalePrediction,
    Prediction,
    QuantilePrediction,
)

__all__ = ["loss_of"]


def loss_of(prediction: Prediction, y: ArrayLike) -> Float[Tensor, "N *"]:
    """Return 0 or 1 for each label, or the squared error in squared units for each number.

    >>> loss_of(ClassPrediction.from_probs([[0.9, 0.1], [0.2, 0.8]]), [0, 0])
    tensor([0., 1.], dtype=torch.float64)
    """
    if isinstance(prediction, ClassPrediction):
        labels = hard_labels(y, tuple(prediction.log_probs.shape))
        return (prediction.labels.cpu() != labels).double()
    if isinstance(prediction, LocationScalePrediction | QuantilePrediction):
        target = as_tensor(y, "y").cpu().double()
        return (prediction.centre.cpu().double() - target).square()
    raise TypeError(f"a {type(prediction).__name__} has no loss to select by.")
