"""Difficulty of boxes
===================

A detector says *where* a thing is and *what* it is, and each can be hard by itself. The action
score of a picture is its loss, added up over the epochs of training (Arriaga & Valdenegro-Toro
2020): here one score for localisation and one for classification, of an SSD detector (Liu et al.
2016) that learns to find blood cells. Look at which pictures each of them calls hard, and why.
"""

import os
from itertools import islice

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from ssd import (
    SSD,
    default_boxes,
    detect_all,
    draw,
    found_and_right,
    losses,
    match_all,
    mirrored,
    train,
)

import duda
from duda.plots.canvas import BAD, GOOD, canvas

quick = os.environ.get("DUDA_QUICK") == "1"
limit, epochs = (12, 2) if quick else (None, 36)

# %%
# Blood cells
# -----------
# Around red cells (RBC), white cells (WBC) and platelets of the BCCD pictures somebody drew boxes.
# We train at a quarter of their size. :doc:`ssd` shows how each of the detector's default boxes
# learns which cell it stands for, if for any. Mirrored pictures are as good as the others.


def read(part):
    """Return an image set, and its pictures at a quarter of their size, with boxes and labels."""
    cells = duda.datasets.gallery.voc("bccd-voc", part)
    small = [(F.avg_pool2d(p.image, 4), p.boxes / 4, p.labels) for p in islice(cells, limit)]
    x, boxes, labels = zip(*small, strict=True)
    return cells, torch.stack(x), boxes, labels


cells, x, boxes, labels = read("trainval")
defaults = default_boxes(*x.shape[2:])
wanted = {
    dims: match_all([mirrored(box, dims, *x.shape[2:]) for box in boxes], labels, defaults)
    for dims in ((), (2,), (3,), (2, 3))  # as it is, upside down, left to right, both
}

# %%
# Training, watched
# -----------------
# After each epoch :class:`duda.TrainingDynamics` notes both losses of every picture, for each
# default box that stands for a cell; that of classification has the worst background in it, too.

torch.manual_seed(0)
network, dynamics = SSD(len(cells.classes)), duda.TrainingDynamics(len(x))
for _ in train(network, x, wanted, epochs):
    for index in torch.arange(len(x)).split(64):
        with torch.no_grad():
            terms = losses(network(x[index]), [part[index] for part in wanted[()]])
        dynamics.update(index, losses=terms)
    dynamics.end_epoch()

_, x_test, *truth = read("test")
found = detect_all(network, x_test, defaults)
for k, name in enumerate(cells.classes):
    recall, precision = found_and_right(list(zip(*truth, strict=True)), found, k)
    print(f"{name}: finds {recall:.0%} in test pictures; {precision:.0%} of what it finds is one")

# %%
# Two kinds of hard
# -----------------
# Each point is a picture. In two of them a slip of the hand left a box of a single pixel, which
# nobody could place by looking at the cells. See how far up either score puts them.

scores = {kind: total.numpy() / epochs for kind, total in dynamics.action_scores.items()}
where, what = scores["localisation"], scores["classification"]
slips = [i for i, box in enumerate(boxes) if (box[:, 2:] - box[:, :2]).min() < 1]
ranks = [[int((score > score[i]).sum()) + 1 for i in slips] for score in (where, what)]
print(f"one-pixel boxes rank {ranks[0]} by localisation, {ranks[1]} by classification")
title = f"Two kinds of hard: rank correlation {spearmanr(where, what).statistic:.2f}"
ax = canvas(None, title, "localisation loss, mean over epochs", "classification loss, likewise")
points = ax.scatter(where, what, c=[len(box) for box in boxes], s=16)
ax.plot(where[slips], what[slips], "o", ms=10, mfc="none", mec=BAD, mew=2, label="one-pixel box")
ax.legend(frameon=False)
ax.figure.colorbar(points, label="boxes in the picture")

# %%
# The pictures
# ------------
# Boxes that people drew are blue, the detector's black and dashed. Hard to name are pictures in
# which cells have no box: a detector that finds them is told that it is wrong. Hard to place are
# boxes that do not sit on their cells, and crowds. So the scores point at labels to look at, but do
# not say who is right. And they are of this detector: with few boxes it counts little but the worst
# of the background, and at full size it might find other pictures hard.

for by in dynamics.action_scores:
    order = dynamics.hardest(len(x), by).tolist()
    chosen = order[:3] + order[-3:]
    figure, axes = plt.subplots(2, 3, figsize=(8, 4.9), layout="constrained")
    figure.suptitle(f"{by.capitalize()}: the three hardest pictures above, the easiest below")
    found = detect_all(network, x[chosen], defaults)
    for ax, i, (ours, _) in zip(axes.flat, chosen, found, strict=True):
        ax.imshow(cells[i].image.permute(1, 2, 0).numpy(), extent=(0, 160, 120, 0))
        draw(ax, boxes[i], edgecolor=GOOD, linewidth=1.8)
        draw(ax, ours, edgecolor="black", linestyle="--")
        ax.set_title(f"{len(boxes[i])} drawn, {len(ours)} found", fontsize=9)
        ax.set_axis_off()
