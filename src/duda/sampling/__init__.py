"""Sampling, the engine: M draws of a network's outputs for the price of what differs in them."""

from duda.call_order import last_linear
from duda.outputs import called, moves_classes, raw_outputs, with_rows
from duda.preservation import devices_of, preserved, random_bytes, random_state, seeded
from duda.sampling.captures import Captured, capturing, forget_captured
from duda.sampling.executors import random_draws, rows_at_a_time
from duda.sampling.networks import (
    LayerChoice,
    layer_call,
    matches,
    routed_modules,
    swapped_weights,
    watched_inputs,
    weight_layers,
    weights_of,
    with_last_linear,
    without_slow_rules,
)
from duda.sampling.randomness import (
    DrawnWeights,
    HiddenDropout,
    Randomness,
    fast_in_vmap,
)
from duda.sampling.stacked import StackedMembers, collected
from duda.sampling.tiles import from_row
from duda.streams import Stream, draw_generator, draw_key, new_seed
from duda.trees import tensors

__all__ = [
    "Captured",
    "DrawnWeights",
    "HiddenDropout",
    "LayerChoice",
    "Randomness",
    "StackedMembers",
    "Stream",
    "called",
    "capturing",
    "collected",
    "devices_of",
    "draw_generator",
    "draw_key",
    "fast_in_vmap",
    "forget_captured",
    "from_row",
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
    "routed_modules",
    "rows_at_a_time",
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
