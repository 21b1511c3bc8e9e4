"""Variational inference: each weight has a normal distribution, learned together with its mean."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from duda.batches import Batch
from duda.checks import check_above_0, check_at_least_0
from duda.hooks import FitState
from duda.likelihoods import Likelihood
from duda.methods.base import UncertainModel, check_count, check_network
from duda.methods.sampler import Sampler, network_sampler
from duda.methods.variational.normal_weights import (
    NOISY_LAYERS,
    Flipout,
    LocalNoise,
    NormalWeight,
    WholeWeights,
)
from duda.methods.variational.priors import GaussianPrior, Prior
from duda.methods.variational.widths import random_weights
from duda.sampling import LayerChoice, fast_in_vmap, new_seed, weight_layers

__all__ = ["Variational"]

_ESTIMATORS: dict[str, type[WholeWeights | LocalNoise | Flipout]] = {
    "weight": WholeWeights,
    "local": LocalNoise,
    "flipout": Flipout,
}


class Variational(UncertainModel):
    """A network whose weights and biases are N(μ, softplus(ρ)²), independent of each other.

    μ are the network's own weights, so that a trained network is a start; frozen ones stay plain.
    The loss is -log p(y | x, w) + KL / terms, the negative ELBO for one of the terms that its sum
    over the training data has: an example, or a position of one. Source: Blundell et al. 2015,
    eq. 2. A draw, in training and in `predict`, is by `estimator` one of

    - "weight": weights, the same for all examples of a batch.
    - "local": the outputs of linear and convolutional layers, independent for each example and each
      position, so that what is pooled over positions varies too little (Kingma et al. 2015).
    - "flipout": weights, of which linear and convolutional layers flip the noise by signs of each
      example's own (Wen et al. 2018).

    Weights of other layers are drawn as by "weight", and so are all of them for joint draws.

    Args:
        network: any module with linear, convolutional, embedding, recurrent or attention layers.
        likelihood: what its raw outputs mean.
        prior: `GaussianPrior()`, or another, of each weight.
        estimator: "weight", "local" or "flipout".
        layers: which layers are random, as in `duda.sampling.weight_layers`; all by default.
        samples: number of draws.
        examples: the size of the training data; `fit` tells it by itself.
        annealing_epochs: epochs over which the weight of the KL divergence grows linearly to 1.
        temperature: its weight then; a posterior with less than 1 is cold (Wenzel et al. 2020).
        fan_in_prior: make the prior of a matrix 1 / √inputs as wide, by the inputs of an output.
        centered_prior: centre the prior at the weights that the network has now.
        initial_std: standard deviations at the start, in units of 1 / √inputs. The 0.1 is small
            beside what layers start with, 0.58, so that noise does not drown the first gradients.
        relative_std: take it in units of each weight's size. With `centered_prior` and a trained
            network that is MOPED (Krishnan et al. 2020).

    >>> import duda, torch
    >>> model = duda.Variational(nn.Linear(2, 3), duda.Categorical(), examples=100)
    >>> model.loss(torch.ones(4, 2), torch.zeros(4, dtype=torch.int64)).backward()
    >>> bool((model.predict(torch.ones(4, 2), seed=0).epistemic > 0).all())
    True
    """

    noise_in_loss: ClassVar[bool] = True

    _seen: Tensor

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        prior: Prior | None = None,
        estimator: str = "weight",
        layers: LayerChoice = None,
        samples: int = 50,
        *,
        examples: int | None = None,
        annealing_epochs: int = 0,
        temperature: float = 1.0,
        fan_in_prior: bool = False,
        centered_prior: bool = False,
        initial_std: float = 0.1,
        relative_std: bool = False,
    ) -> None:
        super().__init__(likelihood, samples)
        self.network = check_network(network)
        self.prior = GaussianPrior() if prior is None else _check_prior(prior)
        if estimator not in _ESTIMATORS:
            raise ValueError(
                f"`estimator` is {estimator!r}, expected 'weight', 'local' or 'flipout'."
            )
        self.estimator, self.layers = estimator, layers
        self._given = None if examples is None else check_count(examples, "examples")
        self.examples = self._given
        self.annealing_epochs = check_count(annealing_epochs, "annealing_epochs", least=0)
        self.temperature = check_at_least_0(temperature, "temperature")
        self.fan_in_prior, self.centered_prior = fan_in_prior, centered_prior
        self.initial_std = check_above_0(initial_std, "initial_std")
        self.relative_std = relative_std
        found = random_weights(weight_layers(network, layers))
        self._names, self._inputs = list(found), [each.inputs for each in found.values()]
        self.raw_stds = nn.ParameterList(
            each.raw_std(initial_std, relative=relative_std) for each in found.values()
        )
        self.centers = nn.Module()
        if centered_prior:
            for number, each in enumerate(found.values()):
                self.centers.register_buffer(str(number), each.weight.detach().clone())
        # Examples and terms that were seen in training; a file of the model has no use for them.
        self.register_buffer("_seen", torch.zeros(2).double(), persistent=False)

    def forward(self, x: Batch) -> Tensor:
        """Return one draw of raw outputs, in training and in eval mode."""
        mode = _ESTIMATORS[self.estimator](self.network, self._normals())
        with mode:
            return mode.call(self.network, x)

    def sampler(self, samples: int, joint: bool = False) -> Sampler:
        """Return what makes draws, which share all that comes before the first random layer.

        If joint, weights are drawn whole, whatever the estimator.
        """
        normals, estimator = self._normals(), "weight" if joint else self.estimator
        drawn = self._drawn_whole(estimator)
        return network_sampler(
            self.network,
            samples,
            lambda x: lambda: _ESTIMATORS[estimator](self.network, normals),
            seed=new_seed(),
            shared=joint,
            joint=estimator == "weight",
            vmapped=lambda x: fast_in_vmap(self.network, drawn, x),
        )

    def kl_divergence(self) -> Float[Tensor, ""]:
        """Return the sum over all weights of KL(q || prior), in nats.

        It is exact for a `GaussianPrior`, else an estimate from one draw of the weights.
        """
        normals = self._normals()
        means, stds = ([normal[i] for normal in normals.values()] for i in (0, 1))
        if self.centered_prior:
            means = [m - center for m, center in zip(means, self.centers.buffers(), strict=True)]
        if self.fan_in_prior:  # the divergence is the same in other units
            units = [math.sqrt(inputs) for inputs in self._inputs]
            means, stds = (
                [u * v for u, v in zip(units, each, strict=True)] for each in (means, stds)
            )
        return torch.stack(list(map(self.prior.kl_divergence, means, stds))).sum()

    def training_loss(self, x: Batch, y: Shaped[Tensor, "N *targets"]) -> Float[Tensor, ""]:
        """Return -log p(y | x, w) for one draw w, and the share in the KL divergence, of one term.

        Raises:
            ValueError: if nobody has told how many examples there are.
        """
        # A KL divergence of weight 0 would let the first epoch forget the prior.
        weight = self.temperature * self.grown(self.annealing_epochs + 1, ahead=1)
        kl = weight * self.kl_divergence()
        data = super().training_loss(x, y)
        self.examples = self.epoch_examples() or self.examples
        if self.examples is None:
            raise ValueError(
                "`examples` is not known, expected the size of the training data, by which the KL "
                "divergence is divided: give it to `Variational`, or train with `duda.fit`."
            )
        share, terms = (each.to(kl.dtype) for each in self._shares(y))
        return share * data + kl / (self.examples * terms)

    def loss_weight(self, y: Shaped[Tensor, "N *targets"]) -> int | Tensor:
        """Return the number of examples: the loss is a mean over these, whatever counts in them."""
        return len(y)

    def _shares(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return how many terms an example of the batch has, beside the mean, and that mean.

        It is over all that was seen in training, so that a batch with few terms, because most of
        its positions are to be ignored, weighs as little as it does in the sum over all data.
        """
        batch = torch.zeros_like(self._seen)
        batch[0] += len(y)
        batch[1] += self.scaled_likelihood.loss_weight(y)
        seen = batch
        if self.training and torch.is_grad_enabled():
            self._seen += batch
            seen = self._seen
        rows, terms = seen
        known = terms > 0
        share = batch[1] * rows / (batch[0] * terms.where(known, 1))
        return share, (terms / rows).where(known, 1)

    def on_fit_start(self, state: FitState) -> None:
        """Forget what was seen in a training before this one."""
        super().on_fit_start(state)
        self._seen.zero_()

    def on_epoch_start(self, state: FitState) -> None:
        """Take note of the size of the training data, unless it was given."""
        super().on_epoch_start(state)
        self.examples = self.epoch_examples()

    def epoch_examples(self) -> int | None:
        """Return the size of the training data: as given, told or counted."""
        return self._given or super().epoch_examples()

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments, `examples` only if they were given."""
        return super().arguments() | {"examples": self._given}

    def _normals(self) -> dict[str, NormalWeight]:
        """Return the distribution of each random weight, by its name in the network."""
        weights = dict(self.network.named_parameters(remove_duplicate=False))
        return {
            name: NormalWeight(weights[name], F.softplus(raw))
            for name, raw in zip(self._names, self.raw_stds, strict=True)
        }

    def _drawn_whole(self, estimator: str) -> list[str]:
        """Return the names of weights that differ by draw, and not the outputs of their layers."""
        if estimator != "local":
            return self._names
        owners = {name: self.network.get_submodule(name.rpartition(".")[0]) for name in self._names}
        return [name for name, owner in owners.items() if not isinstance(owner, NOISY_LAYERS)]


def _check_prior(prior: Prior) -> Prior:
    if isinstance(prior, Prior):
        return prior
    raise TypeError(
        f"`prior` is a {type(prior).__name__}, expected one of duda's, such as "
        "`duda.GaussianPrior(std=1.0)`."
    )
