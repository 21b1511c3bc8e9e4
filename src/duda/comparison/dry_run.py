"""Dry runs: each method trains on one batch and predicts, so that what fails, fails at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from duda.batches import Batch, each_input, suited
from duda.comparison.makers import Maker, NetworkFactory, made
from duda.comparison.run import threads_for
from duda.comparison.task import Task
from duda.likelihoods import Likelihood
from duda.sampling import preserved, raw_outputs, seeded
from duda.sources import read_inputs, read_pairs
from duda.training import fit

__all__ = ["check_network", "dry_run"]

_SHORT = 10  # epochs
_NOT_TRIED = ("callbacks", "checkpoint", "log")


def check_network(network: NetworkFactory, task: Task, likelihood: Likelihood, name: str) -> None:
    """Raise unless the network takes all inputs, and puts out what the likelihood needs.

    Raises:
        TypeError: if `network` is no function that makes modules.
        ValueError: if inputs or outputs do not fit.
    """
    if isinstance(network, nn.Module) or not callable(network):
        raise TypeError(
            f"`network` is a {type(network).__name__}, expected a function that makes a new "
            "network, of which each method and member needs its own: `lambda: nn.Sequential(...)`."
        )
    with seeded(0, []):
        one, other = network(), network()
    if not isinstance(one, nn.Module):
        raise TypeError(f"`network` made a {type(one).__name__}, expected a torch.nn.Module.")
    if one is other:
        raise ValueError("`network` gives the same module each time, expected a new one.")
    x, y = task.test
    outputs = _outputs(one, _first(x, 2), "`test`")
    for each, inputs in task.ood.items():
        _outputs(one, next(read_inputs(inputs, 2).inputs()), f"`ood[{each!r}]`")
    if y.is_floating_point() and y.ndim > 1:
        width = likelihood.width(y.shape[1])
        if outputs.ndim < 2 or outputs.shape[1] != width:
            raise ValueError(
                f"`network` puts out {tuple(outputs.shape[1:])} numbers for an example, expected "
                f"({width},) for targets of {y.shape[1]} columns and the likelihood {name}."
            )
    likelihood.check_targets(outputs[:1].expand(len(y), *outputs.shape[1:]), y)


def dry_run(
    label: str,
    make: Maker,
    network: NetworkFactory,
    likelihood: Likelihood,
    task: Task,
    options: Mapping[str, Any],
) -> None:
    """Train the method on one batch for some epochs, and ask it for two predictions.

    It also lets torch do what it does once in a process, which should not count against the first.

    Raises:
        ValueError: whatever the method or `duda.fit` has to say.
        TypeError: the same.
    """
    with seeded(0, []):
        x, y = next(read_pairs(task.train, options.get("batch_size", 128)).pairs())
    known = {name: value for name, value in options.items() if name not in _NOT_TRIED}
    if not isinstance(known.get("sample_weight"), str):
        known.pop("sample_weight", None)  # of all examples, not of these
    if task.validation is not None:
        known["validation"] = (x, y)
    length = "steps" if "steps" in options else "epochs"
    for count in dict.fromkeys((min(options[length], _SHORT), options[length])):
        model = made(label, make, network, likelihood, seed=0)
        try:
            with threads_for(task.test[0]):
                fit(model, (x, y), **(known | {length: count}), seed=0)
                model.predict(_first(task.test[0], 2), seed=0)
        except ValueError:
            if count == options[length]:  # else it may be one that needs more of them
                raise
        else:
            return


def _first(x: Batch, count: int) -> Batch:
    return each_input(x, lambda values: values[:count])


def _outputs(network: nn.Module, x: Batch, name: str) -> Tensor:
    named = x if isinstance(x, dict) else {"x": x}
    shapes = ", ".join(f"{key} {tuple(part.shape)}" for key, part in named.items())
    try:
        with preserved(network, seed=0), torch.no_grad():
            return raw_outputs(network, suited(x, network)).cpu()
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"the network cannot take the inputs of {name}, {shapes}: {error}"
        ) from error
