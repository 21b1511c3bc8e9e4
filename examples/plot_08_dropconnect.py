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
chances = (0.05, 0.3) if quick else (0.05, 0.15, 0.3)
layers = (0, 4) if quick else (0, 1, 2, 3, 4, 5)

data = duda.datasets.load("mnist")
x, y = (part[:train] for part in data.train)
x_test, y_test = (part[:test] for part in data.test)
foreign = data.ood[:test]  # of Fashion-MNIST


# %%
# Four convolutions and two dense layers: λ = 0 masks all six, λ = 5 only the last.
def network():
    modules = []
    for inputs, outputs, stride in ((1, 16, 2), (16, 32, 1), (32, 32, 2), (32, 32, 1)):
        modules += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.ReLU()]
    return nn.Sequential(*modules, nn.Flatten(), nn.Linear(1568, 64), nn.ReLU(), nn.Linear(64, 10))


# %%
# Each pair of p and λ is trained as it is asked: with the same masks on the same layers.
models = {}
for p in chances:
    for plain in layers:
        torch.manual_seed(0)
        model = duda.MCDropConnect(network(), duda.Categorical(), p, plain, samples=draws)
        duda.fit(model, (x, y), epochs=epochs, batch_size=64, seed=0)
        models[p, plain] = model

# %%
# Accuracy, and telling clothes from digits by the entropy. AUROC is the chance that a piece of
# clothing is less certain than a digit.
accuracy, auroc = {}, {}
for pair, model in models.items():
    known, other = model.predict(x_test, seed=0), model.predict(foreign, seed=0)
    accuracy[pair] = duda.evaluation.accuracy(known.probs, y_test)
    auroc[pair] = duda.evaluation.ood(known.score, other.score).auroc


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


asked = {plain: models[chances[0], plain] for plain in layers}
counted = {plain: operations(model) / operations(asked[0]) for plain, model in asked.items()}
timed = {}
for plain, model in asked.items():
    ratios = [seconds(model) / seconds(asked[0]) for _ in range(1 if quick else 5)]
    timed[plain] = float(torch.tensor(ratios).median())

# %%
figure, axes = plt.subplots(1, 3, figsize=(8, 3.2), layout="constrained")
for p, style in zip(chances, ("C0-o", "C1--s", "C2:^"), strict=False):
    for ax, values in zip(axes, (accuracy, auroc), strict=False):
        ax.plot(layers, [values[p, plain] for plain in layers], style, ms=4, label=f"p = {p}")
axes[0].set_title("accuracy on digits")
axes[1].set_title("AUROC, clothes against digits")
axes[0].legend(frameon=False, fontsize=8)
axes[2].plot(layers, list(timed.values()), "k-o", ms=4, label="seconds")
axes[2].plot(layers, list(counted.values()), "--", color="0.5", label="operations")
axes[2].set(title="cost, of all masked", ylim=(0, None))
axes[2].legend(frameon=False, fontsize=8)
for ax in axes:
    ax.set(xlabel="λ, layers that keep their weights", xticks=layers)
    ax.title.set_size(10)

print("  p    λ   accuracy  AUROC   operations  seconds")
for (p, plain), right in accuracy.items():
    cost = f"{counted[plain]:10.2f}  {timed[plain]:7.2f}"
    print(f"{p:.2f}   {plain}   {right:7.1%}   {auroc[p, plain]:.3f} {cost}")

# %%
# What this does not show: one network and one seed. Differences of a point of accuracy between
# lines may be chance; the fall of the cost is not.
