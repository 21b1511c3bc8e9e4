"""Residual networks: ResNet-20 and 18 for small pictures, 50 for large ones. He et al. 2016."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ResNet20", "resnet18", "resnet50"]


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
    """Three stages of three blocks, of 16, 32 and 64 channels: section 4.2."""

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


class Bottleneck(nn.Module):
    """Three convolutions, the middle one of a quarter of the channels, and one around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        middle = outputs // 4
        self.inside = nn.Sequential(
            *_normalized(nn.Conv2d(inputs, middle, 1, bias=False)),
            nn.ReLU(),
            *_normalized(nn.Conv2d(middle, middle, 3, stride, 1, bias=False)),
            nn.ReLU(),
            *_normalized(nn.Conv2d(middle, outputs, 1, bias=False)),
        )
        self.around = nn.Sequential()
        if inputs != outputs:
            self.around = nn.Sequential(
                *_normalized(nn.Conv2d(inputs, outputs, 1, stride, bias=False))
            )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.inside(x) + self.around(x))


def resnet18(width: int = 64, classes: int = 10) -> nn.Module:
    """Return a ResNet-18 for pictures of 32 x 32 pixels: four stages of two blocks."""
    start = [*_normalized(nn.Conv2d(3, width, 3, 1, 1, bias=False)), nn.ReLU()]
    widths = [width * factor for factor in (1, 2, 4, 8)]
    return nn.Sequential(
        *start,
        *_stages(Block, width, widths, (2, 2, 2, 2)),
        *_pooled(),
        nn.Linear(widths[-1], classes),
    )


def resnet50(width: int = 64, p: float = 0.2, classes: int = 1000) -> nn.Module:
    """Return a ResNet-50 for pictures of 224 x 224 pixels, with dropout before its last layer."""
    start = [
        *_normalized(nn.Conv2d(3, width, 7, 2, 3, bias=False)),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
    widths = [4 * width * factor for factor in (1, 2, 4, 8)]
    return nn.Sequential(
        *start,
        *_stages(Bottleneck, width, widths, (3, 4, 6, 3)),
        *_pooled(),
        nn.Dropout(p),
        nn.Linear(widths[-1], classes),
    )


def _normalized(conv: nn.Conv2d) -> list[nn.Module]:
    return [conv, nn.BatchNorm2d(conv.out_channels)]


def _pooled() -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten()]


def _stages(
    block: type[Block] | type[Bottleneck], inputs: int, widths: Sequence[int], counts: Sequence[int]
) -> Iterator[nn.Module]:
    """Yield blocks, the first of each stage but the first of all with a stride of two."""
    for stage, (width, count) in enumerate(zip(widths, counts, strict=True)):
        for number in range(count):
            yield block(inputs, width, 2 if stage and not number else 1)
            inputs = width
