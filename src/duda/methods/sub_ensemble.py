"""Sub-ensembles: members that share a trunk and differ only in what comes after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from duda.batches import Batch, each_input
from duda.likelihoods import Likelihood
from duda.methods.base import UncertainModel, check_count, check_network
from duda.methods.common_calls import CommonCalls
from duda.methods.deterministic import Deterministic
from duda.methods.ensemble import Ensemble, check_distinct, new_networks
from duda.methods.sampler import Sampler
from duda.methods.trunk import parts_of, shared_names
from duda.preservation import modes_kept
from duda.sampling import StackedMembers, collected, raw_outputs

__all__ = ["SubEnsemble"]


class SubEnsemble(Ensemble):
    """Networks with one trunk, which runs once for all of them, and a head each.

    `fit` trains the trunk with the first head, then the other heads on the trunk as it is; what
    `loss` returns trains all at once. Source: Valdenegro-Toro 2019.

    Args:
        factory: a function that makes a new network at each call.
        likelihood: what the raw outputs mean.
        shared: the trunk: names of modules or weights, their beginnings up to a dot, or patterns;
            by default all that is called before the last two layers with weights, as far as the
            network's code tells, else registered before them. Heads of one layer have a convex
            loss, and end up the same when trained for long.
        members: how many heads, the first among them.
        joint: whether `fit` trains trunk and heads together, by the sum of the members' losses.
        trained: a network that gives trunk and first head, which `fit` then leaves as they are.

    >>> import duda, torch
    >>> from torch import nn
    >>> net = lambda: nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> model = duda.SubEnsemble(net, duda.Categorical(), members=4)
    >>> sum(weight.numel() for weight in model.parameters())  # 24 of the trunk, 27 of each head
    132
    """

    def __init__(
        self,
        factory: Callable[[], nn.Module],
        likelihood: Likelihood,
        shared: str | Sequence[str] | None = None,
        members: int = 5,
        joint: bool = False,
        *,
        trained: nn.Module | None = None,
    ) -> None:
        if trained is None:
            made = new_networks(factory, members, "factory")
        else:
            others = _check_others(members, joint)
            made = [check_network(trained), *new_networks(factory, others, "factory")]
        check_distinct(made, "factory")
        super().__init__(likelihood, members)
        self.members = nn.ModuleList(made)
        self.shared, self.joint = shared, joint
        self._shared = shared_names(made[0], shared)
        self._trained = trained is not None
        self._tie()

    @classmethod
    def from_factory(
        cls, factory: Callable[[], nn.Module], likelihood: Likelihood, **arguments: Any
    ) -> Self:
        """Return the ensemble, whose members the factory makes."""
        return cls(factory, likelihood, **arguments)

    @property
    def learns_scale(self) -> bool:
        """Whether `fit` may choose the units, which are given by a network that is trained."""
        return super().learns_scale and not self._trained

    @property
    def trained(self) -> nn.Module | None:
        """The network that gave trunk and first head, if one did."""
        return self.members[0] if self._trained else None

    def forward(self, x: Batch) -> Tensor:
        """Return the raw outputs of a member drawn at random."""
        return raw_outputs(self.members[int(torch.randint(self.size, ()))], x)

    def training_loss(self, x: Batch, y: Shaped[Tensor, "N *targets"]) -> Tensor:
        """Return the sum of the members' losses, by which trunk and heads train together.

        A head gets the gradient of its own loss, the trunk that of all.
        """
        return self.data_losses(_outputs(self.members, x, self._trunk()), y).sum()

    def independent(self) -> list[UncertainModel]:
        """Return the trunk with the first head, and the other heads as one model; or all as one."""
        if self.joint:
            return [self]
        parts: list[UncertainModel] = []
        if not self._trained:
            parts.append(Deterministic(self.members[0], self.likelihood))
        if self.size > 1:
            parts.append(_Heads(self.members[1:], self.likelihood, self._trunk()))
        return parts

    def sampler(self, samples: int, joint: bool = False) -> Sampler:
        """Return what gives the first `samples` members' outputs; the trunk runs once for each x.

        They are functions anyway: the argument `joint` changes nothing.
        """
        self.check_members(samples)
        return _members_of(self.members, samples, self._trunk())

    def _trunk(self) -> dict[int, nn.Module | Tensor]:
        """Return the modules, weights and buffers of the trunk."""
        parts = parts_of(self.members[0])
        return {id(parts[name]): parts[name] for name in self._shared}

    def _tie(self) -> None:
        """Put the trunk into all members."""
        first, *others = self.members
        for name, part in parts_of(first).items():
            if name not in self._shared:
                continue
            owner, _, own = name.rpartition(".")
            for number, other in enumerate(others, 2):
                try:
                    place = other.get_submodule(owner)
                    getattr(place, own)
                except AttributeError:
                    raise ValueError(
                        f"`factory` made a network, number {number}, without {name!r}, which the "
                        "first has, expected the same trunk in each."
                    ) from None
                setattr(place, own, part)

    def _apply(self, fn: Callable[[Tensor], Any], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self._tie()  # a move makes new tensors of buffers, for each member its own
        return self


class _Heads(UncertainModel):
    """Heads that train on a trunk that stays as it is, and that is no part of this model.

    Args:
        networks: members, each a head with the trunk.
        likelihood: what their raw outputs mean.
        trunk: its modules, weights and buffers, by their `id`.
    """

    def __init__(
        self,
        networks: nn.ModuleList,
        likelihood: Likelihood,
        trunk: dict[int, nn.Module | Tensor],
    ) -> None:
        super().__init__(likelihood, samples=len(networks))
        self.networks = networks
        self._trunk = trunk
        # A module with a part of a head in it trains, as its code may drop something of that.
        self._still = [module for module in networks.modules() if _all_in(module, trunk)]

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the heads' weights, which are all that is trained and kept of this model."""
        return self._without_trunk(super().named_parameters(*args, **kwargs))

    def named_buffers(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, Tensor]]:
        """Yield the heads' buffers."""
        return self._without_trunk(super().named_buffers(*args, **kwargs))

    def _without_trunk(self, named: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
        return ((name, tensor) for name, tensor in named if id(tensor) not in self._trunk)

    def forward(self, x: Batch) -> Tensor:
        """Return the raw outputs of the first head."""
        return raw_outputs(self.networks[0], x)

    def sampler(self, samples: int, joint: bool = False) -> Sampler:
        """Return what gives the outputs of the heads."""
        return _members_of(self.networks, samples, self._trunk)

    def validation_sampler(self) -> Sampler:
        """Return all heads."""
        return self.sampler(self.samples)

    def training_loss(self, x: Batch, y: Shaped[Tensor, "N *targets"]) -> Tensor:
        """Return the sum of the heads' losses, whose gradient is for each that of its own loss."""
        with self._frozen():
            return self.data_losses(_outputs(self.networks, x, self._trunk), y).sum()

    @contextmanager
    def _frozen(self) -> Iterator[None]:
        """Hold the trunk's modules still: no gradients, no dropout, no statistics of BatchNorm."""
        tensors = [part for part in self._trunk.values() if isinstance(part, Tensor)]
        wanted = [(tensor, tensor.requires_grad) for tensor in tensors]
        try:
            for tensor, _ in wanted:
                tensor.requires_grad = False
            with modes_kept(self._still):
                for module in self._still:
                    module.training = False
                yield
        finally:
            for tensor, gradient in wanted:
                tensor.requires_grad = gradient


def _all_in(module: nn.Module, trunk: dict[int, nn.Module | Tensor]) -> bool:
    """Return whether a module, or all that it holds, belongs to the trunk."""
    tensors = [id(tensor) for tensor in (*module.parameters(), *module.buffers())]
    return id(module) in trunk or (bool(tensors) and trunk.keys() >= set(tensors))


def _members_of(
    networks: nn.ModuleList, samples: int, trunk: dict[int, nn.Module | Tensor]
) -> Sampler:
    members = StackedMembers(
        [*networks[:samples]],
        lambda x, chunk: collected(_outputs(networks[:samples], x, trunk), chunk),
    )
    return Sampler(members.draws, joint=True)


def _outputs(
    networks: nn.ModuleList, x: Batch, trunk: dict[int, nn.Module | Tensor]
) -> Iterator[Tensor]:
    """Yield the outputs of the networks, one by one; the trunk runs once."""
    common = CommonCalls(trunk.values(), x)
    for network in networks:
        copied = each_input(x, Tensor.clone)  # which the network may write to
        with common.used(network, copied):
            outputs = raw_outputs(network, copied)
        yield outputs


def _check_others(members: int, joint: bool) -> int:
    """Return how many heads there are besides that of a trained network."""
    if check_count(members, "members") == 1:
        raise ValueError("`members` is 1, but `trained` is one already: expected at least 2.")
    if joint:
        raise ValueError("`joint` is True, but `trained` stays as it is: give only one of the two.")
    return members - 1
