"""Comparison of methods, side by side: the same data, network and training, with several seeds."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from duda.checks import check_count
from duda.comparison.comparison import Comparison
from duda.comparison.dry_run import check_network, dry_run
from duda.comparison.likelihood import check_single, find_likelihood, takes_counts
from duda.comparison.makers import Methods, NetworkFactory, check_methods, makers
from duda.comparison.networks import network_factory, recipe
from duda.comparison.options import fit_options
from duda.comparison.series import Plan, Series, Tell, sentence
from duda.comparison.task import Ood, Task, tasks
from duda.comparison.unfinished import unfinished
from duda.likelihoods import Likelihood
from duda.methods import METHODS
from duda.sources import Labelled
from duda.training import Training

__all__ = ["compare"]


def compare(
    data: str | Labelled,
    methods: Methods | None = None,
    *,
    network: NetworkFactory | None = None,
    validation: Labelled | None = None,
    test: Labelled | None = None,
    ood: str | Ood | None = None,
    likelihood: str | Likelihood | None = None,
    seeds: int = 1,
    fit: Mapping[str, Any] | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    training: Training | None = None,
    classes: Iterable[str] = (),
    folder: str | os.PathLike[str] | None = None,
    tell: Tell | None = None,
) -> Comparison:
    """Train and ask each method on the same data, with seeds 0 to `seeds` - 1.

    A method that fails while others are trained is left out, with the reason in `left_out`.

    Args:
        data: a name, as in `duda.datasets.load`; or `(x, y)`, a Dataset or a DataLoader.
        methods: as in `duda.METHODS`, or in `duda.detectors.DETECTORS` for the plain network with
            another score; or functions of a network factory and a likelihood that return a model,
            by label; by default all methods that take the likelihood and the network.
        network: a function that makes a new one; for data of your own.
        validation: as `data`, for `duda.fit`.
        test: as `data`; by default a fifth of the data, drawn by the seed.
        ood: out-of-distribution inputs by name, or a data set's name; the table is on the first.
        likelihood: one, or a name; by default categorical for whole numbers, gaussian for floats.
        seeds: how many.
        fit: options of `duda.fit`, such as `{"epochs": 20, "lr": 0.01}`.
        epochs: the same as that option.
        steps: the same, in place of `epochs`.
        training: the same, how weights learn with all methods.
        classes: their names, for data of your own.
        folder: where it will be saved; after a kill the same call goes on from runs that had ended.
        tell: called with a line before each training, and one on each method left out.

    Raises:
        ValueError: if something does not fit, before anything is trained; so does a `TypeError`.
        FileNotFoundError: if the data is not there.
        Exception: of the first method that failed, if all did.
    """
    check_methods(methods)
    check_single(likelihood)
    seeds = check_count(seeds, "seeds")
    counts, names = takes_counts(likelihood), tuple(classes)
    task = tasks(data, validation=validation, test=test, ood=ood, classes=names, counts=counts)
    first = task(0)
    usual = None if first.split is None else recipe(first.split)
    options = fit_options(fit, usual, epochs=epochs, steps=steps, training=training)
    plan = _plan(first, methods, network, likelihood, options)
    tell = tell or (lambda line: None)
    plan, left_out = _tried(plan, first, methods is None, tell)
    with unfinished(folder) as kept:
        runs, failed = Series(plan, kept, tell).runs(first, task, seeds)
    return Comparison(first, plan.name, plan.options, runs, plan.chosen, left_out | failed)


def _plan(
    task: Task,
    methods: Methods | None,
    network: NetworkFactory | None,
    likelihood: str | Likelihood | None,
    options: Mapping[str, Any],
) -> Plan:
    """Return what to do, if it fits the task.

    Raises:
        ValueError: if it does not.
    """
    y = task.test[1]
    of = f"{task.name}, which is a {'regression' if y.is_floating_point() else 'classification'}"
    name, meaning = find_likelihood(likelihood, y, of, len(task.classes))
    chosen = makers(methods, meaning, name)
    if network is None:
        network = _usual_network(task, meaning)
    check_network(network, task, meaning, name)
    said = list(task.chosen)
    if likelihood is None and task.split is None:
        kind = "floats" if y.is_floating_point() else "whole numbers"
        said.append(f"this likelihood because the targets are {kind}")
    return Plan(chosen, network, meaning, name, options, said)


def _usual_network(task: Task, likelihood: Likelihood) -> NetworkFactory:
    if task.split is None:
        raise ValueError(
            "`network` is missing, expected for data of your own a function that makes a new one: "
            "`lambda: nn.Sequential(...)`."
        )
    return network_factory(task.split, likelihood)


def _tried(plan: Plan, task: Task, by_default: bool, tell: Tell) -> tuple[Plan, dict[str, str]]:
    """Return the plan with the methods that can be trained and asked, and why others cannot.

    Raises:
        ValueError: what a method has to say that was asked for; so does a `TypeError`.
    """
    others = [method for method in METHODS if method not in plan.methods]
    if by_default and others:
        tell(f"left out, because they do not take the likelihood {plan.name}: {', '.join(others)}")
    fit_ones, left_out = {}, {}
    for label, make in plan.methods.items():
        try:
            dry_run(label, make, plan.network, plan.likelihood, task, plan.options)
        except Exception as error:  # of the method, or of torch
            if not by_default or label == next(iter(METHODS)):  # the plain network
                raise
            left_out[label] = sentence(error)
            tell(f"left out {label}: {left_out[label]}")
        else:
            fit_ones[label] = make
    return replace(plan, methods=fit_ones), left_out
