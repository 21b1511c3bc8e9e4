"""Training: one function for every method, which can be killed and started again."""

from duda.training.fitting import fit
from duda.training.history import History

__all__ = ["History", "fit"]
