"""Sums of difficulty by example: they grow with the members, never with the epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from duda.checks import check_count

__all__ = ["Table"]

_DTYPES = {"count": torch.int64, "seen": torch.bool, "forgotten": torch.int64}
_OF_CLASSES = ("right", "last_right", "forgotten", "margin", "prob", "spread", "el2n")


class Table:
    """Tensors `(members, n)` by name, of which a member has a row.

    Attributes:
        epochs: of each member, how many are over.
        losses: Σ loss over epochs, by loss term.
        values: `count` of epochs in which an example came, whether it was `seen` in this one, and
            of classes Σ `right`, the latest `last_right`, how often that fell (`forgotten`),
            Σ `margin`, the mean `prob` and the Σ of its squared deviations (`spread`), `el2n`.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self.epochs: list[int] = []
        self.losses: dict[str, Tensor] = {}
        self.values: dict[str, Tensor] = {}

    @property
    def has_classes(self) -> bool:
        """Whether there is more than losses."""
        return "margin" in self.values

    def check_unseen(self, member: int, rows: Tensor) -> None:
        """Raise a `ValueError` if examples are twice in a batch, or were in this epoch already."""
        check_count(member, "member", least=0)
        _, group, times = torch.unique(rows, return_inverse=True, return_counts=True)
        twice = times[group] > 1
        if member < len(self.epochs):
            twice |= self.values["seen"][member, rows]
        if bool(twice.any()):
            raise ValueError(
                f"`index` holds {int(rows[twice][0])} twice in an epoch, expected each example at "
                "most once: call `end_epoch` after each epoch."
            )

    def start(self, terms: set[str], classes: bool) -> None:
        """Decide what there is to know of an example."""
        names = ("count", "seen", *(_OF_CLASSES if classes else ()))
        self.values = {name: self._rows(name, 0) for name in names}
        self.losses = {name: self._rows("loss", 0) for name in sorted(terms)}

    def grow(self, member: int) -> None:
        """Make space for a member and those before it."""
        more = member + 1 - len(self.epochs)
        if more > 0:
            self.epochs += [0] * more
            for name, value in self.values.items():
                self.values[name] = torch.cat([value, self._rows(name, more)])
            for name, value in self.losses.items():
                self.losses[name] = torch.cat([value, self._rows("loss", more)])

    def _rows(self, name: str, members: int) -> Tensor:
        empty = math.nan if name == "el2n" else 0  # it may be of an epoch that is yet to come
        return torch.full((members, self.n), empty, dtype=_DTYPES.get(name, torch.float64))

    def add(self, member: int, rows: Tensor, losses: Mapping[str, Tensor]) -> None:
        """Take in the losses of examples that were not seen in this epoch."""
        at = (torch.tensor(member), rows)
        self.values["seen"][at] = True
        self.values["count"][at] += 1
        for name, value in losses.items():
            self.losses[name][at] += value

    def add_classes(
        self, member: int, rows: Tensor, found: Mapping[str, Tensor], keep_el2n: bool
    ) -> None:
        """Take in the other `class_measures` of these examples, after their losses."""
        at, values = (torch.tensor(member), rows), self.values
        right, prob = found["right"], found["prob"]
        values["forgotten"][at] += (right < values["last_right"][at]).long()
        values["last_right"][at] = right
        values["right"][at] += right
        values["margin"][at] += found["margin"]
        # Welford 1962, in place of E[p²] - E[p]².
        step = prob - values["prob"][at]
        values["prob"][at] += step / values["count"][at]
        values["spread"][at] += step * (prob - values["prob"][at])
        if keep_el2n:
            values["el2n"][at] = found["el2n"]

    def mean(self, scores: Tensor) -> Tensor:
        """Return the mean of `(members, n)` over the members that have seen an example, or NaN."""
        return scores.double().masked_fill(self.values["count"] == 0, math.nan).nanmean(0)

    def state(self) -> dict[str, Any]:
        """Return copies of all there is, in dicts and lists."""
        return {
            "epochs": list(self.epochs),
            "losses": {name: value.clone() for name, value in self.losses.items()},
            "values": {name: value.clone() for name, value in self.values.items()},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned, or raise a `ValueError` if it is something else."""
        epochs, losses, values = (state.get(name) for name in ("epochs", "losses", "values"))
        classes = isinstance(values, dict) and "margin" in values
        names = {"count", "seen", *(_OF_CLASSES if classes else ())}
        if (
            not (isinstance(epochs, list) and isinstance(losses, dict) and isinstance(values, dict))
            or any(not isinstance(epoch, int) or epoch < 0 for epoch in epochs)
            or (epochs and values.keys() != names)
        ):
            raise ValueError("`state` is none of a TrainingDynamics: take that of `state_dict`.")
        for name, value in (*losses.items(), *values.items()):
            self._check_rows(name if name in values else "loss", value, len(epochs))
        self.epochs = list(epochs)
        self.losses = {name: value.clone() for name, value in losses.items()}
        self.values = {name: value.clone() for name, value in values.items()}

    def _check_rows(self, name: str, value: Any, members: int) -> None:
        like = self._rows(name, members)
        fits = isinstance(value, Tensor) and value.shape == like.shape and value.dtype == like.dtype
        if not fits or (name != "el2n" and not bool((value.isfinite()).all())):
            raise ValueError(
                f"`state` has a `{name}` that is no {tuple(like.shape)} of finite {like.dtype}."
            )
