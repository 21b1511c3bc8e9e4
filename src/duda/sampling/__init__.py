"""Sampling, the engine: M draws of a network's outputs for the price of what differs in them."""

from duda.call_order import last_linear
from duda.outputs import called, moves_classes, raw_outputs, with_rows
from duda.preservation import devices_of, preserved, random_bytes, random_state, seeded
from duda.sampling.captured import Captured
from duda.sampling.executors import random_draws, without_slow_rules
from duda.sampling.networks import (
    LayerChoice,
    layer_call,
    matches,
    swapped_weights,
    watched_inputs,
    weight_layers,
    weights_of,
    with_last_linear,
)
from duda.sampling.plans import capturing, forget_captured, same_numbers
from duda.sampling.randomness import (
    DrawnWeights,
    EachMember,
    HiddenDropout,
    Randomness,
    fast_in_vmap,
)
from duda.sampling.stacked import StackedMembers
from duda.sampling.values import tensors
from duda.streams import Stream, draw_generator, draw_key, new_seed

__all__ = [
    "Captured",
    "DrawnWeights",
    "EachMember",
    "HiddenDropout",
    "LayerChoice",
    "Randomness",
    "StackedMembers",
    "Stream",
    "called",
    "capturing",
    "devices_of",
    "draw_generator",
    "draw_key",
    "fast_in_vmap",
    "forget_captured",
    "last_linear",
    "layer_call",
    "matches",
    "moves_classes",
    "new_seed",
    "preserved",
    "random_bytes",
    "random_draws",
    "random_state",
    "raw_outputs",
    "same_numbers",
    "seeded",
    "swapped_weights",
    "tensors",
    "watched_inputs",
    "weight_layers",
    "weights_of",
    "with_last_linear",
    "with_rows",
    "without_slow_rules",
]
