"""Outputs of a network, looked at once: rows, the dimension of classes, a softmax at the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from duda.batches import Batch, each_input, rows_of
from duda.doubts import doubt, doubts_together
from duda.likelihoods import Likelihood
from duda.methods.called_networks import network_in
from duda.methods.origins import Origins
from duda.methods.sampler import Sampler
from duda.methods.sequence_first import is_sequence, takes_rows_for_steps
from duda.predictions import Prediction
from duda.sampling import moves_classes, preserved, tensors, with_rows

if TYPE_CHECKING:
    from duda.methods.losses import Losses

__all__ = ["PartsCheck", "check_dim_once", "checked", "first_outputs", "in_doubt", "note_outputs"]

_MOVED = "the network gives its outputs as `logits` of three dimensions, of which the last"
_AS_THEY_ARE = 'take them as they are by `duda.layers.Outputs(network, "logits")`'

_trained: WeakKeyDictionary[nn.Module, tuple[int, int]] = WeakKeyDictionary()
_seen: WeakKeyDictionary[nn.Module, set[str]] = WeakKeyDictionary()


class PartsCheck:
    """Checks the predictions for one batch after the other.

    The first raises a question where outputs may be what they should not be; a pass on a few rows
    answers it, once for each model.

    Args:
        model: that predicts.
    """

    def __init__(self, model: Losses) -> None:
        self.model = model
        self.before: Prediction | None = None
        self.batches = 0

    def add(self, x: Batch, part: Prediction) -> Prediction:
        """Return the prediction for a batch.

        Raises:
            ValueError: if it does not fit the inputs or the batches before, or the outputs are none
                that the likelihood takes.
        """
        self.batches += 1
        if len(part) != rows_of(x):
            with_rows(torch.empty(len(part), *part.said_shape, device="meta"), x)
        if self.before is None:
            self.before = part
            seen = _seen.setdefault(self.model, set())
            asked = set(_questions(self.model.likelihood, x, part)) - seen
            if asked:
                first_outputs(self.model, x)
                seen |= asked
        elif part.said_shape != self.before.said_shape:
            raise ValueError(
                f"`batch {self.batches} of x` has predictions of shape {part.said_shape} for an "
                f"example, those before have {self.before.said_shape}, expected one shape: pad all "
                "inputs to one length, or predict the batches one by one."
            )
        return part


def first_outputs(model: Losses, x: Batch) -> Tensor:
    """Return the raw outputs for a few rows of `x`, checked; the model stays as it was.

    Raises:
        ValueError: if they have other rows, examples for steps, their classes last, or a softmax
            or sigmoid before.
    """
    with preserved(model, seed=0):
        with Origins() as origins:
            few, outputs = _asked_with_few(model, x)
        with_rows(outputs, few)
        check_dim_once(model)
        _check_end(model.likelihood, outputs, origins)
        if outputs.ndim > 2:
            _check_dims(model, few, outputs, origins)
    return outputs


def _check_dims(model: Losses, x: Batch, outputs: Tensor, origins: Origins) -> None:
    """Raise a `ValueError` if examples or classes are on another dimension than they should be."""
    shape = tuple(outputs.shape)
    if takes_rows_for_steps(network_in(model) or model, x):
        raise ValueError(
            f"the network's outputs of shape {shape} depend for each input on others of the batch, "
            "and not on other steps of its own: it takes dimension 1 for the examples: give its "
            "layers `batch_first=True`, or let it transpose inputs and outputs itself."
        )
    name = _dim_name(model.likelihood)
    if name is None or not _are_last(model, x, outputs, origins):
        return
    kind = type(model.likelihood).__name__
    remedy = f"give `{kind}({name}=-1)`, or `{name}=1` if it is meant"
    if moves_classes(model):
        remedy = f"{_MOVED} is taken for that: {_AS_THEY_ARE}"
    raise ValueError(
        f"the network's outputs have shape {shape} for {rows_of(x)} inputs, and what they say of a "
        f"position is on the last dimension, expected on dimension 1: {remedy}."
    )


def check_dim_once(model: Losses) -> None:
    """Raise a `ValueError` if the likelihood says of a dimension that is moved where it is."""
    dim = model.given_likelihood.output_dim
    if dim is not None and moves_classes(model):
        name = _dim_name(model.likelihood, said=True)
        raise ValueError(
            f"`{name}` is {dim}, but {_MOVED} is taken for the classes anyway: leave `{name}` out, "
            f"or {_AS_THEY_ARE}."
        )


def in_doubt(x: Batch, y: Tensor) -> bool:
    """Return whether a batch for training leaves open which dimension of outputs is which."""
    return _rows_twice(x) or y.ndim > 1 + y.is_floating_point()


def _rows_twice(x: Batch) -> bool:
    """Return whether dimension 1 of sequences, of tokens or of features, has as many entries."""
    sequences = filter(is_sequence, tensors(x))
    return rows_of(x) > 1 and any(each.shape[1] == rows_of(x) for each in sequences)


def _questions(likelihood: Likelihood, x: Batch, part: Prediction) -> list[str]:
    """Return what a prediction leaves open."""
    found = ["rows"] if _rows_twice(x) else []
    if len(part.said_shape) > 1 and _dim_name(likelihood):
        found.append("dimension")
    if len(part.said_shape) > 1 and any(map(is_sequence, tensors(x))):
        found.append("steps")
    return found


def checked(model: Losses, sampler: Sampler) -> Sampler:
    """Return the sampler with a look at the rows of its draws, and once for each model at the rest.

    It raises a `ValueError` if draws have not one row for each input, or come from a softmax or
    sigmoid.
    """

    def draws(x: Batch, chunk: int | None) -> Iterator[Tensor]:
        ask = partial(first_outputs, model, x)
        seen = _seen.setdefault(model, set())
        for number, each in enumerate(sampler(x, chunk)):
            if number == 0:
                check_dim_once(model)
                if each.shape[1:2] != (rows_of(x),):
                    with_rows(each[0], x)  # which tells why
                _check_trained(model, each.shape[1:])
            if "end" not in seen:
                with doubts_together():
                    for draw in each:  # members are networks of their own
                        model.likelihood.check_outputs(draw)
                    if number == 0:
                        first = each[0]
                        doubt(lambda: ((first >= 0) & (first <= 1)).all(), ask)  # noqa: B023
            yield each
        seen.add("end")

    return replace(sampler, draws=draws)


def note_outputs(model: Losses, outputs: Tensor) -> None:
    """Remember how many outputs a network has while it trains."""
    network = network_in(model)
    if network is None or outputs.ndim < 2 or model.given_likelihood.heads:
        return
    width = _width(model.given_likelihood, outputs.shape)
    known = _trained.get(network)
    if known is None or known[0] != width:
        _trained[network] = width, _weights(network)


def _check_trained(model: Losses, shape: torch.Size) -> None:
    network = network_in(model)
    if network is None or len(shape) < 2 or model.given_likelihood.heads:
        return
    width = _width(model.given_likelihood, shape)
    known, weights = _trained.get(network, (width, 0))
    if known != width and weights == _weights(network):  # with a new head it is another network
        raise ValueError(
            f"the network's outputs have shape {tuple(shape)}, expected {known} of them "
            "for an example or position, as in training: what is theirs is on another dimension."
        )


def _width(likelihood: Likelihood, shape: torch.Size) -> int:
    return shape[likelihood.output_dim or 1]


def _weights(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def _asked_with_few(model: nn.Module, x: Batch) -> tuple[Batch, Tensor]:
    """Return rows and their outputs: a few of them, unless the network takes only so many."""
    few = _few(x)
    try:
        return few, model(few)
    except RuntimeError:  # of torch: if it is not by the number of rows, it comes again
        return x, model(x)


def _few(x: Batch) -> Batch:
    """Return two rows, or a number of them that no other dimension has."""
    sizes = {size for each in tensors(x) for size in each.shape[1:]}
    counts = [count for count in (2, 3, 1) if count <= rows_of(x)]
    count = next((count for count in counts if count not in sizes), counts[0])
    return each_input(x, lambda values: values[:count])


def _check_end(likelihood: Likelihood, outputs: Tensor, origins: Origins) -> None:
    likelihood.check_outputs(outputs)
    if getattr(likelihood, "probs", False):
        return
    found = origins.distribution(outputs)
    if found and likelihood.of_classes:
        probs = hasattr(likelihood, "probs") and found == "softmax"
        meant = ", or give `Categorical(probs=True)` if it is meant" if probs else ""
        raise ValueError(
            f"the network ends in a {found}, so that its outputs lie in [0, 1], expected raw "
            f"outputs, which may be any numbers: remove it{meant}."
        )


def _dim_name(likelihood: Likelihood, said: bool = False) -> str | None:
    """Return the argument that says which dimension is not for positions, if it is left open."""
    names = {each.name for each in fields(likelihood)} if is_dataclass(likelihood) else set[str]()
    name = next((each for each in ("class_dim", "output_dim") if each in names), None)
    # A number for each target means the same on any dimension.
    alike = name == "output_dim" and likelihood.width(1) == 1 and not likelihood.of_classes
    return None if not said and (alike or likelihood.output_dim is not None) else name


def _are_last(model: Losses, x: Batch, outputs: Tensor, origins: Origins) -> bool:
    """Return whether classes are last: dimension 1 follows the length of the inputs, or by origin.

    A network may refuse other lengths, or take no notice of them.
    """
    first = _shorter(model, x, outputs, outputs.shape[1])
    if first is None:
        return origins.features_last(outputs)
    if first.shape[1] != outputs.shape[1] - 1 or first.shape[-1] != outputs.shape[-1]:
        return False
    other = _shorter(model, x, outputs, outputs.shape[-1], start=2)
    return other is None or other.shape[-1] == outputs.shape[-1]


def _shorter(model: Losses, x: Batch, outputs: Tensor, size: int, start: int = 1) -> Tensor | None:
    """Return the outputs for inputs that are shorter by one where they have some size, if any."""
    found = False

    def cut(values: Tensor) -> Tensor:
        nonlocal found
        for dim in range(start, values.ndim):
            if values.shape[dim] == size > 1:
                found = True
                return values.narrow(dim, 0, size - 1)
        return values

    short = each_input(x, cut)
    if not found:
        return None
    try:
        made = model(short)
    except Exception:  # whatever a network has against it
        return None
    return made if made.ndim == outputs.ndim else None
