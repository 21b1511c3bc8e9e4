"""Features of inputs: what a named layer of any network puts out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from duda.batches import Inputs, input_batches, rows_of, suited
from duda.checks import check_count, nearest
from duda.eval_mode import in_eval_mode

__all__ = ["features_of"]

Positions = Literal["mean", "flatten"] | Callable[[Tensor], Tensor]


def features_of(
    network: nn.Module,
    layer: str,
    x: Inputs,
    *,
    positions: Positions | None = None,
    batch_size: int = 256,
) -> Float[Tensor, "N D"]:
    """Return what `layer` puts out for each input, in eval mode, on the CPU.

    Modes and buffers of the network are left as they were.

    Args:
        network: any module.
        layer: its name, as in `network.named_modules()`.
        x: a tensor, array, Dataset or DataLoader of inputs, or tensors by name.
        positions: what becomes of outputs `(N, D, *positions)`: their `"mean"`, one long row by
            `"flatten"`, or a function of them, such as `lambda out: out[:, 0]` for a first token.
        batch_size: inputs at a time.

    Raises:
        ValueError: if there is no such layer, it does not run just once for each batch, or it puts
            out anything else than `(N, D)` with no word on `positions`.

    >>> network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> features_of(network, "1", torch.randn(5, 4)).shape
    torch.Size([5, 3])
    """
    batch_size = check_count(batch_size, "batch_size")
    if not callable(positions) and positions not in (None, "mean", "flatten"):
        raise ValueError(
            f"`positions` is {positions!r}, expected 'mean', 'flatten' or a function of the output."
        )
    modules = dict(network.named_modules(remove_duplicate=False))
    if layer not in modules:
        raise ValueError(nearest(layer, filter(None, modules), "layer"))
    found: list[Tensor] = []

    def note(module: nn.Module, args: Any, output: Any) -> None:
        rows = _rows(output, layer, positions)
        found.append(rows.to("cpu", copy=True))  # what runs next may write into it

    parts = []
    with in_eval_mode(network), torch.no_grad(), _hooked(modules[layer], note):
        for batch in input_batches(x, batch_size)[0]:
            found.clear()
            inputs = suited(batch, network)
            network(**inputs) if isinstance(inputs, Mapping) else network(inputs)
            parts.append(_only(found, layer, rows_of(batch)))
    return torch.cat(parts)


@contextmanager
def _hooked(module: nn.Module, hook: Callable[[nn.Module, Any, Any], None]) -> Iterator[None]:
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _rows(output: Any, layer: str, positions: Positions | None) -> Tensor:
    """Return the output of a layer as `(N, D)`."""
    rows = positions(output) if callable(positions) else output
    if not isinstance(rows, Tensor):
        raise TypeError(
            f"layer {layer!r} puts out a {type(rows).__name__}, expected a tensor: give "
            "`positions=` a function that takes one out of it."
        )
    if rows.ndim > 2 and positions == "mean":
        rows = rows.flatten(2).mean(2)
    elif rows.ndim > 2 and positions == "flatten":
        rows = rows.flatten(1)
    if rows.ndim != 2:
        raise ValueError(
            f"layer {layer!r} puts out shape {tuple(rows.shape)}, expected (N, D): say "
            "`positions='mean'` or `'flatten'`, or give a function where features are not "
            "dimension 1."
        )
    return rows


def _only(found: list[Tensor], layer: str, count: int) -> Tensor:
    if len(found) != 1:
        raise ValueError(
            f"layer {layer!r} ran {len(found)} times in one pass, expected once: name a layer that "
            "the network calls just once."
        )
    if len(found[0]) != count:
        raise ValueError(
            f"layer {layer!r} puts out {len(found[0])} rows for {count} inputs, expected one for "
            "each: give `positions=` a function that brings inputs to dimension 0."
        )
    return found[0]
