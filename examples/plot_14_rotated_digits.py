"""Rotated digits: does doubt grow as the pictures leave what was learned?
=========================================================================

Networks that learned upright digits (MNIST) read them turned by 0 to 180 degrees. They get worse,
as anybody would: a 6 becomes a 9. The question is whether they *know*: confidence should fall as
fast as accuracy. Look at the calibration error: for upright digits it is small, and tells little of
what a method is worth where the data shift. Source: Ovadia et al. 2019, figure 1.
"""

import os

import matplotlib.pyplot as plt
import torch
from torch import nn

import duda
from duda.evaluation import accuracy, nll, reliability
from duda.plots.pictures import pictures

quick = os.environ.get("DUDA_QUICK") == "1"
shown, asked, epochs = (64, 20, 3) if quick else (5000, 1000, 10)
angles = range(0, 181, 90 if quick else 15)
data = duda.datasets.load("mnist")
torch.manual_seed(0)
order = torch.randperm(len(data.train[0]))
train = [part[order[:shown]] for part in data.train]
held_out = [part[order[-1000:]] for part in data.train]
x, y = (part[:asked] for part in data.test)


def make_network():
    """Return a new small CNN with dropout."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.25), nn.Linear(16 * 7 * 7, 64), nn.ReLU()),
        *(nn.Dropout(0.25), nn.Linear(64, 10)),
    )


def rotated(upright, degrees):
    """Return pictures turned about their centres, bilinearly, with black corners."""
    turn = torch.tensor(degrees).deg2rad()
    matrix = torch.tensor([[turn.cos(), -turn.sin(), 0], [turn.sin(), turn.cos(), 0]])
    shape = list(upright.shape)
    grid = nn.functional.affine_grid(matrix.expand(len(upright), 2, 3), shape, align_corners=False)
    return nn.functional.grid_sample(upright, grid, align_corners=False).clamp(0, 1)


# %%
# All methods of duda, with the same network and training: 5,000 digits for 10 epochs, and at most
# 20 draws for each of 1,000 test digits.
answers = {}
for name, method in duda.METHODS.items():
    torch.manual_seed(0)
    model = method.from_factory(make_network, duda.Categorical())
    duda.fit(model, train, epochs=epochs, batch_size=64, seed=0)
    draws = min(model.samples, 20)
    answers[name] = [model.predict(rotated(x, a), samples=draws, seed=0) for a in angles]
    if name == "deterministic":
        temperature = duda.decisions.Temperature().fit(model.predict(held_out[0]), held_out[1])
        answers["plain + temperature"] = [temperature(answer) for answer in answers[name]]
print(f"the temperature for 1,000 upright digits held out: {temperature.temperature:.2f}")

# %%
# What the networks see: the first digit, turned.
turned = torch.cat([rotated(x[:1], angle) for angle in angles])
pictures(turned, [f"{angle}°" for angle in angles], columns=len(angles))

# %%
# Four measures over the angle
# ----------------------------
# Five lines have a name, the others are grey: the maps below name them all. Accuracy rises again
# towards 180 degrees, where 0, 1 and 8 look as before. Upright digits deserved *more* confidence
# than the plain network has (a temperature below 1), turned ones less: what was learned from the
# one makes the other worse. DUQ is the most careful, and pays for it where digits are upright.
measures = {
    "accuracy": lambda answer: accuracy(answer.probs, y),
    "NLL, nats": lambda answer: nll(logits=answer.log_probs, y=y),
    "calibration error (ECE)": lambda answer: reliability(answer.probs, y).ece,
    "mean entropy, nats": lambda answer: float(answer.entropy.mean()),
}
curves = {
    title: {name: [measure(one) for one in each] for name, each in answers.items()}
    for title, measure in measures.items()
}
named = {
    "deterministic": ("#D55E00", "-"),
    "plain + temperature": ("#D55E00", ":"),
    "mc-dropout": ("#0072B2", "-"),
    "deep-ensemble": ("#222222", "-"),
    "duq": ("#009E73", "-"),
}
figure, axes = plt.subplots(2, 2, figsize=(8, 6.5), sharex=True, layout="constrained")
for ax, (title, lines) in zip(axes.flat, curves.items(), strict=True):
    for name, line in lines.items():
        if name not in named:
            ax.plot(angles, line, color="#C8C8C8", linewidth=1, zorder=1)
    for name, (colour, style) in named.items():
        ax.plot(angles, lines[name], style, color=colour, linewidth=2, label=name)
    ax.set(title=title, xticks=range(0, 181, 45), ylim=(0, None))
    ax.spines[["top", "right"]].set_visible(False)
for ax in axes[1]:
    ax.set_xlabel("degrees")
figure.legend(*axes[0, 0].get_legend_handles_labels(), ncols=5, loc="outside lower center")

# %%
# Every method by name
# --------------------
# Each row is a method and each column an angle; yellow is more.
figure, axes = plt.subplots(2, 2, figsize=(8, 8), sharex=True, sharey=True, layout="constrained")
for ax, (title, lines) in zip(axes.flat, curves.items(), strict=True):
    step = angles.step
    extent = (-step / 2, 180 + step / 2, len(lines) - 0.5, -0.5)
    shown_map = ax.imshow(list(lines.values()), aspect="auto", extent=extent, cmap="viridis")
    ax.set(title=title, xticks=range(0, 181, 90), yticks=range(len(lines)), yticklabels=lines)
    ax.tick_params(axis="y", labelsize=8)
    figure.colorbar(shown_map, ax=ax, location="bottom", pad=0.02)
figure.supxlabel("degrees, from left to right", fontsize="medium")
