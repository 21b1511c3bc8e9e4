"""Conformal prediction: sets and intervals with guaranteed coverage, whatever the model."""

from typing import TYPE_CHECKING

from duda.decisions.conformal.classification import ConformalClassifier
from duda.decisions.conformal.coverage import GroupCoverage, GuaranteedCoverage
from duda.decisions.conformal.intervals import IntervalSummary, PredictionIntervals
from duda.decisions.conformal.online import OnlineConformal
from duda.decisions.conformal.quantile import conformal_quantile
from duda.decisions.conformal.regression import ConformalRegressor
from duda.decisions.conformal.risk_control import RiskControl, missed_shares
from duda.decisions.conformal.scores import APS, LAC, RAPS
from duda.decisions.conformal.sets import PredictionSets, SetSummary
from duda.renamed import renamed

__all__ = [
    "APS",
    "LAC",
    "RAPS",
    "ConformalClassifier",
    "ConformalRegressor",
    "GroupCoverage",
    "GuaranteedCoverage",
    "IntervalSummary",
    "OnlineConformal",
    "PredictionIntervals",
    "PredictionSets",
    "RiskControl",
    "SetSummary",
    "conformal_quantile",
    "missed_shares",
]

if not TYPE_CHECKING:
    __getattr__ = renamed(
        __name__, {"PromisedCoverage": "duda.decisions.conformal.GuaranteedCoverage"}
    )
