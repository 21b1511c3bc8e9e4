"""Scores of training examples and labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from duda.difficulty import TrainingDynamics, label_errors

__all__ = ["ANSWERS"]


def _recorded(epochs: Any, n: int, **batch: Any) -> TrainingDynamics:
    dynamics = TrainingDynamics(n)
    for epoch in epochs:
        dynamics.update(np.arange(n), **{k: make(epoch) for k, make in batch.items()})
        dynamics.end_epoch()
    return dynamics


def _data_map(inputs: Any, params: Any) -> dict[str, Any]:
    probs = inputs["p_true_by_epoch"]
    dynamics = _recorded(
        probs,
        probs.shape[1],
        outputs=lambda p: np.log(np.stack([p, 1 - p], 1)),
        y=lambda p: np.zeros(len(p), dtype=int),
    )
    return {"confidence": dynamics.confidence, "variability": dynamics.variability}


def _aum(inputs: Any, params: Any) -> Any:
    target = inputs["target"]
    epochs = inputs["logits_by_epoch"]
    return _recorded(epochs, len(target), outputs=lambda z: z, y=lambda z: target).aum


def _action(inputs: Any, params: Any) -> Any:
    epochs = inputs["loss_by_epoch"]
    return _recorded(epochs, epochs.shape[1], losses=lambda loss: {"loss": loss}).action


ANSWERS: dict[str, Callable[[Any, Any], Any]] = {
    "label_quality_self_confidence": lambda inputs, params: (
        label_errors(inputs["probs"], inputs["target"]).self_confidence
    ),
    "label_quality_normalized_margin": lambda inputs, params: (
        label_errors(inputs["probs"], inputs["target"]).normalized_margin
    ),
    "data_map": _data_map,
    "aum": _aum,
    "action_score": _action,
}
