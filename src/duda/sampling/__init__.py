"""The engine: M draws of a network's outputs for the price of what differs between them."""

from duda.sampling.calling import raw_outputs
from duda.sampling.dropout import HiddenDropout
from duda.sampling.executors import random_draws
from duda.sampling.preservation import preserved
from duda.sampling.randomness import DrawnWeights, Randomness, fast_in_vmap

__all__ = [
    "DrawnWeights",
    "HiddenDropout",
    "Randomness",
    "fast_in_vmap",
    "preserved",
    "random_draws",
    "raw_outputs",
]
