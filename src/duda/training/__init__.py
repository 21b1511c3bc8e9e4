"""Training: one function for every method, which can be killed and started again.

All that is random in an epoch follows from the seed, the member and the epoch, so a run that goes
on from the end of an epoch makes the same weights, bit for bit, as one that was never cut off.
Random numbers that a Dataset does not take from torch are its own affair.
"""

from duda.hooks import FitState
from duda.training.callbacks import Callback
from duda.training.fit_model import fit
from duda.training.history import History
from duda.training.settings import Training

__all__ = ["Callback", "FitState", "History", "Training", "fit"]
