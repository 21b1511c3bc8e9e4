from __future__ import annotations

import pytest
import torch

from duda import ClassPrediction, GaussianPrediction, QuantilePrediction


def class_prediction(seed: int, examples: int = 60, classes: int = 4) -> ClassPrediction:
    random = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(examples, classes, generator=random, dtype=torch.float64)
    return ClassPrediction.from_probs(logits.softmax(1))


def number_prediction(seed: int, examples: int = 60) -> GaussianPrediction:
    random = torch.Generator().manual_seed(seed)
    mean, aleatoric, epistemic = torch.rand(3, examples, 1, generator=random, dtype=torch.float64)
    return GaussianPrediction(mean, 0.1 + aleatoric, epistemic)


def quantile_prediction(
    seed: int, levels: tuple[float, ...] = (0.025, 0.25, 0.5, 0.75, 0.975)
) -> QuantilePrediction:
    random = torch.Generator().manual_seed(seed)
    values = torch.randn(60, len(levels), 1, generator=random, dtype=torch.float64)
    return QuantilePrediction(values.sort(dim=1).values, torch.tensor(levels))


@pytest.fixture
def labels() -> torch.Tensor:
    return torch.arange(60) % 4


@pytest.fixture
def targets() -> torch.Tensor:
    return torch.rand(60, 1, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
