"""Mixed precision under vmap, which makes some calls of others that autocast would not know.

So what is of two dtypes, as convolutions after other layers, or normalizations that keep their
float32, would be errors: it is cast here.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_map_only

from duda.draw_axis import Axis
from duda.sampling.calls.random_calls import Function, Handler
from duda.streams import Stream

if TYPE_CHECKING:
    from duda.sampling.randomness import Randomness

__all__ = ["AUTOCAST", "cast"]

_CONVOLUTIONS = (
    *(torch.conv1d, torch.conv2d, torch.conv3d),
    *(torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d),
)
_SHORT = (torch.float16, torch.bfloat16)


def cast(device: torch.device, given: Any) -> Any:
    """Return arguments of a product as autocast would cast them, if it is on."""
    if not torch.is_autocast_enabled(device.type):
        return given
    dtype = torch.get_autocast_dtype(device.type)
    return tree_map_only(Tensor, partial(_cast_to, dtype), given)


def _cast_to(dtype: torch.dtype, x: Tensor) -> Tensor:
    return x.to(dtype) if x.is_floating_point() and x.dtype is not torch.float64 else x


def _convolution(mode: Randomness, stream: Stream, func: Function, args: Any, kwargs: Any) -> Any:
    if mode.vmapped:
        args, kwargs = cast(stream.device, (args, kwargs))
    return func(*args, **kwargs)


def _linear(mode: Randomness, stream: Stream, func: Function, args: Any, kwargs: Any) -> Any:
    """Call it for all draws of its input, which torch then rounds as those of one."""
    on = mode.vmapped and torch.is_autocast_enabled(stream.device.type)
    if not on or len(args) < 2:
        return func(*args, **kwargs)
    x, *weights = args
    axis = Axis.of(x)
    if axis is None or kwargs or any(each is not None and axis.hides(each) for each in weights):
        return func(*args, **kwargs)
    return axis.hidden(func(*cast(stream.device, (axis.shown(x), *weights))))


def _normalization(mode: Randomness, stream: Stream, func: Function, args: Any, kwargs: Any) -> Any:
    """Call it with draws as more rows, which torch takes in half precision as well."""
    if not mode.vmapped or not args or args[0].dtype not in _SHORT:
        return func(*args, **kwargs)
    x, *others = args
    axis = Axis.of(x)
    training = others[4] if len(others) > 4 else kwargs.get("training", False)
    tensors = [each for each in (*others, *kwargs.values()) if isinstance(each, Tensor)]
    if axis is None or any(map(axis.hides, tensors)) or (training and func is F.batch_norm):
        return func(*args, **kwargs)
    found = func(axis.shown(x).flatten(0, 1), *others, **kwargs)
    return axis.hidden(found.reshape(axis.size, -1, *found.shape[1:]))


AUTOCAST: dict[Function, Handler] = {
    **dict.fromkeys(_CONVOLUTIONS, _convolution),
    F.linear: _linear,
    **dict.fromkeys((F.batch_norm, F.instance_norm), _normalization),
}
