"""Calls of torch that are random, or that draws need otherwise, each with who answers it."""

from duda.sampling.calls.attention import ATTENTION
from duda.sampling.calls.autocast import AUTOCAST
from duda.sampling.calls.dropout import DROPOUT, NeedsLoop, drop
from duda.sampling.calls.random_calls import RANDOM_CALLS, Function, Handler
from duda.sampling.calls.recurrent import RECURRENT

__all__ = ["ATTENTION", "HANDLERS", "RECURRENT", "Function", "Handler", "NeedsLoop", "drop"]

HANDLERS = DROPOUT | ATTENTION | RECURRENT | RANDOM_CALLS | AUTOCAST
