"""How far can a prediction be trusted: scores, calibration, ranking, rejection, coverage.

Every function takes plain tensors, arrays or lists, so it serves predictions of any program;
results lie on the CPU, counts in int64 and sums in float64.
"""

from duda.evaluation.calibration import Reliability, reliability, reliability_of
from duda.evaluation.detection import Ranking, rank
from duda.evaluation.regression import Coverage, coverage, pinball
from duda.evaluation.scoring import accuracy, brier, density_nll, nll, rmse
from duda.evaluation.selection import Selection, selective

__all__ = [
    "Coverage",
    "Ranking",
    "Reliability",
    "Selection",
    "accuracy",
    "brier",
    "coverage",
    "density_nll",
    "nll",
    "pinball",
    "rank",
    "reliability",
    "reliability_of",
    "rmse",
    "selective",
]
