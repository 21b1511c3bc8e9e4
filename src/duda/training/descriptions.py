"""Descriptions of objects, by which one run is told from another, also by another process.

Equal texts mean equal settings: no address is in them, and what is in an object is, whatever its
class. Functions and classes of users are known by what they compute, those of libraries by name.
"""

from __future__ import annotations

import copyreg
import dis
import functools
import random
import sys
import sysconfig
import types
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from duda.methods import UncertainModel
from duda.methods.target_scale import TargetUnits
from duda.trees import checksum

__all__ = ["described", "module_settings"]

_LONG = 60  # characters
_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...), torch.dtype, torch.device)
_RANDOM = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
_OPERATIONS = (torch._ops.OpOverload, torch._ops.OpOverloadPacket)
_OURS = ("duda", "torch")  # whose names are known without the module
_INSTALLED = {
    Path(sysconfig.get_path(name)).resolve()
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
}
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def described(value: Any, name: str) -> str:
    """Return a text that tells an object from others, the same in every process.

    Args:
        value: any object.
        name: of the argument that it is.

    Raises:
        TypeError: if it cannot be told from others of its kind.

    >>> described(functools.partial(torch.optim.SGD, momentum=0.9), "optimizer")
    'SGD(momentum=0.9)'
    >>> described(lambda x: 2 * x, "rule") == described(lambda x: 3 * x, "rule")
    False
    """
    return _Description(strict=True).named(value, f"`{name}`", strict=True)


def module_settings(network: nn.Module) -> list[str]:
    """Return a line for each class, and each setting, of a network's modules.

    Settings of a model are the arguments of its constructor, and those of other modules their
    attributes, but for tensors.

    Raises:
        TypeError: if an argument of a model, or a function, cannot be told from others of its kind.

    >>> module_settings(nn.Dropout(0.2))
    [' is Dropout', '.p = 0.2', '.inplace = False']
    """
    return list(_Description(strict=False).lines(network))


class _Opaque(TypeError):
    """An object cannot be told from others of its kind."""


class _Description:
    """A description that is being written."""

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self._known: dict[tuple[int, bool], tuple[str, Any]] = {}  # which keeps what is told of

    def of(self, value: Any, strict: bool | None = None) -> str:
        """Return the text, a checksum for the end of a long one."""
        before, self.strict = self.strict, self.strict if strict is None else strict
        key = id(value), self.strict
        if key not in self._known:
            self._known[key] = "itself", value
            text = self._of(value)
            short = text if len(text) <= 2 * _LONG else f"{text[:_LONG]}... {_crc(text)}"
            self._known[key] = short, value
        self.strict = before
        return self._known[key][0]

    def named(self, value: Any, name: str, strict: bool) -> str:
        """Return the text, or say what cannot be told from others."""
        try:
            return self.of(value, strict)
        except _Opaque as error:
            raise TypeError(f"{name} is or holds {error}") from error.__cause__

    def lines(self, network: nn.Module) -> Iterator[str]:
        """Yield what `module_settings` returns."""
        for name, module in network.named_modules():
            if isinstance(module, TargetUnits):  # which training sets
                continue
            yield f"{name} is {self.of(type(module))}"
            model = isinstance(module, UncertainModel)
            for each, value in module.arguments().items() if model else _attributes(module):
                if isinstance(value, nn.Module):
                    yield f"{name}.{each} is {self.of(type(value))}"
                elif not isinstance(value, Tensor):
                    of = f"`{each}` of the {type(module).__name__}"
                    text = self.named(value, of, strict=model or callable(value))
                    yield f"{name}.{each} = {text}"

    def _of(self, value: Any) -> str:
        if isinstance(value, np.generic):
            value = value.item()
        if type(value) in _PLAIN:
            return repr(value)
        if isinstance(value, Tensor | np.ndarray):
            return self._array(value)
        if isinstance(value, nn.Module):
            return f"{self.of(type(value))} {_crc(*self.lines(value))}"
        if isinstance(value, Mapping):
            return f"{{{', '.join(f'{self.of(k)}: {self.of(v)}' for k, v in value.items())}}}"
        if isinstance(value, list | tuple):
            return f"[{self._several(value)}]"
        if isinstance(value, set | frozenset):
            return f"{{{', '.join(sorted(map(self.of, value)))}}}"
        if isinstance(value, type):
            return self._class(value)
        if callable(value) and (text := self._function(value)):
            return text
        return self._object(value)

    def _several(self, values: Any) -> str:
        return ", ".join(map(self.of, values))

    def _array(self, value: Tensor | np.ndarray) -> str:
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in "biufc":
                return f"array {value.dtype} {self.of(value.tolist())}"
            value = torch.from_numpy(np.array(value))
        return f"{value.dtype} {list(value.shape)} #{checksum(value.detach()):08x}"

    def _function(self, value: Any) -> str | None:
        """Return the text of what is no object but a function."""
        if isinstance(value, functools.partial):
            given = [self.of(each) for each in value.args]
            given += [f"{name}={self.of(each)}" for name, each in sorted(value.keywords.items())]
            return f"{self.of(value.func)}({', '.join(given)})"
        if isinstance(value, types.FunctionType):
            if _has_name(value):
                return _name(value)
            return f"{value.__qualname__} {_crc(*self._computation(value))}"
        owner = getattr(value, "__self__", None)
        if isinstance(value, types.MethodType):
            return f"{self.of(value.__func__)} of {self.of(owner)}"
        if isinstance(value, types.BuiltinFunctionType):
            of = (
                ""
                if owner is None or isinstance(owner, types.ModuleType | type)
                else self.of(owner)
            )
            return f"{value.__qualname__} of {of}" if of else _name(value)
        if isinstance(value, torch.jit.ScriptFunction):
            return f"{value.name} {_crc(str(value.code))}"
        return str(value) if isinstance(value, _OPERATIONS) else None

    def _computation(self, function: types.FunctionType) -> Iterator[str]:
        """Yield what decides what a function returns."""
        yield from _steps(function.__code__)
        yield self.of([function.__defaults__, function.__kwdefaults__])
        for cell in function.__closure__ or ():
            yield self.of(_content(cell))
        for name in sorted(_names_outside(function.__code__)):
            found = function.__globals__.get(name)
            if not isinstance(found, nn.Module | types.ModuleType):
                yield f"{name} {self.of(found, strict=False)}"

    def _class(self, kind: type) -> str:
        if _has_name(kind):
            return _name(kind)
        parts = [self.of(base) for base in kind.__bases__]
        for name, part in sorted(vars(kind).items()):
            for each in (getattr(part, "fget", None), getattr(part, "__func__", None), part):
                if isinstance(each, types.FunctionType):
                    parts += [name, *self._computation(each)]
                    break
                if isinstance(each, _PLAIN) and not name.startswith("__"):
                    parts.append(f"{name} {each!r}")
        return f"{kind.__qualname__} {_crc(*parts)}"

    def _object(self, value: Any) -> str:
        """Return the class of an object and what a copy of it would be made of."""
        kind = self.of(type(value))
        if isinstance(value, _RANDOM):  # where it stands is no setting
            return kind
        try:
            reduce = copyreg.dispatch_table.get(type(value))
            made_of = reduce(value) if reduce else value.__reduce_ex__(4)
        except Exception as error:  # whatever its author thought fit
            if not self.strict:
                return kind
            raise _Opaque(
                f"a {type(value).__name__}, which does not show what is in it, so that it could be "
                f"told from others ({error}): give a function, or an object with attributes."
            ) from error
        if isinstance(made_of, str):
            return f"{kind} {made_of}"
        how, arguments, *state = made_of
        start = [] if how is copyreg.__newobj__ else [how]  # type: ignore[attr-defined]
        given = [each for each in arguments if each is not type(value)]
        content = [list(each) if isinstance(each, Iterator) else each for each in state if each]
        shown = [self.of(each) for each in (*start, *given, *content)]
        return f"{kind}({', '.join(shown)})"


def _attributes(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield what was set on a module, and the functions that it calls besides."""
    if isinstance(module, torch.jit.ScriptModule):
        yield "code", str(module.code)
        return
    own = vars(module)
    yield from ((name, value) for name, value in own.items() if name not in vars(nn.Module()))
    yield from ((name, list(own[name].values())) for name in _HOOKS if own.get(name))


def _steps(code: types.CodeType) -> Iterator[str]:
    """Yield what a function's code does, whatever its lines and its file."""
    kinds = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount
    yield f"{code.co_code.hex()} {code.co_names} {kinds}"
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _steps(constant)
        else:  # a set has another order in each process
            found = sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant
            yield repr(found)


def _names_outside(code: types.CodeType) -> set[str]:
    """Return the names that a function looks up among those of its module."""
    found = {each.argval for each in dis.get_instructions(code) if "GLOBAL" in each.opname}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _names_outside(constant)
    return found


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name that has no value yet
        return None


def _has_name(value: Any) -> bool:
    """Return whether a function or class is known by the place of a library that it is in."""
    return "<" not in value.__qualname__ and _of_library(value.__module__)


def _name(value: Any) -> str:
    module = getattr(value, "__module__", None) or ""
    name = value.__qualname__.removeprefix("_VariableFunctionsClass.")
    known = module.partition(".")[0] in (*_OURS, "builtins", "")
    return name if known else f"{module}.{name}"


@functools.cache
def _of_library(module: str | None) -> bool:
    """Return whether a module is installed, and so known by its name."""
    top = (module or "").partition(".")[0]
    if top in _OURS or top in sys.stdlib_module_names:
        return True
    file = getattr(sys.modules.get(module or ""), "__file__", None)
    if file is None:
        return top not in ("", "__main__")
    return not _INSTALLED.isdisjoint(Path(file).resolve().parents)


def _crc(*texts: str) -> str:
    return f"#{zlib.crc32('|'.join(texts).encode()):08x}"
