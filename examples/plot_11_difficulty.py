"""Hard pictures
=============

Which pictures does a network find hard, and do people find the same ones hard? A picture's *action
score* is its loss, added up over all epochs of training (Arriaga & Valdenegro-Toro 2020). Look at
how it fits the votes of some 50 people on each picture (CIFAR-10H, Peterson et al. 2019), and the
doubt of an ensemble that never saw these pictures.
"""

import os

import matplotlib.pyplot as plt
import torch
from scipy.stats import bootstrap, spearmanr
from torch import nn

import duda
from duda.plots.canvas import BAD, GOOD, INK
from duda.plots.pictures import pictures

quick = os.environ.get("DUDA_QUICK") == "1"
count, others, epochs, members = (200, 200, 2, 2) if quick else (5_000, 10_000, 15, 3)
cifar = duda.datasets.cifar_10(batches=(1,))
shown, y = (part[:count] for part in cifar.test)
mean, std = shown.mean((0, 2, 3), keepdim=True), shown.std((0, 2, 3), keepdim=True)
x = (shown - mean) / std
shares = nn.functional.normalize(duda.datasets.cifar_10h()[:count].float(), p=1)  # of votes
people = torch.special.entr(shares).sum(1)  # the entropy of votes, in nats: 0 where all agree
print(f"about {(people == 0).float().mean():.0%} of the pictures everybody agrees")

# %%
# Watch a network learn
# ---------------------
# People voted on CIFAR-10's *test* pictures. So we let a network learn these, half of them. The
# recorder adds up the loss of each after each epoch; this one also keeps the sums so far.
so_far = []


class Recorder(duda.TrainingDynamics):
    def on_epoch_end(self, state):
        super().on_epoch_end(state)
        so_far.append(self.action)


def block(width, out):
    return [nn.Conv2d(width, out, 3, 1, 1), nn.BatchNorm2d(out), nn.ReLU(), nn.MaxPool2d(2)]


def network():
    blocks = [*block(3, 16), *block(16, 32), *block(32, 64)]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(1024, 10))


torch.manual_seed(0)
recorder = Recorder(count)
learner = duda.Deterministic(network(), duda.Categorical())
duda.fit(learner, (x, y), epochs=epochs, batch_size=64, seed=0, callbacks=[recorder])
hardest, easiest = recorder.hardest(10), recorder.action.argsort()[:10]
for which, title in (
    (hardest, "Hardest for the network: the highest action scores"),
    (easiest, "Easiest for the network: the lowest"),
    (people.argsort(descending=True)[:10], "Hardest for people: the votes of highest entropy"),
):
    agreed = [f"{cifar.classes[y[i]]}\n{shares[i, y[i]]:.0%} agree" for i in which]
    pictures(shown[which], agreed, title=title)

# %%
# An ensemble that never saw them
# -------------------------------
# Its members learn 10,000 other pictures. Its entropy needs no label; the action score does.
ensemble = duda.DeepEnsemble(network, duda.Categorical(), members=members)
rest = (cifar.train[0][:others] - mean) / std, cifar.train[1][:others]
duda.fit(ensemble, rest, epochs=1 if quick else 8, batch_size=64, seed=1)
answer = ensemble.predict(x)
print(f"the ensemble names {duda.evaluation.accuracy(answer.probs, y):.0%} of them rightly")

# %%
# Do they agree?
# --------------
# Spearman's ρ compares two orders: 1 for the same one, 0 for nothing in common. Intervals are over
# pictures, not over trainings. The two models, alike in kind, agree best. The network's hardest
# pictures are mostly unusual, a blue frog, a black airplane; people's are blurred, dark or cut off.


def rho(one, other):
    """Return Spearman's correlation, and the ends of its interval."""
    draws = {"n_resamples": 49 if quick else 999, "method": "percentile", "rng": 0}
    found = bootstrap((one, other), lambda a, b: spearmanr(a, b).statistic, paired=True, **draws)
    return spearmanr(one, other).statistic, *found.confidence_interval


scores = {"action score": recorder.action, "area under the margin": -recorder.aum}
scores |= {"error in the last epoch": recorder.el2n, "ensemble's entropy": answer.entropy}
with_people = {name: rho(score, people) for name, score in scores.items()}
with_ensemble = rho(recorder.action, answer.entropy)
over_time = [rho(score, people) for score in so_far]
for name, (middle, low, high) in with_people.items():
    print(f"{name:23} and people: ρ = {middle:.2f}, from {low:.2f} to {high:.2f}")
figure, axes = plt.subplots(2, 2, figsize=(8, 6.5), layout="constrained")
steps, sums = range(1, epochs + 1), torch.stack(so_far)
for which, colour, name in ((hardest, BAD, "ten hardest"), (easiest, GOOD, "ten easiest")):
    axes[0, 0].plot(steps, sums[:, which], color=colour, label=[name, *9 * [None]])
axes[0, 0].plot(steps, sums.median(1).values, ":", color=INK, label="median")
axes[0, 0].set(title="The hardest are learnt last", ylabel="action score so far, nats")
axes[0, 0].legend(frameon=False)
middle, low, high = zip(*over_time, strict=True)
axes[0, 1].plot(steps, middle, color=INK)
axes[0, 1].fill_between(steps, low, high, color=INK, alpha=0.2, linewidth=0)
axes[0, 1].set(title="Agreement with people", ylabel="ρ with the entropy of votes")
plt.setp(axes[0], xlabel="epoch", xticks=range(1, epochs + 1, 2))
tenths = recorder.action.argsort().chunk(10)
compared = (
    (people, BAD, "people's votes", with_people["action score"]),
    (answer.entropy, GOOD, "ensemble", with_ensemble),
)
for ax, (values, colour, name, found) in zip(axes[1], compared, strict=True):
    ax.bar(range(1, 11), [float(values[tenth].mean()) for tenth in tenths], color=colour)
    ax.set(title=f"ρ = {found[0]:.2f} [{found[1]:.2f}, {found[2]:.2f}]", xticks=range(1, 11))
    ax.set(xlabel="tenth by action score, hardest last", ylabel=f"mean entropy, {name}, nats")
