"""`fit`: train any method, one way for all of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from duda.batches import weight_like
from duda.checks import ArrayLike, counted
from duda.class_names import ClassNames
from duda.items import ItemRule
from duda.likelihoods import TargetScale
from duda.likelihoods.missing import takes_nan
from duda.methods import UncertainModel
from duda.methods.next_tokens import check_next_tokens
from duda.methods.output_checks import first_outputs, note_outputs
from duda.preservation import modes_kept
from duda.sources import Labelled
from duda.training.callbacks import Audience
from duda.training.checkpoint import Checkpoint
from duda.training.data import LoaderData, TensorData, prepare
from duda.training.eligibility import choose
from duda.training.history import History, history_of
from duda.training.identity import run_identity
from duda.training.last_batch import has_batch_norm
from duda.training.logs import Log, log_of
from duda.training.loop import LoopTrainer
from duda.training.metrics import Metrics, functions_by_name
from duda.training.optimizers import OptimizerFactory
from duda.training.options import Options
from duda.training.passes import laid_out
from duda.training.run import Run
from duda.training.settings import Training
from duda.training.trainer import Trainer
from duda.training.vectorized import StackedTrainer
from duda.uncompiled import uncompiled

__all__ = ["fit"]


@uncompiled
def fit(
    model: UncertainModel,
    data: Labelled,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    training: Training | None = None,
    optimizer: OptimizerFactory | None = None,
    lr: float | None = None,
    batch_size: int | None = None,
    validation: Labelled | None = None,
    patience: int | None = None,
    seed: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    vectorize: bool | None = None,
    callbacks: Sequence[object] = (),
    drop_last: bool | None = None,
    target_scale: TargetScale | Mapping[str, TargetScale] | Literal["auto"] | None = "auto",
    inputs: ItemRule | None = None,
    sample_weight: ArrayLike | str | None = None,
    metrics: Metrics | None = None,
    log: Log | None = None,
) -> History:
    """Train `model`; members of an ensemble one without the other, each in its own order.

    Args:
        model: what to train, left in the modes that it has.
        data: `(x, y)`, a dict, a Dataset or a DataLoader, as in `predict`; labels may be words.
        epochs: how often each member sees the data, at most.
        steps: how many steps each makes, at most, in place of `epochs`.
        training: how weights learn, as `compare` takes it; what is given here, too, goes first.
        optimizer: a function from parameters to an optimizer; Adam with `lr` 0.001 by default.
        lr: the learning rate, passed to `optimizer` if given.
        batch_size: examples in a batch, 128 by default.
        validation: as `data`; each member ends with the weights of the least `validation_loss`.
        patience: epochs without a better validation loss before a member stops.
        seed: of shuffling and dropout; the global random state then stays as it was.
        checkpoint: a file, written after each epoch, that the same call goes on from.
        vectorize: members as one vectorized step; by default where that is faster.
        callbacks: who is told of steps and epochs, as `duda.training.Callback` says.
        drop_last: leave out an epoch's last batch where it is smaller; a DataLoader says it itself.
        target_scale: units of numbers, by default of the training targets; None for their own.
        inputs: from an item of `data` to `(args, kwargs, y)`, as in `predict`.
        sample_weight: a factor of each example's loss: an array `(N,)`, or the name of an input.
        metrics: of predictions for `validation`: names such as "ece", or functions by name.
        log: who is told each epoch's figures: a CSV file, a TensorBoard folder or a function.

    Raises:
        ValueError: if something does not fit; `FloatingPointError` for a loss that is not finite.

    >>> import duda, torch
    >>> model = duda.Deterministic(torch.nn.Linear(2, 3), duda.Categorical())
    >>> duda.fit(model, (torch.zeros(9, 2), torch.arange(9) % 3), epochs=2, seed=0).losses.shape
    torch.Size([1, 2])
    """
    settings = _settings(training, optimizer, lr, batch_size, drop_last)
    options = Options(settings, epochs, steps, patience, seed, target_scale)
    what = _Given(data, validation, inputs, sample_weight)
    watched = _Watched(callbacks, log_of(log), functions_by_name(metrics))
    return _trained(model, what, options, checkpoint, vectorize, watched)


@dataclass(frozen=True)
class _Given:
    """Data as the user gives them, and what says how they are to be read."""

    data: Labelled
    validation: Labelled | None
    rule: ItemRule | None
    weight: ArrayLike | str | None


@dataclass(frozen=True)
class _Watched:
    """Who watches a training, and by which numbers."""

    callbacks: Sequence[object]
    logs: Sequence[object]
    metrics: Mapping[str, Callable[..., Any]]


def _settings(
    training: Training | None,
    optimizer: OptimizerFactory | None,
    lr: float | None,
    batch_size: int | None,
    drop_last: bool | None,
) -> Training:
    if training is not None and not isinstance(training, Training):
        raise TypeError(
            f"`training` is a {type(training).__name__}, expected a `duda.Training(...)`."
        )
    given = {"optimizer": optimizer, "lr": lr, "batch_size": batch_size, "drop_last": drop_last}
    return (training or Training()).with_given(**given)


def _check(model: UncertainModel, given: _Given, **needs_it: object) -> None:
    if not isinstance(model, UncertainModel):
        raise TypeError(
            f"`model` is a {type(model).__name__}, expected one of duda's, such as "
            "`duda.Deterministic(network, duda.Categorical())`."
        )
    for name, value in needs_it.items():
        if value is not None and given.validation is None:
            raise ValueError(
                f"`{name}` is {value!r}, but there is no `validation`, expected data that judge "
                "the training."
            )


def _trained(
    model: UncertainModel,
    given: _Given,
    options: Options,
    checkpoint: str | os.PathLike[str] | None,
    vectorize: bool | None,
    watched: _Watched,
) -> History:
    _check(model, given, patience=options.patience, metrics=[*watched.metrics] or None)
    with modes_kept(model.modules()), laid_out(model, options.training.channels_last):
        run = _run(model, given, options, checkpoint, vectorize, watched)
        records = run.train()
    return history_of(records, run.seed, vectorized=isinstance(run.trainers[0], StackedTrainer))


def _run(
    model: UncertainModel,
    given: _Given,
    options: Options,
    checkpoint: str | os.PathLike[str] | None,
    vectorize: bool | None,
    watched: _Watched,
) -> Run:
    """Return all that a training needs, checked before it starts."""
    parts = model.independent()
    train, valid = _prepared(model, parts, given, options)
    stacked, total = choose(vectorize, parts, train, options.training), options.most_steps(train)
    trainers: list[Trainer] = (
        [StackedTrainer(parts, options, total)]
        if stacked
        else [LoopTrainer(part, i, options, total) for i, part in enumerate(parts)]
    )
    audience = Audience(watched.callbacks, train, options.training.batch_size, watched.logs)
    file = None
    if checkpoint is not None:
        _check_workers(train)
        told = [*watched.callbacks, *watched.logs]
        settings = run_identity(model, train, valid, options, given.rule, told)
        settings |= {"vectorize": stacked, "metrics": [*watched.metrics]}
        file = Checkpoint(checkpoint, settings)
    return Run(model, trainers, train, valid, options, audience, file, watched.metrics)


def _prepared(
    model: UncertainModel,
    parts: list[UncertainModel],
    given: _Given,
    options: Options,
) -> tuple[TensorData | LoaderData, TensorData | LoaderData | None]:
    """Return the data in batches, checked against the outputs of the network."""
    like, weights = weight_like(parts[0]), parts[0].parameters()
    if not any(weight.is_floating_point() or weight.is_complex() for weight in weights):
        raise ValueError("`model` has no parameter, expected a network that can be trained.")
    device, dtype, batch_size = like.device, like.dtype, options.training.batch_size
    names = ClassNames(model.classes) if model.likelihood.of_classes else None
    rule, weight = given.rule, given.weight
    whole = model.given_likelihood.whole
    may_be_nan = takes_nan(model.likelihood)
    train = prepare(
        given.data,
        batch_size,
        device,
        dtype,
        "data",
        True,
        rule,
        names=names,
        weight=weight,
        whole_targets=whole,
        nan_targets=may_be_nan,
        drop_last=options.training.drop_last,
        join_last=any(map(has_batch_norm, parts)),
    )
    valid = None
    if given.validation is not None:
        valid = prepare(
            given.validation,
            batch_size,
            device,
            dtype,
            "validation",
            False,
            rule,
            names=names,
            weight=weight if isinstance(weight, str) else None,
            whole_targets=whole,
            nan_targets=may_be_nan,
        )
    for found in (train, valid):
        if isinstance(found, TensorData):
            _check_targets(parts[0], found, names)
    if names is not None:
        model.classes = names.known
    return train, valid


def _check_targets(part: UncertainModel, data: TensorData, names: ClassNames | None) -> None:
    """Check all targets at once, against the outputs for a few examples."""
    outputs = first_outputs(part, data.x_rows(slice(3)))
    note_outputs(part, outputs)
    check_next_tokens(part, data.x, data.y.cpu() if data.on_host else data.y)
    if names and names.known:
        _check_classes(part, outputs, names.known)
    outputs = outputs[:1].expand(len(data.y), *outputs.shape[1:])
    part.likelihood.check_targets(outputs, data.y)


def _check_classes(part: UncertainModel, outputs: Tensor, names: Sequence[str]) -> None:
    found = 1 if outputs.ndim == 1 else outputs.shape[part.likelihood.output_dim or 1]
    expected = part.likelihood.width_of_classes(len(names))
    if found != expected:
        raise ValueError(
            f"the network has {counted(found, 'output')}, expected {expected} for the classes "
            f"{', '.join(map(repr, names[:10]))}{', ...' if len(names) > 10 else ''}: name all "
            "classes in order, `model.classes = [...]`, if some have no example."
        )


def _check_workers(data: TensorData | LoaderData) -> None:
    if isinstance(data, LoaderData) and data.loader.persistent_workers:
        raise ValueError(
            "`checkpoint` cannot hold the random state of a DataLoader's workers that outlive an "
            "epoch: make it with `persistent_workers=False`."
        )
