"""Captures: draws by the graph of a network, and the plans that were made of networks so far."""

from duda.sampling.captures.captured_network import Captured, CapturedRunner
from duda.sampling.captures.plans import (
    capture_asked_for,
    capture_where_it_pays,
    captured,
    capturing,
    forget_captured,
    timed,
)

__all__ = [
    "Captured",
    "CapturedRunner",
    "capture_asked_for",
    "capture_where_it_pays",
    "captured",
    "capturing",
    "forget_captured",
    "timed",
]
