"""Graphs: a network captured once as operators, of which it is known what they draw and share."""

from duda.graphs.capture import capture
from duda.graphs.graph import Graph, NotCaptured, arguments, is_random, operator_name
from duda.graphs.parts import Answer, Part, split, writes_to_others
from duda.graphs.programs import program
from duda.graphs.rows import DrawsAsRows, draws_as_rows
from duda.graphs.settings import settings_of

__all__ = [
    "Answer",
    "DrawsAsRows",
    "Graph",
    "NotCaptured",
    "Part",
    "arguments",
    "capture",
    "draws_as_rows",
    "is_random",
    "operator_name",
    "program",
    "settings_of",
    "split",
    "writes_to_others",
]
