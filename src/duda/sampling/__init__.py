"""The engine: M draws of a network's outputs for the price of what differs between them."""

from duda.sampling.dropout import HiddenDropout
from duda.sampling.executors import random_draws
from duda.sampling.preservation import preserved

__all__ = ["HiddenDropout", "preserved", "random_draws"]
