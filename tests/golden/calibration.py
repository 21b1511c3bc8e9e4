"""Calibration errors and proper scores of classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from duda.evaluation import (
    Reliability,
    brier,
    reliability,
    reliability_of,
    smooth_ece_of,
)

__all__ = ["ANSWERS"]

Answer = Callable[[Any, Any], Any]

_BELOW = 1e-5


def _claims(inputs: Any, params: Any, **options: Any) -> Reliability:
    return reliability_of(inputs["confidence"], inputs["correct"], bins=params["n_bins"], **options)


def _of_claims(value: str, **options: Any) -> Answer:
    return lambda inputs, params: getattr(_claims(inputs, params, **options), value)


def _curve(inputs: Any, params: Any) -> Any:
    found = _claims(inputs, params)
    filled = found.counts > 0
    return np.stack([found.accuracy[filled], found.confidence[filled]])


def _on_edges(inputs: Any, params: Any) -> float:
    if params["edge_rule"] == "(a,b]":
        # Seen from above, bins that are closed above are closed below.
        mirrored = {"confidence": 1 - inputs["confidence"], "correct": 1 - inputs["correct"]}
        return _claims(mirrored, params).ece
    return _claims(inputs, params).ece


def _nudged(inputs: Any, params: Any) -> float:
    return _claims({**inputs, "confidence": inputs["confidence"] + _BELOW}, params).ece


def _classes(kind: Any) -> Answer:
    return lambda inputs, params: (
        reliability(inputs["probs"], inputs["target"], bins=params["n_bins"], kind=kind).ece
    )


def _two_columns(inputs: Any, params: Any) -> float:
    positive = inputs["prob_pos"]
    return brier(np.stack([1 - positive, positive], axis=1), inputs["target"]) / 2


ANSWERS: dict[str, Answer] = {
    "ece": _of_claims("ece"),
    "rmsce": _of_claims("rmsce"),
    "mce": _of_claims("mce"),
    "ece_equal_mass": _of_claims("ece", binning="quantile"),
    "calibration_curve_uniform": _curve,
    "smooth_ece": lambda inputs, params: smooth_ece_of(inputs["confidence"], inputs["correct"]),
    "smooth_ece_fixed_sigma": lambda inputs, params: smooth_ece_of(
        inputs["confidence"], inputs["correct"], bandwidth=params["sigma"]
    ),
    "ece_top_label": _classes("top"),
    "classwise_ece_safe": _classes("class"),
    "ece_conf_one": _of_claims("ece"),
    "ece_conf_zero": _of_claims("ece"),
    "ece_on_edges": _on_edges,
    "ece_all_conf_one_all_correct": _of_claims("ece"),
    "ece_n1": _of_claims("ece"),
    "ece_constant_conf_equal_mass": _of_claims("ece", binning="quantile"),
    "ece_empty_bins": _nudged,
    "debiased_ece_l2_squared": _of_claims("debiased_squared_ce"),
    "plugin_ece_l2_squared": _of_claims("squared_ce"),
    "brier_multiclass": lambda inputs, params: brier(inputs["probs"], inputs["target"]),
    "brier_multiclass_mean_over_classes": lambda inputs, params: (
        brier(inputs["probs"], inputs["target"]) / inputs["probs"].shape[1]
    ),
    "brier_binary": _two_columns,
}
