"""Deep ensembles: several networks, trained one without the other, that vote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from duda.batches import Batch
from duda.likelihoods import Likelihood
from duda.methods.base import UncertainModel, check_count
from duda.methods.deterministic import Deterministic
from duda.methods.ensemble import Ensemble, check_distinct, new_networks
from duda.methods.sampler import Sampler
from duda.sampling import StackedMembers, raw_outputs

__all__ = ["DeepEnsemble"]


class DeepEnsemble(Ensemble):
    """Members that differ in initialisation and order of training data.

    The prediction is the mean of probabilities, or the mixture's mean and variance, mean of
    σ² + μ² − μ*². Source: Lakshminarayanan et al. 2017, section 2.4.

    Args:
        networks: a function that makes a new network at each call, or a list of networks.
        likelihood: what their raw outputs mean.
        members: how many networks to make; a list brings its own number.

    >>> import duda, torch
    >>> model = duda.DeepEnsemble(lambda: torch.nn.Linear(2, 3), duda.Categorical(), members=4)
    >>> model.predict(torch.zeros(5, 2), members=2).probs.shape
    torch.Size([5, 3])
    """

    def __init__(
        self,
        networks: Callable[[], nn.Module] | Sequence[nn.Module],
        likelihood: Likelihood,
        members: int | None = None,
    ) -> None:
        made = _networks(networks, members)
        super().__init__(likelihood, len(made))
        self.members = nn.ModuleList(made)

    @classmethod
    def from_factory(
        cls, factory: Callable[[], nn.Module], likelihood: Likelihood, **arguments: Any
    ) -> Self:
        """Return the ensemble, whose members the factory makes."""
        return cls(factory, likelihood, **arguments)

    def forward(self, x: Batch) -> Tensor:
        """Return the raw outputs of a member drawn at random."""
        member = int(torch.randint(len(self.members), ()))
        return raw_outputs(self.members[member], x)

    def training_loss(self, x: Batch, y: Shaped[Tensor, "N *targets"]) -> Float[Tensor, ""]:
        """Return the sum of the members' losses, so that each gets the gradient of its own."""
        outputs = (raw_outputs(network, x) for network in self.members)
        return self.data_losses(outputs, y).sum()

    def independent(self) -> list[UncertainModel]:
        """Return the members, each as a model that shares its network."""
        return [Deterministic(network, self.likelihood) for network in self.members]

    def only_calls(self) -> bool:
        """Return whether it is no subclass."""
        return type(self) is DeepEnsemble

    def sampler(self, samples: int, joint: bool = False) -> Sampler:
        """Return what gives the outputs of the first `samples` members.

        On a GPU those of equal structure may run as one, for which a prediction needs memory for
        one more copy of their weights; on a CPU they are faster in turn (benchmarks/members.py).
        """
        self.check_members(samples)
        members = StackedMembers([*self.members][:samples])
        return Sampler(members.draws, joint=True)


def _networks(
    networks: Callable[[], nn.Module] | Sequence[nn.Module], members: int | None
) -> list[nn.Module]:
    """Return the members, made by the factory or taken from the list."""
    if callable(networks):
        made = new_networks(networks, 5 if members is None else members, "networks")
    else:
        made = list(networks)
        check_count(len(made), "members")
        if members not in (None, len(made)):
            raise ValueError(f"`members` is {members}, but the list has {len(made)} networks.")
    check_distinct(made, "networks")
    return made
