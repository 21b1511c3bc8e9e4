"""Training loop of one model by itself, batch after batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from jaxtyping import Bool
from torch import Tensor

from duda.doubts import at_once, doubts_together
from duda.hooks import FitState
from duda.methods import UncertainModel
from duda.methods.next_tokens import check_next_tokens
from duda.methods.output_checks import first_outputs, in_doubt
from duda.preservation import devices_of, seeded
from duda.training.augmented import Augmented, functions_of
from duda.training.averages import averaged_names
from duda.training.callbacks import Audience
from duda.training.data import LoaderData, TensorData
from duda.training.epoch_losses import EpochLosses
from duda.training.options import Options
from duda.training.passes import Passes
from duda.training.term_mean import TermMean
from duda.training.trainer import Trainer
from duda.training.updates import Updates
from duda.transfer import together

__all__ = ["LoopTrainer"]


class LoopTrainer(Trainer):
    """One model, whose `loss` is called on each batch.

    Args:
        part: the model.
        member: its index, which decides its order of the data.
        options: the settings.
        total: how many steps there are, if known.
    """

    def __init__(
        self, part: UncertainModel, member: int, options: Options, total: int | None
    ) -> None:
        self.part, self.passes = part, Passes(part, options.training)
        self.augment = functions_of(options.training.augment)
        updates = Updates(options, part.parameters(), self._averaged, total)
        super().__init__([part], member, updates)

    def train(
        self,
        data: TensorData | LoaderData,
        seed: int,
        state: FitState,
        audience: Audience,
        tick: Callable[[int], None],
    ) -> list[float]:
        """Train for an epoch, and return the mean loss over its examples."""
        self.part.train()
        (state,) = self.states(state)
        audience.tell("on_epoch_start", state)
        steps_heard = audience.hears("on_step_end", self.part)
        epoch, known = state.epoch + 1, isinstance(data, TensorData) and not self.augment
        augmented = Augmented(self.augment, data.device, seed, self.first, epoch)
        losses = EpochLosses(self, epoch, known=known, each_step=steps_heard)

        def stepped() -> None:
            if steps_heard:
                told = replace(state, step=self.step, loss=losses.last[0])
                with at_once():
                    audience.tell("on_step_end", told)

        with losses.watched():
            for batch, (x, y, weight) in enumerate(data.shuffled(seed, self.first, epoch), 1):
                with losses.data_checked():
                    if self.step == 0 and isinstance(data, LoaderData) and in_doubt(x, y):
                        first_outputs(self.part, x)  # as tensors are looked at before
                        check_next_tokens(self.part, x, y)
                    x, y = augmented(x, y)
                    self.updates.start()
                    loss = self.passes.loss(x, y, weight)
                losses.add(loss.reshape(1), len(y))
                if self.updates.take(loss, partial(self.part.loss_weight, y)):
                    stepped()
                tick(batch)
                if self.updates.over:
                    break
            if self.updates.finish():
                stepped()
        self.examples = losses.count
        return losses.means()

    def validate(self, data: TensorData | LoaderData) -> list[float]:
        """Return the mean loss of what would be predicted."""
        mean = TermMean(self.part.likelihood)
        # The seed is of a DataLoader, too.
        with seeded(0, devices_of(self.part)), doubts_together() as doubts:
            for x, y in data.in_order():
                mean.add([self.part.validation_loss(x, y)], y)
            return mean.result(doubts)

    def values(self) -> dict[str, Tensor]:
        """Return weights and buffers, also buffers that a state dict leaves out."""
        return {
            **{name: weight.detach() for name, weight in self.part.named_parameters()},
            **dict(self.part.named_buffers()),
        }

    def _averaged(self) -> dict[str, Tensor]:
        names = averaged_names(self.part)
        return {name: value for name, value in self.values().items() if name in names}

    def remember(self, improved: list[bool]) -> None:
        """Keep the weights and buffers as the best so far."""
        if improved[0]:
            self.best = {name: value.clone() for name, value in self.judged_values().items()}

    def ruined_weights(self) -> Bool[Tensor, "1"]:
        """Return whether some weights are not finite."""
        each = [weight.isfinite().all() for weight in self.part.parameters()]
        return ~together(each).all().reshape(1)

    def write_back(self) -> None:
        """Leave the model as it is now: its own weights were trained."""
        self.updates.optimizer.zero_grad()

    def take_over(self) -> None:
        """Leave all as it is: the model's own weights are trained."""
