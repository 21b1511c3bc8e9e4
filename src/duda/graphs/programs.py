"""Programs: what functions do with tensors, written down once and compiled."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from duda.graphs.graph import NotCaptured

__all__ = ["program"]

_SMALL = 64  # rows, below which a GPU waits for Python

Results = Sequence[Any]


def program(
    function: Callable[..., Results], given: Sequence[Tensor], rows: int
) -> Callable[..., Results]:
    """Return a function as a compiled program, for tensors of the same shapes as these.

    Other tensors that it reads, such as weights, are those of now, whatever is in them later.

    Args:
        function: from tensors to several results.
        given: tensors that it takes.
        rows: of a batch: on a GPU a program for few is one CUDA graph.

    Raises:
        NotCaptured: if the compiler cannot compile it, with what it says.
    """
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            traced = make_fx(function)(*given)
            graphs = rows <= _SMALL and given[0].device.type == "cuda"
            compiled = _compiled(traced, given, cuda_graphs=graphs)
            compiled(*given)
    except Exception as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise NotCaptured(f"torch's compiler does not compile it: {said[0]}") from error
    if not graphs:
        return compiled
    # The results of a CUDA graph are overwritten by those of its next run.
    return lambda *tensors: [
        each.clone() if isinstance(each, Tensor) else each for each in compiled(*tensors)
    ]


def _compiled(
    traced: fx.GraphModule, given: Sequence[Tensor], *, cuda_graphs: bool
) -> Callable[..., Results]:
    import torch._inductor  # slow to import

    options = {"triton.cudagraphs": True} if cuda_graphs else None
    return torch._inductor.compile(traced, [*given], options=options)  # type: ignore[no-any-return]
