"""Point clouds
============

Does a network know which points of a street it takes for the wrong thing? A laser scan becomes a
picture, range by angle (RangeNet++, Milioto et al. 2019), and a small network gives each pixel one
of the 19 classes of SemanticKITTI (Behley et al. 2019). **It learns from a single scan and is
tested on a single one, so its numbers mean little**: look at how doubt and mistakes lie together.
"""

# sphinx_gallery_thumbnail_number = 2
import os

import matplotlib.pyplot as plt
import torch
from torch import nn

import duda
from duda.datasets.gallery import RangeView, SemanticKITTI, turned_scan
from duda.plots.clouds import Coloring, TurnableCloud, from_above

quick = os.environ.get("DUDA_QUICK") == "1"
width, epochs, members, draws = (64, 6, 2, 2) if quick else (512, 240, 5, 20)

# %%
# A scan as a picture
# -------------------
# Each row is a step of elevation, about one of 64 laser beams, each column a direction, from behind
# over the left, ahead and the right. For the whole data set write ``"train"`` and
# ``"valid"`` for ``[0]`` and ``[8]``: scans are read one by one. Training turns them at random.

view = RangeView(width=width)
train, test = SemanticKITTI([0], view, turned_scan), SemanticKITTI([8], view)
scan, (image, truth) = test.scan(0), test[0]
figure, axes = plt.subplots(2, figsize=(8, 3.2), layout="constrained")
axes[0].imshow(image[0].log2().numpy(), aspect="auto", cmap="cividis")
axes[1].imshow(test.colors[truth].numpy(), aspect="auto", interpolation="nearest")
for ax, title in zip(axes, ("Range: white is no point", "Classes: black is none"), strict=True):
    ax.set(title=title, xticks=[], yticks=[])

# %%
# Three ways to doubt
# -------------------
# An encoder and a decoder, padded in a circle, since a scan has no edge. Members of the ensemble
# train with dropout; MC-Dropout is the first of them with dropout left on. MC-DropConnect has a
# network of its own, with masks on weights instead.


def block(inputs, outputs, stride=1, dropout=0.0):
    """Return a convolution that goes all round."""
    around = nn.CircularPad2d((1, 1, 0, 0)), nn.Conv2d(inputs, outputs, 3, stride, (1, 0))
    return nn.Sequential(*around, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.1), nn.Dropout2d(dropout))


class Skip(nn.Sequential):
    """Adds to a picture what its layers make of it."""

    def forward(self, x):
        return x + super().forward(x)


def small_range_net(p=0.2):
    """Return logits of 20 classes for range, x, y, z and remission of each pixel."""
    twice = nn.Upsample(scale_factor=2)
    low = Skip(block(32, 40, 2, p), block(40, 40, 1, p), nn.Conv2d(40, 32, 1), twice)
    up = block(32, 32, 1, p), nn.Conv2d(32, 16, 1), twice
    skip = Skip(block(16, 32, 2), block(32, 32), low, *up)
    enter, last = block(5, 16), block(16, 16, 1, p)
    return nn.Sequential(nn.BatchNorm2d(5), enter, skip, last, nn.Conv2d(16, 20, 1))


torch.manual_seed(0)
classes = duda.Categorical(ignore_index=0)
ensemble = duda.DeepEnsemble(small_range_net, classes, members=members)
connect = duda.MCDropConnect(small_range_net(p=0), classes, samples=draws)
for model in (ensemble, connect):
    duda.fit(model, train, epochs=epochs, batch_size=1, lr=0.005, seed=0)
dropout = duda.MCDropout(ensemble.members[0], classes, samples=draws)
models = {"plain": duda.Deterministic(dropout.network, classes), "MC-Dropout": dropout}
models |= {"MC-DropConnect": connect, "ensemble": ensemble}

# %%
# Pixels go back to all points, hidden ones too; points without a class do not count. AUROC is
# the chance that a wrong point has a higher entropy than a right one.

known, found = scan.labels > 0, {}
for name, model in models.items():
    answer = model.predict(test, seed=0)
    probs, entropy = (scan.view.to_points(each[0]) for each in (answer.probs, answer.entropy))
    table, guess = duda.evaluation.confusion(probs.T, scan.labels, ignore_index=0), probs.argmax(0)
    auroc = duda.evaluation.rank(entropy[known], (guess != scan.labels)[known]).auroc
    found[name] = {"guess": guess, "entropy": entropy, "table": table, "auroc": auroc}
    print(f"{name:14} accuracy {table.accuracy:.2f}, mIoU {table.mean_iou:.3f}, AUROC {auroc:.2f}")

# %%
# From above
# ----------
# The ensemble on the test scan, driving to the right. Entropy could go up to ln 20 = 3.0 nats. What
# it learned from has few walls and cars: look what it makes of them here, and where it is unsure.

guess, doubt = found["ensemble"]["guess"], found["ensemble"]["entropy"]
sure, unsure = ((guess != scan.labels)[known & part] for part in (doubt < 0.3, doubt > 1.2))
colorings = {
    "entropy": Coloring.steps(doubt, highest=3.0),
    "truth": Coloring(scan.labels, test.classes, test.colors),
    "prediction": Coloring(guess, test.classes, test.colors),
}
figure, axes = plt.subplots(3, figsize=(8, 7), layout="constrained", sharex=True)
for ax, (title, coloring) in zip(axes, colorings.items(), strict=True):
    from_above(scan.points, coloring, reach=(36, 13), ax=ax).set(title=title)
    ax.label_outer()
shares = f"{sure.double().mean():.0%} wrong below 0.3 nats, {unsure.double().mean():.0%} above 1.2"
title = axes[0].set_title(f"entropy: {shares}")

# %%
# To turn and zoom
# ----------------
# The same points, every sixth. The buttons change the colors; a click on a name hides its points.

TurnableCloud(scan.points[::6, :3], {name: each[::6] for name, each in colorings.items()})
