"""
A sine wave, and what lies beyond it
====================================

A network sees a sine wave on [-8, 8] and is then asked about [-16, 16]. Where it has seen data it
can be right; beyond them nothing tells it how the wave goes on, and an honest method says so: its
bands open. Look at the grey ground, where no method has seen a point. Sources: Nix & Weigend 1994
(two heads), Lakshminarayanan et al. 2017 (the ensemble), Mobiny et al. 2021 (DropConnect).
"""

# %%
# 500 points of y = 2 sin(0.75 x) with a noise of standard deviation 0.1. The network has two heads:
# a mean and, by the Gaussian likelihood, a variance of its own for each input.
import os

import matplotlib.pyplot as plt
import torch
from torch import nn

import duda
from duda.plots.regression import bands

quick = os.environ.get("DUDA_QUICK") == "1"
split = duda.datasets.load("sinusoid", seed=0)
x, truth = split.curve.x, split.curve.truth
train = (split.train[0], split.y_mean + split.y_std * split.train[1])
y_test = split.y_mean + split.y_std * split.test[1]


def network(dropout=0.0, hidden=128):
    drop = [nn.Dropout(dropout)] if dropout else []
    first, second = nn.Linear(1, hidden), nn.Linear(hidden, hidden)
    return nn.Sequential(first, nn.ReLU(), *drop, second, nn.ReLU(), *drop, nn.Linear(hidden, 2))


# %%
# Each method is one line around that network. A method says what is random: nothing, masks,
# members, weights, paths; the likelihood says what the two outputs mean. Variational inference is
# random in the last layer alone here: 500 points are too few for a distribution over all 17,000
# weights, and leave it near its prior.
torch.manual_seed(0)
gaussian = duda.Gaussian()
models = {
    "MC-DropConnect": duda.MCDropConnect(network(), gaussian, p=0.05),
    "Deep ensemble": duda.DeepEnsemble(network, gaussian, members=5),
    "Deterministic": duda.Deterministic(network(), gaussian),
    "MC-Dropout": duda.MCDropout(network(dropout=0.05), gaussian, samples=200),
    "Sub-ensemble": duda.SubEnsemble(network, gaussian, members=5),
    "BatchEnsemble": duda.BatchEnsemble(network(), gaussian, members=5),
    "Variational": duda.Variational(network(), gaussian, layers=["4"]),
    "Laplace": duda.Laplace(network(), gaussian, approximation="closed-form"),
    "SWAG": duda.SWAG(network(), gaussian),
    "SDE-Net": duda.SDENet(network(), gaussian),
    "Test-time noise": duda.TestTimeAugmentation(network(), gaussian),
}
for model in models.values():
    duda.fit(model, split.train, epochs=5 if quick else 200, lr=3e-3, batch_size=32, seed=0)


# %%
# They were trained on standardised targets; ``rescaled`` brings the answers back to the wave's own
# units.
def ask(model, inputs):
    return model.predict(inputs, seed=0).rescaled(factor=split.y_std, offset=split.y_mean)


shown = {name: ask(model, x) for name, model in models.items()}
_, axes = plt.subplots(2, 1, figsize=(6.4, 6.4), sharex=True, sharey=True, layout="constrained")
for ax, name in zip(axes, ("MC-DropConnect", "Deep ensemble"), strict=True):
    bands(x, shown[name].mean, shown[name].std, train=train, truth=truth, ax=ax)
    ax.set(title=name, ylim=(-6, 6), xlabel="")
axes[1].set(xlabel="input; grey: never seen in training")
_ = axes[0].legend(ncols=3, fontsize="small", frameon=False, loc="upper center")

# %%
# By how much do the bands open? The ensemble's least standard deviation at ``|x| = 14`` is to be at
# least three times its greatest at ``|x| = 4``.
near = ask(models["Deep ensemble"], torch.tensor([[-4.0], [4.0]])).std
far = ask(models["Deep ensemble"], torch.tensor([[-14.0], [14.0]])).std
ratio = float(far.min() / near.max())
print(f"at most {near.max():.2f} at |x| = 4, at least {far.min():.2f} at |x| = 14: x {ratio:.1f}")
assert quick or ratio >= 3

# %%
# All methods, measured on new points of [-8, 8]. The **interval score** of the 95 % interval is its
# width plus a fine for each point that it misses, so less is better; for the true wave and noise it
# is 0.47. The **calibration error** is how far the share of points inside is from the share
# promised, on average over intervals of 5 % to 95 %.
scores, errors, held = {}, {}, {}
beyond = x.abs().flatten() > 8
for name, model in models.items():
    answer = ask(model, split.test[0])
    scores[name] = duda.evaluation.interval_score(*answer.interval(0.95), y_test, level=0.95)
    errors[name] = duda.evaluation.coverage(answer, y_test).mean_error
    low, high = shown[name][beyond].interval(0.95)
    held[name] = duda.evaluation.interval_coverage(low, high, truth[beyond])

figure, axes = plt.subplots(4, 3, figsize=(8, 10), sharex=True, sharey=True, layout="constrained")
for ax, name in zip(axes.flat, models, strict=False):
    bands(x, shown[name].mean, shown[name].std, train=train, truth=truth, ax=ax)
    ax.set_title(f"{name}\nscore {scores[name]:.2f}, calib. {errors[name]:.3f}", fontsize=10)
    ax.set(ylim=(-6, 6), xlabel="", ylabel="", xticks=[-8, 0, 8])
axes[-1, -1].axis("off")
_ = axes[-1, -1].legend(*axes[0, 0].get_legend_handles_labels(), loc="center", frameon=False)

# %%
# What the titles do **not** tell: they judge only where data were. How much of the true wave beyond
# them lies inside the 95 % interval stands here. No method can know how the wave goes on; it can
# only know that it does not know. Even the deterministic network's bands may open there, but by
# chance: nothing has taught its variance head what to say.
for name in sorted(held, key=held.get, reverse=True):
    print(f"{name:16} holds {held[name]:4.0%} of the wave beyond the data")
