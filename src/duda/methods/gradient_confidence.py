"""Gradient confidence: how much the network would learn from its own answer."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import cast
from weakref import WeakSet

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from duda.batches import Batch, each_input, rows_of
from duda.checks import at_least_float32
from duda.likelihoods import Bernoulli, Categorical, Likelihood
from duda.methods.base import UncertainModel, check_network, one_draw
from duda.methods.sampler import Sampler
from duda.predictions import BernoulliPrediction, ClassPrediction, Prediction
from duda.sampling import matches, raw_outputs, swapped_weights, with_rows, without_slow_rules

__all__ = ["GradientConfidence"]

_log = logging.getLogger(__name__)

_GRADIENT_BYTES = 2**27  # of the examples whose gradients are in memory at a time

_needs_loop: WeakSet[nn.Module] = WeakSet()


class GradientConfidence(UncertainModel):
    """A network as it is; its score is the norm of a gradient: that of the loss by the weights.

    The loss is the cross-entropy at the class that the network predicts, the norm the 2-norm over
    all chosen weights together. Source: Oberdiek et al. 2018, section 2.

    Args:
        network: any module that puts out logits `(N, C)`.
        likelihood: a `Categorical` or a `Bernoulli`.
        layers: the beginnings of the chosen weights' names, or patterns; all if not given.

    >>> import duda, torch
    >>> model = duda.GradientConfidence(torch.nn.Linear(2, 3), duda.Categorical())
    >>> model.predict(torch.zeros(4, 2)).score.shape
    torch.Size([4])
    """

    likelihoods = (Categorical, Bernoulli)

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        layers: str | Sequence[str] | None = None,
    ) -> None:
        super().__init__(likelihood, samples=1)
        self.network = check_network(network)
        self.layers = layers
        self._patterns = [layers] if isinstance(layers, str) else layers
        names = list(_with_gradients(network))
        if not names:
            raise ValueError(
                f"the network, a {type(network).__name__}, has no weights, expected some."
            )
        if self._patterns is not None and not self._patterns:
            raise ValueError("`layers` is empty, expected names of layers: leave it out for all.")
        for pattern in self._patterns or ():
            if not any(matches(name, pattern) for name in names):
                raise ValueError(
                    f"`layers` names {pattern!r}, which fits no weight: expected some of "
                    f"{', '.join(repr(name) for name in names)}."
                )

    def forward(self, x: Batch) -> Tensor:
        """Return the network's raw outputs."""
        return raw_outputs(self.network, x)

    def sampler(self, samples: int, joint: bool = False) -> Sampler:
        """Return what gives the one draw there is; more would only repeat it."""
        return one_draw(self, samples)

    def predict_batch(
        self, x: Batch, sampler: Sampler, chunk: int | None, keep_draws: bool
    ) -> Prediction:
        """Return the prediction for one batch, with its gradients' norms for a score."""
        (logits,) = sampler(x, chunk)
        if logits.ndim > 3 or (logits.ndim < 3 and not isinstance(self.likelihood, Bernoulli)):
            raise ValueError(
                f"the network's outputs have shape {tuple(logits.shape[1:])}, expected (N, C): a "
                "gradient belongs to an example, not to a position."
            )
        answer = self.likelihood.reduce(logits, keep_draws)
        labels: Tensor = answer.labels  # type: ignore[attr-defined] # of classes
        norms = self._norms(x, labels).to(at_least_float32(logits).dtype)
        return cast("ClassPrediction | BernoulliPrediction", answer).with_score(norms)

    def _norms(self, x: Batch, labels: Tensor) -> Float[Tensor, "N"]:
        """Return the gradient's norm for each example: several at once where vmap can."""
        weights = self._weights()
        reason: Exception | None = None
        if self.network not in _needs_loop:
            size = sum(weight.nbytes for weight in weights.values())
            several = vmap(
                self._norm, in_dims=(None, 0, 0), chunk_size=max(1, _GRADIENT_BYTES // size)
            )
            try:
                # Fused attention has no rule for several gradients at once.
                with without_slow_rules(), sdpa_kernel(SDPBackend.MATH):
                    return several(weights, x, labels)
            except Exception as error:
                reason = error  # whatever vmap says: the loop shows whether it is the network's own
        norms = [
            self._norm_by_backward(each_input(x, itemgetter(i)), labels[i])
            for i in range(rows_of(x))
        ]
        if reason is not None:
            _needs_loop.add(self.network)
            _log.warning(
                "%s runs its gradients one by one, because vmap cannot: %s",
                type(self.network).__name__,
                str(reason).strip().split(". ")[0] or type(reason).__name__,
            )
        return torch.stack(norms)

    def _weights(self) -> dict[str, Tensor]:
        return {
            name: weight
            for name, weight in _with_gradients(self.network).items()
            if self._patterns is None or any(matches(name, pattern) for pattern in self._patterns)
        }

    def _norm(self, weights: dict[str, Tensor], x: Batch, label: Tensor) -> Tensor:
        """Return the norm of the gradient for one example, given without its dimension."""
        return _norm_of(grad(self._loss_of)(weights, x, label).values())

    def _norm_by_backward(self, x: Batch, label: Tensor) -> Tensor:
        """Return the same by a backward pass, for networks that torch's transforms cannot run."""
        weights = {name: weight.detach() for name, weight in self.network.named_parameters()}
        chosen = [weights[name].requires_grad_() for name in self._weights()]
        with torch.enable_grad(), swapped_weights(self.network, weights):
            self._loss(x, label).backward()  # type: ignore[no-untyped-call]
        return _norm_of([torch.zeros_like(w) if w.grad is None else w.grad for w in chosen])

    def _loss_of(self, weights: dict[str, Tensor], x: Batch, label: Tensor) -> Tensor:
        with swapped_weights(self.network, weights):
            return self._loss(x, label)

    def _loss(self, x: Batch, label: Tensor) -> Tensor:
        one = each_input(x, lambda values: values.unsqueeze(0))
        outputs = with_rows(raw_outputs(self.network, one), one)
        return self.likelihood.negative_log_likelihood(outputs, label.unsqueeze(0))


def _with_gradients(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights by name, without integers, for which there is no gradient."""
    return {
        name: weight.detach()
        for name, weight in network.named_parameters()
        if weight.is_floating_point() or weight.is_complex()
    }


def _norm_of(gradients: Iterable[Tensor]) -> Float[Tensor, ""]:
    """Return the norm over all of them together."""
    # In float64, so that the squares of a sure network's gradients do not underflow.
    norms = [torch.linalg.vector_norm(each, dtype=torch.float64) for each in gradients]
    norm: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return norm
