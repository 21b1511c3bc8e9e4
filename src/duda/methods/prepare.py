"""Preparing: a model's network is captured once, for predictions that follow."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from duda.agreement import agree
from duda.batches import Batch, each_input, suited
from duda.graphs import NotCaptured
from duda.items import ItemRule
from duda.methods.called_networks import network_in
from duda.preservation import preserved
from duda.sampling import Captured, capturing, forget_captured
from duda.sources import Inputs, read_inputs

if TYPE_CHECKING:
    from duda.methods.base import UncertainModel

__all__ = ["prepare"]

_ROWS = 4  # on which draws are compared
_DRAWS = 2
_BATCH = 256  # rows that are compiled for, at most


def prepare(model: UncertainModel, x: Inputs, rule: ItemRule | None, *, compiled: bool) -> None:
    """Capture the networks of a model, if their draws come out as they do without.

    Args:
        model: a model.
        x: its inputs.
        rule: what an item of them is.
        compiled: whether what is captured is to be compiled, for the first batch.

    Raises:
        NotCaptured: if that cannot be, with the reason.
    """
    source = read_inputs(x, _BATCH, rule=rule, network=network_in(model))
    batch = suited(next(iter(source.inputs())), model)
    few = each_input(batch, lambda values: values[:_ROWS])
    expected = _draws(model, few)
    try:
        with preserved(model, watched=False), capturing() as plans:
            list(model.sampler(min(_DRAWS, model.samples))(few))
        if not plans:
            raise NotCaptured("it makes no draws by one network")
        try:
            _check(model, few, expected)
            if compiled:
                _compile(model, batch, plans.values())
        except NotCaptured:
            forget_captured(plans)
            raise
    except NotCaptured as error:
        raise NotCaptured(
            f"the network of this {type(model).__name__} cannot be captured, because {error}: "
            "predictions work without `prepare`."
        ) from error


def _check(model: UncertainModel, x: Batch, expected: Tensor) -> None:
    if not all(agree(expected, _draws(model, x))):
        raise NotCaptured("a draw of the graph is another than one of the network")


def _compile(model: UncertainModel, x: Batch, plans: Collection[Captured]) -> None:
    """Compile what was captured, for predictions of so many rows by as many draws as usual."""
    expected = _draws(model, x, model.samples)
    for plan in plans:
        plan.compile()
    [same] = agree(expected, _draws(model, x, model.samples))
    reasons = [plan.not_compiled for plan in plans if plan.not_compiled is not None]
    if reasons or not same:
        raise NotCaptured((*reasons, "a compiled draw is another than one of the network")[0])


def _draws(model: UncertainModel, x: Batch, samples: int = _DRAWS) -> Tensor:
    with preserved(model, seed=0):
        return torch.cat(list(model.sampler(min(samples, model.samples))(x)))
