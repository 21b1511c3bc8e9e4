"""
Holding back where nothing is known: a cliff
============================================

A walker learned in calm weather, behind a fence, how to reach its goal. Then the fence is gone and
a wind blows it down to places that it has never seen, beside a cliff. What it believes of these
places is made up; but its ensemble disagrees there, and a gate fitted on what it knows can tell: so
where it does not know it takes the step that is safe, up. Look at the paths that end at the bottom.
Source: the cliff is that of Sutton & Barto 2018, example 6.6; the values are learned by fitted Q
iteration (Ernst et al. 2005).
"""

import os

import matplotlib.pyplot as plt
import torch
from torch import nn

import duda

quick = os.environ.get("DUDA_QUICK") == "1"
rows, columns = 5, 10  # the last row is the cliff, except for its last place: the goal
moves = torch.tensor([[-1, 0], [0, 1], [1, 0], [0, -1]])  # up, right, down, left
corner = torch.tensor([rows - 1, columns - 1])


# %%
# The world. Each step costs one, the fall fifty, the goal nothing. The fence stands above the two
# lowest rows, but for the last column.
def fenced(place):
    return (place[:, 0] < rows - 2) | (place[:, 1] == columns - 1)


def outcome(place):
    """Return the reward of arriving in a place, and whether that is the end."""
    bottom, last = place[:, 0] == rows - 1, place[:, 1] == columns - 1
    return torch.where(bottom & ~last, -50.0, torch.where(bottom, 0.0, -1.0)), bottom


def journeys(steps, random):
    """Return steps at random behind the fence: place, action, where it led."""
    grid = torch.cartesian_prod(torch.arange(rows - 1), torch.arange(columns))
    place = grid[fenced(grid)]
    place = place[torch.randint(len(place), (steps,), generator=random)]
    action = torch.randint(4, (steps,), generator=random)
    after = (place + moves[action]).clamp(torch.tensor(0), corner)
    return place, action, torch.where((fenced(place) & ~fenced(after))[:, None], place, after)


# %%
# The values of the four steps in each place: an ensemble of five, ten times smaller than the truth.
def network():
    first, second = nn.Linear(2 + 4, 64), nn.Linear(64, 64)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Linear(64, 1))


def inputs(place, action):
    return torch.cat([2 * place / corner - 1, torch.eye(4)[action]], 1)


def draws(place):
    """Return what each of M members thinks of each step: (M, N, 4)."""
    x = inputs(place.repeat_interleave(4, 0), torch.arange(4).repeat(len(place)))
    return 10 * model.predict(x, keep_draws=True).draws[:, :, 0].unflatten(1, (len(place), 4))


torch.manual_seed(0)
random = torch.Generator().manual_seed(0)
model = duda.DeepEnsemble(network, duda.FixedGaussian(), members=5)
place, action, after = journeys(800, random)
reward, over = outcome(after)
value = reward
for number in range(3 if quick else 25):
    data = inputs(place, action), value[:, None] / 10
    duda.fit(model, data, epochs=9, lr=3e-3, seed=number)
    value = reward + 0.95 * torch.where(over, 0.0, draws(after).mean(0).amax(1))

# %%
# The gate: in 99 % of places like those of its journeys the walker is to act on what it believes.
# That is all it takes; nothing says where the cliff is.
known, _, _ = journeys(400, random)
gate = duda.Gate.keep(0.99).fit(duda.decisions.action_uncertainty(draws(known)))
print(gate.summary())


# %%
# 200 walkers set out in the wind, which blows them one row down in one of five steps.
def walk(choose, walkers=20 if quick else 200, patience=60):
    random = torch.Generator().manual_seed(1)
    start = torch.randint(3, (walkers, 1), generator=random)
    path = [torch.cat([start, torch.zeros_like(start)], 1)]
    over = torch.zeros(walkers, dtype=torch.bool)
    for _ in range(patience):
        after = (path[-1] + moves[choose(draws(path[-1]))]).clamp(torch.tensor(0), corner)
        after[:, 0] += torch.rand(walkers, generator=random) < 0.2  # no fence stops the wind
        after = torch.where(over[:, None], path[-1], after.clamp(max=corner))
        over |= outcome(after)[1]
        path.append(after)
    return torch.stack(path)


paths = {
    "acts on what it believes": walk(duda.decisions.greedy),
    "goes up where it does not know": walk(lambda v: duda.decisions.cautious(v, gate, safe=0)),
}

figure, axes = plt.subplots(2, 1, figsize=(7, 6.4), layout="constrained")
everywhere = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
doubt = draws(everywhere).std(0, correction=0).amax(1).reshape(rows, columns)
fallen = {name: float((outcome(p[-1])[0] == -50).double().mean()) for name, p in paths.items()}
for ax, (name, path) in zip(axes, paths.items(), strict=True):
    image = ax.imshow(doubt.numpy(), cmap="Greys", alpha=0.6)
    for walker in path[:, :15].unbind(1):
        jitter = walker + 0.12 * torch.randn(walker.shape, generator=random)
        ax.plot(jitter[:, 1], jitter[:, 0], color="#1b6ca8", lw=0.9, alpha=0.7)
    ax.set(title=f"{name}: {fallen[name]:.0%} fall", xticks=[])
    ax.set_yticks([rows - 2, rows - 1], ["no fence", "cliff"])
    ax.text(columns - 1, rows - 1, "goal", ha="center", va="center", weight="bold")
figure.colorbar(image, ax=axes, label="how far the members disagree", shrink=0.6)
