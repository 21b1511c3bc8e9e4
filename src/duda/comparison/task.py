"""Tasks: what methods are compared on with one seed, by a name or from data of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset

from duda.batches import Batch, each_input
from duda.class_names import ClassNames
from duda.datasets import Split, load, ood_inputs
from duda.shown import Shown
from duda.sources import Inputs, Labelled, TensorSource, read_pairs

__all__ = ["Ood", "Task", "tasks"]

Ood = Mapping[str, Inputs | tuple[Any, Any]]

_SHARE = 5  # one of so many examples is for the test
_BATCH = 256  # examples read at a time


@dataclass(frozen=True, eq=False, repr=False)
class Task(Shown):
    """Data to train on, to test with, and from out of the distribution.

    Args:
        name: of the data set.
        train: what `duda.fit` takes.
        test: inputs and targets.
        validation: what `duda.fit` takes, if anything.
        ood: inputs that are out of distribution, by name.
        classes: their names, by label.
        chosen: in words, what stands for arguments that are missing.
        split: the built-in data set, if it is one.
    """

    name: str
    train: Labelled
    test: tuple[Batch, Tensor]
    validation: Labelled | None = None
    ood: Mapping[str, Inputs] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    chosen: tuple[str, ...] = ()
    split: Split | None = None

    @property
    def targets(self) -> Tensor:
        """The test labels, or the test targets in their own units."""
        return self.in_units(self.test[1])

    @property
    def examples(self) -> int | None:
        """The number of training examples, or None where it is not known."""
        data = self.train.dataset if isinstance(self.train, DataLoader) else self.train
        if isinstance(data, tuple):
            return len(data[1]) if isinstance(data[1], Sized) else None
        return len(data) if isinstance(data, Sized) else None

    def in_units(self, y: Tensor) -> Tensor:
        """Return labels as they are, and standardised targets in their own units."""
        if self.split is None or self.split.task == "classification":
            return y
        return self.split.y_mean + self.split.y_std * y


def tasks(
    data: str | Labelled,
    *,
    validation: Labelled | None = None,
    test: Labelled | None = None,
    ood: str | Ood | None = None,
    classes: tuple[str, ...] = (),
    counts: bool = False,
) -> Callable[[int], Task]:
    """Return a function from a seed to the task.

    Whole numbers are labels, unless they are said to be counts.

    Raises:
        ValueError: if something is missing or does not fit.
    """
    if isinstance(data, str):
        if test is not None or classes:
            raise ValueError(
                f"`{'classes' if classes else 'test'}` is given, but the data set {data!r} has its "
                "own: give it with data of your own."
            )
        return lambda seed: _named(data, seed, validation, ood)
    if isinstance(ood, str):
        raise ValueError(
            f"`ood` is {ood!r}, the name of a data set, expected for data of your own inputs by "
            "their name, such as `{'noise': x}`."
        )
    outside = _inputs(ood)
    names = ClassNames(classes or None)
    own, test, validation = (
        _coded(each, names, name)
        for each, name in ((data, "data"), (test, "test"), (validation, "validation"))
    )
    classes = names.known or ()
    whole = None if test is None else read_pairs(test, _BATCH, "test").whole()
    return lambda seed: _own(own, seed, validation, whole, outside, classes, counts)


def _named(name: str, seed: int, validation: Labelled | None, ood: str | Ood | None) -> Task:
    split = load(name, seed)
    if ood is None or isinstance(ood, str):
        found = ood_inputs(split, ood, seed)
        outside: Mapping[str, Inputs] = {} if found is None else {found[1]: found[0]}
    else:
        outside = _inputs(ood)
    return Task(
        name=split.name,
        train=split.train,
        test=split.test,
        validation=validation,
        ood=outside,
        classes=split.classes,
        split=split,
    )


def _own(
    data: Labelled,
    seed: int,
    validation: Labelled | None,
    test: tuple[Batch, Tensor] | None,
    ood: Mapping[str, Inputs],
    classes: tuple[str, ...],
    counts: bool,
) -> Task:
    chosen: tuple[str, ...] = ()
    if test is None:
        data, held_out = _split(data, seed)
        test = read_pairs(held_out, _BATCH).whole()
        chosen = ("a fifth of the data, drawn by the seed, is kept for the test",)
    x, y = test
    y = y.double() if counts else y
    if y.is_floating_point() and y.ndim == 1:
        y = y.unsqueeze(1)  # one number for each example, as predictions have it
    return Task("own data", data, (x, y), validation, ood, classes, chosen=chosen)


def _coded(data: Any, names: ClassNames, name: str) -> Any:
    """Return a pair with labels as numbers if they are words, and anything else as it is."""
    if not isinstance(data, tuple | list) or len(data) != 2:
        return data
    return data[0], names.coded(data[1], f"y of {name}")


def _inputs(ood: Ood | None) -> dict[str, Inputs]:
    """Return inputs by name, without the targets that some may have."""
    if ood is None:
        return {}
    if not isinstance(ood, Mapping):
        raise TypeError(
            f"`ood` is a {type(ood).__name__}, expected inputs by their name, such as "
            "`{'noise': x}`."
        )
    return {name: x[0] if isinstance(x, tuple) and len(x) == 2 else x for name, x in ood.items()}


def _split(data: Labelled, seed: int) -> tuple[Labelled, Labelled]:
    """Return what to train on and what to test with, drawn by the seed."""
    if not isinstance(data, tuple | list | Dataset | DataLoader):
        raise TypeError(
            f"`data` is a {type(data).__name__}, expected the name of a data set, a pair (x, y) of "
            "tensors or arrays, a Dataset or a DataLoader."
        )
    source = read_pairs(data, _BATCH)
    if isinstance(source, TensorSource):
        x, y = source.whole()
        train, test = _parts(len(y), seed)
        return (
            (each_input(x, lambda values: values[train]), y[train]),
            (each_input(x, lambda values: values[test]), y[test]),
        )
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        train, test = _parts(len(data), seed)  # type: ignore[arg-type]
        return Subset(data, train.tolist()), Subset(data, test.tolist())
    raise ValueError(
        f"`test` is missing, expected with a {type(data).__name__}, of which none can be kept "
        "back: give a pair (x, y), a Dataset or a DataLoader to test with."
    )


def _parts(count: int, seed: int) -> tuple[Tensor, Tensor]:
    if count < _SHARE:
        raise ValueError(
            f"`data` has {count} examples, expected at least {_SHARE} to keep a fifth for the "
            "test: give more, or a `test`."
        )
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return order[count // _SHARE :].sort().values, order[: count // _SHARE].sort().values
