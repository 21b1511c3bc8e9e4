"""
What should be labelled next?
=============================

Pictures are cheap and labels are dear. Starting from two digits of each kind, a network says which
ten of a pool it would learn most from; these are labelled, and it is trained anew. Three ways to
choose: at random, by entropy (where is it unsure?), and by BALD, the epistemic part alone (where do
its draws contradict each other, so that a label would settle it?). Look at how many labels each
takes to the same accuracy. Source: Gal, Islam & Ghahramani 2017.
"""

import os

import matplotlib.pyplot as plt
import torch
from torch import nn

import duda
from duda.plots.pictures import pictures

quick = os.environ.get("DUDA_QUICK") == "1"
data = duda.datasets.load("mnist")
x, y = data.train
test = slice(200 if quick else 2000)
pool_size, most, steps = (200, 40, 20) if quick else (2000, 300, 250)
seeds = (0,) if quick else (0, 1)


def network():
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 5, stride=2), nn.ReLU()),
        *(nn.Conv2d(16, 32, 5, stride=2), nn.ReLU(), nn.Flatten(), nn.Dropout(0.25)),
        *(nn.Linear(512, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10)),
    )


def trained(chosen, seed):
    torch.manual_seed(seed)
    model = duda.MCDropout(network(), duda.Categorical(), samples=20)
    batch = min(32, len(chosen))
    epochs = max(1, steps * batch // len(chosen))
    duda.fit(model, (x[chosen], y[chosen]), epochs=epochs, batch_size=batch, seed=seed)
    return model


# %%
# The loop: train, measure, look at a part of the pool, have ten of it labelled. ``acquire`` picks
# by the draws of a prediction; the rest is bookkeeping.
def learn(by, seed):
    random = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(y), generator=random)
    chosen = torch.cat([order[y[order] == digit][:2] for digit in range(10)])
    accuracy = {}
    while True:
        model = trained(chosen, seed)
        answer = model.predict(data.test[0][test], samples=10, seed=seed)
        accuracy[len(chosen)] = float((answer.labels == data.test[1][test]).double().mean())
        if len(chosen) >= most:
            return accuracy, chosen
        order = torch.randperm(len(y), generator=random)
        pool = order[~torch.isin(order, chosen)][:pool_size]
        picked = torch.arange(10)
        if by != "random":
            picked = duda.decisions.acquire(model.predict(x[pool], seed=seed), 10, by=by, seed=seed)
        chosen = torch.cat([chosen, pool[picked]])


ways = ("random", "entropy", "bald")
runs = {by: [learn(by, seed) for seed in seeds] for by in ways}

# %%
# Accuracy over labels
# --------------------
# Lines are means over seeds, bands go from the worst seed to the best.
figure, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
labels = list(runs["random"][0][0])
means = {}
for by, style, colour in zip(ways, (":", "--", "-"), ("0.45", "#d95f02", "#1b6ca8"), strict=True):
    found = torch.tensor([list(accuracy.values()) for accuracy, _ in runs[by]])
    means[by] = found.mean(0)
    ax.fill_between(labels, found.amin(0), found.amax(0), color=colour, alpha=0.15, lw=0)
    ax.plot(labels, means[by], style, color=colour, lw=2, label={"bald": "BALD"}.get(by, by))
ax.set(xlabel="labels", ylabel="accuracy on test digits", xlim=(labels[0], labels[-1]))
ax.set_title(f"MNIST, ten labels at a time, {len(seeds)} seed{'s' * (len(seeds) > 1)}")
ax.yaxis.set_major_formatter("{x:.0%}")
ax.grid(alpha=0.3)
ax.legend(frameon=False, loc="lower right")

for goal in (0.8, 0.85, 0.9):
    reached = {by: [n for i, n in enumerate(labels) if means[by][i] >= goal] for by in ways}
    told = [f"{by} {n[0] if n else f'more than {labels[-1]}'}" for by, n in reached.items()]
    print(f"labels to {goal:.0%}: {', '.join(told)}")

# %%
# What it asked for
# -----------------
# The last twenty digits that BALD had labelled, and under them those that chance did, in the first
# seed.
for by in ("bald", "random"):
    asked = runs[by][0][1][-20:]
    title = {"bald": "asked for by BALD", "random": "drawn at random"}[by]
    pictures(x[asked], [str(int(label)) for label in y[asked]], columns=10, title=title)

# %%
# What this does not show: a network with few labels is a poor judge of what it does not know, so
# the first steps gain little, and choosing ten at once picks near-duplicates (``by="batch-bald"``
# looks at them together). With so few seeds, small differences between lines are chance.
