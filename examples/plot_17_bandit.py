"""
Trying what may be good: a bandit
=================================

An agent that always does what looks best never finds out what it does not know. On this wheel the
rich prize lies at the rim, another action in each quadrant; who never tries does not learn of it.
Thompson sampling tries each action as often as it may be the best one: it trusts one member of an
ensemble, drawn anew for each decision. Where members agree that is the best action, where they do
not it is an experiment. Sources: Thompson 1933; Lu & Van Roy 2017 (with an ensemble); Riquelme,
Tucker & Snoek 2018 (the wheel).
"""

import os

import matplotlib.pyplot as plt
import torch
from matplotlib.colors import ListedColormap
from torch import nn

import duda

quick = os.environ.get("DUDA_QUICK") == "1"
rounds, each = (4, 25) if quick else (60, 25)


# %%
# The world: five actions and a context, a point on a disk. The first pays 1.2 and the others 1.0;
# but beyond a radius of 0.8 one of the others pays 50.
def pays(context):
    means = torch.tensor([1.2, 1.0, 1.0, 1.0, 1.0]).repeat(len(context), 1)
    quadrant = 1 + 2 * (context[:, 0] < 0).long() + (context[:, 1] < 0).long()
    rim = context.norm(dim=1) > 0.8
    means[rim, quadrant[rim]] = 50.0
    return means


# %%
# What the agent knows: an ensemble that tells what an action is worth in a context, given both.
def network():
    layers = nn.Linear(2 + 5, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)
    return nn.Sequential(*layers)


def draws(model, context):
    """Return what each of M members thinks of each action: (M, N, 5)."""
    x = torch.cat([context.repeat_interleave(5, 0), torch.eye(5).repeat(len(context), 1)], 1)
    return model.predict(x, keep_draws=True).draws[:, :, 0].unflatten(1, (len(context), 5))


# %%
# Decide on 25 contexts, see what was paid for the actions taken (and for no other), learn, go on.
# In the first round everything is tried in turn.
def play(choose):
    torch.manual_seed(0)
    model = duda.DeepEnsemble(network, duda.FixedGaussian(), members=5)
    angle, reach = 2 * torch.pi * torch.rand(rounds * each), torch.rand(rounds * each).sqrt()
    contexts = (reach * torch.stack([angle.cos(), angle.sin()])).T.split(each)
    regret, inputs, rewards = [], [], []
    for number, context in enumerate(contexts):
        action = choose(draws(model, context), number) if number else torch.arange(each) % 5
        means = pays(context)
        paid = means.gather(1, action[:, None])
        regret.append(float((means.amax(1, keepdim=True) - paid).sum()))
        inputs.append(torch.cat([context, torch.eye(5)[action]], 1))
        rewards.append((paid + 0.01 * torch.randn(each, 1)) / 10)
        data = torch.cat(inputs), torch.cat(rewards)
        epochs = max(1, 60 * 128 // max(128, len(data[0])))  # about 60 steps
        duda.fit(model, data, epochs=epochs, lr=3e-3, seed=number)
    return model, torch.tensor(regret).cumsum(0)


ways = {
    "greedy": lambda values, seed: duda.decisions.greedy(values),
    "Thompson sampling": lambda values, seed: duda.decisions.thompson(values, seed=seed),
}
played = {name: play(choose) for name, choose in ways.items()}

# %%
# Regret: what was missed
# -----------------------
# The sum over decisions of what the best action would have paid more. A flat line is an agent that
# misses next to nothing. It may still be wrong about much inside the rim, where an error costs 0.2.
figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
for (name, (_, regret)), style in zip(played.items(), ("--", "-"), strict=True):
    ax.plot(torch.arange(1, rounds + 1) * each, regret, style, lw=2, label=name)
    print(f"{name:18} regret after {rounds * each:,} decisions: {regret[-1]:,.0f}")
ax.set(xlabel="decisions", ylabel="regret, summed up", ylim=(0, None))
ax.set_title("What was missed: Thompson sampling against the greedy choice")
ax.legend(frameon=False)

# %%
# What each has come to believe
# -----------------------------
# The action that looks best in each context, in the end. The four colours at the rim are
# the four prizes.
side = 30 if quick else 150
axis = torch.linspace(-1, 1, side)
disk = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).reshape(-1, 2)
inside = disk.norm(dim=1) <= 1
beliefs = {name: draws(model, disk).mean(0).argmax(1) for name, (model, _) in played.items()}
beliefs["the truth"] = pays(disk).argmax(1)
colours = ListedColormap(["0.9", "#1b6ca8", "#d95f02", "#1b9e77", "#7a4fa3"])
figure, axes = plt.subplots(1, 3, figsize=(8, 3), layout="constrained")
for ax, (name, best) in zip(axes, beliefs.items(), strict=True):
    shown = torch.where(inside, best.double(), torch.nan).reshape(side, side)
    ax.imshow(shown.numpy(), cmap=colours, vmin=0, vmax=4, origin="lower", extent=(-1, 1, -1, 1))
    ax.set_title(name, fontsize=10)
    ax.set_axis_off()

# %%
# What this does not show: one run with one seed. The greedy agent may be lucky, and stumble on a
# prize; a benchmark over seeds is in ``benchmarks/exploration.py``.
