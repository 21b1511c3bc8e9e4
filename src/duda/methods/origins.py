"""Origins of tensors: which function made each, told apart without looking at the data."""

from __future__ import annotations

import weakref
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from duda.sampling import tensors

__all__ = ["Origins"]

# Each puts its features on the last dimension.
_LAST = (F.linear, F.embedding, F.layer_norm, F.rms_norm, torch.rms_norm, torch.layer_norm)
# None of these moves a dimension.
_KEEPING = frozenset(
    """
    add sub mul div truediv __add__ __radd__ __sub__ __mul__ __rmul__ __truediv__ add_ sub_ mul_
    div_ __iadd__ __isub__ __imul__ dropout dropout_ feature_dropout alpha_dropout relu relu_
    gelu silu elu selu leaky_relu tanh sigmoid softplus softmax log_softmax clamp masked_fill
    where contiguous clone detach to float double half bfloat16 type_as neg exp log
    """.split()  # noqa: SIM905
)
_COPYING = ("to", "contiguous", "float", "detach", "clone")
_DISTRIBUTIONS = ("softmax", "sigmoid", "sigmoid_", "hardsigmoid", "gumbel_softmax")


class Origins(TorchFunctionMode):
    """Takes note of what made each tensor of a pass.

    >>> with Origins() as origins:
    ...     outputs = F.linear(torch.ones(2, 5, 3), torch.ones(4, 3)).softmax(-1)
    >>> origins.distribution(outputs), origins.features_last(outputs)
    ('softmax', True)
    """

    def __init__(self) -> None:
        super().__init__()
        self._names: dict[int, tuple[weakref.ref[Tensor], str, bool]] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call `func`, and note its name for what it returns."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if isinstance(result, Tensor):
            self._note(getattr(func, "__name__", ""), func, (args, kwargs), result)
        return result

    def distribution(self, tensor: Tensor) -> str | None:
        """Return which function has put all numbers of a tensor in [0, 1], if that was the last."""
        name, _ = self._known(tensor)
        return name if name in _DISTRIBUTIONS else None

    def features_last(self, tensor: Tensor) -> bool:
        """Return whether it comes from a layer with its features last, and none was moved since."""
        return self._known(tensor)[1]

    def _known(self, tensor: Tensor) -> tuple[str, bool]:
        reference, name, last = self._names.get(id(tensor), (None, "", False))
        return (name, last) if reference is not None and reference() is tensor else ("", False)

    def _note(self, name: str, func: Any, arguments: Any, result: Tensor) -> None:
        sources = [self._known(each) for each in tensors(arguments) if each.shape == result.shape]
        last = func in _LAST or (name in _KEEPING and any(last for _, last in sources))
        if name in _COPYING and sources:
            name = sources[0][0]
        self._names[id(result)] = weakref.ref(result), name, last
