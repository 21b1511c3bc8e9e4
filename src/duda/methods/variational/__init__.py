"""Variational inference: each weight has a normal distribution, learned together with its mean."""

from duda.methods.variational.priors import GaussianPrior, ScaleMixturePrior
from duda.methods.variational.variational import Variational

__all__ = ["GaussianPrior", "ScaleMixturePrior", "Variational"]
