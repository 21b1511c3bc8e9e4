"""Predictions: what a network with uncertainty answers, and all that follows from it."""

from __future__ import annotations

import os

from duda.predictions.affine import AffinePrediction as AffinePrediction
from duda.predictions.base import Prediction as Prediction
from duda.predictions.bernoulli import BernoulliPrediction as BernoulliPrediction
from duda.predictions.beta import BetaPrediction as BetaPrediction
from duda.predictions.boxes import BoxPrediction as BoxPrediction
from duda.predictions.classes import ClassPrediction as ClassPrediction
from duda.predictions.counts import CountPrediction as CountPrediction
from duda.predictions.drawn import DrawnPrediction as DrawnPrediction
from duda.predictions.gaussian import GaussianPrediction as GaussianPrediction
from duda.predictions.gaussian_mixture import MixturePrediction as MixturePrediction
from duda.predictions.histogram import HistogramPrediction as HistogramPrediction
from duda.predictions.joint import JointPrediction as JointPrediction
from duda.predictions.laplacian import LaplacianPrediction as LaplacianPrediction
from duda.predictions.location_scale import LocationScalePrediction as LocationScalePrediction
from duda.predictions.log_normal import LogNormalPrediction as LogNormalPrediction
from duda.predictions.multivariate_gaussian import (
    MultivariateGaussianPrediction as MultivariateGaussianPrediction,
)
from duda.predictions.negative_binomial import (
    NegativeBinomialPrediction as NegativeBinomialPrediction,
)
from duda.predictions.numbers import NumberPrediction as NumberPrediction
from duda.predictions.ordinal import OrdinalPrediction as OrdinalPrediction
from duda.predictions.poisson import PoissonPrediction as PoissonPrediction
from duda.predictions.quantiles import QuantilePrediction as QuantilePrediction
from duda.predictions.scored import ScoredClassPrediction as ScoredClassPrediction
from duda.predictions.storage import read as _read
from duda.predictions.student_t import StudentTPrediction as StudentTPrediction
from duda.registry import registered

PREDICTIONS: dict[str, type[Prediction]] = {
    kind.__name__: kind for kind in registered(__name__, Prediction).values()
}


def load_prediction(path: str | os.PathLike[str]) -> Prediction | BoxPrediction:
    """Read what `save` of a prediction wrote, of any family in `PREDICTIONS` or of boxes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, of an unknown family, or holds something else.
    """
    if BoxPrediction.format.wrote(path):
        return BoxPrediction.load(path)
    return _read(path, PREDICTIONS)
