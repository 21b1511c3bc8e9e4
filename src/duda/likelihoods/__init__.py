"""What raw outputs mean: the loss to train them with, and the prediction that their draws make."""

from duda.likelihoods.base import Likelihood, Reduction
from duda.likelihoods.categorical import Categorical
from duda.likelihoods.dirichlet import Dirichlet
from duda.likelihoods.gaussian import BetaGaussian, FixedGaussian, Gaussian
from duda.likelihoods.laplacian import Laplacian
from duda.likelihoods.normal_inverse_gamma import NormalInverseGamma
from duda.likelihoods.quantiles import Quantiles
from duda.likelihoods.sampled_softmax import SampledSoftmax

__all__ = [
    "LIKELIHOODS",
    "BetaGaussian",
    "Categorical",
    "Dirichlet",
    "FixedGaussian",
    "Gaussian",
    "Laplacian",
    "Likelihood",
    "NormalInverseGamma",
    "Quantiles",
    "Reduction",
    "SampledSoftmax",
]

LIKELIHOODS: dict[str, type[Likelihood]] = {
    "categorical": Categorical,
    "gaussian": Gaussian,
    "fixed-gaussian": FixedGaussian,
    "beta-gaussian": BetaGaussian,
    "laplacian": Laplacian,
    "quantiles": Quantiles,
    "sampled-softmax": SampledSoftmax,
    "dirichlet": Dirichlet,
    "normal-inverse-gamma": NormalInverseGamma,
}
