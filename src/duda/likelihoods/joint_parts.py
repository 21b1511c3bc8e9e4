"""Parts of a joint likelihood: outputs and targets by name, side by side in one tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, Self

import torch
from torch import Tensor

from duda.checks import as_tensor
from duda.likelihoods.base import Likelihood
from duda.likelihoods.target_scale import TargetScale
from duda.packing import apart, by_name, in_words, packed
from duda.predictions import Prediction

__all__ = ["JointParts", "of_part"]


@dataclass(frozen=True)
class JointParts(Likelihood):
    """Likelihoods by name; the numbers among their targets may have units of their own.

    Args:
        parts: likelihoods by the names of the outputs.
        target_scale: the units of all outputs that tell numbers, in order.
    """

    parts: Mapping[str, Likelihood]
    target_scale: TargetScale | None = field(default=None, repr=False, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", _checked_parts(self.parts))

    @property
    def heads(self) -> tuple[str, ...]:  # type: ignore[override] # of the parts
        """The names of the network's outputs."""
        return tuple(self.parts)

    @property
    def annealing_epochs(self) -> int:  # type: ignore[override] # of the parts
        """Epochs in which the terms that grow have grown in all parts."""
        return max(part.annealing_epochs for part in self.parts.values())

    @property
    def takes_scale(self) -> bool:
        """Whether the targets of some part are numbers."""
        return any(part.takes_scale for part in self.parts.values())

    def with_target_scale(self, scale: TargetScale | Mapping[str, TargetScale] | None) -> Self:
        """Return the likelihood of outputs in other units: of all numbers, in order, or by name."""
        if isinstance(scale, Mapping):
            names = [name for name, part in self.parts.items() if part.takes_scale]
            if set(scale) != set(names):
                raise ValueError(
                    f"`target_scale` has {in_words(scale)}, expected one for each part of numbers: "
                    f"{in_words(names)}."
                )
            scale = _together([scale[name] for name in names])
        return replace(self, target_scale=scale)

    def look_at_targets(self, targets: Callable[[], Iterator[Any]]) -> None:
        """Let each part look at its targets before a training."""
        for name, part in self.parts.items():
            with of_part(name):
                part.look_at_targets(lambda name=name: (self.targets(y)[name] for y in targets()))  # type: ignore[misc]

    def as_predicted(self, prediction: Prediction, y: Any) -> Any:
        """Return targets by name, each as metrics take them beside its prediction."""
        said: Any = prediction
        return {
            name: self.parts[name].as_predicted(said[name], each)
            for name, each in self.targets(y).items()
        }

    def find_scale(self, batches: Callable[[], Iterator[Any]]) -> TargetScale:
        """Return units for the outputs of all parts of numbers, which are read one by one."""
        return _together(
            [
                part.scale_of(self.targets(y)[name] for y in batches())
                for name, part in self.parts.items()
                if part.takes_scale
            ]
        )

    def whole(self, y: Any) -> Any:
        """Return targets of all parts as one tensor."""
        if isinstance(y, Tensor):
            self.targets(y)
            return y
        if isinstance(y, Mapping):
            y = {name: as_tensor(each, f"y[{name!r}]") for name, each in y.items()}
        elif isinstance(y, tuple | list):
            y = [as_tensor(each, f"y[{place}]") for place, each in enumerate(y)]
        return packed(by_name(y, self.heads, "the targets `y`"), exact=True)

    def targets(self, y: Any) -> dict[str, Tensor]:
        """Return the targets of each part."""
        y = y if isinstance(y, Tensor) else self.whole(y)
        return self._apart(y, "`y`", "targets")

    def apart(self, outputs: Tensor, dim: int = 1) -> dict[str, tuple[Likelihood, Tensor]]:
        """Return outputs by name, each with its likelihood as it is now."""
        found, first = {}, 0
        for name, values in self._apart(outputs, "the network's outputs", "outputs", dim).items():
            part = self.part_now(name)
            if self.target_scale is not None and part.takes_scale:
                last = first + _targets_of(part, values, dim)
                part, first = part.with_target_scale(self.target_scale.part(first, last)), last
            found[name] = part, values
        return found

    def part_now(self, name: str) -> Likelihood:
        """Return the likelihood of a name with what is learned of its noise."""
        return self.parts[name]

    def _apart(self, whole: Tensor, what: str, noun: str, dim: int = 1) -> dict[str, Tensor]:
        try:
            return apart(whole, self.heads, dim)
        except LookupError:
            raise ValueError(
                f"{what} have shape {tuple(whole.shape)}, expected {noun} for "
                f"{in_words(self.heads)}: give them by name in a dict, or in a tuple."
            ) from None

    def width(self, targets: int) -> NoReturn:
        """There is none: each part has its own."""
        raise TypeError(
            "a Joint has a width for each part: ask `parts[name].width(targets)`, or give the "
            "likelihood of one output, which `duda.layers.Outputs(network, name)` takes."
        )

    def terms(self, y: Any) -> int:
        """Return how many examples there are, each with one term, whatever its positions."""
        return len(y if isinstance(y, Tensor) else self.whole(y))


def _checked_parts(parts: Any) -> dict[str, Likelihood]:
    """Return likelihoods by name, as a dict; a file has them in pairs."""
    found: dict[str, Likelihood] = dict(parts) if isinstance(parts, Mapping | list | tuple) else {}
    if not found:
        raise ValueError(
            f"`parts` is {parts!r}, expected likelihoods by the names of the network's outputs, "
            "such as `{'class': duda.Categorical(), 'box': duda.Laplacian()}`."
        )
    for name, part in found.items():
        if not isinstance(name, str) or not isinstance(part, Likelihood) or part.heads:
            raise TypeError(
                f"`parts` has a {type(part).__name__} as {name!r}, expected by a name one of "
                "duda's likelihoods of a single output."
            )
        if getattr(part, "weight", None) == "balanced":
            raise ValueError(
                f"`parts` has `weight='balanced'` as {name!r}, which nobody counts of several "
                "outputs: give a number for each class."
            )
    return found


def _together(scales: list[TargetScale]) -> TargetScale:
    """Return the scales of several parts as one."""
    return TargetScale(
        torch.cat([each.mean for each in scales]), torch.cat([each.std for each in scales])
    )


def _targets_of(part: Likelihood, outputs: Tensor, dim: int) -> int:
    """Return how many target columns the outputs of a part are for."""
    given = part.output_dim if outputs.ndim > dim + 1 else None
    width = outputs.shape[-1 if given == -1 else dim] if outputs.ndim > dim else 1
    return next((count for count in range(1, width + 1) if part.width(count) == width), width)


@contextmanager
def of_part(name: str) -> Iterator[None]:
    """Let errors say which part they are about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"of {name!r}: {error}") from error
