"""SDE-Net: noise between the layers, little of it where there were data and much where not."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from duda.batches import Batch, each_input
from duda.checks import check_above_0, check_count
from duda.layers import SDEBlock
from duda.likelihoods import Likelihood
from duda.methods.base import UncertainModel, check_network
from duda.methods.sampler import Sampler, network_sampler
from duda.sampling import (
    Randomness,
    new_seed,
    preserved,
    raw_outputs,
    swapped_weights,
    watched_inputs,
    with_last_linear,
)

__all__ = ["SDENet"]

_WIDEST = 128  # hidden features of a new block's networks


class SDENet(UncertainModel):
    """A network with stochastic differential equations in it; a draw is a path of them.

    What comes before the first block runs once. Source: Kong et al. 2020.

    Args:
        network: has one `duda.layers.SDEBlock` or more, or ends in a linear layer, before which a
            copy gets one.
        likelihood: what its raw outputs mean.
        samples: number of paths.
        noise_std: of what is added to inputs to make them unknown, in units of the inputs.
        sigma_max: the largest noise of a block; of a new one in units of the states' scale.
        predict_sigma_max: that of predictions, if it is another. The authors' code trains with 20,
            and predicts with 500.
        steps: of a path.
        t1: the time at its end.

    Of what is not given blocks keep their own; a new one has a `sigma_max` of 1 and 8 steps to time
    1.

    >>> import duda, torch
    >>> from torch import nn
    >>> network = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 3))
    >>> model = duda.SDENet(network, duda.Categorical(), samples=5)
    >>> bool((model.predict(torch.ones(4, 2), seed=0).epistemic > 0).all())
    True
    """

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        samples: int = 20,
        noise_std: float = 2.0,
        *,
        sigma_max: float | None = None,
        predict_sigma_max: float | None = None,
        steps: int | None = None,
        t1: float | None = None,
    ) -> None:
        super().__init__(likelihood, samples)
        self.noise_std = check_above_0(noise_std, "noise_std")
        self.sigma_max, self.predict_sigma_max = sigma_max, predict_sigma_max
        self.steps, self.t1 = steps, t1
        for name in ("sigma_max", "predict_sigma_max", "t1"):
            if getattr(self, name) is not None:
                check_above_0(getattr(self, name), name)
        self.network = check_network(network)
        if not self.blocks:
            self.network = with_last_linear(network, _block_before)
        given = {"sigma_max": sigma_max, "eval_sigma_max": predict_sigma_max, "t1": t1}
        if steps is not None:
            given["steps"] = check_count(steps, "steps")
        for block in self.blocks:
            vars(block).update({name: each for name, each in given.items() if each is not None})

    @property
    def blocks(self) -> list[SDEBlock]:
        """The stochastic parts of the network."""
        return [module for module in self.network.modules() if isinstance(module, SDEBlock)]

    def forward(self, x: Batch) -> Tensor:
        """Return the raw outputs at the end of one path."""
        return raw_outputs(self.network, x)

    def sampler(self, samples: int, joint: bool = False) -> Sampler:
        """Return what makes paths, which share all that comes before the first block.

        If joint, a draw is by one Brownian motion for all examples. Dropout stays off.
        """
        return network_sampler(
            self.network, samples, lambda x: Randomness, seed=new_seed(), shared=joint
        )

    def training_loss(self, x: Batch, y: Shaped[Tensor, "N *targets"]) -> Float[Tensor, ""]:
        """Return -log p(y | one path), nats, and how badly the diffusion tells data from noise.

        The first trains all but the diffusion networks, the second these alone: it is the
        cross-entropy, as in the authors' code, of noisy inputs having a large g and data a small
        one. Source: Kong et al. 2020, algorithm 1.

        Raises:
            ValueError: if no input is floating-point, so that none can get noise.
        """
        noisy = self._noisy(x)
        with swapped_weights(self.network, self._fixed_diffusion()):
            loss = super().training_loss(x, y)
        return loss + self._diffusion_loss(x, noisy)

    def _fixed_diffusion(self) -> dict[str, Tensor]:
        """Return the diffusion networks' weights by name, without gradients."""
        own = {id(weight) for block in self.blocks for weight in block.diffusion.parameters()}
        weights = self.network.named_parameters()
        return {name: weight.detach() for name, weight in weights if id(weight) in own}

    def _noisy(self, x: Batch) -> Batch:
        found = False

        def with_noise(values: Tensor) -> Tensor:
            nonlocal found
            if not values.is_floating_point():
                return values
            found = True
            return values + self.noise_std * torch.randn_like(values)

        noisy = each_input(x, with_noise)
        if not found:
            raise ValueError(
                "`x` has no floating-point input, to which noise could be added to make it "
                "unknown: let the network take embeddings."
            )
        return noisy

    def _diffusion_loss(self, x: Batch, noisy: Batch) -> Tensor:
        # Both without dropout and batch statistics, which would tell the two apart or blend them.
        with preserved(self.network), watched_inputs(self.blocks) as calls:
            raw_outputs(self.network, x)
            raw_outputs(self.network, noisy)
        losses = []
        for i, (block, start) in enumerate(calls):
            logits = block.diffusion_logits(start)
            unknown = torch.full_like(logits, float(i >= len(calls) // 2))
            losses.append(F.binary_cross_entropy_with_logits(logits, unknown))
        return torch.stack(losses).sum()


def _block_before(last: nn.Linear) -> nn.Module:
    """Return the last layer after a new block with small networks."""
    features, hidden = last.in_features, min(last.in_features, _WIDEST)
    drift = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, features))
    diffusion = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, 1))
    return nn.Sequential(SDEBlock(drift, diffusion, relative=True), last)
