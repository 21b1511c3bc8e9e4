"""What a network with uncertainty answers: data for each example, and all that follows from it."""

from duda.predictions.base import Prediction
from duda.predictions.classes import ClassPrediction
from duda.predictions.gaussian import GaussianPrediction
from duda.predictions.scored import ScoredClassPrediction
from duda.predictions.storage import load_prediction

__all__ = [
    "ClassPrediction",
    "GaussianPrediction",
    "Prediction",
    "ScoredClassPrediction",
    "load_prediction",
]
