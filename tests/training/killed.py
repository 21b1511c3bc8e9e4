"""Trains each case again and again in processes that are killed at random moments.

Run as `python -m tests.training.killed DIRECTORY KILLS`. Each attempt is a process of its own,
forked from this one so that torch is imported only once. Prints for each case how many were killed
before the one that came to its end, which writes its results to `CASE.result` in DIRECTORY.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch._dynamo  # an optimizer's first step imports it: once here, not in each process
from safetensors.torch import save_file
from torch import Tensor

import duda
from duda.difficulty import TrainingDynamics
from tests.training.models import (
    classes,
    ensemble,
    mlp,
    noisy,
    regression,
    seeded_model,
)

CASES: dict[str, Callable[[], duda.UncertainModel]] = {
    "dropping": lambda: seeded_model(lambda: duda.MCDropout(noisy(), duda.Categorical())),
    "in-turn": lambda: ensemble(noisy),
    "one-step": lambda: ensemble(mlp, members=4),
    "recipe": lambda: seeded_model(lambda: duda.MCDropout(noisy(), duda.Categorical())),
    "recipe-in-one-step": lambda: ensemble(mlp, members=4),
}


def shaken(x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return x + 0.1 * torch.randn(x.shape, generator=generator), y


RECIPE = duda.Training(
    optimizer=functools.partial(torch.optim.SGD, momentum=0.9, weight_decay=0.01),
    decay_biases=False,
    schedule="one-cycle",
    clip=0.5,
    accumulate=3,  # so that an epoch ends within a step
    ema=0.9,
    augment=shaken,
)


HALVED = dataclasses.replace(RECIPE, precision="fp16")  # which members in one step cannot


def train(case: str, checkpoint: Path | None) -> dict[str, torch.Tensor]:
    """Return the weights and buffers after training, the history, and what was recorded."""
    model, dynamics = CASES[case](), TrainingDynamics(64)
    data = regression if isinstance(model, duda.DeepEnsemble) else classes
    history = duda.fit(
        model,
        data(64),
        epochs=40,
        training={"recipe": HALVED, "recipe-in-one-step": RECIPE}.get(case),
        lr=0.02,
        batch_size=8,
        validation=data(30),
        patience=12,
        seed=11,
        checkpoint=checkpoint,
        callbacks=[dynamics],
    )
    if history.validation_losses is None or history.vectorized is not case.endswith("one-step"):
        raise ValueError("the case is not what its name says.")
    figures = {"losses": history.losses, "validation": history.validation_losses}
    recorded = dynamics.state_dict()
    return {**model.state_dict(), **figures, **recorded["losses"], **recorded["values"]}


def kills_before_the_end(case: str, directory: Path, most: int) -> int:
    """Start and kill the training of a case at most so often, then let it come to its end."""
    moments, killed = random.Random(case), 0
    while True:
        child = os.fork()
        if child == 0:
            trained = train(case, directory / case / "run.safetensors")
            save_file(trained, directory / f"{case}.result")
            os._exit(0)
        if killed < most:
            time.sleep(moments.uniform(0.0, 0.25))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            return killed
        killed += 1


def main() -> None:
    directory, most = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    for case in CASES:
        print(case, kills_before_the_end(case, directory, most), flush=True)


if __name__ == "__main__":
    main()
