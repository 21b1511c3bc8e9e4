"""A compact SSD detector
======================

The detector of :doc:`plot_12_boxes`: a Single Shot MultiBox Detector in plain torch, small enough
to train on one core. A network looks at a picture once. At each place of two feature maps stand
four *default boxes*; for each of them the network says what is in it, and how to move and stretch
it until it fits. Source: Liu et al. 2016, SSD: Single Shot MultiBox Detector.

Boxes are (left, top, right, bottom) in pixels; label 0 is the background.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor, nn

import duda
from duda.boxes import BoxPrediction

# Of each feature map: the pixels between its places, and the default boxes there as (side of a
# square of the same area, width / height). At 160 x 120 pixels a platelet is about 10 pixels
# wide, a red cell 26 and a white cell 50; the edge of the picture cuts some to longer shapes.
MAPS = (
    (8, ((10, 1.0), (25, 1.0), (25, 1.6), (25, 0.625))),
    (16, ((36, 1.0), (50, 1.0), (50, 1.6), (50, 0.625))),
)
Wanted = tuple[Tensor, Tensor]  # labels (N, A) and offsets (N, A, 4)
SPREAD = torch.tensor([0.1, 0.1, 0.2, 0.2])  # brings offsets to the size of 1, as in the paper


def block(channels: int, out: int, stride: int) -> nn.Sequential:
    """Return a convolution of 3 x 3 with all that follows it."""
    convolution = nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU())


class SSD(nn.Module):
    """Says for each default box its class scores (N, A, 1 + C) and offsets (N, A, 4)."""

    def __init__(self, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.outputs = 1 + classes + 4
        self.dropout = nn.Dropout2d(dropout)
        self.fine = nn.Sequential(
            block(3, 16, 2), block(16, 32, 2), block(32, 64, 2), block(64, 64, 1)
        )
        self.coarse = nn.Sequential(block(64, 96, 2), block(96, 96, 1))
        heads = zip((64, 96), MAPS, strict=True)
        self.heads = nn.ModuleList(
            nn.Conv2d(width, len(shapes) * self.outputs, 3, padding=1)
            for width, (_, shapes) in heads
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return both for pictures (N, 3, H, W)."""
        fine = self.dropout(self.fine(x))
        found = zip(self.heads, (fine, self.dropout(self.coarse(fine))), strict=True)
        rows = [head(features).permute(0, 2, 3, 1).flatten(1) for head, features in found]
        outputs = torch.cat(rows, 1).unflatten(1, (-1, self.outputs))
        return outputs[..., :-4], outputs[..., -4:]


def default_boxes(height: int, width: int) -> Tensor:
    """Return the default boxes (A, 4) of a picture, in the order of the network's outputs."""
    boxes = []
    for stride, shapes in MAPS:
        rows, columns = -(-height // stride), -(-width // stride)
        for place in range(rows * columns):
            x, y = (place % columns + 0.5) * stride, (place // columns + 0.5) * stride
            for side, ratio in shapes:
                w, h = side * ratio**0.5, side / ratio**0.5
                boxes.append([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
    return torch.tensor(boxes)


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """Return the intersection over union (K, A) of each of K with each of A boxes."""
    sides = torch.minimum(a[:, None, 2:], b[:, 2:]) - torch.maximum(a[:, None, :2], b[:, :2])
    shared = sides.clamp(min=0).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (a, b)]
    return shared / (areas[0][:, None] + areas[1] - shared)


def offsets_of(boxes: Tensor, defaults: Tensor) -> Tensor:
    """Return how to move and stretch default boxes to `boxes`, both (A, 4)."""
    size, own = boxes[:, 2:] - boxes[:, :2], defaults[:, 2:] - defaults[:, :2]
    shift = (boxes[:, :2] + boxes[:, 2:] - defaults[:, :2] - defaults[:, 2:]) / 2 / own
    return torch.cat([shift, (size / own).log()], 1) / SPREAD


def boxes_of(offsets: Tensor, defaults: Tensor) -> Tensor:
    """Return the boxes that `offsets_of` turns into these offsets."""
    shift, stretch = (offsets * SPREAD).split(2, 1)
    own = defaults[:, 2:] - defaults[:, :2]
    middle = (defaults[:, :2] + defaults[:, 2:]) / 2 + shift * own
    half = own * stretch.exp() / 2
    return torch.cat([middle - half, middle + half], 1)


def mirrored(boxes: Tensor, dims: Iterable[int], height: int, width: int) -> Tensor:
    """Return where boxes are in pictures (N, 3, H, W) that are flipped along `dims`."""
    boxes = boxes.clone()
    for dim in dims:
        low, length = 3 - dim, (height, width)[dim - 2]
        boxes[:, [low, low + 2]] = length - boxes[:, [low + 2, low]]
    return boxes


def match(boxes: Tensor, labels: Tensor, defaults: Tensor) -> tuple[Tensor, Tensor]:
    """Return what each default box should say: its label (A,) and its offsets (A, 4).

    It stands for the box that it overlaps most, if by more than a half; and for each box stands
    the default box that overlaps it most, however little that is.
    """
    if len(boxes) == 0:
        return torch.zeros(len(defaults), dtype=torch.long), torch.zeros_like(defaults)
    shares = overlap(boxes, defaults)
    share, box = shares.max(0)
    best = shares.argmax(1)
    box[best], share[best] = torch.arange(len(boxes)), 1.0
    wanted = torch.where(share > 0.5, labels[box] + 1, 0)
    return wanted, offsets_of(boxes[box], defaults)


def match_all(
    boxes: Iterable[Tensor], labels: Iterable[Tensor], defaults: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the same for N pictures: labels (N, A) and offsets (N, A, 4)."""
    pairs = [match(box, label, defaults) for box, label in zip(boxes, labels, strict=True)]
    wanted, offsets = zip(*pairs, strict=True)
    return torch.stack(wanted), torch.stack(offsets)


def losses(said: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """Return the classification and the localisation loss (N,) of each picture.

    Both are sums over default boxes, divided by how many stand for a box. Of the background only
    the worst count, three for each of these: there is so much of it (hard negative mining).
    """
    (scores, offsets), (labels, targets) = said, wanted
    entropies = F.cross_entropy(scores.transpose(1, 2), labels, reduction="none")
    boxed = labels > 0
    count = boxed.sum(1)
    background = entropies.detach().masked_fill(boxed, -1.0)
    rank = background.argsort(1, descending=True).argsort(1)
    counted = boxed | ((rank < 3 * count[:, None]) & ~boxed)
    apart = F.smooth_l1_loss(offsets, targets, reduction="none").sum(2)
    count = count.clamp(min=1)
    return {
        "classification": (entropies * counted).sum(1) / count,
        "localisation": (apart * boxed).sum(1) / count,
    }


def train(
    network: nn.Module, x: Tensor, wanted: dict[tuple[int, ...], Wanted], epochs: int
) -> Iterator[int]:
    """Train on pictures (N, 3, H, W), and stop after each epoch, in eval mode.

    What default boxes should say is `wanted` for each way to flip the pictures, which are as good
    as they are.
    """
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.002, epochs * -(-len(x) // 8))
    for epoch in range(epochs):
        network.train()
        for index in torch.randperm(len(x)).split(8):
            dims = list(wanted)[torch.randint(4, ())]
            labels, offsets = wanted[dims]
            said = network(x[index].flip(dims))
            loss = sum(losses(said, (labels[index], offsets[index])).values(), torch.zeros(()))
            optimizer.zero_grad()
            loss.mean().backward()
            optimizer.step()
            schedule.step()
        network.eval()
        yield epoch


def detect(scores: Tensor, offsets: Tensor, defaults: Tensor) -> tuple[Tensor, Tensor]:
    """Return the boxes (K, 4) in one picture and their labels (K,), counted from 0, surest first.

    They have a probability of more than a half. Of those of a class that overlap by more than
    0.45, the surest stays (non-maximum suppression).
    """
    kept, boxes = suppressed(scores.softmax(1), offsets, defaults, 0.5)
    return boxes, scores[kept].argmax(1) - 1


def suppressed(
    probs: Tensor, offsets: Tensor, defaults: Tensor, least: float
) -> tuple[Tensor, Tensor]:
    """Return which default boxes stay, of those of a class that is likelier, and their boxes."""
    probability, label = probs.max(1)
    sure = ((label > 0) & (probability > least)).nonzero().squeeze(1)
    sure = sure[probability[sure].argsort(descending=True)]
    boxes, labels = boxes_of(offsets[sure], defaults[sure]), label[sure]
    rivals = (overlap(boxes, boxes) > 0.45) & (labels[:, None] == labels)
    kept: list[int] = []
    for i in range(len(boxes)):
        if not rivals[i, kept].any():
            kept.append(i)
    return sure[kept], boxes[kept]


def detect_all(network: nn.Module, x: Tensor, defaults: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return what a network in eval mode detects in each of the pictures (N, 3, H, W)."""
    with torch.no_grad():
        return [detect(*said, defaults) for said in zip(*network(x), strict=True)]


class Joined(nn.Module):
    """A detector whose outputs are one row of numbers for each picture, as `duda` predicts them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Return them for pictures (N, 3, H, W)."""
        return torch.cat(self.network(x), 2).flatten(1)


def boxes_of_draws(
    model: duda.UncertainModel, x: Tensor, defaults: Tensor, least: float = 0.3
) -> list[list[BoxPrediction]]:
    """Return what each member or draw of a joined detector says, a list for each picture."""
    draws = model.predict(x, keep_draws=True, batch_size=16, seed=0).draws
    assert draws is not None
    means = draws.float().chunk(2, 2)[0]  # beside them are variances, which say nothing here
    pictures = means.unflatten(2, (len(defaults), -1)).transpose(0, 1)
    return [[_said(draw, defaults, least) for draw in picture] for picture in pictures]


def _said(draw: Tensor, defaults: Tensor, least: float) -> BoxPrediction:
    probs, offsets = draw[:, :-4].softmax(1), draw[:, -4:]
    kept, boxes = suppressed(probs, offsets, defaults, least)
    return BoxPrediction(boxes, probs[kept, 1:])


def draw(ax: Axes, boxes: Tensor, **style: Any) -> None:
    """Draw the outlines of boxes, in the style of a matplotlib patch."""
    for left, top, right, bottom in boxes.tolist():
        ax.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, **style))


def found_and_right(
    truth: Sequence[tuple[Tensor, Tensor]], found: Sequence[tuple[Tensor, Tensor]], label: int
) -> tuple[float, float]:
    """Return the share of a class's boxes that were found, and the share of found ones that is one.

    Both are lists of boxes and labels by picture; a box is found if one overlaps it by a half.
    """
    pairs = [
        overlap(box[kind == label], ours[name == label]) > 0.5
        for (box, kind), (ours, name) in zip(truth, found, strict=True)
    ]
    shares = [torch.cat([pair.any(dim) for pair in pairs]).double().mean() for dim in (1, 0)]
    return float(shares[0]), float(shares[1])
