"""Dropout wherever it hides in modules and functions; attention and recurrent layers ask for it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.autograd import forward_ad

from duda.sampling.calls.random_calls import Function, Handler
from duda.streams import INTEGERS_AS_WIDE, Stream, unseen

if TYPE_CHECKING:
    from duda.sampling.randomness import Randomness

__all__ = ["DROPOUT", "Mask", "NeedsLoop", "drop", "mask_of"]

_PLAIN = (F.dropout, torch.dropout, torch.dropout_)
_CHANNELS = {F.dropout1d: 3, F.dropout2d: 4, F.dropout3d: 5}  # and the inputs' dimensions with N
_ALPHA_CHANNELS = (
    F.feature_alpha_dropout,
    torch.feature_alpha_dropout,
    torch.feature_alpha_dropout_,
)
_ALPHA = (F.alpha_dropout, torch.alpha_dropout, torch.alpha_dropout_, *_ALPHA_CHANNELS)
_CHANNELS_OF_ANY = (torch.feature_dropout, torch.feature_dropout_, *_ALPHA_CHANNELS)
_SELU_FLOOR = -1.7580993408473766  # what SELU tends to, which alpha dropout puts in


class NeedsLoop(RuntimeError):
    """Raised inside vmap by what only a loop over the draws gets right."""


@unseen
def drop(x: Tensor, mask_shape: tuple[int, ...], p: float, stream: Stream) -> Tensor:
    """Return `x` with entries zeroed with probability `p` and the others scaled by 1 / (1 - p).

    `mask_shape` broadcasts against `x`, from the right. A mask is the comparison of 8 or 16 random
    bits with a threshold, so p is met exactly where it is a multiple of 1/256 and within 2⁻¹⁷
    elsewhere; the scale belongs to the probability met, so that the mean is right.
    Source: Srivastava et al. 2014, section 10 (inverted scaling).

    >>> x = drop(torch.ones(1000), (1000,), 0.5, Stream(torch.tensor(0)))
    >>> sorted(set(x.tolist()))
    [0.0, 2.0]
    """
    mask, bits = mask_of(mask_shape, p, stream, x.device)
    return stream.in_the_open(mask.dropped, x, bits)


@dataclass(frozen=True)
class Mask:
    """Which entries to keep: those whose random bits are at least a threshold.

    Attributes:
        threshold: for 8 unsigned bits or 16 signed ones.
        share: the probability to be kept.
    """

    threshold: int
    share: float

    def kept(self, bits: Tensor) -> Tensor:
        """Return where entries stay."""
        if self.share == 0:  # the threshold is beyond what bits can be
            return torch.zeros_like(bits, dtype=torch.bool)
        return bits >= self.threshold

    def dropped(self, x: Tensor, bits: Tensor) -> Tensor:
        """Return `x` with dropped entries zero, and the others scaled by one over their share."""
        scaled = x * (1 / self.share if self.share else 0.0)
        as_integers = INTEGERS_AS_WIDE.get(x.dtype)
        if as_integers is None or self.share == 0 or _differentiated(x):
            return torch.where(self.kept(bits), scaled, 0)
        # Products of integers with 0 and 1 are zero for infinities as well, and several times
        # faster than `torch.where` on a CPU.
        kept = torch.empty_like(bits, dtype=as_integers)
        torch.ge(bits, self.threshold, out=kept)
        return torch.mul(kept, scaled.view(as_integers)).view(x.dtype)


def _differentiated(x: Tensor) -> bool:
    """Return whether a derivative with respect to `x` may be asked for."""
    return (
        (x.requires_grad and torch.is_grad_enabled())
        or forward_ad._current_level >= 0
        or is_functorch_wrapped_tensor(x)
    )


def mask_of(
    shape: tuple[int, ...], p: float, stream: Stream, device: torch.device
) -> tuple[Mask, Tensor]:
    """Return a mask that drops with probability `p`, and its random bits."""
    p = stream.chance(p)
    levels, dtype = (256, torch.uint8) if (256 * p).is_integer() else (65536, torch.int16)
    below = round(levels * p)
    bits = stream.integers(shape, dtype, device)
    lowest = 0 if dtype is torch.uint8 else -32768
    return Mask(below + lowest, 1 - below / levels), bits


def _plain(mode: Randomness, stream: Stream, func: Function, args: Any, kwargs: Any) -> Any:
    x, p, training, inplace = _arguments(func, args, kwargs)
    if not mode.drops(p, training):
        return func(*args, **kwargs)
    shape = _shape_of_mask(x, func)
    make = _alpha_dropped if func in _ALPHA else drop
    result = make(x, shape, p, stream)
    return mode.overwritten(x, result) if inplace else result


def _arguments(func: Function, args: Any, kwargs: Any) -> tuple[Tensor, float, bool, bool]:
    """Return the input, p, whether dropout is on, and whether it writes to the input."""
    defaults = _DEFAULTS.get(func)
    if defaults is None:
        named = dict(zip(("input", "p", "train"), args, strict=False)) | kwargs
        return named["input"], named["p"], named["train"], func.__name__.endswith("_")
    named = defaults | dict(zip(defaults, args, strict=False)) | kwargs
    return named["input"], named["p"], named["training"], named["inplace"]


def _shape_of_mask(x: Tensor, func: Function) -> tuple[int, ...]:
    if func in _CHANNELS_OF_ANY:
        kept = 2
    elif func in _CHANNELS:
        kept = x.ndim - (_CHANNELS[func] - 2)  # what is left after the positions
    else:
        return tuple(x.shape)
    if kept not in (1, 2) or x.ndim < kept:
        raise ValueError(
            f"the input of {func.__name__} has shape {tuple(x.shape)}, expected "
            f"{_CHANNELS.get(func, 2)} dimensions, or one fewer without the batch."
        )
    return (*x.shape[:kept], *[1] * (x.ndim - kept))


@unseen
def _alpha_dropped(x: Tensor, mask_shape: tuple[int, ...], p: float, stream: Stream) -> Tensor:
    """Return `x` with entries at SELU's floor, rescaled to mean 0 and variance 1 if it had these.

    Source: Klambauer et al. 2017, section 3.
    """
    mask, bits = mask_of(mask_shape, p, stream, x.device)
    return stream.in_the_open(partial(_at_the_floor, mask), x, bits)


def _at_the_floor(mask: Mask, x: Tensor, bits: Tensor) -> Tensor:
    share = mask.share
    scale = (share * (1 + (1 - share) * _SELU_FLOOR**2)) ** -0.5 if share else 0.0
    return torch.where(mask.kept(bits), x, _SELU_FLOOR) * scale - scale * (1 - share) * _SELU_FLOOR


DROPOUT: dict[Function, Handler] = {
    **dict.fromkeys((*_PLAIN, *_CHANNELS, *_ALPHA, *_CHANNELS_OF_ANY), _plain),
}

_DEFAULTS: dict[Callable[..., Any], dict[str, Any]] = {
    func: {each.name: each.default for each in inspect.signature(func).parameters.values()}
    for func in DROPOUT
    if inspect.isfunction(func)
}
