"""Memory of Laplace with many classes: a matrix of them for all examples, none for each."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import duda
from tests.sampling.test_sharing import LiveBytes

CLASSES, FEATURES, ROWS = 400, 16, 200
EACH = ROWS * CLASSES * CLASSES * 8  # bytes of a matrix for each example: 256 MB


def fitted(likelihood: Any, **arguments: Any) -> tuple[duda.Laplace, Tensor]:
    x = torch.randn(ROWS, FEATURES)
    model = duda.Laplace(nn.Linear(FEATURES, CLASSES), likelihood, prior_precision=1.0, **arguments)
    y = torch.randint(CLASSES, (ROWS,))
    model.fit_posterior((x, torch.randn(ROWS, CLASSES // 2) if _numbers(likelihood) else y))
    return model, x


def _numbers(likelihood: Any) -> bool:
    return isinstance(likelihood, duda.Gaussian)


@pytest.mark.parametrize("likelihood", [duda.Categorical(), duda.Gaussian()])
@pytest.mark.parametrize("approximation", ["draws", "closed-form"])
def test_no_example_has_a_matrix_of_its_own(likelihood: Any, approximation: Any) -> None:
    with LiveBytes() as live:
        model, x = fitted(likelihood, approximation=approximation)
    assert CLASSES * CLASSES * 8 < live.peak < 0.1 * EACH
    with LiveBytes() as live:
        model.predict(x, samples=20)
    assert live.peak < 0.3 * EACH
    shapes = LargestCopies()
    with shapes:
        model.predict(x, samples=3)
    assert shapes.largest < 0.3 * EACH


def test_joint_draws_have_no_copies_either() -> None:
    model, x = fitted(duda.Categorical())
    shapes = LargestCopies()
    with LiveBytes() as live:
        model.predict(x, samples=20, joint=True)
    assert live.peak < 0.4 * EACH
    with shapes:
        model.predict(x, samples=20, joint=True)
    assert shapes.largest < 0.3 * EACH


class LargestCopies(torch.utils._python_dispatch.TorchDispatchMode):
    """Knows how large the operands of products are, which kernels copy where they are expanded."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.__name__.startswith(("bmm", "mm", "baddbmm", "addmm")):
            sizes = [each.numel() * 8 for each in args if isinstance(each, Tensor)]
            self.largest = max(self.largest, *sizes)
        return func(*args, **(kwargs or {}))
