"""Likelihoods: what raw outputs mean: a loss, and the prediction that draws make; one a file."""

from duda.likelihoods.base import Likelihood as Likelihood
from duda.likelihoods.base import Reduction as Reduction
from duda.likelihoods.categorical import Categorical as Categorical
from duda.likelihoods.gaussian import Gaussian as Gaussian

# The defaults come first, wherever likelihoods are listed.
# isort: split
from duda.likelihoods.bernoulli import Bernoulli as Bernoulli
from duda.likelihoods.beta import Beta as Beta
from duda.likelihoods.beta_gaussian import BetaGaussian as BetaGaussian
from duda.likelihoods.dirichlet import Dirichlet as Dirichlet
from duda.likelihoods.fixed_gaussian import FixedGaussian as FixedGaussian
from duda.likelihoods.histogram import Histogram as Histogram
from duda.likelihoods.joint import Joint as Joint
from duda.likelihoods.laplacian import Laplacian as Laplacian
from duda.likelihoods.log_normal import LogNormal as LogNormal
from duda.likelihoods.mixture import Mixture as Mixture
from duda.likelihoods.multivariate_gaussian import MultivariateGaussian as MultivariateGaussian
from duda.likelihoods.negative_binomial import NegativeBinomial as NegativeBinomial
from duda.likelihoods.normal_inverse_gamma import NormalInverseGamma as NormalInverseGamma
from duda.likelihoods.ordinal import Ordinal as Ordinal
from duda.likelihoods.poisson import Poisson as Poisson
from duda.likelihoods.quantiles import Quantiles as Quantiles
from duda.likelihoods.sampled_softmax import SampledSoftmax as SampledSoftmax
from duda.likelihoods.student_t import StudentT as StudentT
from duda.likelihoods.target_scale import TargetScale as TargetScale
from duda.registry import registered

LIKELIHOODS = registered(__name__, Likelihood)
del LIKELIHOODS["joint"]  # which is made of others, so that its name alone says nothing
