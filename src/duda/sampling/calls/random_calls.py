"""Torch's random functions (rand, randn, randint, normal, bernoulli), answered by a stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from duda.streams import Stream, unseen

if TYPE_CHECKING:
    from duda.sampling.randomness import Randomness

__all__ = ["RANDOM_CALLS", "Function", "Handler"]

Function = Callable[..., Any]
Handler = Callable[["Randomness", Stream, Function, Any, Any], Any]


def _uniform(stream: Stream, like: Tensor) -> Tensor:
    return stream.uniform(like.shape, like.dtype, like.device)


def _normal(stream: Stream, like: Tensor) -> Tensor:
    return stream.normal(like.shape, like.dtype, like.device)


def _new(make: Function, draw: Callable[[Stream, Tensor], Tensor]) -> Handler:
    """Return the handler of a function that is called as `make` is, which makes what is empty."""

    @unseen
    def handle(mode: Randomness, stream: Stream, func: Function, args: Any, kwargs: Any) -> Any:
        like = make(*args, **kwargs)
        if not like.is_floating_point():  # but complex
            return func(*args, **kwargs)
        return draw(stream, like).contiguous()  # for whoever writes to it

    return handle


@unseen
def _integers(mode: Randomness, stream: Stream, func: Function, args: Any, kwargs: Any) -> Any:
    """Answer `randint([low], high, size)` and `randint_like(x, [low], high)`."""
    named: dict[str, Any] = {"dtype": torch.int64} if func is torch.randint else {}
    named |= kwargs
    bounds = [arg for arg in args if isinstance(arg, int)]
    others = [arg for arg in args if not isinstance(arg, int)]
    high = named.pop("high") if "high" in named else bounds.pop()
    low = named.pop("low") if "low" in named else (bounds or [0])[0]
    like = (torch.empty if func is torch.randint else torch.empty_like)(*others, **named)
    width = high - low

    def between(words: Tensor) -> Tensor:
        return words.remainder(width).add_(low).to(like.dtype)

    def in_bits(words: Tensor) -> Tensor:
        return words.bitwise_and_(width - 1).to(like.dtype).add_(low)

    if 0 < width <= 256 and width & (width - 1) == 0:  # as for signs, and several times cheaper
        bits = stream.integers(like.shape, torch.uint8, like.device)
        return stream.in_the_open(in_bits, bits).contiguous()
    words = stream.integers(like.shape, torch.int64, like.device)
    return stream.in_the_open(between, words).contiguous()


def _hits(stream: Stream, like: Tensor, p: float | Tensor) -> Tensor:
    """Return ones with probability `p` and zeros, in the dtype and shape of `like`."""
    double = isinstance(p, Tensor) and p.dtype is torch.float64
    dtype = torch.float64 if double else torch.float32
    return (stream.uniform(like.shape, dtype, like.device) < p).to(like.dtype)


@unseen
def _bernoulli(mode: Randomness, stream: Stream, func: Function, args: Any, kwargs: Any) -> Any:
    """Answer `bernoulli(x)`, where x holds probabilities, and `bernoulli(x, p)`."""
    named = dict(zip(("input", "p"), args, strict=False)) | kwargs
    return _hits(stream, named["input"], named.get("p", named["input"]))


@unseen
def _around(mode: Randomness, stream: Stream, func: Function, args: Any, kwargs: Any) -> Any:
    """Answer `normal(mean, std)` and `normal(mean, std, size)`."""
    named = dict(zip(("mean", "std", "size"), args, strict=False)) | kwargs
    mean, std = named.pop("mean", 0.0), named.pop("std", 1.0)
    like = torch.empty(named.pop("size"), **named) if "size" in named else mean + std
    if not isinstance(like, Tensor):
        return func(*args, **kwargs)  # which tells what is missing
    return mean + std * _normal(stream, like)


def _in_place(draw: Function, **defaults: float) -> Handler:
    """Return the handler of a method that overwrites a tensor by what `draw` returns."""

    def handle(mode: Randomness, stream: Stream, func: Function, args: Any, kwargs: Any) -> Any:
        target, *given = args
        parameters = defaults | dict(zip(defaults, given, strict=False)) | kwargs
        return mode.overwritten(target, unseen(draw)(stream, target, *parameters.values()))

    return handle


def _normal_with(stream: Stream, like: Tensor, mean: float, std: float) -> Tensor:
    return _normal(stream, like).mul(std).add(mean)


def _uniform_between(stream: Stream, like: Tensor, low: float, high: float) -> Tensor:
    return _uniform(stream, like).mul(high - low).add(low)


RANDOM_CALLS: dict[Function, Handler] = {
    torch.rand: _new(torch.empty, _uniform),
    torch.randn: _new(torch.empty, _normal),
    torch.rand_like: _new(torch.empty_like, _uniform),
    torch.randn_like: _new(torch.empty_like, _normal),
    torch.randint: _integers,
    torch.randint_like: _integers,
    torch.bernoulli: _bernoulli,
    torch.Tensor.bernoulli: _bernoulli,
    torch.normal: _around,
    torch.Tensor.normal_: _in_place(_normal_with, mean=0.0, std=1.0),
    torch.Tensor.uniform_: _in_place(_uniform_between, **{"from": 0.0, "to": 1.0}),
    torch.Tensor.bernoulli_: _in_place(_hits, p=0.5),
}
