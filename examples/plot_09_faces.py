"""Faces with many answers
=======================

Ten people named the emotion of each face of FER+ (Barsoum et al. 2016), and often disagree. Do more
draws or networks come closer to them, and which measure of calibration makes sense when several
answers are right? After Baan et al. 2022, "Stop Measuring Calibration When Humans Disagree".
"""

import os

import matplotlib.pyplot as plt
import torch
from torch import nn

import duda
from duda import evaluation as ev
from duda.plots.canvas import BAD, GOOD, INK

quick = os.environ.get("DUDA_QUICK") == "1"
sizes, epochs, limit = ((1, 2, 3), 1, 150) if quick else ((1, 5, 10, 15), 8, None)
faces = duda.datasets.gallery.ferplus(limit)
mean, std = faces.train.pictures.mean(), faces.train.pictures.std()
x_train, x = ((part.pictures - mean) / std for part in (faces.train, faces.test))
votes, shares, majority = faces.test.votes, faces.test.shares, faces.test.votes.argmax(1)
print(f"{len(x):,} test faces; the favourite emotion has {shares.amax(1).mean():.0%} of the votes")

# %%
# Three ways to doubt
# -------------------
# Shares of votes go into ``fit`` as they are. The ensemble's members train with dropout and predict
# without; MC-Dropout is the first of them with dropout left on. MC-DropConnect drops weights.


def network(dropout=1.0):
    """Return a small network for faces of 48 x 48 pixels and 8 emotions."""
    first = [nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU()]
    middle = [nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Dropout(0.1 * dropout)]
    head = [nn.Linear(64 * 36, 128), nn.ReLU(), nn.Dropout(0.3 * dropout), nn.Linear(128, 8)]
    return nn.Sequential(*first, *middle, *head)


torch.manual_seed(0)
ensemble = duda.DeepEnsemble(network, duda.Categorical(), members=sizes[-1])
connect = duda.MCDropConnect(network(dropout=0), duda.Categorical(), samples=sizes[-1])
for model in (ensemble, connect):
    duda.fit(model, (x_train, faces.train.shares), epochs=epochs, batch_size=64, seed=0)
dropout = duda.MCDropout(ensemble.members[0], duda.Categorical(), samples=sizes[-1])
models = {"MC-Dropout": dropout, "MC-DropConnect": connect, "ensemble": ensemble}
answers = {name: model.predict(x, seed=0, keep_draws=True) for name, model in models.items()}

# %%
# More draws, more members
# ------------------------
# The distance to the votes is the share of them that would have to change. Points are means over
# separate groups; an ensemble of one is a plain network. More draws bring NLL and distance down,
# and still the ECE by the majority rises, for averages claim less.


def measures(log_probs):
    """Return what the metrics say of log-probabilities, in the order of the panels."""
    apart = ev.vote_distance(logits=log_probs, votes=votes)
    return {
        "NLL, nats": ev.nll(logits=log_probs, y=shares),
        "distance to votes": float(apart.total_variation.mean()),
        "ECE by majority": ev.reliability(logits=log_probs, y=majority).ece,
        "ECE by votes": ev.reliability(logits=log_probs, y=shares).ece,
        "by chance": float(apart.by_chance.mean()),
    }


def mean_measures(draws, size):
    """Return the mean over groups of `size` draws."""
    groups = draws.log()[: len(draws) // size * size].split(size)
    found = [measures(duda.Categorical().reduce(group).log_probs) for group in groups]
    return {name: sum(each[name] for each in found) / len(found) for name in found[0]}


curves = {name: [mean_measures(a.draws, size) for size in sizes] for name, a in answers.items()}
figure, axes = plt.subplots(2, 2, figsize=(8, 6), sharex=True, layout="constrained")
for ax, measure in zip(axes.flat, curves["ensemble"][0], strict=False):
    for (name, found), colour, line in zip(curves.items(), (BAD, INK, GOOD), "-:-", strict=True):
        ax.plot(sizes, [each[measure] for each in found], f"o{line}", color=colour, label=name)
    ax.set(title=measure, xticks=sizes)
axes[1, 1].legend(loc="upper right")
tallest = max(ax.get_ylim()[1] for ax in axes[1])
_ = plt.setp(axes[1], ylim=(0, tallest), xlabel="draws of one network, or members")

# %%
# What would the best model score?
# --------------------------------
# It would say what people say. So let the votes be a prediction, and for contrast one that never
# looks: the same shares for all faces. The ECE by the majority prefers that one: people's favourite
# is always "right", and they do not claim to be sure. The ECE by votes forgives both. Only face by
# face, by distance or NLL, is one told from the other. The last column is how far as many votes
# would be, by chance, from a model that is right about people at large.
rows = {"people": measures(shares.log())}
rows["same for all"] = measures(faces.train.shares.mean(0).log().expand(len(x), 8))
rows |= {"plain": curves["ensemble"][0]} | {name: found[-1] for name, found in curves.items()}
print(" " * 14, *(f"{name:>17}" for name in rows["people"]))
for name, found in rows.items():
    print(f"{name:14}", *(f"{value:17.3f}" for value in found.values()))
answer = answers["ensemble"]
figure, axes = plt.subplots(1, 2, figsize=(8, 4.5), layout="constrained")
titles = ("By the majority: seems too modest", "By the votes: about right")
for ax, y, title in zip(axes, (majority, shares), titles, strict=True):
    ev.reliability(logits=answer.log_probs, y=y).plot(ax).set_title(title)

# %%
# The five most uncertain faces, by the entropy of the ensemble
# -------------------------------------------------------------
figure, axes = plt.subplots(2, 5, figsize=(8, 4), layout="constrained", sharey="row")
for (face, bars), i in zip(axes.T, answer.score.topk(5).indices.tolist(), strict=True):
    face.imshow(faces.test.pictures[i, 0].numpy(), cmap="gray", vmin=0, vmax=1)
    face.set(title=f"{answer.entropy[i]:.2f} nats", xticks=[], yticks=[])
    heard, said = shares[i].tolist(), answer.probs[i].tolist()
    bars.barh(range(8), heard, height=-0.4, align="edge", color=BAD, label="share of votes")
    bars.barh(range(8), said, height=0.4, align="edge", color=GOOD, label="probability")
    bars.set(yticks=range(8), yticklabels=faces.classes, ylim=(7.6, -0.6), xlim=(0, 1))
_ = figure.legend(*bars.get_legend_handles_labels(), loc="outside lower center", ncols=2)
