"""Metrics of uncertainty: proper scores, calibration, coverage, ranking, selective prediction, OOD.

Every function takes a prediction, or plain tensors, arrays or lists, so that it serves predictions
of any program. It computes on the device of what comes first, to which labels and targets go, with
counts in int64 and sums in float64; on the CPU if a device has none. Results with a number for each
example stay there, those of bins and levels are read back. What draws or resamples these, as null
bands and bootstrap intervals do, runs on the CPU.
"""

from typing import TYPE_CHECKING

from duda.evaluation.brier_parts import BrierParts, brier_parts
from duda.evaluation.calibration import Reliability, reliability, reliability_of
from duda.evaluation.confusion import Confusion, confusion
from duda.evaluation.coverage import Coverage, coverage
from duda.evaluation.crps import (
    crps,
    crps_of_draws,
    crps_of_gaussian,
    crps_of_laplacian,
    crps_of_mixture,
    crps_of_quantiles,
)
from duda.evaluation.intervals import (
    interval_coverage,
    interval_score,
    interval_width,
    pinball,
    pinball_of_quantiles,
)
from duda.evaluation.joint import joint_nll, joint_nll_of_draws
from duda.evaluation.multilabel import LabelScores, multilabel
from duda.evaluation.null_band import NullBand
from duda.evaluation.old_names import MOVED
from duda.evaluation.old_names import features_of as features_of
from duda.evaluation.old_names import pit_of_gaussian as pit_of_gaussian
from duda.evaluation.ood_detection import Separation, ood
from duda.evaluation.pavpu import PatchUncertainty, pavpu
from duda.evaluation.pit import Pit, pit, pit_of_draws, pit_of_values
from duda.evaluation.ranking import Ranking, rank
from duda.evaluation.risk_coverage import AccuracyAbove, Selection, accuracy_above, selective
from duda.evaluation.scores import accuracy, brier, density_nll, mae, nll, rmse, rps
from duda.evaluation.smooth import smooth_ece, smooth_ece_of
from duda.evaluation.sparsification import Sparsification, sparsification
from duda.evaluation.spread import Spread, sharpness, spread
from duda.evaluation.votes import VoteDistance, vote_distance
from duda.renamed import renamed

__all__ = [
    "AccuracyAbove",
    "BrierParts",
    "Confusion",
    "Coverage",
    "LabelScores",
    "NullBand",
    "PatchUncertainty",
    "Pit",
    "Ranking",
    "Reliability",
    "Selection",
    "Separation",
    "Sparsification",
    "Spread",
    "VoteDistance",
    "accuracy",
    "accuracy_above",
    "brier",
    "brier_parts",
    "confusion",
    "coverage",
    "crps",
    "crps_of_draws",
    "crps_of_gaussian",
    "crps_of_laplacian",
    "crps_of_mixture",
    "crps_of_quantiles",
    "density_nll",
    "interval_coverage",
    "interval_score",
    "interval_width",
    "joint_nll",
    "joint_nll_of_draws",
    "mae",
    "multilabel",
    "nll",
    "ood",
    "pavpu",
    "pinball",
    "pinball_of_quantiles",
    "pit",
    "pit_of_draws",
    "pit_of_values",
    "rank",
    "reliability",
    "reliability_of",
    "rmse",
    "rps",
    "selective",
    "sharpness",
    "smooth_ece",
    "smooth_ece_of",
    "sparsification",
    "spread",
    "streaming",
    "vote_distance",
]

if not TYPE_CHECKING:
    __getattr__ = renamed(__name__, MOVED, lazy=["streaming"])  # torchmetrics is heavy
