"""Sets and intervals that hold the truth with a promised probability, whatever the model."""

from duda.decisions.conformal.classification import ConformalClassifier
from duda.decisions.conformal.coverage import GroupCoverage, PromisedCoverage
from duda.decisions.conformal.intervals import IntervalSummary, PredictionIntervals
from duda.decisions.conformal.quantile import conformal_quantile
from duda.decisions.conformal.regression import ConformalRegressor
from duda.decisions.conformal.scores import APS, LAC, RAPS
from duda.decisions.conformal.sets import PredictionSets, SetSummary

__all__ = [
    "APS",
    "LAC",
    "RAPS",
    "ConformalClassifier",
    "ConformalRegressor",
    "GroupCoverage",
    "IntervalSummary",
    "PredictionIntervals",
    "PredictionSets",
    "PromisedCoverage",
    "SetSummary",
    "conformal_quantile",
]
