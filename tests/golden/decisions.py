"""Recalibration and conformal prediction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from duda.decisions import (
    APS,
    RAPS,
    ConformalRegressor,
    HistogramBinning,
    Isotonic,
    PredictionSets,
    StdScale,
    Temperature,
    conformal_quantile,
)

__all__ = ["ANSWERS"]


def _quantile(inputs: Any, params: Any) -> float:
    return conformal_quantile(inputs["scores"], params["alpha"])


def _regression_quantile(inputs: Any, params: Any) -> Any:
    residuals = inputs["scores"]
    conformal = ConformalRegressor(params["alpha"], score="absolute")
    return conformal.fit(np.zeros_like(residuals), residuals).thresholds


def _coverage_and_size(inputs: Any, params: Any) -> dict[str, float]:
    sets = PredictionSets(torch.tensor(inputs["sets"] == 1), 0.1, torch.tensor([99]))
    summary = sets.summary(inputs["labels"])
    return {"coverage": summary.guaranteed.overall, "size": summary.mean_size}


def _temperature(inputs: Any, params: Any) -> dict[str, float]:
    logits, target = inputs["logits"], inputs["target"]
    scaling = Temperature().fit(logits=logits, y=target)
    after = scaling(logits=logits).log().numpy()
    before = torch.tensor(logits).log_softmax(1).numpy()
    rows = np.arange(len(target))
    return {
        "temperature": scaling.temperature,
        "nll": -after[rows, target].mean(),
        "nll_before": -before[rows, target].mean(),
    }


def _binary(confidence: Any) -> Any:
    return np.stack([1 - confidence, confidence], axis=1)


def _histogram_binning(inputs: Any, params: Any) -> Any:
    binning = HistogramBinning(params["bins"])
    binning.fit(_binary(inputs["confidence"]), inputs["target"])
    return binning(_binary(inputs["query"]))[:, 1]


def _isotonic(inputs: Any, params: Any) -> Any:
    fitted = Isotonic().fit(_binary(inputs["x"]), inputs["y"])
    return fitted(_binary(inputs["query"]))[:, 1]


ANSWERS: dict[str, Callable[[Any, Any], Any]] = {
    "conformal_quantile": _quantile,
    "conformal_quantile_regression": _regression_quantile,
    "conformal_quantile_small_n": _quantile,
    "aps_scores_all_labels": lambda inputs, params: APS(params["randomized"])(
        torch.from_numpy(inputs["probs"])
    ),
    "raps_scores_all_labels": lambda inputs, params: RAPS(
        params["penalty"], params["kreg"], params["randomized"]
    )(torch.from_numpy(inputs["probs"])),
    "set_coverage_size": _coverage_and_size,
    "temperature_scaling": _temperature,
    "histogram_binning": _histogram_binning,
    "isotonic": _isotonic,
    "std_scaling_nll_optimal": lambda inputs, params: (
        StdScale().fit(inputs["mean"], inputs["target"], std=inputs["std"]).scale
    ),
}
