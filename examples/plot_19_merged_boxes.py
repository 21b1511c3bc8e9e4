"""Boxes of several detectors
==========================

One detector says where a thing is as if it knew. Several, or one with dropout and drawn several
times, differ, and :func:`duda.boxes.merge` makes of that one answer for each thing: whether it is
there, what it is, and how far each edge is off. Here the SSD of :doc:`plot_12_boxes` finds blood
cells. Is what they are unsure of what was hard to learn? And are edges where they are said to be?
"""

import os
from itertools import islice

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from ssd import SSD, Joined, boxes_of_draws, default_boxes, draw, losses, match_all, mirrored, train

import duda
from duda.boxes import ConformalBoxes, merge
from duda.plots.canvas import BAD, GOOD, canvas

quick = os.environ.get("DUDA_QUICK") == "1"
limit, epochs, members, samples = (12, 30, 2, 3) if quick else (None, 24, 3, 20)


def read(part):
    cells = islice(duda.datasets.gallery.voc("bccd-voc", part), limit)
    small = [(F.avg_pool2d(p.image, 4), p.boxes / 4, p.labels) for p in cells]
    x, boxes, labels = zip(*small, strict=True)
    return torch.stack(x), boxes, labels


x, boxes, labels = read("trainval")
x_test, *truth = read("test")
truth = list(zip(*truth, strict=True))
defaults = default_boxes(*x.shape[2:])
wanted = {
    dims: match_all([mirrored(box, dims, *x.shape[2:]) for box in boxes], labels, defaults)
    for dims in ((), (2,), (3,), (2, 3))
}
dynamics = duda.TrainingDynamics(len(x))


def trained(seed, dropout=0.0):
    """Return a network that was trained; of the first, what was hard for it is noted."""
    torch.manual_seed(seed)
    network = SSD(3, dropout)
    for _ in train(network, x, wanted, epochs):
        if seed == 0:
            with torch.no_grad():
                dynamics.update(torch.arange(len(x)), losses=losses(network(x), wanted[()]))
            dynamics.end_epoch()
    return Joined(network)


networks = [trained(seed) for seed in range(members)]
models = {
    "MC-Dropout": duda.MCDropout(trained(members, 0.2), duda.FixedGaussian(), samples),
    "ensemble": duda.DeepEnsemble(networks, duda.FixedGaussian()),
}

# %%
# From draws to boxes
# -------------------
# Each member, or draw, says its boxes by itself; they are merged picture by picture.

found = {name: boxes_of_draws(model, x_test, defaults) for name, model in models.items()}
said_of = {"one network": [each[0] for each in found["ensemble"]]}
said_of |= {name: [merge(each) for each in pictures] for name, pictures in found.items()}
size = tuple(x.shape[2:])
for name, answers in said_of.items():
    precision = duda.boxes.average_precision(answers, truth, iou=0.5).mean
    quality = duda.boxes.detection_quality(answers, truth, size).pdq
    gap = duda.boxes.detection_calibration(answers, truth, size).d_ece(by=(), bins=10)
    print(f"{name:12} mAP {precision:.3f}  PDQ {quality:.3f}  ECE {gap:.3f}")

# %%
# Hard to learn, and unsure
# -------------------------
# Each point is a picture of the training set: how large its loss was over all epochs, and how
# unsure the ensemble is of its boxes in the end. Of what a cell is, they agree. Where its edges are
# is hard where people drew them carelessly, and members that learned the same do not differ there.

ours = [merge(each) for each in boxes_of_draws(models["ensemble"], x, defaults)]
unsure = {"localisation": "std", "classification": "entropy"}
figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
for ax, (kind, name) in zip(axes, unsure.items(), strict=True):
    hard = dynamics.action_scores[kind]
    doubt = [float(getattr(each, name).sum()) / max(len(each), 1) for each in ours]
    title = f"{kind.capitalize()}: rank correlation {spearmanr(hard, doubt).statistic:.2f}"
    canvas(ax, title, "loss, summed over epochs", f"mean {name} of boxes")
    ax.plot(hard, doubt, "o", ms=4, alpha=0.5, color=GOOD)

# %%
# Where edges may be
# ------------------
# By half of the test pictures :class:`duda.boxes.ConformalBoxes` learns how far edges are off,
# as a share of the width and height of boxes. In the other half all four edges of a
# true box that is found are to be between the inner and the outer one nine times in ten.

half = len(x_test) // 2
answers = said_of["ensemble"]
bounds = ConformalBoxes(alpha=0.1, score="relative").fit(answers[:half], truth[:half])
held = bounds.coverage(answers[half:], truth[half:])
low, high = (float(end) for end in held.confidence())
print(f"{held.overall:.0%} of {int(held.counts)} boxes are within bounds, {low:.0%} to {high:.0%}")

sure = [each[each.existence > 0.5] for each in answers]
few = sorted(range(half, len(sure)), key=lambda i: (len(sure[i]) < 3, len(sure[i])))[:3]
figure, axes = plt.subplots(1, 3, figsize=(8, 2.5), layout="constrained")
figure.suptitle("Boxes that people drew, blue, and the bounds of their edges", fontsize=11)
for ax, i in zip(axes, few, strict=True):
    ax.imshow(x_test[i].permute(1, 2, 0).numpy(), extent=(0, size[1], size[0], 0))
    draw(ax, truth[i][0], edgecolor=GOOD, linewidth=1.6)
    for box in (bounds(sure[i]).inner, bounds(sure[i]).outer):
        draw(ax, box, edgecolor=BAD, linestyle="--", linewidth=0.9)
    ax.set_axis_off()
