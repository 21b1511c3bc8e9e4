"""Two moons: who notices where there was no data?
==================================================

Two half circles of points reach into each other. A network that tells them apart can be unsure for
two reasons: the moons overlap (**aleatoric**, more data will not help), or nobody ever showed it a
point there (**epistemic**, more data will). Each map is one method of duda with the same MLP, the
same training and its own defaults: white is sure, black is not. Look at the corners: a model that
knows what it does not know is dark there. Sources: Depeweg et al. 2018 (the two parts), van
Amersfoort et al. 2020 (this picture).
"""

import os

import matplotlib.pyplot as plt
import torch
from torch import nn

import duda
from duda.plots.plane import plane

quick = os.environ.get("DUDA_QUICK") == "1"
data = duda.datasets.load("two-moons", seed=0)
x, y = data.train


def make_network():
    """Return a new MLP with two hidden layers and dropout."""
    first = (nn.Linear(2, 128), nn.ReLU(), nn.Dropout(0.2))
    second = (nn.Linear(128, 128), nn.ReLU(), nn.Dropout(0.2))
    return nn.Sequential(*first, *second, nn.Linear(128, 2))


# %%
# Every method is made from the function that makes a network, trained by ``fit`` and asked by
# ``predict``: about each point of a grid, about the test points, and about a ring around the moons.
side = 9 if quick else 81
across, up = torch.linspace(-4, 5, side), torch.linspace(-4.25, 4.75, side)
grid = torch.stack(torch.meshgrid(across, up, indexing="xy"), dim=-1)

maps, near, far = {}, {}, {}
for name, method in duda.METHODS.items():
    torch.manual_seed(0)
    model = method.from_factory(make_network, duda.Categorical())
    duda.fit(model, (x, y), epochs=3 if quick else 150, lr=3e-3, batch_size=64, seed=0)
    # All in one batch: some methods draw weights once for a batch, which would show as stripes.
    maps[name] = model.predict(grid.reshape(-1, 2), seed=0, batch_size=side * side)
    near[name] = model.predict(data.test[0], seed=0)
    far[name] = model.predict(data.ood, seed=0)


def draw(part):
    """Draw one part of the uncertainty for each method, white at 0 and black at ln 2."""
    figure, axes = plt.subplots(5, 3, figsize=(8, 13), layout="constrained")
    for ax, (name, answer) in zip(axes.flat, maps.items(), strict=False):
        values = getattr(answer, part).reshape(side, side)
        plane(grid, values, x[:100], y[:100], highest=0.693, title=name, ax=ax)
    for ax in axes.flat[len(maps) :]:
        ax.set_axis_off()
    scale = axes[0, 0].collections[0]
    figure.colorbar(scale, ax=axes[-1, 1:], label=f"{part}, nats", location="top", pad=-0.5)


# %%
# All of it: the entropy
# ----------------------
# The entropy of the mean prediction, from 0 to ln 2 = 0.69 nats, a coin toss. Dots are 100 of the
# 500 examples.
draw("entropy")

# %%
# Most methods draw a dark line where the classes meet, which goes on to the edge of the map. Beside
# it they are *more* sure the farther a point is from everything they saw: a ReLU network is linear
# far out, its logits grow along each ray, and softmax turns large logits into certainty (Hein et
# al. 2019). Averaging draws widens the line to a fan, and does not turn the other corners black.
#
# The noise: the aleatoric part
# -----------------------------
# The mean entropy of the single draws: how unsure each is by itself. Dark where the moons touch.
draw("aleatoric")

# %%
# The ignorance: the epistemic part
# ---------------------------------
# The mutual information of label and draw: how much the draws contradict each other. It is small
# among the data and opens away from it, in the same fan. Three maps are white because there is
# nothing to contradict: a plain network, DUQ and GradientConfidence have a single draw.
draw("epistemic")

# %%
# Two scores of another kind
# --------------------------
# DUQ measures how far a point is from the classes in feature space, and GradientConfidence how
# large the loss's gradient is. Each map has a scale of its own, black at its largest value.
figure, axes = plt.subplots(1, 2, figsize=(8, 4.5), layout="constrained")
for ax, name in zip(axes, ("duq", "gradient-confidence"), strict=True):
    plane(grid, maps[name].score.reshape(side, side), x[:100], y[:100], title=name, ax=ax)

# %%
# The same in numbers
# -------------------
# Means over test points (moons) and over the ring around them, and how well the method's own score
# tells the two apart: an AUROC of 1 is perfect, one below 0.5 finds the ring *more* familiar.
print(f"{'':22}{'entropy':>14}{'epistemic':>16}{'score':>11}")
print(f"{'':22}{'moons   ring':>16}{'moons   ring':>16}{'AUROC':>9}")
change = {}
for name, inside in near.items():
    outside = far[name]
    entropy = inside.entropy.mean(), outside.entropy.mean()
    epistemic = inside.epistemic.mean(), outside.epistemic.mean()
    auroc = duda.evaluation.ood(inside.score, outside.score).auroc
    change[name] = float(entropy[1] - entropy[0]), float(epistemic[1] - epistemic[0])
    means = "".join(f"{mean:8.4f}" for mean in (*entropy, *epistemic))
    print(f"{name:22}{means}{auroc:9.3f}")
many = len(change)
drawing = sum(float(answer.epistemic.max()) > 0 for answer in near.values())
print(
    f"\nFrom moons to ring the entropy falls for {sum(a < 0 for a, _ in change.values())} of {many}"
)
print(f"and mutual information rises for {sum(b > 0 for _, b in change.values())} of {drawing}.")
