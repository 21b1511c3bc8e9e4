"""
Noise and knowledge
===================

A prediction can be uncertain for two reasons. The world is noisy: that part is *aleatoric*, and
more data do not help. Or too little is known: that part is *epistemic*, and more data do help. Take
y = x³ + ε (Hernández-Lobato & Adams 2015) and ask of each part (Kendall & Gal 2017): does it move
when it should, and only then?
"""

# %%
# The network puts out a mean and a variance, which is the noise that it expects. Its last layer is
# Bayesian, by a Laplace approximation (Daxberger et al. 2021): its weights have a distribution, and
# each draw from it gives another mean and another variance. The mean of the variances is the
# aleatoric part, the variance of the means the epistemic part, and the two add up.
import os

import matplotlib.pyplot as plt
import torch
from torch import nn

import duda
from duda.datasets.cubic import cubic, heteroscedastic_cubic
from duda.plots.regression import bands

quick = os.environ.get("DUDA_QUICK") == "1"
few, many = 20, 200 if quick else 2000
same, growing = cubic(seed=0, size=many), heteroscedastic_cubic(seed=0, size=many)
scarce = cubic(seed=0, size=few)
x = same.curve.x
inside = x.abs().flatten() < 4  # where 2,000 training points lie


def network():
    hidden = [nn.Linear(1, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()]
    return nn.Sequential(*hidden, nn.Linear(64, 2))


def learn(split, epochs, make=network):
    """Train on the split, and predict over the inputs of its curve, in the units of y."""
    torch.manual_seed(0)
    model = duda.Laplace(make(), duda.Gaussian(), "full", approximation="closed-form")
    # The targets of a split have mean 0 and standard deviation 1 already.
    how = {"lr": 3e-3, "batch_size": 64, "seed": 0, "target_scale": None}
    duda.fit(model, split.train, epochs=epochs, **how)
    return model.predict(x).rescaled(factor=split.y_std, offset=split.y_mean)


# %%
# Each figure sets two cases side by side. Above, the mean with bands of 1, 2 and 3 standard
# deviations; below, the standard deviation in its two parts, beside that of the noise that was put
# in. The ground is grey where there were no data. The titles give the mean of each part over the
# range of the 2,000 points.
def compare(*cases):
    _, axes = plt.subplots(2, 2, figsize=(8, 6), sharex=True, sharey="row", layout="constrained")
    for (above, below), (title, split, answer, noise) in zip(axes.T, cases, strict=True):
        seen = split.train[0]
        train = (seen, split.y_mean + split.y_std * split.train[1])
        bands(x, answer.mean, answer.std, train=train, truth=split.curve.truth, ax=above)
        parts = {"aleatoric": answer.aleatoric.sqrt(), "epistemic": answer.epistemic.sqrt()}
        means = ", ".join(f"{name} {part[inside].mean():.2f}" for name, part in parts.items())
        above.set(title=f"{title}\n{means}", ylim=(-110, 110), xlabel="")
        for (name, part), colour in zip(parts.items(), ("#D55E00", "#0072B2"), strict=True):
            below.plot(x, part, color=colour, label=name)
        below.plot(x, noise, color="#222222", linestyle="--", linewidth=1, label="true noise")
        for start, end in ((x.min(), seen.min()), (seen.max(), x.max())):
            below.axvspan(float(start), float(end), color="#9A9A9A", alpha=0.15, linewidth=0)
        below.set(xlabel="x", ylabel="standard deviation", ylim=(0, 20))
        below.spines[["top", "right"]].set_visible(False)
        above.label_outer()
        below.label_outer()
    axes[0, 0].legend(fontsize="small", frameon=False, loc="lower right", ncols=2)
    axes[1, 0].legend(fontsize="small", frameon=False, loc="upper center")


# %%
# **Noise.** On the left it is the same everywhere (*homoscedastic*), on the right it grows with
# ``|x|`` (*heteroscedastic*). The aleatoric part should follow the dashed line, and where there are
# data it does. The epistemic part stays far below it in both: noise is not ignorance.
constant, rising = torch.full_like(x, 3.0), 0.5 + 2.5 * x.abs()
known, noisy = learn(same, epochs=60), learn(growing, epochs=60)
compare(("The same noise", same, known, constant), ("Growing noise", growing, noisy, rising))

# %%
# **Knowledge.** The same noise, 20 examples against 2,000. Few leave much open about the curve, and
# the epistemic part says so, most of all beyond the points. With many it nearly vanishes among the
# data, and still rises beyond them. The noise is the same in both, but 20 points tell it only
# roughly.
ignorant = learn(scarce, epochs=30)
compare(
    (f"{few} examples", scarce, ignorant, constant),
    (f"{many:,} examples", same, known, constant),
)

# %%
# **A model too simple for the data.** A straight line learned the same 2,000 examples. What it
# cannot bend to, it calls noise: its aleatoric part is far above the truth. And so many examples
# fix the two numbers of a line well, so that its epistemic part stays low even where the line is
# far off. Epistemic uncertainty is about the weights *of this model*. It does **not** show that the
# model is wrong.
simple = learn(same, epochs=60, make=lambda: nn.Linear(1, 2))
compare(("Two hidden layers", same, known, constant), ("Straight line", same, simple, constant))
