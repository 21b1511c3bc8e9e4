"""What raw outputs mean: the loss to train them with, and the prediction that their draws make."""

from duda.likelihoods.base import Likelihood, Reduction
from duda.likelihoods.categorical import Categorical
from duda.likelihoods.gaussian import FixedGaussian, Gaussian

__all__ = ["LIKELIHOODS", "Categorical", "FixedGaussian", "Gaussian", "Likelihood", "Reduction"]

LIKELIHOODS: dict[str, type[Likelihood]] = {
    "categorical": Categorical,
    "gaussian": Gaussian,
    "fixed-gaussian": FixedGaussian,
}
