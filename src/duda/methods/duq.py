"""DUQ: classes as places in feature space; what is far from all of them is unknown."""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from duda.batches import Batch
from duda.doubts import waiting
from duda.layers import RBF
from duda.likelihoods import Bernoulli, Categorical, Likelihood
from duda.methods.base import UncertainModel, check_network, one_draw
from duda.methods.example_weights import example_weights
from duda.methods.last_layer import outputs_and_features
from duda.methods.sampler import Sampler
from duda.predictions import BernoulliPrediction, ClassPrediction, Prediction
from duda.sampling import with_last_linear

__all__ = ["DUQ"]


class DUQ(UncertainModel):
    """One pass of a network that ends in an RBF layer; its score is 1 - max_c K_c.

    The kernels K_c are no distribution: for `probs` they are scaled to sum to one. Centroids move
    with each call of `loss` in training mode. Source: van Amersfoort et al. 2020.

    Args:
        network: ends in a `duda.layers.RBF`, or in a linear layer, whose place one takes in a copy.
        likelihood: a `Categorical`; or a `Bernoulli`, with which each label has two centroids, of
            where it is false and where it is true, and the score is 1 less the mean over labels of
            the larger kernel.
        gradient_penalty: λ, the weight of (‖∇ₓ Σ_c K_c‖² - 1)², which keeps the features from
            ignoring the input; 0 for inputs that are no floating-point tensor.

    >>> import duda, torch
    >>> from torch import nn
    >>> network = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 3))
    >>> duda.DUQ(network, duda.Categorical()).predict(torch.zeros(4, 2)).score.shape
    torch.Size([4])
    """

    likelihoods = (Categorical, Bernoulli)

    def __init__(
        self, network: nn.Module, likelihood: Likelihood, gradient_penalty: float = 0.5
    ) -> None:
        super().__init__(likelihood, samples=1)
        if not gradient_penalty >= 0:
            raise ValueError(
                f"`gradient_penalty` is {gradient_penalty}, expected a number of at least 0."
            )
        for name in ("pos_weight", "weight", "label_smoothing", "focal"):
            if getattr(likelihood, name, None):
                raise ValueError(
                    f"`{name}` is given, but the loss of a DUQ goes by kernels and has no place "
                    "for it: leave it out."
                )
        self.gradient_penalty = gradient_penalty
        self._each = 2 if isinstance(likelihood, Bernoulli) else 1  # centroids for an output
        self.network = _with_kernels(check_network(network), self._each)

    @property
    def kernels(self) -> RBF:
        """The layer that the network ends in."""
        return self._named_kernels()[1]

    def _named_kernels(self) -> tuple[str, RBF]:
        named = self.network.named_modules()
        return next((name, module) for name, module in named if isinstance(module, RBF))

    def _with_features(self, x: Batch) -> tuple[Tensor, Tensor]:
        return outputs_and_features(self.network, self._named_kernels()[0], x, "DUQ")

    def forward(self, x: Batch) -> Tensor:
        """Return log K_c `(N, C)`, of which softmax makes the probabilities, or logits of labels.

        Raises:
            ValueError: if the network does not end in its RBF layer.
        """
        return self._outputs(self._with_features(x)[0])

    def _outputs(self, log_kernels: Tensor) -> Tensor:
        """Return what the likelihood takes: of a label how much nearer the place of the true is."""
        if self._each == 1:
            return log_kernels
        falses, trues = log_kernels.chunk(2, dim=1)
        return trues - falses

    def _grouped(self, kernels: Float[Tensor, "N K"]) -> Float[Tensor, "N C G"]:
        """Return values with the C of which one is right on dimension 1: all, or two of a label."""
        labels = 1 if self._each == 1 else kernels.shape[1] // 2
        return kernels.view(len(kernels), -1, labels)

    def training_loss(self, x: Batch, y: Shaped[Tensor, "N *targets"]) -> Float[Tensor, ""]:
        """Return the mean of -Σ_c y_c log K_c + (1 - y_c) log(1 - K_c), and the gradient penalty.

        Source: van Amersfoort et al. 2020, eq. 2 and section 2.1.

        Raises:
            ValueError: if there is a penalty, and `x` has no gradient.
        """
        if self.gradient_penalty == 0:
            return self._data_loss(x, y)[0]
        if not isinstance(x, Tensor) or not x.is_floating_point():
            kind = f"tensor of {x.dtype}" if isinstance(x, Tensor) else "dict of named inputs"
            raise ValueError(
                f"`x` is a {kind}, expected a floating-point tensor, which the gradient penalty "
                "differentiates by: give `gradient_penalty=0`."
            )
        # Fused attention has no second derivative. Under no_grad there is the penalty, too.
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            x = x if x.requires_grad else x.detach().requires_grad_()
            loss, log_kernels = self._data_loss(x, y)
            total = log_kernels.exp().sum()
            (slope,) = torch.autograd.grad(total, x, create_graph=True, allow_unused=True)
        if slope is None:
            raise ValueError(
                "`network` uses `x` for nothing that has a gradient, such as whole numbers, "
                "expected one, which the gradient penalty differentiates: give "
                "`gradient_penalty=0`."
            )
        two_sided = (slope.flatten(1).square().sum(1) - 1).square().mean()
        return loss + self.gradient_penalty * two_sided

    def _data_loss(self, x: Batch, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss without penalty and the logarithms of the kernels; move the centroids."""
        log_kernels, features = self._with_features(x)
        outputs = self._outputs(log_kernels)
        self.likelihood.check_targets(outputs, y)
        y = self.likelihood.harmless(outputs, y) if waiting() else y
        shares = self._shares(y, log_kernels.shape[1])
        # Log(1 - K) where K is one but for rounding ends at the log of the rounding.
        others = log_kernels.clamp(max=-torch.finfo(log_kernels.dtype).eps).expm1().neg().log()
        each = self._grouped(-(shares * log_kernels + (1 - shares) * others))
        if self.training:
            self.kernels.update(features, shares)
        counted, weights = self._grouped(shares).sum(1) > 0, example_weights(len(y))
        each = each.sum(1) if weights is None else each.sum(1) * weights.unsqueeze(1)
        total = each.where(counted, 0).sum()
        return total / counted.any(1).sum().clamp(min=1), log_kernels

    def _shares(self, y: Tensor, classes: int) -> Tensor:
        """Return the share of each class `(N, C)`; zeros for labels that are to be ignored."""
        if isinstance(self.likelihood, Bernoulli):
            return self.likelihood.shares(y)
        if y.is_floating_point():
            return y
        ignored = cast(Categorical, self.likelihood).ignore_index
        counted = torch.ones_like(y, dtype=torch.bool) if ignored is None else y != ignored
        places = y.long().where(counted, 0).unsqueeze(1)  # F.one_hot would read them
        none = torch.zeros(len(y), classes, device=y.device)
        return none.scatter(1, places, counted.unsqueeze(1).to(none.dtype))

    def sampler(self, samples: int, joint: bool = False) -> Sampler:
        """Return what gives the one draw there is; more would only repeat it."""
        return one_draw(self, samples)

    def predict_batch(
        self, x: Batch, sampler: Sampler, chunk: int | None, keep_draws: bool
    ) -> Prediction:
        """Return the prediction for one batch, with its distance from the classes for a score."""
        if self._each == 1:
            (outputs,) = sampler(x, chunk)
            log_kernels = outputs[0]
        else:
            log_kernels = self._with_features(x)[0]
            outputs = self._outputs(log_kernels).unsqueeze(0)
        answer = cast(
            "ClassPrediction | BernoulliPrediction", self.likelihood.reduce(outputs, keep_draws)
        )
        return answer.with_score(-self._grouped(log_kernels).amax(1).expm1().mean(1))


def _with_kernels(network: nn.Module, each: int) -> nn.Module:
    """Return the network if it has an RBF layer, else a copy that ends in one."""
    found = sum(isinstance(module, RBF) for module in network.modules())
    if found > 1:
        raise ValueError(f"the network has {found} RBF layers, expected one, as its last layer.")
    if found:
        return network
    return with_last_linear(network, lambda last: RBF(last.in_features, each * last.out_features))
