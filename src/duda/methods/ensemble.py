"""Ensembles, what they share: members that are made at the start, each of which is a draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from duda.items import ItemRule
from duda.likelihoods import Likelihood
from duda.methods.base import UncertainModel, check_count, check_network
from duda.methods.sampler import Sampler
from duda.predictions import Prediction
from duda.sources import Inputs

__all__ = ["Ensemble", "check_distinct", "new_networks"]


class Ensemble(UncertainModel):
    """A model whose draws are a fixed number of members.

    Args:
        likelihood: what the members' raw outputs mean.
        size: how many members there are.
    """

    def __init__(self, likelihood: Likelihood, size: int) -> None:
        super().__init__(likelihood, samples=size)
        self.size = self.samples

    def check_members(self, count: int, name: str = "samples") -> None:
        """Raise a `ValueError` if the ensemble has fewer members than an argument asks for."""
        if count > self.size:
            raise ValueError(
                f"`{name}` is {count}, but the ensemble has {self.size} members, each of which is "
                f"one draw: ask for at most {self.size}."
            )

    def validation_sampler(self) -> Sampler:
        """Return all members."""
        return self.sampler(self.size)

    def predict(
        self,
        x: Inputs,
        *,
        members: int | None = None,
        samples: int | None = None,
        seed: int | None = None,
        keep_draws: bool = False,
        joint: bool = False,
        batch_size: int = 256,
        chunk: int | None = None,
        inputs: ItemRule | None = None,
    ) -> Prediction:
        """Return the prediction of the first `members` members, by default of all.

        A draw is a member, so `samples` says the same as `members`, and each is a function of the
        input, so that `joint` changes nothing; the rest is as for any model.

        Raises:
            ValueError: if there are fewer members, or both names give different numbers.
        """
        if members is not None and samples is not None and members != samples:
            raise ValueError(f"`members` is {members} but `samples` is {samples}: give only one.")
        if members is not None:
            self.check_members(check_count(members, "members"), "members")
        return super().predict(
            x,
            samples=samples if members is None else members,
            seed=seed,
            keep_draws=keep_draws,
            joint=joint,
            batch_size=batch_size,
            chunk=chunk,
            inputs=inputs,
        )


def new_networks(factory: Callable[[], nn.Module], count: int, name: str) -> list[nn.Module]:
    """Return as many networks as asked for, or raise a `TypeError` if `factory` makes none."""
    if isinstance(factory, nn.Module) or not callable(factory):
        found = "one network" if isinstance(factory, nn.Module) else f"a {type(factory).__name__}"
        raise TypeError(
            f"`{name}` is {found}, expected a function that makes a new one at each call, "
            "such as `lambda: MyNetwork()`."
        )
    return [factory() for _ in range(check_count(count, "members"))]


def check_distinct(networks: Sequence[nn.Module], name: str) -> None:
    """Raise an error unless these are modules, and no two of them the same."""
    for network in networks:
        check_network(network)
    if len({id(network) for network in networks}) < len(networks):
        raise ValueError(
            f"`{name}` gives the same module more than once, expected a new one for each member."
        )
