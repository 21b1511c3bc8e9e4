"""Decisions of a gate: accept the answer, defer to a person (ask), or abstain (refuse)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from duda.fitted import Kept, check_that
from duda.storage import Format

__all__ = ["Decision", "Decisions"]


class Decision(IntEnum):
    """What to do about one example, in the order of rising uncertainty."""

    ACCEPT = 0
    ASK = 1
    REFUSE = 2


@dataclass(frozen=True, eq=False)
class Decisions(Kept):
    """A decision for each of N examples.

    Args:
        decisions: `(N)`, int64, each a value of `Decision`.
        p_values: `(N)`, of being in distribution, where the gate decides by them.

    >>> import torch
    >>> found = Decisions(torch.tensor([0, 2, 0]))
    >>> found.accepted, found.counts
    (tensor([ True, False,  True]), {'accept': 2, 'ask': 0, 'refuse': 1})
    """

    format = Format("decisions")
    decisions: Int[Tensor, "N"]
    p_values: Float[Tensor, "N"] | None = None

    def check_values(self) -> None:
        """Raise a `ValueError` unless decisions are some of `Decision`, and p-values in [0, 1]."""
        known = torch.tensor(list(Decision)).to(self.decisions.device)
        check_that(torch.isin(self.decisions, known), "`decisions` hold others than 0, 1 and 2")
        if self.p_values is not None:
            check_that(
                (self.p_values >= 0) & (self.p_values <= 1), "`p_values` are not all in [0, 1]"
            )

    def __len__(self) -> int:
        return len(self.decisions)

    def __repr__(self) -> str:
        counts = ", ".join(f"{name}={count}" for name, count in self.counts.items())
        return f"Decisions({counts})"

    @property
    def accepted(self) -> Bool[Tensor, "N"]:
        """Where the answer is taken as it is."""
        return self.decisions == Decision.ACCEPT

    @property
    def asked(self) -> Bool[Tensor, "N"]:
        """Where a person is to look: the gate defers."""
        return self.decisions == Decision.ASK

    @property
    def refused(self) -> Bool[Tensor, "N"]:
        """Where there is to be no answer: the gate abstains."""
        return self.decisions == Decision.REFUSE

    @property
    def counts(self) -> dict[str, int]:
        """How many examples each decision was made about."""
        return {each.name.lower(): int((self.decisions == each).sum()) for each in Decision}
