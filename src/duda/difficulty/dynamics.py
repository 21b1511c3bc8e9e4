"""Training dynamics of each example: a recorder whose memory does not grow with the epochs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from duda.checks import ArrayLike, check_count, nearest
from duda.difficulty.measures import checked_index, checked_loss, class_measures
from duda.difficulty.table import Table
from duda.hooks import FitState
from duda.plots import difficulty as plots
from duda.renamed import OldAttribute

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["TrainingDynamics"]

# Whether an example with a high value is a hard one.
_HIGH_IS_HARD = {
    "action": True,
    "forgetting": True,
    "el2n": True,
    "variability": True,
    "aum": False,
    "confidence": False,
    "correctness": False,
}


class TrainingDynamics:
    """Scores of the n training examples, from what the model says of them epoch after epoch.

    Give it to `duda.fit(..., callbacks=[dynamics])`, or call `update` for each batch and
    `end_epoch` after each epoch of a loop of your own. An example that is missing in an epoch keeps
    what it has. Scores are `(n,)` in float64, NaN for examples never seen; of several members, the
    mean of their scores. Memory: about 75 bytes for each example and member.

    Args:
        n: how many training examples there are.
        ignore_index: the label of positions that do not count, as in `duda.Categorical`.
        el2n_epoch: the epoch, counted from 1, that `el2n` is of; by default the latest.

    >>> dynamics = TrainingDynamics(3)
    >>> for logits in ([[2.0, 0.0], [0.0, 0.0], [3.0, 0.0]], [[3.0, 0.0], [1.0, 0.0], [4.0, 0.0]]):
    ...     dynamics.update([0, 1, 2], logits, [0, 0, 1])
    ...     dynamics.end_epoch()
    >>> dynamics.aum, dynamics.hardest(1)
    (tensor([ 2.5000,  0.5000, -3.5000], dtype=torch.float64), tensor([2]))
    """

    def __init__(
        self, n: int, *, ignore_index: int | None = None, el2n_epoch: int | None = None
    ) -> None:
        self.n = check_count(n, "n")
        self.ignore_index = ignore_index
        self.el2n_epoch = None if el2n_epoch is None else check_count(el2n_epoch, "el2n_epoch")
        self._table = Table(n)

    def update(
        self,
        index: ArrayLike,
        outputs: ArrayLike | None = None,
        y: ArrayLike | None = None,
        *,
        losses: Mapping[str, ArrayLike] | None = None,
        member: int = 0,
    ) -> None:
        """Take in a batch, or raise an error and leave all as it was.

        Args:
            index: int64 `(B,)`, the place of each example in the training data.
            outputs: logits `(B, C, *positions)`, or log-probabilities; positions are averaged.
            y: integer labels `(B, *positions)`. Regression and soft labels have `losses` only.
            losses: loss terms `(B,)` by name, such as a detector's `"class"` and `"box"`; by
                default `"loss"`, the cross-entropy of `outputs` in nats.
            member: which of several models, counted from 0.

        Raises:
            ValueError: if shapes differ, values are not finite, an index is no example's or comes
                twice in an epoch, or there are not the same kinds of values as before.
        """
        rows = checked_index(index, self.n)
        self._table.check_unseen(member, rows)
        if outputs is None and losses is None:
            raise TypeError("give `outputs` and `y`, or `losses=`, or all three.")
        found: dict[str, Tensor] = {}
        counted = torch.ones_like(rows, dtype=torch.bool)
        if outputs is not None:
            found, counted = class_measures(outputs, y, len(rows), self.ignore_index)
        if losses is None:
            terms = {"loss": found["loss"]}
        else:
            terms = {name: checked_loss(value, name, len(rows)) for name, value in losses.items()}
        self._check_kind(set(terms), outputs is not None)
        self._table.grow(member)
        rows = rows[counted]
        self._table.add(member, rows, {name: value[counted] for name, value in terms.items()})
        if outputs is not None:
            now = self.el2n_epoch in (None, self._table.epochs[member] + 1)
            found = {name: value[counted] for name, value in found.items()}
            self._table.add_classes(member, rows, found, keep_el2n=now)

    def end_epoch(self, member: int = 0) -> None:
        """Say that an epoch is over: each example may come again.

        Raises:
            ValueError: if nothing was recorded in it.
        """
        members = len(self._table.epochs)
        if not 0 <= member < members or not bool(self._table.values["seen"][member].any()):
            raise ValueError(
                f"`member` {member} has seen no example in this epoch: call `update` for each "
                "batch before `end_epoch`."
            )
        self._table.epochs[member] += 1
        self._table.values["seen"][member] = False

    def on_fit_start(self, state: FitState) -> None:
        """Raise a `ValueError` unless there are n examples."""
        if state.examples != self.n:
            raise ValueError(
                f"`n` of a TrainingDynamics is {self.n}, but `data` has {state.examples} examples: "
                f"make it as `TrainingDynamics({state.examples})`."
            )

    def on_outputs(self, state: FitState) -> None:
        """Take in what the model says of some examples after an epoch."""
        seen = state.outputs
        if seen is not None:
            y = None if seen.log_probs is None else seen.y
            self.update(seen.index, seen.log_probs, y, losses=seen.losses, member=state.member)

    def on_epoch_end(self, state: FitState) -> None:
        """Take note that an epoch of a member is over."""
        self.end_epoch(state.member)

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
        if by in _HIGH_IS_HARD:
            score: Tensor = getattr(self, by)
            return score
        terms = self.action_scores
        if by not in terms:
            raise ValueError(f"`by`: {nearest(by, [*_HIGH_IS_HARD, *terms], 'score')}")
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
        order = score[known].argsort(stable=True, descending=_HIGH_IS_HARD.get(by, True))
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
        high = _HIGH_IS_HARD.get(by, True)
        return plots.easy_to_hard(score[~score.isnan()], by, high_is_hard=high, ax=ax)

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of all that was recorded: dicts, lists, numbers and tensors."""
        return {"settings": self._settings(), **self._table.state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned, bit for bit.

        Raises:
            ValueError: if it is of a recorder with other arguments.
        """
        found = state.get("settings")
        if found != self._settings():
            raise ValueError(
                f"`state` is of a recorder with {found}, expected {self._settings()}: make it with "
                "the same arguments."
            )
        self._table.load(state)

    def __repr__(self) -> str:
        epochs = self._table.epochs
        members = f"{len(epochs)} members, " if len(epochs) > 1 else ""
        return f"TrainingDynamics({self.n} examples, {members}{max(epochs, default=0)} epochs)"

    def _settings(self) -> dict[str, int | None]:
        return {name: getattr(self, name) for name in ("n", "ignore_index", "el2n_epoch")}

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

    def _check_kind(self, terms: set[str], classes: bool) -> None:
        """Raise a `ValueError` if a batch does not have what those before had."""
        table = self._table
        taken = sorted(terms & _HIGH_IS_HARD.keys())
        if taken or not terms:
            raise ValueError(
                f"`losses` has the terms {sorted(terms)}, expected at least one, and none with the "
                f"name of a score ({', '.join(_HIGH_IS_HARD)})."
            )
        if not table.epochs:
            table.start(terms, classes)
        if terms != table.losses.keys():
            raise ValueError(
                f"`losses` has the terms {sorted(terms)}, expected {sorted(table.losses)} as in "
                "the batches before."
            )
        if classes != table.has_classes:
            raise ValueError(
                f"`outputs` is {'given' if classes else 'missing'}, unlike in the batches before: "
                "give it always or never."
            )
