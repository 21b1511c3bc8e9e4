"""Graphs: a network captured once as operators, of which it is known what they draw and share."""

from duda.graphs.capture import capture
from duda.graphs.graph import Graph, NotCaptured, arguments, is_random
from duda.graphs.parts import Answer, Part, split

__all__ = ["Answer", "Graph", "NotCaptured", "Part", "arguments", "capture", "is_random", "split"]
