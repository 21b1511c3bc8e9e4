"""Scores of training examples: how hard each is, of what was recorded epoch after epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from duda.checks import check_count, nearest
from duda.difficulty.table import Table
from duda.plots import difficulty as plots
from duda.renamed import OldAttribute

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["HIGH_IS_HARD", "ExampleScores"]

# Whether an example with a high value is a hard one.
HIGH_IS_HARD = {
    "action": True,
    "forgetting": True,
    "el2n": True,
    "variability": True,
    "aum": False,
    "confidence": False,
    "correctness": False,
}


class ExampleScores:
    """Scores `(n,)` in float64, NaN for examples never seen; of several members, their mean.

    Args:
        table: what is known of each example.
        el2n_epoch: the epoch, counted from 1, that `el2n` is of; by default the latest.
    """

    def __init__(self, table: Table, el2n_epoch: int | None) -> None:
        self._table, self.el2n_epoch = table, el2n_epoch

    @property
    def counts(self) -> Int[Tensor, "n"]:
        """How often each example was seen, over epochs and members."""
        return self._recorded().values["count"].sum(0)

    @property
    def action_scores(self) -> dict[str, Float[Tensor, "n"]]:
        """Σ over epochs of each loss term; high is hard.

        Examples seen in fewer epochs have smaller sums: divide by `counts` to compare them.
        Source: Arriaga & Valdenegro-Toro 2020.
        """
        table = self._recorded()
        return {name: table.mean(value) for name, value in table.losses.items()}

    @property
    def action(self) -> Float[Tensor, "n"]:
        """Σ over epochs of the whole loss, all its terms; high is hard. See `action_scores`."""
        return torch.stack(list(self.action_scores.values())).sum(0)

    @property
    def forgetting(self) -> Float[Tensor, "n"]:
        """How often an example was right and then wrong; +inf where a member never learned it.

        With positions: how often the share of right ones fell. Source: Toneva et al. 2019.
        """
        table = self._classes()
        never = table.values["right"] == 0
        return table.mean(table.values["forgotten"].double().masked_fill(never, torch.inf))

    @property
    def never_learned(self) -> Bool[Tensor, "n"]:
        """True where an example was seen, but some member that saw it got it right in no epoch."""
        return self.forgetting == torch.inf

    never_learnt = OldAttribute("never_learned")

    @property
    def aum(self) -> Float[Tensor, "n"]:
        """Mean over epochs of the label's logit minus the highest other one; low is suspect.

        Source: Pleiss et al. 2020, eq. 1 and 2 (area under the margin).
        """
        table = self._classes()
        return table.mean(table.values["margin"] / table.values["count"])

    @property
    def el2n(self) -> Float[Tensor, "n"]:
        """‖p - onehot(y)‖₂ in one epoch, see `el2n_epoch`; high is hard. Source: Paul et al. 2021.

        NaN where an example was missing in the epoch that was asked for.
        """
        table = self._classes()
        if bool(table.values["el2n"].isnan().all()):
            raise ValueError(
                f"`el2n_epoch` is {self.el2n_epoch}, but only {max(table.epochs)} epochs were "
                "recorded: train for longer."
            )
        return table.mean(table.values["el2n"])

    @property
    def confidence(self) -> Float[Tensor, "n"]:
        """Mean over epochs of the label's probability. Source: Swayamdipta et al. 2020, sec. 2."""
        table = self._classes()
        return table.mean(table.values["prob"])

    @property
    def variability(self) -> Float[Tensor, "n"]:
        """Standard deviation over epochs, not of a sample, of the label's probability."""
        table = self._classes()
        return table.mean((table.values["spread"] / table.values["count"]).sqrt())

    @property
    def correctness(self) -> Float[Tensor, "n"]:
        """Share of epochs in which the label was the most probable class, the first of equals."""
        table = self._classes()
        return table.mean(table.values["right"] / table.values["count"])

    def score(self, by: str = "action") -> Float[Tensor, "n"]:
        """Return a score by its name: a property of this class, or a loss term.

        Raises:
            ValueError: if there is no such score.
        """
        if by in HIGH_IS_HARD:
            score: Tensor = getattr(self, by)
            return score
        terms = self.action_scores
        if by not in terms:
            raise ValueError(f"`by`: {nearest(by, [*HIGH_IS_HARD, *terms], 'score')}")
        return terms[by]

    def hardest(self, k: int, by: str = "action") -> Int[Tensor, "k"]:
        """Return the indices of the k hardest examples, the hardest first; equal ones by index.

        Low `aum`, `confidence` and `correctness` are hard, of all other scores high values.

        Raises:
            ValueError: if there is no such score, or for fewer than k examples.
        """
        score = self.score(by)
        known = (~score.isnan()).nonzero().squeeze(1)
        if check_count(k, "k") > len(known):
            raise ValueError(f"`k` is {k}, but only {len(known)} examples have a score {by!r}.")
        order = score[known].argsort(stable=True, descending=HIGH_IS_HARD.get(by, True))
        return known[order[:k]]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the data map: confidence over variability, coloured by correctness."""
        seen = self.counts > 0
        return plots.data_map(
            self.confidence[seen], self.variability[seen], self.correctness[seen], ax
        )

    def plot_scores(self, by: str = "action", ax: Axes | None = None) -> Axes:
        """Draw how many examples have which score, from the easiest to the hardest."""
        score = self.score(by)
        high = HIGH_IS_HARD.get(by, True)
        return plots.easy_to_hard(score[~score.isnan()], by, high_is_hard=high, ax=ax)

    def _recorded(self) -> Table:
        if not self._table.epochs:
            raise ValueError(
                "nothing was recorded yet: call `update`, or give the recorder to `duda.fit`."
            )
        return self._table

    def _classes(self) -> Table:
        table = self._recorded()
        if not table.has_classes:
            raise ValueError(
                "only losses were recorded, which have no more than action scores: give `outputs` "
                "and integer labels `y` to `update`."
            )
        return table
