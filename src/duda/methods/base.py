"""Uncertain models, what every method is: an `nn.Module` that has `loss` and `predict`, too."""

from __future__ import annotations

import inspect
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from duda.batches import Batch, suited
from duda.checks import check_count
from duda.doubts import certain, doubts_together
from duda.inside import walked_once
from duda.items import ItemRule
from duda.likelihoods import Likelihood
from duda.loaders import following
from duda.methods.called_networks import network_in
from duda.methods.losses import Losses
from duda.methods.named_classes import NamedClasses
from duda.methods.output_checks import PartsCheck, checked
from duda.methods.prepare import prepare
from duda.methods.sampler import NotReady, Sampler, found_joint
from duda.predictions import Prediction
from duda.progress import progress
from duda.sampling import devices_of, from_row, new_seed, preserved, random_bytes, seeded
from duda.sources import Inputs, read_inputs
from duda.streams import unseen_calls
from duda.uncompiled import as_written, uncompiled

__all__ = ["UncertainModel", "check_count", "check_network", "one_draw"]

_VALIDATION_DRAWS = 20  # with always the same noise, whose part in the loss hardly changes


class UncertainModel(Losses, NamedClasses, ABC):
    """A network, and what is random in it.

    Args:
        likelihood: what the network's raw outputs mean.
        samples: how many draws `predict` takes unless told otherwise.

    Attributes:
        likelihoods: the kinds of likelihood that the method makes sense for.
    """

    likelihoods: ClassVar[tuple[type[Likelihood], ...]] = (Likelihood,)

    def __init__(self, likelihood: Likelihood, samples: int) -> None:
        super().__init__()
        if not isinstance(likelihood, Likelihood):
            raise TypeError(
                f"`likelihood` is a {type(likelihood).__name__}, expected one of duda's, such as "
                "`duda.Categorical()` (with its brackets)."
            )
        if not isinstance(likelihood, self.likelihoods):
            known = " or ".join(kind.__name__ for kind in self.likelihoods)
            raise ValueError(
                f"`likelihood` is a {type(likelihood).__name__}, expected for a "
                f"{type(self).__name__} a {known}."
            )
        self.likelihood = likelihood
        self.samples = check_count(samples, "samples")

    @classmethod
    def from_factory(
        cls, factory: Callable[[], nn.Module], likelihood: Likelihood, **arguments: Any
    ) -> Self:
        """Return the method around as many new networks as it needs.

        Args:
            factory: makes a new network at each call.
            likelihood: what their raw outputs mean.
            arguments: of the constructor; the others keep their defaults.
        """
        return cls(factory(), likelihood, **arguments)  # type: ignore[arg-type] # as subclasses do

    def arguments(self) -> dict[str, Any]:
        """Return what the constructor was given besides network and likelihood, by name.

        Each argument is kept as an attribute of the same name, as in scikit-learn.
        """
        _, *names = inspect.signature(type(self)).parameters
        lost = [name for name in names if not hasattr(self, name)]
        if lost:
            raise TypeError(
                f"a {type(self).__name__} has no attribute {lost[0]!r}, expected each argument of "
                f"its constructor to be kept by its name: write `self.{lost[0]} = {lost[0]}`."
            )
        return {name: getattr(self, name) for name in names if name != "likelihood"}

    def extra_repr(self) -> str:
        """Return the settings, for `repr`, by which a checkpoint knows its model."""
        shown = {
            name: value
            for name, value in self.arguments().items()
            if not (callable(value) or isinstance(value, nn.Module))
        }
        return ", ".join(f"{name}={value!r}" for name, value in shown.items())

    @abstractmethod
    def forward(self, x: Batch) -> Tensor:
        """Return one draw of raw outputs."""

    @abstractmethod
    def sampler(self, samples: int, joint: bool = False) -> Sampler:
        """Return a function from a batch to `samples` draws of raw outputs.

        What is random in draw m follows from that number and a seed, which is taken from torch's
        global generator once, here; where examples differ, also from their place in the batch.

        Args:
            samples: the number of draws.
            joint: make each draw one function, the same for all examples and batches, where it is
                not anyway.
        """

    def only_calls(self) -> bool:
        """Return whether a prediction by this very class does nothing but call its networks."""
        return False

    def validation_sampler(self) -> Sampler:
        """Return the draws by which a training is judged: some of those of a prediction.

        Where these need what is known only later, so that `sampler` raises a `ValueError`, it is
        the one draw that the forward pass makes.
        """
        try:
            return self.sampler(min(self.samples, _VALIDATION_DRAWS))
        except ValueError:
            return one_draw(self, 1)

    def independent(self) -> list[UncertainModel]:
        """Return the models that `fit` trains one after the other: itself, or its members.

        What one of them shares with those before it is trained by then, and not its own parameter.
        """
        return [self]

    def predict_batch(
        self, x: Batch, sampler: Sampler, chunk: int | None, keep_draws: bool
    ) -> Prediction:
        """Return the prediction for one batch: its draws, reduced."""
        parts = []
        for first, some in sampler.tiles(x, chunk):
            reduction = self.likelihood.reduction(keep_draws)
            with from_row(first):
                for draws in sampler(some, chunk):
                    with unseen_calls():
                        reduction.add(draws)
            with unseen_calls(), certain():  # the prediction for all batches is checked as a whole
                parts.append(reduction.result())
        return parts[0] if len(parts) == 1 else type(parts[0]).concatenate(parts)

    @uncompiled
    def predict(
        self,
        x: Inputs,
        *,
        samples: int | None = None,
        seed: int | None = None,
        keep_draws: bool = False,
        joint: bool = False,
        batch_size: int = 256,
        chunk: int | None = None,
        inputs: ItemRule | None = None,
    ) -> Prediction:
        """Return what the model knows of the targets of `x`, and leave the model as it was.

        Args:
            x: inputs `(N, ...)`, as a tensor, array, table, Dataset or DataLoader; a dict for a
                network that takes keyword arguments, a tuple for one that takes several. Targets
                beside or in them, second of a pair or named `labels`, `label` or `y`, are left out.
            samples: number of draws.
            seed: of the draws; the global random state then stays as it was. Without one the draws
                come from torch's global generator.
            keep_draws: keep every draw in the prediction, which then grows with their number.
            joint: make each draw one function of the input, the same for all examples, batches and
                predictions with this seed, as decisions on several examples together need it.
            batch_size: examples at a time (a DataLoader keeps its own batches).
            chunk: draws at a time; chosen by memory if not given.
            inputs: from an item of `x`, such as a DataLoader's batch, to `(args, kwargs, y)`.

        Raises:
            ValueError: if `x` is empty or not finite, or nothing in the network is random.
        """
        samples = self.samples if samples is None else check_count(samples, "samples")
        size = check_count(batch_size, "batch_size")
        source = read_inputs(x, size, rule=inputs, network=network_in(self))
        chunk = None if chunk is None else check_count(chunk, "chunk")
        parts = []
        with (
            as_written(),
            walked_once(self),
            preserved(self, seed, watched=False, itself=not self.only_calls()),
            following(x, seed),
            doubts_together(),
        ):
            check, before = PartsCheck(self), random_bytes(None)
            sampler = checked(self, _ready_sampler(self, samples, joint))
            fixed = random_bytes(None) == before  # members, which are given
            again, devices = new_seed(), devices_of(self)
            found = sampler.joint
            batches = source.inputs()  # a DataLoader starts here, by the seed, too
            for number, batch in enumerate(progress(batches, "predict", source.batches())):
                here = suited(batch, self)
                # Whatever else draws, such as a likelihood, is also to forget earlier batches.
                with seeded(again, devices):
                    if number == 0 and (joint or keep_draws):  # for whom it matters
                        found = found_joint(sampler, here, joint, type(self).__name__)
                    part = self.predict_batch(here, sampler, chunk, keep_draws)
                parts.append(check.add(here, part))
            with unseen_calls():
                whole = type(parts[0]).concatenate(parts).with_classes(self.classes)
        return whole.with_joint(found, None if fixed else again)

    @uncompiled
    def prepare(self, x: Inputs, *, compile: bool = False, inputs: ItemRule | None = None) -> Self:
        """Capture the network for inputs such as `x`, and return the model.

        From then on predictions for inputs of this shape and dtype, in any number, are made by a
        graph of the network's operators, in less time and with the same draws. Weights may change
        later; where more does, the graph is left aside. It goes to no file and no copy.

        Args:
            x: inputs, as in `predict`.
            compile: also let torch's inductor compile it, for as many rows as `x` has, at most 256,
                and later for up to four numbers of rows that come; each takes a minute or so.
            inputs: what an item of `x` is, as in `predict`.

        Raises:
            NotCaptured: if that cannot be, with the reason.
        """
        prepare(self, x, inputs, compiled=compile)
        return self


def check_network(network: nn.Module) -> nn.Module:
    """Return `network` if it is a module whose weights have shapes.

    Raises:
        TypeError: if it is something else.
        ValueError: if it has lazy layers that have seen no input.
    """
    if not isinstance(network, nn.Module):
        raise TypeError(
            f"`network` is a {type(network).__name__}, expected a torch.nn.Module; a method that "
            "needs several networks takes a function that makes them."
        )
    for name, module in network.named_modules():
        if any(is_lazy(each) for each in (*module._parameters.values(), *module._buffers.values())):
            raise ValueError(
                f"`network` has the layer {name!r}, a {type(module).__name__} whose weights have "
                "no shape yet: call `network(x)` once with some inputs, in a function that makes "
                "networks too."
            )
    return network


def one_draw(model: UncertainModel, samples: int) -> Sampler:
    """Return the sampler of a model in which nothing is random: what its forward pass returns.

    Raises:
        ValueError: if more draws are asked for.
    """
    if samples != 1:
        raise ValueError(
            f"`samples` is {samples}, but nothing is random in a {type(model).__name__} model, "
            "which has one draw: leave `samples` out."
        )
    return Sampler(lambda x, chunk: [model(x).unsqueeze(0)], joint=True)


def _ready_sampler(model: UncertainModel, samples: int, joint: bool) -> Sampler:
    """Return the model's sampler, or in its training the plain network's until there is one."""
    try:
        return model.sampler(samples, joint)
    except NotReady as error:
        parts = (part for part in model.modules() if isinstance(part, UncertainModel))
        why = str(error).rstrip(".")
        if not any(part.in_training for part in parts):
            raise NotReady(
                f"{why}; for a validation before that, call `model.on_fit_start("
                "duda.training.FitState())` first, and it answers as the plain network, or skip it "
                "(in Lightning `num_sanity_val_steps=0`)."
            ) from None
        warnings.warn(
            f"{why}; until then, in its training, it answers as the plain network.", stacklevel=4
        )
        return one_draw(model, 1)
