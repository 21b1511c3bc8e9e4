"""A network with several outputs, and data for it, in the forms that people have them in."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import duda
from duda import Joint

N, CLASSES, FEATURES = 12, 3, 4


class TwoHeads(nn.Module):
    """A trunk with dropout, and outputs for a class and for two numbers of a box."""

    def __init__(self, form: str = "dict", width: int = 8) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(FEATURES, width), nn.ReLU(), nn.Dropout(0.3))
        self.classes, self.box = nn.Linear(width, CLASSES), nn.Linear(width, 4)
        self.form = form

    def forward(self, x: Tensor) -> Any:
        found = self.trunk(x)
        outputs = {"class": self.classes(found), "box": self.box(found)}
        return outputs if self.form == "dict" else tuple(outputs.values())


def both(**arguments: Any) -> Joint:
    return Joint({"class": duda.Categorical(), "box": duda.Laplacian()}, **arguments)


def some_data(rows: int = N, seed: int = 0) -> tuple[Tensor, dict[str, Tensor]]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, FEATURES, generator=g)
    noise = torch.randn(rows, 2, generator=g)
    return x, {"class": (x[:, 0] > 0).long() + (x[:, 1] > 0).long(), "box": x[:, :2] + noise}
