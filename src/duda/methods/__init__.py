"""One file a method: what is random in the network when it is asked what it does not know."""

from duda.methods.base import UncertainModel
from duda.methods.batch_ensemble import BatchEnsemble
from duda.methods.deep_ensemble import DeepEnsemble
from duda.methods.deterministic import Deterministic
from duda.methods.duq import DUQ
from duda.methods.gradient_confidence import GradientConfidence
from duda.methods.laplace import Laplace
from duda.methods.mc_dropconnect import MCDropConnect
from duda.methods.mc_dropout import MCDropout
from duda.methods.sde_net import SDENet
from duda.methods.sub_ensemble import SubEnsemble
from duda.methods.swag import SWAG
from duda.methods.test_time_augmentation import TestTimeAugmentation
from duda.methods.variational import GaussianPrior, ScaleMixturePrior, Variational

__all__ = [
    "DUQ",
    "METHODS",
    "SWAG",
    "BatchEnsemble",
    "DeepEnsemble",
    "Deterministic",
    "GaussianPrior",
    "GradientConfidence",
    "Laplace",
    "MCDropConnect",
    "MCDropout",
    "SDENet",
    "ScaleMixturePrior",
    "SubEnsemble",
    "TestTimeAugmentation",
    "UncertainModel",
    "Variational",
]

METHODS: dict[str, type[UncertainModel]] = {
    "deterministic": Deterministic,
    "mc-dropout": MCDropout,
    "deep-ensemble": DeepEnsemble,
    "test-time-augmentation": TestTimeAugmentation,
    "batch-ensemble": BatchEnsemble,
    "sub-ensemble": SubEnsemble,
    "mc-dropconnect": MCDropConnect,
    "duq": DUQ,
    "sde-net": SDENet,
    "gradient-confidence": GradientConfidence,
    "laplace": Laplace,
    "swag": SWAG,
    "variational": Variational,
}
