"""Metrics over batches and processes, as `torchmetrics.Metric`: states do not grow with examples.

A state is counts in int64 and sums in float64 of what the functions of `duda.evaluation` find.
"""

from duda.evaluation.streaming.classes import (
    StreamingAccuracy,
    StreamingBrier,
    StreamingIoU,
    StreamingNLL,
    StreamingReliability,
)
from duda.evaluation.streaming.numbers import StreamingPit

__all__ = [
    "StreamingAccuracy",
    "StreamingBrier",
    "StreamingIoU",
    "StreamingNLL",
    "StreamingPit",
    "StreamingReliability",
]
