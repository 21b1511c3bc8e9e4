"""
Wrong labels, found again
=========================

One label in twenty of these digits is wrong: a person was tired, a form was misread. Nobody has
time to look at all of them; who should look at which? While a network trains, it learns what most
examples have in common first, and the wrong labels last, if at all. That history is a list of
suspects. Look at how many of the first *k* on the list are really wrong. Sources: Arriaga &
Valdenegro-Toro 2020 (action score), Pleiss et al. 2020 (AUM), Northcutt et al. 2021 (confidence of
a network that has not seen the label).
"""

import os

import matplotlib.pyplot as plt
import torch
from torch import nn

import duda
from duda.plots.pictures import pictures

quick = os.environ.get("DUDA_QUICK") == "1"
examples, epochs = (400, 3) if quick else (6000, 12)
random = torch.Generator().manual_seed(0)
x, truth = (part[:examples] for part in duda.datasets.load("mnist").train)

# %%
# Five in a hundred labels are replaced by another one, drawn at random. From here on the network
# sees ``y`` only.
wrong = torch.rand(examples, generator=random) < 0.05
shift = torch.randint(1, 10, (examples,), generator=random)
y = torch.where(wrong, (truth + shift) % 10, truth)


def network():
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 5, stride=2), nn.ReLU()),
        *(nn.Conv2d(16, 32, 5, stride=2), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10)),
    )


def trained(rows, callbacks=()):
    torch.manual_seed(0)
    model = duda.Deterministic(network(), duda.Categorical())
    settings = {"epochs": epochs, "batch_size": 64, "seed": 0, "callbacks": callbacks}
    duda.fit(model, (x[rows], y[rows]), **settings)
    return model


# %%
# A recorder watches each example from epoch to epoch. It costs one more look at the data after
# each.
dynamics = duda.TrainingDynamics(examples)
model = trained(slice(None), [dynamics])

# %%
# Confidence needs some care. A network that was trained long enough knows the wrong labels by heart
# and is confident of them; so the honest way asks a network that has not seen them: two halves,
# each judged by a network trained on the other.
halves = slice(None, examples // 2), slice(examples // 2, None)
unseen = [trained(halves[1]).predict(x[halves[0]]), trained(halves[0]).predict(x[halves[1]])]
judged = duda.difficulty.label_errors(torch.cat([answer.probs for answer in unseen]), y)
seen = duda.difficulty.label_errors(model.predict(x).probs, y)

suspicion = {
    "area under the margin (AUM)": -dynamics.aum,
    "action score": dynamics.action_scores["loss"],
    "confidence, label not seen": -judged.self_confidence,
    "confidence, label seen": -seen.self_confidence,
}

# %%
# Who is right about the first k?
# -------------------------------
# Precision at k is the share of really wrong labels among the k most suspicious. Whoever looks at
# as many examples as there are wrong labels finds them all with a perfect list, and one in twenty
# with a random one.
count = int(wrong.sum())
looks, precision, auroc = torch.arange(1, 2 * count + 1), {}, {}
for name, score in suspicion.items():
    order = score.argsort(descending=True, stable=True)
    precision[name] = wrong[order].cumsum(0)[: 2 * count] / looks
    auroc[name] = duda.evaluation.rank(score, wrong).auroc

figure, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
for (name, values), style in zip(precision.items(), ("-", "--", "-.", ":"), strict=True):
    ax.plot(looks, values, style, lw=2, label=name)
ax.plot(looks, (count / looks).clamp(max=1), color="0.7", lw=1, label="a perfect list")
ax.axhline(count / examples, color="0.7", lw=1)
ax.text(2 * count, count / examples + 0.01, "a random list", ha="right", color="0.4")
ax.axvline(count, color="0.7", lw=1, ls=":")
ax.set(xlabel="k, examples looked at", ylabel="precision at k", ylim=(0, 1.03), xlim=(0, 2 * count))
ax.set_title(f"{count} of {examples:,} labels are wrong (dotted line)")
ax.legend(loc="lower left", frameon=False)

for name, values in precision.items():
    print(f"{name:28} precision at {count}: {values[count - 1]:.3f}   AUROC {auroc[name]:.3f}")

# %%
# The honest way has a price: each network has seen half of the digits. Here, where the one that saw
# all of them has not yet learned the wrong labels by heart, it gains nothing.
#
# The list, by AUM
# ----------------
# The sixteen most suspicious digits with the label that they came with. In full mode all are wrong.
# A cross marks an error of the list: there look at the digit, which may be one that people
# would not agree on; some labels of MNIST itself are doubtful.
first = suspicion["area under the margin (AUM)"].argsort(descending=True, stable=True)[:16]
captions = [f"“{y[i]}”" if wrong[i] else f"“{y[i]}” ×" for i in first]
pictures(x[first], captions, columns=8)
print(f"wrong among the first 16: {int(wrong[first].sum())}")

# %%
# What this does not show: the labels here are wrong at random. People err in patterns (a 4 for a
# 9), and then a network learns the pattern, too; expect less.
