"""Decisions by predictions: recalibration, conformal sets, gates that abstain, active learning.

They are fitted and applied on the device of what comes first; what was learned is read back.
"""

from duda.decisions.acquisition import acquire, epig
from duda.decisions.conformal import (
    APS,
    LAC,
    RAPS,
    ConformalClassifier,
    ConformalRegressor,
    OnlineConformal,
    PredictionIntervals,
    PredictionSets,
    RiskControl,
    conformal_quantile,
    missed_shares,
)
from duda.decisions.exploration import action_uncertainty, cautious, greedy, thompson
from duda.decisions.gate import Gate
from duda.decisions.outcomes import Decision, Decisions
from duda.decisions.p_values import benjamini_hochberg, conformal_p_values
from duda.decisions.recalibration import (
    BetaCalibration,
    HistogramBinning,
    Isotonic,
    MatrixScaling,
    QuantileRecalibration,
    StdScale,
    Temperature,
    VectorScaling,
)

__all__ = [
    "APS",
    "LAC",
    "RAPS",
    "BetaCalibration",
    "ConformalClassifier",
    "ConformalRegressor",
    "Decision",
    "Decisions",
    "Gate",
    "HistogramBinning",
    "Isotonic",
    "MatrixScaling",
    "OnlineConformal",
    "PredictionIntervals",
    "PredictionSets",
    "QuantileRecalibration",
    "RiskControl",
    "StdScale",
    "Temperature",
    "VectorScaling",
    "acquire",
    "action_uncertainty",
    "benjamini_hochberg",
    "cautious",
    "conformal_p_values",
    "conformal_quantile",
    "epig",
    "greedy",
    "missed_shares",
    "thompson",
]
