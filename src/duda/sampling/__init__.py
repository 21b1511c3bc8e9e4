"""Sampling, the engine: M draws of a network's outputs for the price of what differs in them."""

from duda.sampling.calls import raw_outputs, tensors
from duda.sampling.dropout import HiddenDropout
from duda.sampling.executors import random_draws, without_slow_rules
from duda.sampling.layers import (
    LayerChoice,
    last_linear,
    matches,
    swapped_weights,
    watched_inputs,
    weight_layers,
    weights_of,
    with_last_linear,
)
from duda.sampling.masks import dropped
from duda.sampling.normal_weights import Flipout, LocalNoise, NormalWeight, WholeWeights
from duda.sampling.preservation import preserved
from duda.sampling.randomness import DrawnWeights, EachMember, Randomness, fast_in_vmap
from duda.sampling.rank_one import MemberVectors, RankOneWeights
from duda.sampling.streams import seeded

__all__ = [
    "DrawnWeights",
    "EachMember",
    "Flipout",
    "HiddenDropout",
    "LayerChoice",
    "LocalNoise",
    "MemberVectors",
    "NormalWeight",
    "Randomness",
    "RankOneWeights",
    "WholeWeights",
    "dropped",
    "fast_in_vmap",
    "last_linear",
    "matches",
    "preserved",
    "random_draws",
    "raw_outputs",
    "seeded",
    "swapped_weights",
    "tensors",
    "watched_inputs",
    "weight_layers",
    "weights_of",
    "with_last_linear",
    "without_slow_rules",
]
