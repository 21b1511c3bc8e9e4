"""Mixed precision under vmap, which makes some calls of others that autocast would not know.

So products of float32 stay what they are, and those of two dtypes, as of a convolution after a
linear layer, or a normalization that keeps its float32, are errors: they are cast here.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_map_only

from duda.sampling.random_calls import Function, Handler
from duda.streams import Stream

if TYPE_CHECKING:
    from duda.sampling.randomness import Randomness

__all__ = ["AUTOCAST", "cast"]

_PRODUCTS = (
    *(torch.conv1d, torch.conv2d, torch.conv3d),
    *(torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d),
    *(F.linear, torch.addmm, torch.baddbmm),
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


def _product(mode: Randomness, stream: Stream, func: Function, args: Any, kwargs: Any) -> Any:
    if mode.vmapped:
        args, kwargs = cast(stream.device, (args, kwargs))
    return func(*args, **kwargs)


def _normalization(mode: Randomness, stream: Stream, func: Function, args: Any, kwargs: Any) -> Any:
    x, *others = args
    dtypes = {each.dtype for each in (*others, *kwargs.values()) if isinstance(each, Tensor)}
    if mode.vmapped and x.dtype in _SHORT and torch.float32 in dtypes:
        return func(x.float(), *others, **kwargs).to(x.dtype)
    return func(*args, **kwargs)


AUTOCAST: dict[Function, Handler] = {
    **dict.fromkeys(_PRODUCTS, _product),
    **dict.fromkeys((F.batch_norm, F.instance_norm), _normalization),
}
