"""Methods and detectors of a comparison by their labels: registered ones, or functions."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence

from torch import nn

from duda.checks import nearest
from duda.comparison.detected import Detected
from duda.detectors import DETECTORS, Detector
from duda.likelihoods import Likelihood
from duda.methods import METHODS, UncertainModel
from duda.sampling import seeded

__all__ = ["Maker", "Methods", "NetworkFactory", "check_methods", "file_name", "made", "makers"]

NetworkFactory = Callable[[], nn.Module]
Maker = Callable[[NetworkFactory, Likelihood], UncertainModel]
Named = str | type[UncertainModel] | type[Detector] | Maker
Methods = Sequence[str] | Mapping[str, Named]


def makers(methods: Methods | None, likelihood: Likelihood, name: str) -> dict[str, Maker]:
    """Return by label the functions that make the models.

    Args:
        methods: names; or by label names, methods or functions; None for all that take the
            likelihood.
        likelihood: what the outputs mean.
        name: of the likelihood, for messages.

    Raises:
        ValueError: if a method does not take the likelihood.
    """
    takers = [n for n, method in METHODS.items() if isinstance(likelihood, method.likelihoods)]
    if methods is None:
        return {taker: METHODS[taker].from_factory for taker in takers}
    found: dict[str, Maker] = {}
    for label, method in _by_label(methods).items():
        kind = _named()[method] if isinstance(method, str) else method
        if not isinstance(kind, type):
            found[label] = kind
            continue
        model = Detected if issubclass(kind, Detector) else kind
        if not issubclass(model, UncertainModel) or not isinstance(likelihood, model.likelihoods):
            raise ValueError(
                f"`methods` names {label!r}, which does not take the likelihood {name!r}, "
                f"expected some of {', '.join(takers)}."
            )
        found[label] = _with(kind) if issubclass(kind, Detector) else model.from_factory
    return found


def _with(detector: type[Detector]) -> Maker:
    """Return the function that makes a plain network with a new detector."""
    return lambda network, likelihood: Detected(network(), likelihood, detector())


def check_methods(methods: Methods | None) -> None:
    """Raise unless each is a method's name, or a function with a label of its own.

    Raises:
        ValueError: if there is none, or a name is unknown or there twice.
        TypeError: if one is neither name nor function.
    """
    if methods is None:
        return
    if isinstance(methods, str) or not isinstance(methods, Sequence | Mapping):
        raise TypeError(
            f"`methods` is {methods!r}, expected a list of names such as `['mc-dropout']`, or "
            "functions by their label."
        )
    if not methods:
        raise ValueError(f"`methods` is empty, expected some of {', '.join(METHODS)}.")
    if not isinstance(methods, Mapping):
        for each in methods:
            if not isinstance(each, str):
                raise TypeError(
                    f"`methods` holds {each!r}, expected names such as 'mc-dropout': give others "
                    "by a label, `{'label': method}`."
                )
            if methods.count(each) > 1:
                raise ValueError(f"`methods` names {each!r} more than once: name it once.")
    for label, method in _by_label(methods).items():
        if isinstance(method, str):
            if method not in _named():
                raise ValueError(nearest(method, _named(), "method"))
        elif not _takes_two(method):
            raise TypeError(
                f"`methods[{label!r}]` is a {type(method).__name__}, expected a method's name or "
                "a function of a network factory and a likelihood that returns a new model, such "
                "as `lambda network, likelihood: duda.MCDropConnect(network(), likelihood, p=0.5)`."
            )
    names = {file_name(label) for label in methods}
    if len(names) < len(methods):
        raise ValueError(
            f"`methods` has the labels {', '.join(map(repr, methods))}, expected labels that "
            "differ in letters or digits too, since files are named after them."
        )


def made(
    label: str, make: Maker, network: NetworkFactory, likelihood: Likelihood, seed: int
) -> UncertainModel:
    """Return a new model, whose weights follow from the seed.

    Raises:
        TypeError: if `make` returns none.
        ValueError: if its likelihood is another one.
    """
    with seeded(seed, []):
        model = make(network, likelihood)
    if not isinstance(model, UncertainModel):
        raise TypeError(
            f"`methods[{label!r}]` made a {type(model).__name__}, expected one of duda's models, "
            "such as `duda.MCDropout(network(), likelihood)`."
        )
    if model.likelihood != likelihood:
        raise ValueError(
            f"`methods[{label!r}]` made a model with the likelihood {model.likelihood!r}, expected "
            f"{likelihood!r}, which it is called with: metrics of others are not comparable."
        )
    return model


def file_name(label: str) -> str:
    """Return the label with what does not belong into a file's name replaced.

    >>> file_name("p = 0.5 / head")
    'p-=-0.5-head'
    """
    return re.sub(r"[^\w.=+-]+", "-", label)


def _takes_two(method: object) -> bool:
    """Return whether it can be called with a factory and a likelihood."""
    if not callable(method) or isinstance(method, nn.Module):
        return False
    try:
        isinstance(method, type) or inspect.signature(method).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # what is written in C may not tell
        return True
    return True


def _named() -> dict[str, type[UncertainModel] | type[Detector]]:
    return {**METHODS, **DETECTORS}


def _by_label(methods: Methods) -> Mapping[str, Named]:
    return methods if isinstance(methods, Mapping) else {name: name for name in methods}
