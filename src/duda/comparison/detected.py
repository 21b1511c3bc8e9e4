"""Out-of-distribution detectors as models, so that they stand beside methods in a comparison."""

from __future__ import annotations

from typing import Any, cast

from torch import nn

from duda.batches import Batch
from duda.detectors import Detector, OnNetwork
from duda.likelihoods import Categorical, Likelihood
from duda.methods import Deterministic
from duda.predictions import ClassPrediction, ScoredClassPrediction
from duda.training import FitState

__all__ = ["Detected"]


class Detected(Deterministic):
    """A plain network whose answers have the score of a detector, fitted when training ends.

    Args:
        network: any module that puts out logits.
        likelihood: a `Categorical`.
        detector: of its features or logits.
        layer: whose outputs are the features; by default what goes into the last linear layer.

    >>> import torch
    >>> from duda.detectors import Energy
    >>> model = Detected(nn.Linear(2, 3), Categorical(), Energy())
    >>> model.predict(torch.zeros(4, 2)).score.shape
    torch.Size([4])
    """

    likelihoods = (Categorical,)

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        detector: Detector,
        layer: str | None = None,
    ) -> None:
        super().__init__(network, likelihood)
        if likelihood.output_dim == -1 or getattr(likelihood, "probs", False):
            raise ValueError(
                f"`likelihood` is {likelihood}, expected `Categorical()`: detectors read logits "
                "with their classes on dimension 1."
            )
        self.detector, self.layer = detector, layer
        self._on_network = OnNetwork(self.network, detector, layer)

    def on_fit_end(self, state: FitState) -> None:
        """Fit the detector to the training data."""
        super().on_fit_end(state)
        self._on_network.fit_batches(state.training_batches())

    def predict_batch(self, x: Batch, *args: Any, **options: Any) -> ScoredClassPrediction:
        """Return the network's answer to one batch, with the detector's score.

        Raises:
            ValueError: before the detector is fitted.
        """
        answer = cast(ClassPrediction, super().predict_batch(x, *args, **options))
        return self._on_network.scored(answer, x)
