"""What a network with uncertainty answers: data for each example, and all that follows from it."""

from duda.predictions.base import Prediction
from duda.predictions.classes import ClassPrediction
from duda.predictions.gaussian import GaussianPrediction
from duda.predictions.laplacian import LaplacianPrediction
from duda.predictions.location_scale import LocationScalePrediction
from duda.predictions.quantiles import QuantilePrediction
from duda.predictions.scored import ScoredClassPrediction
from duda.predictions.storage import load_prediction

__all__ = [
    "ClassPrediction",
    "GaussianPrediction",
    "LaplacianPrediction",
    "LocationScalePrediction",
    "Prediction",
    "QuantilePrediction",
    "ScoredClassPrediction",
    "load_prediction",
]
