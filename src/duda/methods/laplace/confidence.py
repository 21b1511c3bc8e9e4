"""Confidence on the training data: a line in the log where a posterior takes much of it away."""

from __future__ import annotations

import logging

from jaxtyping import Float
from torch import Tensor

__all__ = ["tell_of_lost_confidence"]

_log = logging.getLogger(__name__)

_FAR = 0.1


def tell_of_lost_confidence(outputs: Float[Tensor, "N C"], log_probs: Float[Tensor, "N C"]) -> None:
    """Log a warning if the mean confidence on training data falls far.

    Args:
        outputs: logits of the plain network.
        log_probs: by the posterior.
    """
    before = float(outputs.softmax(1).amax(1).mean())
    after = float(log_probs.exp().amax(1).mean())
    if before - after > _FAR:
        _log.warning(
            "the precision of greatest marginal likelihood lowers the mean confidence on the "
            "training data from %.3f to %.3f, as it does with networks that were trained for "
            "long: give `validation` to `fit` or `fit_posterior`, by which it is then chosen.",
            before,
            after,
        )
