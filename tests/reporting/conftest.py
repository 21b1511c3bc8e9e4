from __future__ import annotations

import pytest
import torch

from duda import ClassPrediction, GaussianPrediction


def class_prediction(seed: int, examples: int = 60, classes: int = 4) -> ClassPrediction:
    random = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(examples, classes, generator=random, dtype=torch.float64)
    return ClassPrediction.from_probs(logits.softmax(1))


def number_prediction(seed: int, examples: int = 60) -> GaussianPrediction:
    random = torch.Generator().manual_seed(seed)
    mean, aleatoric, epistemic = torch.rand(3, examples, 1, generator=random, dtype=torch.float64)
    return GaussianPrediction(mean, 0.1 + aleatoric, epistemic)


@pytest.fixture
def labels() -> torch.Tensor:
    return torch.arange(60) % 4


@pytest.fixture
def targets() -> torch.Tensor:
    return torch.rand(60, 1, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
