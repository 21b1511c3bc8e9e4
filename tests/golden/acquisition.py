"""What duda answers about the information in a label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from duda.decisions import epig
from duda.likelihoods import Categorical


def _draws_first(probs: Any) -> torch.Tensor:
    """Return probabilities `(N, M, C)` as `(M, N, C)`."""
    return torch.as_tensor(probs).transpose(0, 1)


def _bald(inputs: Any, params: Any) -> Any:
    return Categorical().reduce(_draws_first(inputs["probs"]).log()).epistemic


def _epig(inputs: Any, params: Any) -> Any:
    return epig(_draws_first(inputs["pool"]), _draws_first(inputs["target"]))


ANSWERS: dict[str, Callable[[Any, Any], Any]] = {"mutual_information_bald": _bald, "epig": _epig}
