"""
Selective DropConnect: which layers need to doubt?
==================================================

MC-DropConnect zeroes weights at random, with probability p, also when the network predicts. If the
first λ layers keep theirs, they run once for all draws, and what remains to be paid is the end of
the network. How much of the uncertainty is left when only the last layers doubt? Look for the
cheapest λ whose lines are still high. Sources: Mobiny et al. 2021 (MC-DropConnect); Kamath et al.
2020, "Know where to drop your weights" (selective).
"""

import os
import time

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import duda

quick = os.environ.get("DUDA_QUICK") == "1"
train, test, epochs, draws = (200, 40, 1, 4) if quick else (4000, 1000, 5, 20)
chances, seeds = (0.05, 0.3), range(1 if quick else 4)
layers = (0, 4) if quick else (0, 2, 3, 4, 5)

data = duda.datasets.load("mnist")
x, y = (part[:train] for part in data.train)
x_test, y_test = (part[:test] for part in data.test)
ood = data.ood[:test]  # of Fashion-MNIST


# %%
# Four convolutions and two dense layers: λ = 0 masks all six, λ = 5 only the last.
def network():
    modules = []
    for inputs, outputs, stride in ((1, 16, 2), (16, 32, 1), (32, 32, 2), (32, 32, 1)):
        modules += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.ReLU()]
    return nn.Sequential(*modules, nn.Flatten(), nn.Linear(1568, 64), nn.ReLU(), nn.Linear(64, 10))


# %%
# Each pair of p and λ is trained as it is asked: with the same masks on the same layers. Then two
# questions: how many digits are right, and is a piece of clothing less certain than a digit, by the
# entropy? AUROC is how often it is, in pairs of one each. All of it once for each seed.
asked, accuracy, auroc = {}, {}, {}
for p in chances:
    for plain in layers:
        right, told = [], []
        for seed in seeds:
            torch.manual_seed(seed)
            model = duda.MCDropConnect(network(), duda.Categorical(), p, plain, samples=draws)
            duda.fit(model, (x, y), epochs=epochs, batch_size=64, seed=seed)
            known, other = (model.predict(pictures, seed=seed) for pictures in (x_test, ood))
            right.append(duda.evaluation.accuracy(known.probs, y_test))
            told.append(duda.evaluation.ood(known.score, other.score).auroc)
        accuracy[p, plain], auroc[p, plain] = torch.tensor(right), torch.tensor(told)
        asked[plain] = model


# %%
# The price is counted in floating-point operations, and measured in seconds, each as a share of
# that with all layers masked. Ways are timed in turn, five times, and the median ratio counts.
def operations(model):
    with FlopCounterMode(display=False) as counter:
        model.predict(x_test[:64], seed=0)
    return counter.get_total_flops()


def seconds(model):
    start = time.perf_counter()
    model.predict(x_test[:64], seed=0)
    return time.perf_counter() - start


counted = {plain: operations(model) / operations(asked[0]) for plain, model in asked.items()}
timed = {}
for plain, model in asked.items():
    ratios = [seconds(model) / seconds(asked[0]) for _ in range(1 if quick else 5)]
    timed[plain] = float(torch.tensor(ratios).median())

# %%
# Lines are means over seeds, bands go from the worst seed to the best.
figure, axes = plt.subplots(1, 3, figsize=(8, 3.2), layout="constrained")
for p, style, colour in zip(chances, ("-o", "--s"), ("#0072B2", "#D55E00"), strict=True):
    for ax, values in zip(axes, (accuracy, auroc), strict=False):
        runs = torch.stack([values[p, plain] for plain in layers])
        ends = runs.amin(1), runs.amax(1)
        ax.fill_between(layers, *(end.numpy() for end in ends), color=colour, alpha=0.15, lw=0)
        ax.plot(layers, runs.mean(1), style, color=colour, ms=4, label=f"p = {p}")
axes[0].set_title("accuracy on digits", size=10)
axes[1].set_title("AUROC, clothes against digits", size=10)
axes[0].legend(frameon=False, fontsize=8)
axes[2].plot(layers, list(timed.values()), "k-o", ms=4, label="seconds")
axes[2].plot(layers, list(counted.values()), "--", color="0.5", label="operations")
axes[2].set_title("cost, of all masked", size=10)
axes[2].set_ylim(0, None)
axes[2].legend(frameon=False, fontsize=8)
figure.supxlabel("λ, layers that keep their weights", size=10)

print("  p    λ   accuracy  AUROC   operations  seconds")
for (p, plain), right in accuracy.items():
    cost = f"{counted[plain]:10.2f}  {timed[plain]:7.2f}"
    print(f"{p:.2f}   {plain}   {right.mean():7.1%}   {auroc[p, plain].mean():.3f} {cost}")

# %%
# What this does not show: few seeds and one small network. Where the bands overlap, lines may
# differ by chance; the fall of the cost does not.
