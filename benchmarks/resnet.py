"""ResNet-20 for pictures of 32 x 32 pixels: He et al. 2016, section 4.2."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ResNet20"]


class Block(nn.Module):
    """Two convolutions and a connection around them, padded with zeros where it grows."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.grown = outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        around = x[:, :, :: self.stride, :: self.stride]
        around = F.pad(around, (0, 0, 0, 0, 0, self.grown))
        return F.relu(self.bn2(self.conv2(out)) + around)


class ResNet20(nn.Module):
    """Three stages of three blocks, of 16, 32 and 64 channels."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        self.stage1 = nn.Sequential(*(Block(16, 16, 1) for _ in range(3)))
        self.stage2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1), Block(32, 32, 1))
        self.stage3 = nn.Sequential(Block(32, 64, 2), Block(64, 64, 1), Block(64, 64, 1))
        self.head = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn(self.conv(x)))
        out = self.stage3(self.stage2(self.stage1(out)))
        return self.head(out.mean((2, 3)))
