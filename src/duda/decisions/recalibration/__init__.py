"""Recalibration: correct what a model claims by how its claims fared on held-out examples."""

from duda.decisions.recalibration.base import ClassRecalibration, Recalibrated, Recalibration
from duda.decisions.recalibration.beta import BetaCalibration
from duda.decisions.recalibration.histogram import HistogramBinning
from duda.decisions.recalibration.isotonic import Isotonic
from duda.decisions.recalibration.linear import MatrixScaling, VectorScaling
from duda.decisions.recalibration.numbers import (
    NumberRecalibration,
    QuantileRecalibration,
    StdScale,
)
from duda.decisions.recalibration.temperature import Temperature

__all__ = [
    "BetaCalibration",
    "ClassRecalibration",
    "HistogramBinning",
    "Isotonic",
    "MatrixScaling",
    "NumberRecalibration",
    "QuantileRecalibration",
    "Recalibrated",
    "Recalibration",
    "StdScale",
    "Temperature",
    "VectorScaling",
]
