"""Settings of a training: by which steps weights learn, in one object for `fit` and `compare`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch

from duda.checks import check_count, plain_number
from duda.training.augmented import Augment, functions_of
from duda.training.descriptions import described
from duda.training.optimizers import OptimizerFactory
from duda.training.precision import check_precision
from duda.training.schedules import Schedule, check_schedule

__all__ = ["Training"]


@dataclass(frozen=True, kw_only=True)
class Training:
    """How weights learn; `fit(model, data, training=...)` takes it, and `compare` for all methods.

    It is what a paper calls the recipe, apart from the run: data, seed and files are arguments of
    `fit`. What `fit` itself is given besides, such as `lr`, takes the place of what is here.

    Attributes:
        optimizer: a function from parameters to an optimizer; Adam with `lr` 0.001 by default.
        lr: the learning rate, passed to `optimizer` if given.
        batch_size: examples in a batch; where there is a BatchNorm, a last one of one joins those
            before.
        drop_last: leave out an epoch's last batch where it is smaller; a DataLoader says it itself.
        schedule: of the learning rate, step by step: "cosine" to 0 (Loshchilov & Hutter 2017),
            "one-cycle" (Smith & Topin 2019), or a function from optimizer to scheduler.
        warmup: steps, or as a float the share of all, in which the rate grows linearly from near 0.
        clip: the most that the norm of all gradients of a member may be; they shrink to it.
        accumulate: batches whose gradients make one step, as if they were one batch. An epoch's
            last step takes those that are left; a BatchNorm sees each by itself.
        decay_biases: whether weight decay is also of parameters with one dimension, as biases and
            those of norms, as in the papers of residual networks; many leave them out since.
        ema: the decay of averages of the weights, and of BatchNorm's statistics, by which the model
            is judged and which it has in the end. Early ones have min(ema, (1 + t) / (10 + t)).
        precision: "bf16" or "fp16": networks compute in 16 bits where torch's autocast says so, the
            loss in float32. In float16 it is scaled, and steps that overflow are left out; the
            history counts them. Predictions, as those of a validation, stay in float32.
        compile: let `torch.compile` have the networks, in training alone; or its arguments, such as
            `{"mode": "max-autotune"}`. By default a graph is for batches of one shape. Methods that
            draw weights, as `Variational`, run as they are written.
        augment: a function, or several one after the other, that change a training batch on its
            device, `(x, y, generator) -> (x, y)`; for each member by a generator of its own. Of
            pictures `duda.training.augmentations` has some.
        channels_last: lay pictures and convolutions out with channels last, as tensor cores prefer.

    Raises:
        ValueError: if a setting is not what it should be, or two contradict each other.

    >>> import functools
    >>> sgd = functools.partial(torch.optim.SGD, momentum=0.9, nesterov=True, weight_decay=5e-4)
    >>> Training(optimizer=sgd, lr=0.1, schedule="cosine", warmup=0.05).batch_size
    128
    """

    optimizer: OptimizerFactory | None = None
    lr: float | None = None
    batch_size: int = 128
    drop_last: bool = False
    schedule: Schedule | None = None
    warmup: float = 0
    clip: float | None = None
    accumulate: int = 1
    decay_biases: bool = True
    ema: float | None = None
    precision: str | None = None
    compile: bool | Mapping[str, Any] = False
    channels_last: bool = False
    augment: Augment | Sequence[Augment] | None = None

    def __post_init__(self) -> None:
        for name in ("batch_size", "accumulate"):
            self._set(name, check_count(getattr(self, name), name))
        for name in ("drop_last", "decay_biases", "channels_last"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"`{name}` is {getattr(self, name)!r}, expected True or False.")
        if not isinstance(self.compile, bool | Mapping):
            raise TypeError(
                f"`compile` is {self.compile!r}, expected True, False or arguments of "
                '`torch.compile`, such as `{"mode": "max-autotune"}`.'
            )
        check_precision(self.precision)
        functions_of(self.augment)
        self._set("warmup", check_schedule(self.schedule, self.warmup))
        self._set("clip", _number(self.clip, "clip", 0, math.inf))
        self._set("ema", _number(self.ema, "ema", 0, 1))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)  # numbers of numpy become those of Python

    def with_given(self, **given: Any) -> Self:
        """Return the settings with those of `given` that are not None in their places."""
        return replace(self, **{name: v for name, v in given.items() if v is not None})

    def described(self) -> dict[str, Any]:
        """Return as JSON values what must be the same for a run to go on."""
        texts = {each.name: described(getattr(self, each.name), each.name) for each in fields(self)}
        return texts | {
            "batch_size": self.batch_size,
            "optimizer": described(self.optimizer or torch.optim.Adam, "optimizer"),
            "lr": plain_number(self.lr),
        }


def _number(value: Any, name: str, least: float, most: float) -> float | None:
    """Return a number between two others, or None."""
    if value is None:
        return None
    number = plain_number(value)
    if number is None:
        raise TypeError(f"`{name}` is a {type(value).__name__}, expected a number.")
    if not least < number < most:
        range_ = f"above {least}" if most == math.inf else f"between {least} and {most}"
        raise ValueError(f"`{name}` is {value}, expected a number {range_}.")
    return number
