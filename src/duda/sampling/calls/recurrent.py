"""Recurrent layers and cells, in which the draws that vmap hides are more rows of one call.

Torch's kernels take any number of rows, which know nothing of each other; vmap has no rule for
them.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from duda.draw_axis import Axis
from duda.sampling.calls.dropout import drop, mask_of
from duda.sampling.calls.random_calls import Function, Handler
from duda.streams import Stream, unseen

if TYPE_CHECKING:
    from duda.sampling.randomness import Randomness

__all__ = ["RECURRENT"]

_States = Tensor | Sequence[Tensor]  # hidden states, and of an LSTM cells

_LAYERS = (torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu)
_CELLS = (torch.lstm_cell, torch.gru_cell, torch.rnn_tanh_cell, torch.rnn_relu_cell)
_WITH_CELLS = (torch.lstm, torch.lstm_cell)


def _layers(mode: Randomness, stream: Stream, func: Function, args: Any, kwargs: Any) -> Any:
    # (input, [batch_sizes], hx, weights, has_biases, layers, dropout, train, bidirectional, ...)
    first = next(place for place, arg in enumerate(args) if isinstance(arg, bool))
    x, *sizes, starts, weights = args[:first]
    has_biases, layers, p, training, *form = args[first:]
    place = 0 if sizes or form[-1] else 1
    if layers == 1 or not mode.drops(p, training):
        return _Recurrent(func, place, 1, args[first:])(x, sizes, starts, weights)
    alone = _Recurrent(func, place, 1, (has_biases, 1, 0.0, False, *form))
    return _layer_by_layer(alone, layers, p, stream, x, sizes, starts, weights)


@unseen
def _layer_by_layer(
    alone: _Recurrent,
    layers: int,
    p: float,
    stream: Stream,
    h: Tensor,
    sizes: list[Tensor],
    starts: _States,
    weights: Sequence[Tensor],
) -> tuple[Tensor, ...]:
    """Return what a recurrent layer does, one of its layers after the other, and dropout between.

    Source: Zaremba et al. 2014, section 3.2, non-recurrent dropout.
    """
    states = [state.chunk(layers) for state in _listed(starts)]
    of_each = len(weights) // layers
    ends = []
    for layer in range(layers):
        if layer:
            h = _dropped_steps(h, sizes, p, stream)
        start = [state[layer] for state in states]
        own = weights[of_each * layer : of_each * (layer + 1)]
        h, *end = alone(h, sizes, start, own)
        ends.append(end)
    return h, *map(torch.cat, zip(*ends, strict=True))


def _dropped_steps(h: Tensor, sizes: list[Tensor], p: float, stream: Stream) -> Tensor:
    """Return `h` with dropout; of packed sequences each entry has a place in all steps."""
    if not sizes:
        return drop(h, tuple(h.shape), p, stream)
    [of_steps] = sizes
    shape = (len(of_steps), int(of_steps[0]), h.shape[-1])
    present = torch.arange(shape[1]) < of_steps[:, None]
    mask, bits = mask_of(shape, p, stream, h.device)
    bits = bits.flatten(0, 1).index_select(0, present.flatten().nonzero()[:, 0].to(h.device))
    return stream.in_the_open(mask.dropped, h, bits)


def _cell(mode: Randomness, stream: Stream, func: Function, args: Any, kwargs: Any) -> Any:
    x, starts, *weights = args
    found = _Recurrent(func, 0, 0)(x, [], starts, weights)
    return found if len(found) > 1 else found[0]


@dataclass(frozen=True)
class _Recurrent:
    """A recurrent operator of torch, which takes the draws that vmap hides for more rows.

    Args:
        func: the operator.
        place: on which dimension of its inputs the rows are.
        of_states: on which dimension of its states they are.
        options: what it is called with after its weights; cells have none.
    """

    func: Function
    place: int
    of_states: int
    options: tuple[Any, ...] | None = None

    @unseen
    def __call__(
        self, x: Tensor, sizes: list[Tensor], starts: _States, weights: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """Return outputs and states, of packed sequences if there are sizes of their steps."""
        states = _listed(starts)
        axis = Axis.of(x, *states, *weights)
        if axis is None:
            return self._called(x, sizes, states, weights)
        if Axis.of(*weights) is not None:  # which only one draw has
            each = [
                self._called(at(x), sizes, [*map(at, states)], [*map(at, weights)])
                for at in (partial(axis.at, number) for number in range(axis.size))
            ]
            return tuple(axis.hidden(torch.stack(found)) for found in zip(*each, strict=True))
        sizes = [each * axis.size for each in sizes]
        states = [_with_draws(each, axis, self.of_states) for each in states]
        found, *ends = self._called(_with_draws(x, axis, self.place), sizes, states, weights)
        return (
            _without_draws(found, axis, self.place),
            *(_without_draws(end, axis, self.of_states) for end in ends),
        )

    def _called(
        self, x: Tensor, sizes: list[Tensor], states: list[Tensor], weights: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        start = states if self.func in _WITH_CELLS else states[0]
        if self.options is None:
            found = self.func(x, start, *weights)
            return found if isinstance(found, tuple) else (found,)
        with warnings.catch_warnings():  # which cuDNN gives, as these are some of all weights
            warnings.filterwarnings("ignore", "RNN module weights are not part of single")
            return self.func(x, *sizes, start, weights, *self.options)  # type: ignore[no-any-return]


def _listed(starts: _States) -> list[Tensor]:
    return [starts] if isinstance(starts, Tensor) else list(starts)


def _with_draws(x: Tensor, axis: Axis, place: int) -> Tensor:
    """Return `x` in which each row is as many as there are draws, which follow one another."""
    if axis.hides(x):
        return axis.shown(x).movedim(0, place + 1).flatten(place, place + 1)
    return x.repeat_interleave(axis.size, place)


def _without_draws(x: Tensor, axis: Axis, place: int) -> Tensor:
    apart = x.reshape(*x.shape[:place], -1, axis.size, *x.shape[place + 1 :])
    return axis.hidden(apart, place + 1)


@unseen
def _packed(mode: Randomness, stream: Stream, func: Function, args: Any, kwargs: Any) -> Any:
    """Answer `_pack_padded_sequence(x, lengths, batch_first)`."""
    x, *others = args
    axis = Axis.of(x)
    if axis is None:
        return func(*args, **kwargs)
    data, sizes = func(axis.shown(x).movedim(0, 2), *others, **kwargs)
    return axis.hidden(data, 1), sizes


@unseen
def _padded(mode: Randomness, stream: Stream, func: Function, args: Any, kwargs: Any) -> Any:
    """Answer `_pad_packed_sequence(data, batch_sizes, batch_first, padding_value, length)`."""
    data, *others = args
    axis = Axis.of(data)
    if axis is None:
        return func(*args, **kwargs)
    x, lengths = func(axis.shown(data).movedim(0, 1), *others, **kwargs)
    return axis.hidden(x, 2), lengths


RECURRENT: dict[Function, Handler] = {
    **dict.fromkeys(_LAYERS, _layers),
    **dict.fromkeys(_CELLS, _cell),
    torch._pack_padded_sequence: _packed,
    torch._pad_packed_sequence: _padded,
}
