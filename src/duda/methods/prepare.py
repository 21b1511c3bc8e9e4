"""Preparing: a model's network is captured once, for predictions that follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from duda.batches import Batch, each_input, suited
from duda.graphs import NotCaptured
from duda.items import ItemRule, taken_by
from duda.methods.called_networks import network_in
from duda.methods.sampler import Sampler
from duda.preservation import in_eval_mode, preserved
from duda.sampling import capturing, forget_captured
from duda.sources import Inputs, read_inputs

if TYPE_CHECKING:
    from duda.methods.base import UncertainModel

__all__ = ["prepare"]

_ROWS = 4  # on which draws are compared
_DRAWS = 2


def prepare(model: UncertainModel, x: Inputs, rule: ItemRule | None) -> None:
    """Capture the networks of a model, if their draws come out as they do without.

    Raises:
        NotCaptured: if that cannot be, with the reason.
    """
    source = read_inputs(x, _ROWS, rule=rule, taken=taken_by(network_in(model)))
    batch = suited(next(iter(source.inputs())), model)
    few = each_input(batch, lambda values: values[:_ROWS])
    expected = _draws(model, few)
    try:
        with in_eval_mode(model), torch.no_grad(), capturing() as networks:
            list(_sampler(model)(few))
        if not networks:
            raise NotCaptured("it makes no draws by one network")
        if not torch.allclose(_draws(model, few), expected, rtol=1e-3, atol=1e-5, equal_nan=True):
            forget_captured(networks)
            raise NotCaptured("a draw of the graph is another than one of the network")
    except NotCaptured as error:
        raise NotCaptured(
            f"the network of this {type(model).__name__} cannot be captured, because {error}: "
            "predictions work without `prepare`."
        ) from error


def _draws(model: UncertainModel, x: Batch) -> Tensor:
    with preserved(model, seed=0):
        return torch.cat(list(_sampler(model)(x)))


def _sampler(model: UncertainModel) -> Sampler:
    return model.sampler(min(_DRAWS, model.samples))
