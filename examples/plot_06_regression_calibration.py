"""
Do intervals hold what they promise?
====================================

A 90 % interval should hold nine of ten targets, and one of any other level its own share. Draw the
share inside over the share promised, 1 - α: a model that can be trusted lies on the diagonal, one
that is too sure below it. Five ways to get intervals for the strength of concrete are drawn so, and
then mended with samples that no network was trained on (Kuleshov et al. 2018; Laves et al. 2020;
Romano et al. 2019).
"""

# %%
# 1,030 samples of real concrete: what was mixed, its age, and the pressure in MPa that broke it
# (UCI; Yeh 1998). 430 train the networks, 300 are *held out* to mend them, and 300 test both.
import os

import matplotlib.pyplot as plt
import torch
from torch import nn

import duda
from duda.evaluation import Coverage, coverage, interval_coverage
from duda.plots.regression import coverage_curves

quick = os.environ.get("DUDA_QUICK") == "1"
split = duda.datasets.load("uci:concrete", seed=0)
x, y = (torch.cat([split.train[part], split.test[part]]) for part in (0, 1))
train, held_out, test = slice(430), slice(430, 730), slice(730, None)
strength = split.y_mean + split.y_std * y
levels = [tenths / 10 for tenths in range(1, 10)]
ends = [twentieths / 20 for twentieths in range(1, 20)]


def network(outputs=2, dropout=0.0):
    drop = [nn.Dropout(dropout)] if dropout else []
    first, second = nn.Linear(x.shape[1], 64), nn.Linear(64, 64)
    return nn.Sequential(first, nn.ReLU(), *drop, second, nn.ReLU(), *drop, nn.Linear(64, outputs))


# %%
# Four models predict a mean and a variance. The fifth predicts the ends of the intervals: it learns
# quantiles, by the pinball loss.
torch.manual_seed(0)
gaussian = duda.Gaussian()
models = {
    "Deterministic": duda.Deterministic(network(), gaussian),
    "MC-Dropout": duda.MCDropout(network(dropout=0.1), gaussian),
    "MC-DropConnect": duda.MCDropConnect(network(), gaussian, p=0.1),
    "Deep ensemble": duda.DeepEnsemble(network, gaussian, members=5),
    "Quantile network": duda.Deterministic(network(len(ends)), duda.Quantiles(ends)),
}
seen, new = {}, {}
for name, model in models.items():
    data, epochs = (x[train], y[train]), 8 if quick else 200
    duda.fit(model, data, epochs=epochs, lr=3e-3, batch_size=32, seed=0)
    answer = model.predict(x, seed=0).rescaled(factor=split.y_std, offset=split.y_mean)
    seen[name], new[name] = answer[held_out], answer[test]

# %%
# **Before.** In the grey band lies a calibrated model, but for the chance of 300 test samples. The
# error is the mean distance from the diagonal.
before = {name: coverage(answer, strength[test], levels) for name, answer in new.items()}
chance = before["Deterministic"]  # the band depends on the number of samples alone
band = (chance.levels, *chance.null_band())
_, ax = plt.subplots(figsize=(6, 6), layout="constrained")
curves = {f"{name}, error {found.mean_error:.3f}": found.observed for name, found in before.items()}
coverage_curves(band[0], curves, *band[1:], ax=ax)
ax.set(title="As trained: below the diagonal is too sure", xlabel="share promised, 1 - α")
_ = ax.legend(frameon=False)


# %%
# **After.** The held-out samples tell how to mend. ``StdScale`` multiplies every standard deviation
# by one number. ``QuantileRecalibration`` moves each level to the one that held the right share.
# The quantile network has no standard deviation: its intervals are widened, level by level, until
# they held enough of the held-out samples (conformal prediction).
def widened(seen, new):
    inside = []
    for level in levels:
        conformal = duda.decisions.ConformalRegressor(alpha=1 - level, score="cqr")
        found = conformal.fit(seen, strength[held_out])(new)
        inside.append(interval_coverage(found.lower, found.upper, strength[test]) * len(new))
    return Coverage(chance.levels, torch.tensor(inside).round().long(), len(new))


after = {name: {"as trained": found} for name, found in before.items()}
for name, curves in after.items():
    if name == "Quantile network":
        curves["levels mended"] = widened(seen[name], new[name])
        continue
    scaling = duda.decisions.StdScale().fit(seen[name], strength[held_out])
    moving = duda.decisions.QuantileRecalibration(ends).fit(seen[name], strength[held_out])
    curves["levels mended"] = coverage(moving(new[name]), strength[test], levels)
    curves["std scaled"] = coverage(scaling(new[name]), strength[test], levels)

_, axes = plt.subplots(2, 3, figsize=(8, 6.4), sharex=True, sharey=True, layout="constrained")
for ax, (name, curves) in zip(axes.flat, after.items(), strict=False):
    coverage_curves(band[0], {k: found.observed for k, found in curves.items()}, *band[1:], ax=ax)
    errors = f"error {before[name].mean_error:.3f} to {curves['levels mended'].mean_error:.3f}"
    ax.set(title=f"{name}\n{errors}", xlabel="share promised", ylabel="share inside")
    ax.label_outer()
axes[1, 2].axis("off")
_ = axes[1, 2].legend(*axes[0, 0].get_legend_handles_labels(), loc="center", frameon=False)

# %%
# One factor makes errors as large as promised, but does not change their shape: where a few errors
# are very large and most are small, the scaled curve bulges above the diagonal, and its error may
# even grow. Mending levels mends the shape, too. What the figures do **not** show: intervals that
# are right on average need not be right for each kind of concrete, nor for one unlike these; and a
# calibrated model may still be a poor one, so the errors of the means stand here, too.
print(f"a calibrated model has an error of {chance.null_mean_error:.3f} by chance")
for name, curves in after.items():
    errors = ", ".join(f"{way} {found.mean_error:.3f}" for way, found in curves.items())
    error = duda.evaluation.rmse(new[name].centre, strength[test])
    print(f"{name:16}: {errors}; RMSE {error:.2f} MPa")
