"""Metrics of a training: what the predictions for the validation data are worth after an epoch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from duda import evaluation
from duda.checks import nearest, plain_number
from duda.likelihoods import Likelihood
from duda.methods import UncertainModel
from duda.predictions import Prediction
from duda.training.data import LoaderData, TensorData

__all__ = ["Metrics", "functions_by_name", "measured"]

Metrics = Sequence[str] | Mapping[str, Callable[[Any, Tensor], Any]]


def _ece(*given: Any, **more: Any) -> float:
    return evaluation.reliability(*given, **more).ece


_NAMED: dict[str, Callable[..., Any]] = {
    "ece": _ece,
    **{
        name: getattr(evaluation, name)
        for name in ("accuracy", "brier", "crps", "density_nll", "mae", "nll", "rmse", "rps")
    },
}


def functions_by_name(metrics: Metrics | None) -> dict[str, Callable[[Any, Tensor], Any]]:
    """Return functions of a prediction and its targets.

    Raises:
        ValueError: if a name is unknown.
        TypeError: if something is neither a name nor a function by its name.
    """
    if metrics is None:
        return {}
    if isinstance(metrics, Mapping):
        for name, function in metrics.items():
            if not callable(function):
                raise TypeError(
                    f"`metrics[{name!r}]` is a {type(function).__name__}, expected a function of a "
                    "prediction and its targets, such as `duda.evaluation.accuracy`."
                )
        return dict(metrics)
    if isinstance(metrics, str) or not isinstance(metrics, Sequence):
        raise TypeError(
            f"`metrics` is {metrics!r}, expected a list of names such as `['ece']`, or functions "
            "by their name."
        )
    for name in metrics:
        if name not in _NAMED:
            raise ValueError(nearest(str(name), tuple(_NAMED), "metric"))
    return {name: _NAMED[name] for name in metrics}


def measured(
    part: UncertainModel,
    data: TensorData | LoaderData,
    functions: Mapping[str, Callable[[Any, Tensor], Any]],
) -> dict[str, float]:
    """Return the metrics of what a model would predict, by the draws of its validation.

    Raises:
        TypeError: if a function returns no number.
    """
    predictions, targets = [], []
    for x, y in data.in_order():
        predictions.append(part.validation_prediction(x))
        targets.append(y)
    whole: Prediction = type(predictions[0]).concatenate(predictions)
    y = part.likelihood.as_predicted(whole, torch.cat(targets))
    found = {}
    for name, function in functions.items():
        value = _with_ignored(function, part.likelihood)(whole, y)
        number = plain_number(value.item() if _is_one(value) else value)
        if number is None:
            raise TypeError(
                f"`metrics[{name!r}]` returned a {type(value).__name__}, expected a number."
            )
        found[name] = float(number)
    return found


def _is_one(value: Any) -> bool:
    return isinstance(value, Tensor) and value.numel() == 1


def _with_ignored(function: Callable[..., Any], likelihood: Likelihood) -> Callable[..., Any]:
    """Return a metric that leaves out the targets that the likelihood leaves out, if it can."""
    ignored = getattr(likelihood, "ignore_index", None)
    if ignored is None or function not in _NAMED.values():
        return function
    takes = "ignore_index" in inspect.signature(_plain(function)).parameters
    return partial(function, ignore_index=ignored) if takes else function


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    return evaluation.reliability if function is _ece else function
