"""Detectors on a network: fitted to inputs and asked about inputs, features read on the way."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from duda.batches import Batch
from duda.checks import ArrayLike, check_count
from duda.class_names import ClassNames
from duda.detectors.base import Detector
from duda.detectors.features import Positions, check_positions, input_batches
from duda.items import ItemRule
from duda.params import Params
from duda.predictions import ClassPrediction, ScoredClassPrediction
from duda.sources import Inputs, Labelled, read_pairs
from duda.storage import Format, checksum_of, holding
from duda.uncompiled import uncompiled

__all__ = ["OnNetwork"]

_FORMAT = Format("detector on a network")


class OnNetwork(Params):
    """A detector that knows its network, and so takes inputs in place of features or logits.

    Args:
        network: any module but a model of duda, which may draw at random.
        detector: of features or logits, fitted to this network's already or not.
        layer: whose outputs are the features, see `features_of`; by default they are what goes
            into the last linear layer.
        positions: what becomes of features `(N, D, *positions)`, see `features_of`.
        batch_size: inputs at a time.
        inputs: what an item of data is, as in `predict`.

    >>> from duda.detectors import Mahalanobis
    >>> network = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> x, y = torch.randn(60, 2), torch.arange(60) % 3
    >>> detector = OnNetwork(network, Mahalanobis()).fit((x, y))
    >>> near, far = detector.score(torch.tensor([[0.0, 0.0], [50.0, -50.0]]))
    >>> bool(near < far)
    True
    """

    def __init__(
        self,
        network: nn.Module,
        detector: Detector,
        layer: str | None = None,
        *,
        positions: Positions | None = None,
        batch_size: int = 256,
        inputs: ItemRule | None = None,
    ) -> None:
        if not isinstance(network, nn.Module) or not isinstance(detector, Detector):
            raise TypeError(
                f"`network` is a {type(network).__name__} and `detector` a "
                f"{type(detector).__name__}, expected a module and a detector such as "
                "`Mahalanobis()` (with its brackets)."
            )
        if hasattr(network, "predict") and hasattr(network, "likelihood"):
            raise TypeError(
                f"`network` is a {type(network).__name__}, whose passes may be random draws, "
                "expected the module in it: give `model.network`, or one of `model.members`."
            )
        check_positions(positions)
        self.network, self.detector = network, detector
        self.layer, self.positions = layer, positions
        self.batch_size, self.inputs = check_count(batch_size, "batch_size"), inputs

    @uncompiled
    def fit(self, x: Inputs | Labelled, y: ArrayLike | None = None) -> Self:
        """Fit the detector to in-distribution inputs, and return itself.

        Args:
            x: pairs of inputs and integer labels as `duda.fit` takes them, or just inputs.
            y: the labels, beside inputs; not all detectors need them.

        Raises:
            TypeError: if `x` holds no labels, and the detector needs them.
            ValueError: if the features do not suit the layer or the detector.
        """
        pairs: Any = x if y is None else (x, y)
        if not self.detector.needs_labels and not isinstance(pairs, (tuple, list)):
            self.detector.fit(self._read(self._batches(pairs)))
            return self
        return self.fit_batches(
            read_pairs(pairs, self.batch_size, rule=self.inputs, names=ClassNames()).pairs()
        )

    def fit_batches(self, batches: Iterable[tuple[Batch, Tensor]]) -> Self:
        """Fit the detector to batches of inputs and labels, such as those of a `FitState`."""
        labels: list[Tensor] = []

        def without_labels() -> Iterator[Batch]:
            for batch, target in batches:
                labels.append(target)
                yield batch

        features = self._read(without_labels())
        self.detector.fit(features, torch.cat(labels))
        return self

    @uncompiled
    def score(self, x: Inputs) -> Float[Tensor, "N *positions"]:
        """Return the score of each input, higher is more out-of-distribution.

        Raises:
            ValueError: if the detector is not fitted, or the inputs are not finite.
        """
        self.detector.check_fitted()
        return self.detector.score(self._read(self._batches(x)))

    def __call__(self, x: Inputs) -> Float[Tensor, "N *positions"]:
        """Return what `score` returns."""
        return self.score(x)

    def scored(self, answer: ClassPrediction, x: Inputs) -> ScoredClassPrediction:
        """Return the answer to `x` with this detector's score: for gates and reports.

        Raises:
            ValueError: if there is not one score for each answer.
        """
        return ScoredClassPrediction.from_prediction(answer, self.score(x).to(answer.probs.device))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the fitted detector and where its features come from, but not the network.

        Raises:
            ValueError: before `fit`.
            TypeError: if `positions` is a function, which no file can hold.
        """
        self.detector.check_fitted()
        how = self.get_params(deep=False)
        del how["inputs"]  # of the data, not of what was fitted
        state = how | {
            "detector": self.detector.state(),
            "network": _checksum(self.network),
        }
        return _FORMAT.write(path, type(self.detector).__name__, state)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        network: nn.Module,
        *,
        inputs: ItemRule | None = None,
    ) -> Self:
        """Read what `save` wrote, for the same network; no file holds `inputs`.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is damaged or holds something else, or the network has other
                weights than the one whose features were fitted.
        """
        kind, state = _FORMAT.read(path)
        if state.pop("network", None) != _checksum(network):
            raise ValueError(
                f"`network` has other weights than the one that `{path}` was fitted on: load "
                "those first, or fit a new detector."
            )
        detector = Detector.restored(path, kind, state.pop("detector", None))
        with holding(path, _FORMAT.noun):
            return cls(network, detector, **state, inputs=inputs)

    def _batches(self, x: Inputs) -> Iterator[Batch]:
        return input_batches(self.network, x, self.batch_size, self.inputs)

    def _read(self, batches: Iterator[Batch]) -> Tensor:
        return self.detector.read(self.network, batches, self.layer, self.positions)


def _checksum(network: nn.Module) -> str:
    tensors = {name: each.detach() for name, each in network.named_parameters()}
    return checksum_of({}, tensors | dict(network.named_buffers()))
