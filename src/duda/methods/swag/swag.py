"""SWAG: weights drawn from the Gaussian that the iterates of stochastic gradient descent make."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from duda.batches import Batch, suited
from duda.checks import at_least_float32
from duda.doubts import doubts_together
from duda.hooks import FitState
from duda.likelihoods import Likelihood
from duda.methods.base import UncertainModel, check_count, check_network, one_draw
from duda.methods.sampled_rows import sampled_rows
from duda.methods.sampler import NotReady, Sampler
from duda.methods.swag.batch_norm import TrainedNorms, refreshed_statistics
from duda.methods.swag.flat_weights import flattened, shaped
from duda.sampling import collected, draw_generator, new_seed, raw_outputs, swapped_weights
from duda.transfer import number_in

__all__ = ["SWAG"]

_INPUTS = "inputs"
_KEPT_BYTES = 2**26  # of weights of all draws

Draw = Callable[[int], dict[str, Tensor]]


class SWAG(UncertainModel):
    """A network whose weights are Gaussian, with mean and covariance of the iterates of SGD.

    θ = θ̄ + √scale (diag(σ²)^½ z₁ + D z₂ / √(K - 1)), one draw for all examples. σ² is the variance
    of all iterates, here by Welford's recursion, D holds the last K minus their running means, as
    in algorithm 1. BatchNorm's statistics are computed anew for each draw. Source: Maddox et al.
    2019, eq. 1, where SGD has a constant rate: `duda.fit(model, data, epochs=..., lr=0.01,
    optimizer=partial(torch.optim.SGD, momentum=0.9))`; with Adam it is an approximation to that.

    Args:
        network: any module; weights that require no gradient stay as they are.
        likelihood: what its raw outputs mean.
        samples: number of draws.
        start: share of the epochs after which `fit` collects the weights at each epoch's end. With
            `validation` those up to the best epoch count. A loop of your own calls `collect()`.
        rank: how many iterates D keeps at most.
        scale: of the covariance; 1/2 in the paper.
        bn_examples: how many training inputs to keep for BatchNorm's statistics, if there are any.

    >>> import duda
    >>> model = duda.SWAG(nn.Linear(2, 3), duda.Categorical())
    >>> history = duda.fit(model, (torch.randn(20, 2), torch.arange(20) % 3), epochs=6)
    >>> bool((model.predict(torch.ones(4, 2), seed=0).epistemic > 0).all())
    True
    """

    mean: Tensor
    squares: Tensor
    deviations: Tensor
    collected: Tensor

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        samples: int = 30,
        *,
        start: float = 0.5,
        rank: int = 20,
        scale: float = 0.5,
        bn_examples: int = 1024,
    ) -> None:
        super().__init__(likelihood, samples)
        self.network = check_network(network)
        if not 0 <= start < 1:
            raise ValueError(f"`start` is {start}, expected a share from 0 to below 1.")
        if check_count(rank, "rank") < 2:
            raise ValueError(f"`rank` is {rank}, expected at least 2 iterates.")
        if not 0 < scale < math.inf:
            raise ValueError(f"`scale` is {scale}, expected a number above 0.")
        self.start, self.rank, self.scale = start, rank, scale
        self.bn_examples = check_count(bn_examples, "bn_examples")
        self._names = [name for name, weight in network.named_parameters() if weight.requires_grad]
        if not self._names:
            raise ValueError("`network` has no weight that requires a gradient, expected some.")
        weights = flattened(self._weights())
        self.register_buffer("mean", torch.zeros_like(weights, dtype=torch.float64))
        self.register_buffer("squares", torch.zeros_like(weights, dtype=torch.float64))
        self.register_buffer("deviations", at_least_float32(weights).new_zeros(rank, len(weights)))
        self.register_buffer("collected", torch.zeros((), dtype=torch.int64))
        self.trained_norms = TrainedNorms(network)
        self._inputs: Batch | None = None

    def forward(self, x: Batch) -> Tensor:
        """Return the raw outputs of the weights that are being trained."""
        return raw_outputs(self.network, x)

    def collect(self) -> None:
        """Take the weights, as they are now, for an iterate.

        Sources: Maddox et al. 2019, algorithm 1; Welford 1962 in place of E[θ²] - E[θ]².
        """
        self.trained_norms.note(self.network)
        iterate = flattened(self._weights()).double()
        place = self.collected % self.rank
        self.collected += 1
        step = iterate - self.mean
        self.mean += step / self.collected
        self.squares += step * (iterate - self.mean)
        deviation = (iterate - self.mean).to(self.deviations.dtype)
        self.deviations.index_copy_(0, place.reshape(1), deviation.unsqueeze(0))

    def on_epoch_start(self, state: FitState) -> None:
        """Forget the iterates of a training before this one."""
        super().on_epoch_start(state)
        if state.epoch == 0:
            for buffer in (self.mean, self.squares, self.deviations, self.collected):
                buffer.zero_()
            self.trained_norms.start(self.network)

    def on_epoch_end(self, state: FitState) -> None:
        """Collect the weights, once the share `start` of the epochs is over."""
        super().on_epoch_end(state)
        if state.epoch + 1 >= self.start * state.epochs:
            self.collect()

    def on_fit_end(self, state: FitState) -> None:
        """Keep some training inputs, if the network has BatchNorm that trains."""
        super().on_fit_end(state)
        if self.trained_norms.of(self.network):
            inputs = (x for x, _ in state.training_batches())
            with doubts_together():
                self._inputs = sampled_rows(inputs, self.bn_examples)

    def sampler(self, samples: int, joint: bool = False) -> Sampler:
        """Return what makes draws, each by weights that are the same for all examples.

        Each by itself: weights for all of them at once would fill the memory, unless they are few,
        which are then drawn once for all batches, as BatchNorm's statistics are anyway.

        Raises:
            ValueError: if there are too few iterates, or no inputs for BatchNorm.
        """
        self._check_ready()
        drawn: Draw = partial(self._draw, new_seed())
        if samples * self.mean.nbytes <= _KEPT_BYTES:
            drawn = cache(drawn)
        statistics = self._statistics(drawn, samples)

        def outputs(x: Batch) -> Iterator[Tensor]:
            for number, fresh in enumerate(statistics):
                own = {name: weight.clone() for name, weight in drawn(number).items()}
                with swapped_weights(self.network, own | fresh):  # which it may write to
                    draw = raw_outputs(self.network, x)
                yield draw

        return Sampler(lambda x, chunk: collected(outputs(x), chunk), joint=True)

    def validation_sampler(self) -> Sampler:
        """Return the outputs of the weights that are trained: there may be no iterates yet."""
        return one_draw(self, 1)

    def _weights(self) -> dict[str, Tensor]:
        """Return the weights that are drawn, as they are."""
        weights = dict(self.network.named_parameters())
        return {name: weights[name] for name in self._names}

    def _statistics(self, drawn: Draw, samples: int) -> list[dict[str, Tensor]]:
        """Return BatchNorm's statistics for each draw, by name; none where there is none."""
        if self._inputs is None:
            return [{}] * samples
        norms, x = self.trained_norms.of(self.network), suited(self._inputs, self)
        return [refreshed_statistics(self.network, norms, drawn(m), x) for m in range(samples)]

    def _draw(self, seed: int, number: int) -> dict[str, Tensor]:
        """Return the weights of a draw."""
        like = self.deviations
        generator = draw_generator(seed, number, like.device)
        kept = min(int(number_in(self.collected)), self.rank)
        each, low_rank = (
            torch.randn(size, generator=generator, dtype=like.dtype, device=like.device)
            for size in (like.shape[1], kept)
        )
        step = (self.squares / self.collected).sqrt() * each
        step += low_rank @ like[:kept] / math.sqrt(kept - 1)
        return shaped(self.mean + math.sqrt(self.scale) * step, self._weights())

    def _check_ready(self) -> None:
        count = int(number_in(self.collected))
        if count < 2:
            raise NotReady(
                f"the SWAG model has collected {count} iterates, expected at least 2: train it for "
                "more epochs by `duda.fit`, with a smaller `start` or without `validation`, or "
                "call `model.collect()` after each epoch of your own loop."
            )
        if self._inputs is None and self.trained_norms.of(self.network):
            raise NotReady(
                "`network` has BatchNorm, but the SWAG model no training inputs to compute its "
                "statistics from, expected some: after your own loop call `model.on_fit_end("
                "duda.training.FitState(batches=lambda: iter(loader)))`, with batches (x, y)."
            )

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        named = self._inputs if isinstance(self._inputs, dict) else {"": self._inputs}
        destination.update(
            {f"{prefix}{_INPUTS}.{name}": x for name, x in named.items() if x is not None}
        )

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        # No buffers, because a new model cannot know how many there are, and of which shape.
        start = f"{prefix}{_INPUTS}."
        found = {name: state_dict.pop(name) for name in list(state_dict) if name.startswith(start)}
        names = {name: name.removeprefix(start) for name in found}
        named: dict[Any, Tensor] = {
            int(names[name]) if names[name].isdigit() else names[name]: x.detach().clone()
            for name, x in found.items()
        }
        self._inputs = named.get("", named or None)
        super()._load_from_state_dict(state_dict, prefix, *arguments)
