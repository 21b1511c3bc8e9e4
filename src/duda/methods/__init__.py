"""Methods: what is random in the network when it is asked what it does not know; one file each."""

from duda.hooks import FitState as FitState
from duda.methods.base import UncertainModel as UncertainModel
from duda.methods.deterministic import Deterministic as Deterministic

# The yardstick comes first, wherever methods are listed.
# isort: split
from duda.methods.batch_ensemble import BatchEnsemble as BatchEnsemble
from duda.methods.deep_ensemble import DeepEnsemble as DeepEnsemble
from duda.methods.duq import DUQ as DUQ
from duda.methods.function_draws import function_draws as function_draws
from duda.methods.gradient_confidence import GradientConfidence as GradientConfidence
from duda.methods.laplace import Laplace as Laplace
from duda.methods.mc_dropconnect import MCDropConnect as MCDropConnect
from duda.methods.mc_dropout import MCDropout as MCDropout
from duda.methods.sampler import Sampler as Sampler
from duda.methods.sde_net import SDENet as SDENet
from duda.methods.storage import load as load
from duda.methods.storage import save as save
from duda.methods.sub_ensemble import SubEnsemble as SubEnsemble
from duda.methods.swag import SWAG as SWAG
from duda.methods.test_time_augmentation import TestTimeAugmentation as TestTimeAugmentation
from duda.methods.variational import GaussianPrior as GaussianPrior
from duda.methods.variational import ScaleMixturePrior as ScaleMixturePrior
from duda.methods.variational import Variational as Variational
from duda.registry import registered

METHODS = registered(__name__, UncertainModel)
