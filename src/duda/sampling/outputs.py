"""Outputs of networks: what is called, taken out of it, has which rows, and where it comes from."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Mapping
from typing import Any
from weakref import WeakSet

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from duda.batches import Batch, arguments_of, rows_of
from duda.sampling.values import tensors

__all__ = ["Origins", "called", "moves_classes", "raw_outputs", "with_rows"]

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


def called(network: nn.Module, x: Batch) -> Any:
    """Return what the network returns for `x`; named inputs become keyword arguments.

    Raises:
        TypeError: if it does not take them.

    >>> import torch
    >>> called(nn.Flatten(), {"input": torch.ones(2, 1, 1)})
    tensor([[1.],
            [1.]])
    """
    places, named = arguments_of(x)
    try:
        return network(*places, **named)
    except TypeError as error:
        why = _not_taken(network, places, named)
        if why is None:
            raise
        raise TypeError(why) from error


def _not_taken(network: nn.Module, places: list[Any], named: dict[str, Any]) -> str | None:
    """Return the sentence for inputs that are none of a network's arguments, None if they are."""
    try:
        signature = inspect.signature(network.forward)
    except ValueError:  # as of some scripted modules
        return None
    try:
        signature.bind(*places, **named)
    except TypeError as error:
        takes = f"because the network takes `forward{signature}` ({error})"
        if not named:
            found = "a tuple, expected a tensor" if len(places) > 1 else "alone, expected more"
            return f"`x` is {found}, {takes}: of a pair (inputs, targets) give only the first."
        names = " and ".join(map(repr, named))
        return (
            f"`x` has the inputs {names}, expected others, {takes}: leave out what it does not "
            "take, or say by `inputs=lambda item: (args, kwargs, y)` what is what."
        )
    return None


def raw_outputs(network: nn.Module, x: Batch) -> Tensor:
    """Return what the network puts out for `x`, as one tensor.

    Of an output that has `logits`, as those of Hugging Face do, these are taken. Where they have
    three dimensions, as for tokens, their classes are last, and are moved to dimension 1.

    Raises:
        TypeError: if the network returns something else.

    >>> import torch
    >>> class Tagger(nn.Module):
    ...     def forward(self, x):
    ...         return {"logits": torch.zeros(*x.shape, 9)}
    >>> raw_outputs(Tagger(), torch.ones(2, 5)).shape
    torch.Size([2, 9, 5])
    """
    found = called(network, x)
    if not isinstance(found, Tensor):
        found = _logits(found)
        if found.ndim == 3:
            _moved.add(network)
            found = found.movedim(-1, 1)
    return found


def with_rows(outputs: Tensor, x: Batch) -> Float[Tensor, "N *outputs"]:
    """Return the outputs of a network if they have one row for each example.

    Raises:
        ValueError: if they have not.
    """
    if outputs.ndim and len(outputs) == rows_of(x):
        return outputs
    raise ValueError(_other_rows(outputs, x))


def moves_classes(network: nn.Module) -> bool:
    """Return whether the classes of its outputs were last, and `raw_outputs` has moved them."""
    return any(module in _moved for module in network.modules())


_moved: WeakSet[nn.Module] = WeakSet()


def _logits(outputs: Any) -> Tensor:
    logits = outputs.get("logits") if isinstance(outputs, Mapping) else None
    logits = getattr(outputs, "logits", logits)
    if isinstance(logits, Tensor):
        return logits
    raise TypeError(
        f"the network returned a {type(outputs).__name__}, expected one tensor of raw outputs, or "
        "something with `.logits`: choose from it by `duda.layers.Outputs(network, ...)`."
    )


def _other_rows(outputs: Tensor, x: Batch) -> str:
    """Return the sentence for outputs that have not one row for each example."""
    rows, found = rows_of(x), tuple(outputs.shape)
    inputs = [tuple(each.shape) for each in tensors(x)]
    remedy = "let it keep the examples on dimension 0"
    if rows == 1:
        remedy = "it may drop a dimension of size 1: name the dimension, as in `squeeze(1)`"
    elif outputs.ndim == 0 or len(outputs) == 1:
        remedy = "it pools over the batch: let it pool over other dimensions"
    elif any(len(shape) > 1 and shape[1] == len(outputs) for shape in inputs):
        remedy = (
            "it takes dimension 1 for the examples: give its layers `batch_first=True`, or let it "
            "transpose inputs and outputs itself"
        )
    return (
        f"the network's outputs have shape {found} for {rows} inputs of shape "
        f"{' and '.join(map(str, inputs))}, expected a row for each, ({rows}, ...): {remedy}."
    )


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
