"""Vectorized training: the members of an ensemble as one step over stacked weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.func import functional_call, vmap

from duda.batches import Batch
from duda.doubts import at_once, doubts_together
from duda.hooks import FitState
from duda.methods import UncertainModel
from duda.preservation import devices_of, in_eval_mode, seeded
from duda.training.augmented import Augmented, functions_of
from duda.training.averages import averaged_names
from duda.training.callbacks import Audience
from duda.training.data import LoaderData, TensorData
from duda.training.epoch_losses import EpochLosses
from duda.training.options import Options
from duda.training.seeds import epoch_seed
from duda.training.term_mean import TermMean
from duda.training.trainer import Trainer
from duda.training.updates import Updates
from duda.transfer import sent, together

__all__ = ["StackedTrainer", "stack", "stack_buffers", "stacked_losses"]


def stack(parts: list[UncertainModel]) -> dict[str, Tensor]:
    """Return each weight of all members as one tensor that can be trained."""
    each = [dict(part.named_parameters()) for part in parts]
    return {
        name: torch.stack([weights[name].detach() for weights in each]).requires_grad_()
        for name in each[0]
    }


def stack_buffers(parts: list[UncertainModel]) -> dict[str, Tensor]:
    """Return each buffer of the members' networks as one tensor, which their steps write to."""
    each = [_buffers_of_network(part) for part in parts]
    return {name: torch.stack([buffers[name] for buffers in each]) for name in each[0]}


def _buffers_of_network(part: UncertainModel) -> dict[str, Tensor]:
    # The model's own, such as the noise, are no part of its forward pass.
    return {name: each for name, each in part.named_buffers() if name.startswith("network.")}


def stacked_losses(
    part: UncertainModel,
    weights: dict[str, Tensor],
    x: Batch,
    y: Tensor,
    of_examples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the loss of each member on its own batch, and the squared error if it is needed.

    Buffers among the weights, such as those of BatchNorm, are written to as by each member alone.
    """
    likelihood, annealed = part.training_likelihood, part.annealed

    def loss(
        weights: dict[str, Tensor], x: Batch, y: Tensor, of_examples: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        outputs = _outputs(part, weights, x)
        if of_examples is None:
            value = likelihood.annealed_loss(outputs, y, annealed)
        else:
            value = (of_examples * likelihood.losses_by_example(outputs, y, annealed)).mean()
        if not likelihood.learns_noise:
            return value, value.detach()
        return value, likelihood.squared_error(outputs.detach(), y)

    places = 0, 0, 0, None if of_examples is None else 0
    losses: tuple[Tensor, Tensor] = vmap(loss, places, randomness="error")(
        weights, x, y, of_examples
    )
    return losses


def _outputs(part: UncertainModel, weights: dict[str, Tensor], x: Batch) -> Tensor:
    outputs: Tensor = functional_call(part, weights, (x,))
    return outputs


class StackedTrainer(Trainer):
    """Members of equal structure, with one optimizer over their stacked weights.

    A member that has stopped is carried along, its best weights kept.
    """

    def __init__(self, parts: list[UncertainModel], options: Options, total: int | None) -> None:
        self.weights, self.buffers = stack(parts), stack_buffers(parts)
        averaged = averaged_names(parts[0])
        self.augment = functions_of(options.training.augment)

        def followed() -> dict[str, Tensor]:
            return {name: value for name, value in self.values().items() if name in averaged}

        updates = Updates(options, self.weights.values(), followed, total, stacked=True)
        super().__init__(parts, 0, updates)

    def train(
        self,
        data: TensorData | LoaderData,
        seed: int,
        state: FitState,
        audience: Audience,
        tick: Callable[[int], None],
    ) -> list[float]:
        """Train for an epoch, and return each member's mean loss over its examples."""
        if not isinstance(data, TensorData) or isinstance(data.x, dict):
            raise TypeError("a vectorized step needs `data` as tensors.")
        for part in self.parts:
            part.train()
        self.tell(partial(audience.tell, "on_epoch_start"), self.states(state))
        # The first stands for all in a step, also once it has stopped itself.
        self.parts[0].training_epoch = state.epoch
        steps_heard = any(audience.hears("on_step_end", part) for part in self.parts)
        losses = EpochLosses(self, state.epoch + 1, known=True, each_step=steps_heard)

        augmented = [
            Augmented(self.augment, data.device, seed, i, state.epoch + 1)
            for i in range(len(self.parts))
        ]

        def stepped() -> None:
            if steps_heard:
                with at_once():
                    told = self.states(state, losses.last)
                    self.tell(partial(audience.tell, "on_step_end"), told)

        with losses.watched():
            for batch, rows in enumerate(data.split(self._orders(data, seed, state.epoch + 1)), 1):
                self.updates.start()
                weight = None if data.weight is None else data.weight[rows]
                each = self._losses(*self._batches(data, rows, augmented), weight)
                losses.add(each, rows.shape[1])
                if self.updates.take(each, partial(self._weights, data, rows)):
                    stepped()
                tick(batch)
                if self.updates.over:
                    break
            if self.updates.finish():
                stepped()
        self.examples = losses.count
        return losses.means()

    def _orders(self, data: TensorData, seed: int, epoch: int) -> Tensor:
        """Return each member's order of the examples."""
        members = range(len(self.parts))
        return torch.stack([data.order(epoch_seed(seed, i, epoch)) for i in members])

    def _batches(
        self, data: TensorData, rows: Tensor, augmented: Sequence[Augmented]
    ) -> tuple[Tensor, Tensor]:
        """Return each member's own inputs and targets."""
        flat = rows.reshape(-1)
        x, y = (
            part.index_select(0, flat).view(*rows.shape, *part.shape[1:])
            for part in (data.x, data.y)
            if isinstance(part, Tensor)
        )
        if not self.augment:
            return x, y
        changed = [change(*batch) for change, *batch in zip(augmented, x, y, strict=True)]
        inputs, targets = zip(*changed, strict=True)
        return torch.stack(inputs), torch.stack(targets)

    def _losses(self, x: Tensor, y: Tensor, of_examples: Tensor | None) -> Tensor:
        """Return the loss of each member on its own batch, by which noise may be learned, too."""
        tensors = self.weights | self.buffers
        each, errors = stacked_losses(self.parts[0], tensors, x, y, of_examples)
        if self.parts[0].training_likelihood.learns_noise:
            for part, error, own in zip(self.parts, errors, y, strict=True):
                part.add_errors(error, part.training_likelihood.numbers_in(own))
        return each

    def _weights(self, data: TensorData, rows: Tensor) -> Tensor | int:
        """Return how much each member's rows weigh beside others."""
        y = data.y.index_select(0, rows.reshape(-1)).view(*rows.shape, *data.y.shape[1:])
        weigh = self.parts[0].loss_weight
        first = weigh(y[0])
        return vmap(weigh)(y) if isinstance(first, Tensor) else first

    def validate(self, data: TensorData | LoaderData) -> list[float]:
        """Return each member's mean loss of what it would predict."""
        part, mean = self.parts[0], TermMean(self.parts[0].likelihood)
        forward = vmap(partial(_outputs, part), in_dims=(0, None), randomness="error")
        with (
            seeded(0, devices_of(part)),
            torch.no_grad(),
            in_eval_mode(part),
            doubts_together() as doubts,
        ):
            for x, y in data.in_order():
                each = forward(self.weights | self.buffers, x)
                part.likelihood.check_targets(each[0], y)
                meanings = [member.likelihood for member in self.parts]
                pairs = zip(meanings, each.unsqueeze(1), strict=True)
                mean.add([m.prediction_loss(m.reduce(outputs), y) for m, outputs in pairs], y)
            return mean.result(doubts)

    def values(self) -> dict[str, Tensor]:
        """Return the stacked weights and buffers."""
        return {name: weight.detach() for name, weight in self.weights.items()} | self.buffers

    def remember(self, improved: list[bool]) -> None:
        """Keep the weights of the members that have improved as their best so far."""
        if self.best is None:
            self.best = {name: weight.clone() for name, weight in self.judged_values().items()}
        better = torch.tensor(
            [i for i, is_better in enumerate(improved) if is_better], dtype=torch.int64
        )
        for name, weight in self.judged_values().items():
            rows = sent(better, weight.device)
            self.best[name].index_copy_(0, rows, weight.index_select(0, rows))

    @torch.no_grad()
    def write_back(self) -> None:
        """Give the members the weights and buffers that they have now."""
        for i, part in enumerate(self.parts):
            for name, weight in part.named_parameters():
                weight.copy_(self.weights[name][i])
            for name, buffer in _buffers_of_network(part).items():
                buffer.copy_(self.buffers[name][i])

    @torch.no_grad()
    def take_over(self) -> None:
        """Train on with the weights that the members have, which a hook may have changed."""
        for name, weights in stack(self.parts).items():
            self.weights[name].copy_(weights)
        for name, buffers in stack_buffers(self.parts).items():
            self.buffers[name].copy_(buffers)

    def ruined_weights(self) -> Bool[Tensor, "M"]:
        """Return for each member whether some of its weights are not finite."""
        each = [
            weight.isfinite().reshape(len(weight), -1).all(1) for weight in self.weights.values()
        ]
        return ~together(each).all(0)
