"""Methods side by side: the same data, the same network, the same training, one report."""

from duda.comparison.comparing import Comparison, compare
from duda.comparison.evaluating import Evaluation, evaluate
from duda.comparison.folder import writable
from duda.comparison.networks import Recipe, network_factory, recipe

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
