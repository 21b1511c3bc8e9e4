"""One file a method: what is random in the network when it is asked what it does not know."""

from duda.methods.base import UncertainModel
from duda.methods.deep_ensemble import DeepEnsemble
from duda.methods.deterministic import Deterministic
from duda.methods.mc_dropconnect import MCDropConnect
from duda.methods.mc_dropout import MCDropout

__all__ = [
    "METHODS",
    "DeepEnsemble",
    "Deterministic",
    "MCDropConnect",
    "MCDropout",
    "UncertainModel",
]

METHODS: dict[str, type[UncertainModel]] = {
    "deterministic": Deterministic,
    "mc-dropout": MCDropout,
    "deep-ensemble": DeepEnsemble,
    "mc-dropconnect": MCDropConnect,
}
