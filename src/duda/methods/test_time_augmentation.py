"""Test-time augmentation: how much an answer depends on what should not matter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from duda.batches import Batch, each_input, joined, rows_of
from duda.checks import check_finite
from duda.hooks import FitState
from duda.likelihoods import Likelihood, TargetScale
from duda.methods.base import UncertainModel
from duda.methods.deterministic import Deterministic
from duda.methods.sampler import Sampler
from duda.packing import apart, by_name, packed
from duda.predictions import Prediction
from duda.sampling import new_seed, random_bytes, seeded, tensors

__all__ = ["TestTimeAugmentation"]

Transform = Callable[[Any], Any]

_NOISE_STD = 0.1
_NOISY_COPIES = 10


@dataclass(frozen=True)
class _Versions(Sampler):
    """A sampler whose draws come version by version.

    Args:
        versions: how many draws there are of each.
    """

    versions: tuple[int, ...]


class TestTimeAugmentation(UncertainModel):
    """A network, or another method, that sees each input in several versions.

    A draw is the output for one version. Of M draws every one of T transforms gets M / T, the first
    ones one more if there is a rest; a transform is called anew for each draw of a network, and for
    as many draws of another method as this has `samples`. Random transforms take their numbers from
    torch. What versions differ in is aleatoric; epistemic is what the draws of another method
    differ in on one version, the mean over versions. `loss` and `fit` train on inputs as they are.
    Of another method only its draws count, and no score of its own. Source: Ayhan & Berens 2018.

    Args:
        model: a network, or another method, such as a `DeepEnsemble`.
        likelihood: what a network's raw outputs mean; another method has its own.
        transforms: functions from a batch of inputs to one of as many examples in the same order,
            `lambda x: x` for the inputs as they are; or pairs of one and a function that undoes it
            on a batch of raw outputs. By default ten times Gaussian noise with standard deviation
            0.1, for inputs whose standard deviation is about 1.

    >>> import duda, torch
    >>> flip = lambda image: image.flip(-1)
    >>> net = torch.nn.Conv2d(1, 3, 3, padding=1)  # classes for each pixel
    >>> model = duda.TestTimeAugmentation(net, duda.Categorical(), [lambda x: x, (flip, flip)])
    >>> model.predict(torch.rand(5, 1, 8, 8)).probs.shape
    torch.Size([5, 3, 8, 8])
    """

    __test__: ClassVar[bool] = False  # pytest would take the name for a test's

    def __init__(
        self,
        model: nn.Module,
        likelihood: Likelihood | None = None,
        transforms: Sequence[Transform | tuple[Transform, Transform]] | None = None,
    ) -> None:
        if not isinstance(model, UncertainModel):
            model = Deterministic(model, likelihood)  # type: ignore[arg-type] # which checks it
        elif likelihood not in (None, model.likelihood):
            raise ValueError(
                f"`likelihood` is {likelihood}, but `model` has {model.likelihood}: leave it out."
            )
        pairs = _pairs([_noisy] * _NOISY_COPIES if transforms is None else transforms)
        super().__init__(model.likelihood, samples=len(pairs) * model.samples)
        self.model = model
        self.transforms = transforms
        self._pairs = pairs

    @property
    def likelihood(self) -> Likelihood:
        """That of the model, which learns what there is to learn of it."""
        return self.model.likelihood

    @likelihood.setter
    def likelihood(self, likelihood: Likelihood) -> None:
        self.given_likelihood = likelihood  # which is the model's

    @property
    def target_scale(self) -> TargetScale | None:
        """That of the model."""
        return self.model.target_scale

    @target_scale.setter
    def target_scale(self, scale: TargetScale | None) -> None:
        self.model.target_scale = scale

    @property
    def learns_scale(self) -> bool:
        """Whether `fit` may choose the units of the model."""
        return self.model.learns_scale

    def forward(self, x: Batch) -> Tensor:
        """Return one draw of raw outputs, by a transform drawn at random."""
        number = int(torch.randint(len(self._pairs), ()))
        return self._restored(number, self.model(self._changed(number, x)))

    def training_loss(self, x: Batch, y: Shaped[Tensor, "N *targets"]) -> Tensor:
        """Return that of the model, on the inputs as they are."""
        return self.model.training_loss(x, y)

    def validation_loss(self, x: Batch, y: Shaped[Tensor, "N *targets"]) -> Tensor:
        """Return that of the model, which trains on the inputs as they are."""
        return self.model.validation_loss(x, y)

    def independent(self) -> list[UncertainModel]:
        """Return what of the model trains by itself."""
        return self.model.independent()

    def on_fit_start(self, state: FitState) -> None:
        """Tell the model."""
        self.model.on_fit_start(state)

    def on_epoch_start(self, state: FitState) -> None:
        """Tell the model."""
        self.model.on_epoch_start(state)

    def on_step_end(self, state: FitState) -> None:
        """Tell the model."""
        self.model.on_step_end(state)

    def on_epoch_end(self, state: FitState) -> None:
        """Tell the model."""
        self.model.on_epoch_end(state)

    def on_fit_end(self, state: FitState) -> None:
        """Tell the model."""
        self.model.on_fit_end(state)

    def sampler(self, samples: int, joint: bool = False) -> Sampler:
        """Return what makes the draws of one transform after the other.

        If joint, a transform that is random does the same to each example, and so does the model.
        """
        portions, versions = [], list[int]()
        for number, size in self._portions(samples):
            sampler = self.model.sampler(size, joint)
            portions.append((number, sampler, new_seed()))
            versions += sampler.versions if isinstance(sampler, _Versions) else [size]

        def draws(x: Batch, chunk: int | None) -> Iterator[Tensor]:
            for number, sampler, seed in portions:
                _, undo = self._pairs[number]
                for outputs in sampler(self._changed_by(number, x, seed, joint), chunk):
                    if undo is not None:
                        outputs = torch.stack([self._restored(number, each) for each in outputs])
                    yield outputs

        all_joint = joint and all(sampler.joint for _, sampler, _ in portions)
        return _Versions(draws, all_joint, tuple(versions))

    def predict_batch(
        self, x: Batch, sampler: Sampler, chunk: int | None, keep_draws: bool
    ) -> Prediction:
        """Return the prediction for one batch; what its versions differ in is aleatoric."""
        if not isinstance(sampler, _Versions):  # that of the plain network, in its training
            return super().predict_batch(x, sampler, chunk, keep_draws)
        versions = sampler.versions
        whole, one = self.likelihood.reduction(keep_draws), self.likelihood.reduction()
        parts: list[Any] = []
        left = list(reversed(versions))
        for draws in sampler(x, chunk):
            whole.add(draws)
            one.add(draws)
            left[-1] -= len(draws)
            if left[-1] == 0:
                parts.append(one.result())
                one = self.likelihood.reduction()
                left.pop()
        answer: Any = whole.result()
        if answer.can("with_epistemic"):
            each = zip(versions, parts, strict=True)
            total = sum(size * part.epistemic for size, part in each)
            answer = answer.with_epistemic(total / sum(versions))
        return cast(Prediction, answer)

    def _changed_by(self, number: int, x: Batch, seed: int, joint: bool) -> Batch:
        """Return the inputs as a transform makes them from a seed, each example alone if needed."""
        device = next(tensors(x)).device
        with seeded(seed, [device]):
            before = random_bytes(device)
            changed = self._changed(number, x)
            if not joint or before == random_bytes(device):
                return changed
        alone = []
        for row in range(rows_of(x)):
            one = each_input(x, lambda values, row=row: values[row : row + 1])  # type: ignore[misc]
            with seeded(seed, [device]):
                alone.append(self._changed(number, one))
        return joined(alone)

    def _portions(self, samples: int) -> Iterator[tuple[int, int]]:
        """Yield the number of a transform and how many draws it gets at once."""
        for number in range(len(self._pairs)):
            share = len(range(number, samples, len(self._pairs)))
            for done in range(0, share, self.model.samples):
                yield number, min(share - done, self.model.samples)

    def _changed(self, number: int, x: Batch) -> Batch:
        """Return the inputs as a transform makes them, which may write to what it is given."""
        transform, _ = self._pairs[number]
        changed: Batch = transform(each_input(x, Tensor.clone))
        each_input(changed, lambda values: _checked(values, f"transforms[{number}]", rows_of(x)))
        return changed

    def _restored(self, number: int, outputs: Tensor) -> Tensor:
        _, undo = self._pairs[number]
        if undo is None:
            return outputs
        name, heads = f"transforms[{number}][1]", self.likelihood.heads
        restored = undo(apart(outputs, heads) if heads else outputs)
        if heads:
            restored = packed(by_name(restored, heads, f"what `{name}` returned"))
        return _checked(restored, name, len(outputs))


def _pairs(transforms: Any) -> list[tuple[Transform, Transform | None]]:
    """Return each transform with what undoes it on the outputs, if anything does."""
    if callable(transforms) or not isinstance(transforms, Sequence) or not transforms:
        raise ValueError(
            f"`transforms` is {transforms!r}, expected a list of at least one function of a batch."
        )
    pairs = []
    for number, given in enumerate(transforms):
        functions = given if isinstance(given, tuple) else (given, None)
        if len(functions) != 2 or not all(each is None or callable(each) for each in functions):
            raise ValueError(
                f"`transforms[{number}]` is {given!r}, expected a function of a batch, or a pair "
                "of one and a function that undoes it on the outputs."
            )
        pairs.append(functions)
    return pairs


def _checked(values: Any, name: str, rows: int) -> Tensor:
    """Return what a transform has made, if it is a tensor of as many examples."""
    if not isinstance(values, Tensor):
        raise TypeError(f"`{name}` returned a {type(values).__name__}, expected a tensor.")
    if values.ndim == 0 or len(values) != rows:
        raise ValueError(
            f"`{name}` returned shape {tuple(values.shape)} for {rows} examples, expected as many "
            "on dimension 0: it must keep each example in its place."
        )
    check_finite(values, f"{name}(x)")
    return values


def _noisy(x: Batch) -> Batch:
    """Return the inputs with Gaussian noise in those that are floating-point."""

    def noisy(values: Tensor) -> Tensor:
        if not values.is_floating_point():
            return values
        return values + _NOISE_STD * torch.randn_like(values)

    if not any(values.is_floating_point() for values in tensors(x)):
        raise ValueError(
            "`transforms` are noise by default, but no input is floating-point: give `transforms`."
        )
    return each_input(x, noisy)
