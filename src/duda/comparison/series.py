"""Series of runs: each method with each seed, but for those that fail, or are there from before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from duda.comparison.makers import Maker, NetworkFactory, made
from duda.comparison.run import Run, run
from duda.comparison.task import Task
from duda.comparison.unfinished import Unfinished, data_identity, run_identity
from duda.likelihoods import Likelihood
from duda.methods import UncertainModel

__all__ = ["Plan", "Series", "Tell", "sentence"]

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is the same for all seeds."""

    methods: Mapping[str, Maker]
    network: NetworkFactory
    likelihood: Likelihood
    name: str
    options: Mapping[str, Any]
    chosen: Sequence[str]


@dataclass(frozen=True)
class Series:
    """All runs of a plan.

    Args:
        plan: what to run.
        kept: where runs are kept that have ended, if anywhere.
        tell: called with a line before each run.
    """

    plan: Plan
    kept: Unfinished | None
    tell: Tell

    def runs(
        self, first: Task, task: Callable[[int], Task], seeds: int
    ) -> tuple[list[Run], dict[str, str]]:
        """Return the runs of all methods that never fail, and by method why others have.

        Raises:
            Exception: of the first that failed, if all did.
        """
        found: list[Run] = []
        failed: dict[str, Exception] = {}
        number, total = 0, seeds * len(self.plan.methods)
        for seed in range(seeds):
            now = first if seed == 0 else task(seed)
            data = {} if self.kept is None else data_identity(now, self.plan.options)
            for label in self.plan.methods:
                number += 1
                if label in failed:
                    continue
                try:
                    found.append(self._run(label, now, seed, data, f"{number} of {total}"))
                except Exception as error:  # whatever ends one is no reason to lose the others
                    failed[label] = error
                    self.tell(f"left out {label}: {sentence(error)}")
        if len(failed) == len(self.plan.methods):
            raise next(iter(failed.values()))
        whole = [each for each in found if each.method not in failed]
        return whole, {label: sentence(error) for label, error in failed.items()}

    def _run(self, label: str, task: Task, seed: int, data: Mapping[str, Any], place: str) -> Run:
        """Return a run, as it is kept or a new one."""
        model = made(label, self.plan.methods[label], self.plan.network, self.plan.likelihood, seed)
        name = f"{place}: {label}, seed {seed}"
        identity = None if self.kept is None else self._identity(label, model, data)
        if self.kept is None or identity is None:
            self.tell(name)
            return run(label, model, task, self.plan.options, seed)
        if (before := self.kept.read(label, seed, identity)) is not None:
            self.tell(f"{name}, is there from before")
            return before
        self.tell(name)
        ended = run(label, model, task, self.plan.options, seed)
        self.kept.write(ended, identity)
        return ended

    def _identity(
        self, label: str, model: UncertainModel, data: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """Return what tells a run from others; None where it cannot be told, and so not kept."""
        try:
            return run_identity(model, data)
        except TypeError as error:
            self.tell(f"{label} is not kept: {error}")
            return None


def sentence(error: Exception) -> str:
    """Return what went wrong on one line, with its kind where that is no sentence of ours."""
    text = " ".join(str(error).split())
    ours = isinstance(error, ValueError | TypeError | FloatingPointError) and text
    return text if ours else f"{type(error).__name__}: {text}"
