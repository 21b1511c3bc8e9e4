"""What duda says to the worked cases on predictions of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from duda import GaussianPrediction
from duda.evaluation import (
    coverage,
    crps_of_draws,
    crps_of_gaussian,
    density_nll,
    interval_coverage,
    interval_width,
    pinball,
    pinball_of_quantiles,
    pit,
    sharpness,
    spread,
)


def _prediction(inputs: Any) -> GaussianPrediction:
    return GaussianPrediction(inputs["mean"][:, None], inputs["std"][:, None] ** 2)


def _check_score(inputs: Any, _: Any) -> float:
    levels = np.linspace(0.01, 0.99, 99)
    return pinball(_prediction(inputs), inputs["target"][:, None], levels)


def _pit(inputs: Any, bins: int) -> Any:
    return pit(inputs["mean"], inputs["target"], std=inputs["std"], bins=bins)


def _at_levels(inputs: Any, params: Any) -> Any:
    """Return the levels 0, 1 / 99, ..., 1 of central intervals: two bins for each step."""
    return _pit(inputs, 2 * (params["num_bins"] - 1)).coverage


def _below(inputs: Any, params: Any) -> np.ndarray:
    places = (np.array(params["q"]) * 10).round().astype(int)
    return _pit(inputs, 10).one_sided.observed[places].numpy()


def _share_and_width(inputs: Any, params: Any) -> Any:
    level = params.get("coverage") or params["q"][0]
    prediction, y = _prediction(inputs), inputs["target"][:, None]
    share = float(coverage(prediction, y, [level]).observed)
    width = interval_width(*prediction.interval(level))
    return {"picp": share, "mpiw": width} if "coverage" in params else [share, width]


def _pinball_of_half_widths(inputs: Any, params: Any) -> float:
    """Return netcal's loss: the half-width of a central interval is a quantile of |y - mean|."""
    prediction, levels = _prediction(inputs), params["q"]
    halves = [(upper - lower) / 2 for lower, upper in map(prediction.interval, levels)]
    error = np.abs(inputs["target"] - inputs["mean"])[:, None]
    return float(pinball_of_quantiles(torch.stack(halves, 1), levels, error).mean())


ANSWERS = {
    "nll_gaussian": lambda i, _: density_nll(_prediction(i), i["target"][:, None]),
    "crps_gaussian_per_sample": lambda i, _: crps_of_gaussian(i["mean"], i["std"], i["target"]),
    "crps_ensemble": lambda i, _: crps_of_draws(i["samples"].T, i["target"]),
    "crps_ensemble_fair": lambda i, _: crps_of_draws(i["samples"].T, i["target"], fair=True),
    "crps_ensemble_m1": lambda i, _: crps_of_draws(i["samples"].T, i["target"]),
    "check_score_gaussian": _check_score,
    "pinball": lambda i, p: pinball_of_quantiles(
        i["q_pred"][:, None], [p["alpha"]], i["target"]
    ).mean(),
    "sharpness": lambda i, _: sharpness(i["std"]),
    "rmsce_interval": lambda i, p: _at_levels(i, p).rms_error,
    "miscalibration_area": lambda i, p: _at_levels(i, p).auce,
    "observed_proportion_quantile": _below,
    "picp_mpiw": _share_and_width,
    "coverage_closed_interval": lambda i, _: interval_coverage(i["lower"], i["upper"], i["target"]),
    "ence": lambda i, p: spread(i["std"], i["mean"] - i["target"], bins=p["bins"]).ence,
    "quantile_loss": _pinball_of_half_widths,
}
