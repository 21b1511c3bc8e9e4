"""Files of models: weights, likelihood and method by name; the network's code stays the user's."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from duda.checks import nearest, plain_number
from duda.likelihoods import LIKELIHOODS, Joint
from duda.methods.base import UncertainModel
from duda.methods.recipe import check_recipe, check_sizes, check_weights
from duda.sampling import seeded
from duda.storage import Format, holding

__all__ = ["load", "save"]

_FORMAT = Format("model")


def save(model: UncertainModel, path: str | os.PathLike[str]) -> Path:
    """Write a model to one safetensors file, whole or not at all; nothing is pickled.

    The file holds weights and buffers, and the likelihood and the method by names and arguments. Of
    arguments that are functions it holds only that there were some: `load` asks for them.

    Raises:
        TypeError: if `model` is none, or its class not in `duda.METHODS`.
        OSError: if the file cannot be written.

    >>> import duda, tempfile
    >>> make = lambda: nn.Linear(2, 3)
    >>> model = duda.DeepEnsemble(make, duda.Categorical(), members=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     other = duda.load(duda.save(model, f"{folder}/ensemble.duda"), make)
    >>> bool((model.predict(torch.ones(4, 2)).probs == other.predict(torch.ones(4, 2)).probs).all())
    True
    """
    if not isinstance(model, UncertainModel):
        raise TypeError(
            f"`model` is a {type(model).__name__}, expected one of duda's, such as "
            "`duda.Deterministic(network, duda.Categorical())`."
        )
    recipe = _recipe(model)
    return _FORMAT.write(path, recipe["method"], {"recipe": recipe, "weights": _weights(model)})


def load(
    path: str | os.PathLike[str],
    network: nn.Module | Callable[[], nn.Module],
    *,
    device: str | torch.device | None = None,
    **arguments: Any,
) -> UncertainModel:
    """Read what `save` wrote: a model that predicts the same.

    Args:
        path: of the file.
        network: one like that which was saved, whatever its weights, or a function that makes one;
            copies of it get the weights in the file, as many as the method has networks.
        device: where the model goes; the CPU by default.
        arguments: of the method, by name: functions, which no file holds, and what is to be
            otherwise than it was, such as `samples`.

    Raises:
        FileNotFoundError: if there is no such file.
        TypeError: if `arguments` lack one that the file does not hold, or the method does not know.
        ValueError: if the file is damaged or holds something else, or its weights do not fit.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no model at `{path}`: save one with `duda.save(model, path)`.")
    _, state = _FORMAT.read(path)
    with holding(path, "model"):
        check_recipe(state.get("recipe"))
        check_weights(state.get("weights"))
        check_sizes(state["recipe"], state["weights"])
    _check_arguments(path, state["recipe"], arguments)
    with seeded(0, []):  # a new network's first weights are nobody's concern
        model = _made(state["recipe"], _factory(network), arguments)
    _fill(model, state["weights"], path)
    return model if device is None else model.to(device)


def _recipe(model: UncertainModel) -> dict[str, Any]:
    """Return the method and its arguments, and the recipe of another method that it is around."""
    around = getattr(model, _names(type(model))[0], None)
    given = model.arguments()
    if not isinstance(around, UncertainModel):
        given["likelihood"], around = model.given_likelihood, None
    arguments: dict[str, Any] = {}
    for name, value in given.items():
        with suppress(_NotKept):
            arguments[name] = _described(value)
    return {
        "method": _name_of(model),
        "arguments": arguments,
        "left_out": [name for name in given if name not in arguments],
        "around": None if around is None else _recipe(around),
    }


def _names(method: type[UncertainModel]) -> list[str]:
    """Return the arguments of the constructor, of which the first is the network."""
    return list(inspect.signature(method).parameters)


def _name_of(model: UncertainModel) -> str:
    """Return the name that the class of a model has among the methods."""
    for name, method in _methods().items():
        if type(model) is method:
            return name
    kind = type(model).__name__
    raise TypeError(
        f"`model` is a {kind}, which is not in `duda.METHODS`, so that no file could name it: "
        f"register it, `duda.METHODS[{kind.lower()!r}] = {kind}`, before you save and load."
    )


def _methods() -> dict[str, type[UncertainModel]]:
    methods: dict[str, type[UncertainModel]] = sys.modules["duda.methods"].METHODS
    return methods


class _NotKept(Exception):
    """A file cannot hold this argument."""


def _described(value: Any) -> Any:
    """Return an argument as a file can hold it; what is no plain value is a dict.

    Raises:
        _NotKept: if none can.
    """
    if value is None or isinstance(value, (bool, str)) or plain_number(value) is not None:
        return value
    if isinstance(value, Mapping):
        return [[name, _described(each)] for name, each in value.items()]
    if isinstance(value, (list, tuple)):
        return [_described(each) for each in value]
    if isinstance(value, nn.ModuleList):
        return len(value)
    if isinstance(value, nn.Module):
        return {"network": True}
    kind = type(value).__name__
    if _settings().get(kind) is not type(value):
        raise _NotKept
    fields = (each.name for each in dataclasses.fields(value) if each.init)
    given = {name: getattr(value, name) for name in fields}
    return {"kind": kind, "arguments": {name: _described(each) for name, each in given.items()}}


def _settings() -> dict[str, Any]:
    """Return the likelihoods, priors and other dataclasses that methods take, by name."""
    known = (*LIKELIHOODS.values(), Joint, *vars(sys.modules["duda.methods"]).values())
    kinds = (each for each in known if isinstance(each, type) and dataclasses.is_dataclass(each))
    return {kind.__name__: kind for kind in kinds}


def _restored(value: Any, factory: Callable[[], nn.Module]) -> Any:
    """Return the argument that `_described` was given."""
    if isinstance(value, list):
        return [_restored(each, factory) for each in value]
    if not isinstance(value, dict):
        return value
    if "network" in value:
        return factory()
    kind, known = value["kind"], _settings()
    if kind not in known:
        raise ValueError(nearest(kind, known, "likelihood or setting"))
    given = {n: _restored(each, factory) for n, each in value["arguments"].items()}
    try:
        return known[kind](**given)
    except TypeError as error:
        raise ValueError(f"the file holds no valid {kind}: {error}") from error


def _check_arguments(path: Any, recipe: dict[str, Any] | None, given: Mapping[str, Any]) -> None:
    """Raise a `TypeError` unless just what is missing was given, or what the methods know."""
    known: list[str] = []
    while recipe is not None:
        name = recipe["method"]
        if name not in _methods():
            raise ValueError(f"`{path}` holds an {nearest(name, _methods(), 'method')}")
        known += _names(_methods()[name])[1:]
        for argument in recipe["arguments"]:
            if argument not in ("likelihood", *known):
                raise ValueError(f"`{path}` holds an {nearest(argument, known, 'argument')}")
        missing = [each for each in recipe["left_out"] if each not in given]
        if missing:
            raise TypeError(
                f"`{path}` does not hold {' and '.join(f'`{each}`' for each in missing)} of the "
                f"{_methods()[name].__name__}, because files hold no objects: give it again, "
                f"`duda.load(path, network, {missing[0]}=...)`."
            )
        recipe = recipe["around"]
    for each in given:
        if each not in known:
            raise TypeError(nearest(each, dict.fromkeys(known), "argument"))


def _factory(network: nn.Module | Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    if isinstance(network, nn.Module):
        return lambda: copy.deepcopy(network)
    if callable(network):
        return network
    raise TypeError(
        f"`network` is a {type(network).__name__}, expected a torch.nn.Module like that which was "
        "saved, or a function that makes one: a file holds weights, not code."
    )


def _made(
    recipe: dict[str, Any], factory: Callable[[], nn.Module], given: Mapping[str, Any]
) -> UncertainModel:
    """Return a new model by its recipe, but for what was given."""
    method: Any = _methods()[recipe["method"]]
    arguments = {
        name: _restored(value, factory)
        for name, value in recipe["arguments"].items()
        if name not in given
    }
    arguments |= {name: value for name, value in given.items() if name in _names(method)}
    made: UncertainModel
    if recipe["around"] is not None:
        made = method(_made(recipe["around"], factory, given), **arguments)
    else:
        made = method.from_factory(factory, arguments.pop("likelihood"), **arguments)
    return made


def _weights(model: UncertainModel) -> dict[str, Tensor]:
    """Return weights and buffers by name; those of several names once, by the first of these."""
    found: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"`model` has the state {name!r}, a {type(tensor).__name__}, expected tensors: "
                "keep it in a buffer."
            )
        found.setdefault(id(tensor), (name, tensor))
    return dict(found.values())


def _fill(model: UncertainModel, weights: dict[str, Tensor], path: Any) -> None:
    """Put weights and buffers into a model, in the dtypes that they have.

    Raises:
        ValueError: if they do not fit.
    """
    places = model.state_dict(keep_vars=True)
    named = {id(places[name]): tensor for name, tensor in weights.items() if name in places}
    filled = weights | {name: named[id(t)] for name, t in places.items() if id(t) in named}
    for name, tensor in places.items():
        if name in filled:
            dtype = filled[name].dtype
            if tensor.requires_grad and not (dtype.is_floating_point or dtype.is_complex):
                raise ValueError(f"`{path}` holds {dtype} for the weight {name!r}; save it again.")
            tensor.data = tensor.data.to(dtype)
    try:
        model.load_state_dict(filled)
    except RuntimeError as error:
        _, *reasons = (line.strip().rstrip(".") for line in str(error).splitlines())
        raise ValueError(
            f"`network` does not fit the weights in `{path}`: {'; '.join(reasons[:3])}."
        ) from None
