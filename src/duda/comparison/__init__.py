"""Comparison of methods on one data set, and evaluation of predictions from files."""

from duda.comparison.comparison import Comparison
from duda.comparison.evaluation import Evaluation, evaluate
from duda.comparison.folder import writable
from duda.comparison.networks import Recipe, network_factory, recipe
from duda.comparison.side_by_side import compare

__all__ = [
    "Comparison",
    "Evaluation",
    "Recipe",
    "compare",
    "evaluate",
    "network_factory",
    "recipe",
    "writable",
]
