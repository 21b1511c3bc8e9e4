"""Features and logits of inputs: what a layer of any network, or all of it, puts out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from duda.batches import Batch, rows_of, suited
from duda.checks import check_count, nearest
from duda.items import ItemRule
from duda.likelihoods.outputs import check_no_probs
from duda.preservation import preserved
from duda.sampling import called, last_linear, raw_outputs, with_rows
from duda.sources import Inputs, read_inputs
from duda.uncompiled import uncompiled

__all__ = [
    "Positions",
    "check_positions",
    "features_of",
    "input_batches",
    "logits_of",
    "read_features",
    "read_logits",
]

Positions = Literal["mean", "flatten"] | Callable[[Tensor], Tensor]


@uncompiled
def features_of(
    network: nn.Module,
    x: Inputs,
    layer: str | None = None,
    *,
    positions: Positions | None = None,
    batch_size: int = 256,
    inputs: ItemRule | None = None,
) -> Float[Tensor, "N D"]:
    """Return what `layer` puts out for each input, in eval mode, on the CPU.

    Modes and buffers of the network are left as they were.

    Args:
        network: any module; of a model of duda its `network`, as some models draw at random.
        x: a tensor, array, Dataset or DataLoader of inputs, or tensors by name.
        layer: its name, as in `network.named_modules()`; by default the features are what goes
            into the linear layer that was registered last.
        positions: what becomes of outputs `(N, D, *positions)`: their `"mean"`, one long row by
            `"flatten"`, or a function of them, such as `lambda out: out[:, 0]` for a first token.
        batch_size: inputs at a time.
        inputs: what an item of `x` is, as in `predict`.

    Raises:
        ValueError: if there is no such layer, it does not run just once for each batch, or it puts
            out anything else than `(N, D)` with no word on `positions`.

    >>> network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> x = torch.randn(5, 4)
    >>> features_of(network, x).shape, features_of(network, x, "0").shape
    (torch.Size([5, 3]), torch.Size([5, 3]))
    """
    batches = input_batches(network, x, check_count(batch_size, "batch_size"), inputs)
    return read_features(network, batches, layer, positions)


@uncompiled
def logits_of(
    network: nn.Module, x: Inputs, *, batch_size: int = 256, inputs: ItemRule | None = None
) -> Float[Tensor, "N C *positions"]:
    """Return what the network puts out for each input, in eval mode, on the CPU.

    Modes and buffers of the network are left as they were.

    Args:
        network: any module that puts out logits.
        x: a tensor, array, Dataset or DataLoader of inputs, or tensors by name.
        batch_size: inputs at a time.
        inputs: what an item of `x` is, as in `predict`.

    Raises:
        ValueError: if the network ends in a softmax.

    >>> logits_of(nn.Linear(4, 3), torch.randn(5, 4)).shape
    torch.Size([5, 3])
    """
    return read_logits(
        network, input_batches(network, x, check_count(batch_size, "batch_size"), inputs)
    )


def input_batches(
    network: nn.Module, x: Inputs, batch_size: int, rule: ItemRule | None
) -> Iterator[Batch]:
    """Start to read inputs of a network, without the targets that are beside or in them."""
    return read_inputs(x, batch_size, rule=rule, network=network).inputs()


def read_logits(network: nn.Module, batches: Iterable[Batch]) -> Float[Tensor, "N C *positions"]:
    """Return what the network puts out for all inputs of some batches."""
    with preserved(network):
        outputs = (with_rows(raw_outputs(network, suited(x, network)), x) for x in batches)
        logits = torch.cat([each.cpu() for each in outputs])
    check_no_probs(logits, "logits: remove that last layer")
    return logits


def read_features(
    network: nn.Module,
    batches: Iterable[Batch],
    layer: str | None,
    positions: Positions | None,
) -> Float[Tensor, "N D"]:
    """Return the features of all inputs of some batches, see `features_of`."""
    check_positions(positions)
    watched = _watched(network, layer)
    found: list[Tensor] = []

    def note(module: nn.Module, args: Any, output: Any) -> None:
        rows = _rows(args[0] if layer is None else output, watched, positions)
        found.append(rows.to("cpu", copy=True))  # what runs next may write into it

    parts = []
    with preserved(network), _hooked(watched.module, note):
        for batch in batches:
            found.clear()
            called(network, suited(batch, network))
            parts.append(_only(found, watched, rows_of(batch)))
    return torch.cat(parts)


def check_positions(positions: Positions | None) -> None:
    """Raise a `ValueError` unless `positions` is one of the ways to make rows of positions."""
    if not callable(positions) and positions not in (None, "mean", "flatten"):
        raise ValueError(
            f"`positions` is {positions!r}, expected 'mean', 'flatten' or a function of the output."
        )


class _Watched(NamedTuple):
    """A layer, its name, and whether what it takes in or puts out is looked at."""

    module: nn.Module
    name: str
    verb: str


def _watched(network: nn.Module, layer: str | None) -> _Watched:
    if layer is None:
        name, linear = last_linear(network)
        return _Watched(linear, name, "takes in")
    modules = dict(network.named_modules(remove_duplicate=False))
    if layer not in modules:
        raise ValueError(nearest(layer, filter(None, modules), "layer"))
    return _Watched(modules[layer], layer, "puts out")


@contextmanager
def _hooked(module: nn.Module, hook: Callable[[nn.Module, Any, Any], None]) -> Iterator[None]:
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _rows(values: Any, watched: _Watched, positions: Positions | None) -> Tensor:
    """Return what a layer puts out, or takes in, as `(N, D)`."""
    rows = positions(values) if callable(positions) else values
    if not isinstance(rows, Tensor):
        raise TypeError(
            f"layer {watched.name!r} {watched.verb} a {type(rows).__name__}, expected a tensor: "
            "give `positions=` a function that takes one out of it."
        )
    if rows.ndim > 2 and positions == "mean":
        rows = rows.flatten(2).mean(2)
    elif rows.ndim > 2 and positions == "flatten":
        rows = rows.flatten(1)
    if rows.ndim != 2:
        raise ValueError(
            f"layer {watched.name!r} {watched.verb} shape {tuple(rows.shape)}, expected (N, D): "
            "say `positions='mean'` or `'flatten'`, or give a function where features are not "
            "dimension 1."
        )
    return rows


def _only(found: list[Tensor], watched: _Watched, count: int) -> Tensor:
    if len(found) != 1:
        raise ValueError(
            f"layer {watched.name!r} ran {len(found)} times in one pass, expected once: name a "
            "layer that the network calls just once."
        )
    if len(found[0]) != count:
        raise ValueError(
            f"layer {watched.name!r} {watched.verb} {len(found[0])} rows for {count} inputs, "
            "expected one for each: give `positions=` a function that brings inputs to dimension 0."
        )
    return found[0]
