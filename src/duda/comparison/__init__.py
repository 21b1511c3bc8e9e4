"""Comparison of methods on one data set, and evaluation of predictions from files."""

from duda.comparison.comparison import Comparison
from duda.comparison.detected import Detected
from duda.comparison.evaluation import Evaluation, evaluate
from duda.comparison.folder import writable
from duda.comparison.networks import Recipe, network_factory, recipe
from duda.comparison.side_by_side import compare

__all__ = [
    "Comparison",
    "Detected",
    "Evaluation",
    "Recipe",
    "compare",
    "evaluate",
    "network_factory",
    "recipe",
    "writable",
]
