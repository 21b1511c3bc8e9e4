"""Is doubt worth something to an agent: to explore with, and to know when not to act?

Run with `python -m benchmarks.exploration`. The wheel bandit of Riquelme et al. 2018: five actions,
of which one pays a little more, but for contexts beyond a radius, where one of the others, by the
quadrant, pays 50. And a grid with a cliff, learned from journeys behind a fence, and then walked in
a wind that blows the walker over it.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

import duda
from benchmarks.clock import machine
from duda.decisions import Gate, action_uncertainty, cautious, greedy, thompson
from duda.sampling import seeded

Chooser = Callable[[Tensor, int], Tensor]  # draws (M, N, A) and a seed to actions (N)


def _perceptron(inputs: int, hidden: int = 64) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, 1),
    )


@dataclass
class Values:
    """An ensemble that learns the values of actions, each given along with the state."""

    model: duda.DeepEnsemble
    actions: int

    @classmethod
    def new(cls, features: int, actions: int, seed: int, members: int = 5) -> Values:
        """Return one that has learned nothing."""
        with seeded(seed, []):
            model = duda.DeepEnsemble(
                lambda: _perceptron(features + actions), duda.FixedGaussian(), members
            )
        return cls(model, actions)

    def fit(self, state: Tensor, action: Tensor, value: Tensor, steps: int, seed: int) -> None:
        """Go on learning for so many steps."""
        x = torch.cat([state, one_hot(action, self.actions).float()], 1)
        batch = min(128, len(x))
        epochs = max(1, steps // -(-len(x) // batch))
        duda.fit(
            self.model, (x, value[:, None]), epochs=epochs, batch_size=batch, lr=3e-3, seed=seed
        )

    def draws(self, state: Tensor) -> Tensor:
        """Return what each member thinks of each action, `(M, N, A)`."""
        each = one_hot(torch.arange(self.actions)).float()
        x = torch.cat([state.repeat_interleave(self.actions, 0), each.repeat(len(state), 1)], dim=1)
        answer = self.model.predict(x, keep_draws=True, batch_size=4096)
        return answer.draws[:, :, 0].unflatten(1, (len(state), self.actions))


@dataclass(frozen=True)
class Wheel:
    """The bandit: what each action pays on average in each context."""

    radius: float = 0.8

    def contexts(self, count: int, random: torch.Generator) -> Tensor:
        """Return points spread evenly over the disk."""
        angle = 2 * math.pi * torch.rand(count, generator=random)
        reach = torch.rand(count, generator=random).sqrt()
        return torch.stack([reach * angle.cos(), reach * angle.sin()], 1)

    def means(self, context: Tensor) -> Tensor:
        """Return what the five actions pay."""
        pays = torch.tensor([1.2, 1.0, 1.0, 1.0, 1.0]).repeat(len(context), 1)
        quadrant = 1 + 2 * (context[:, 0] < 0).long() + (context[:, 1] < 0).long()
        far = context.norm(dim=1) > self.radius
        pays[far, quadrant[far]] = 50.0
        return pays


def random_instead(share: float) -> Chooser:
    """Return a chooser that is greedy, but for a share of actions at random."""

    def choose(draws: Tensor, seed: int) -> Tensor:
        random = torch.Generator().manual_seed(seed)
        best = greedy(draws)
        anything = torch.randint(draws.shape[2], best.shape, generator=random)
        return torch.where(torch.rand(best.shape, generator=random) < share, anything, best)

    return choose


CHOOSERS: dict[str, Chooser] = {
    "greedy": lambda draws, seed: greedy(draws),
    "0.05-greedy": random_instead(0.05),
    "Thompson": lambda draws, seed: thompson(draws, seed=seed),
}


def regret(choose: Chooser, seed: int, rounds: int = 30, batch: int = 50) -> float:
    """Return what was lost against the best actions, in sum; each round is learned from."""
    wheel, random = Wheel(), torch.Generator().manual_seed(seed)
    values = Values.new(features=2, actions=5, seed=seed)
    state = wheel.contexts(15, random)  # each action is tried three times first
    action = torch.arange(15) % 5
    lost = 0.0
    reward = _paid(wheel, state, action, random)
    for each in range(rounds):
        values.fit(state, action, reward / 25, steps=60, seed=seed + each)
        context = wheel.contexts(batch, random)
        chosen = choose(values.draws(context), seed * rounds + each)
        means = wheel.means(context)
        lost += float((means.amax(1) - means[torch.arange(batch), chosen]).sum())
        state, action = torch.cat([state, context]), torch.cat([action, chosen])
        reward = torch.cat([reward, _paid(wheel, context, chosen, random)])
    return lost


def _paid(wheel: Wheel, context: Tensor, action: Tensor, random: torch.Generator) -> Tensor:
    noise = 0.01 * torch.randn(len(action), generator=random)
    return wheel.means(context)[torch.arange(len(action)), action] + noise


def print_bandit(seeds: int) -> None:
    """Print a row for each way of choosing."""
    random = torch.Generator().manual_seed(0)
    means = Wheel().means(Wheel().contexts(1500, random))
    at_random = float((means.amax(1, keepdim=True) - means).mean(1).sum())
    print(f"wheel bandit, 1,500 decisions, {seeds} seeds; regret at random {at_random:,.0f}")
    print("| actions | regret | from, to | of random's | seconds |")
    print("|---|---|---|---|---|")
    for name, choose in CHOOSERS.items():
        start = time.monotonic()
        lost = [regret(choose, seed) for seed in range(seeds)]
        print(
            f"| {name} | {statistics.mean(lost):,.0f} | {min(lost):,.0f}, {max(lost):,.0f} | "
            f"{statistics.mean(lost) / at_random:.2f} | {time.monotonic() - start:.0f} |",
            flush=True,
        )


ROWS, COLUMNS = 5, 10  # the last row is the cliff, but for its last place, the goal
UP, RIGHT, DOWN, LEFT = range(4)
MOVES = torch.tensor([[-1, 0], [0, 1], [1, 0], [0, -1]])
WIND, PATIENCE, FALL, DISCOUNT = 0.2, 60, -50.0, 0.95


@dataclass(frozen=True)
class Journeys:
    """Steps on the grid: places (row, column), what was done there and what came of it."""

    place: Tensor
    action: Tensor
    after: Tensor
    reward: Tensor
    over: Tensor


def fenced(place: Tensor) -> Tensor:
    """Return where there is a fence between the walker and the two lowest rows."""
    return (place[:, 0] < ROWS - 2) | (place[:, 1] == COLUMNS - 1)


def moved(place: Tensor, action: Tensor) -> Tensor:
    """Return where a step leads, or the same place at the border and at the fence."""
    after = (place + MOVES[action]).clamp(torch.tensor(0), torch.tensor([ROWS, COLUMNS]) - 1)
    return torch.where((fenced(place) & ~fenced(after))[:, None], place, after)


def outcome(place: Tensor) -> tuple[Tensor, Tensor]:
    """Return what arriving in a place is worth, and whether that is the end."""
    bottom, last = place[:, 0] == ROWS - 1, place[:, 1] == COLUMNS - 1
    return torch.where(bottom & ~last, FALL, torch.where(bottom, 0.0, -1.0)), bottom


def journeys(steps: int, random: torch.Generator) -> Journeys:
    """Return steps at random in calm weather, behind the fence."""
    grid = torch.cartesian_prod(torch.arange(ROWS - 1), torch.arange(COLUMNS))
    known = grid[fenced(grid)]
    place = known[torch.randint(len(known), (steps,), generator=random)]
    action = torch.randint(4, (steps,), generator=random)
    after = moved(place, action)
    return Journeys(place, action, after, *outcome(after))


def features(place: Tensor) -> Tensor:
    return 2 * place / torch.tensor([ROWS - 1.0, COLUMNS - 1.0]) - 1


def learned(log: Journeys, seed: int, iterations: int = 25) -> Values:
    """Return values by fitted Q iteration (Ernst et al. 2005)."""
    values = Values.new(features=2, actions=4, seed=seed)
    target = log.reward
    for each in range(iterations):
        values.fit(features(log.place), log.action, target / 10, steps=60, seed=seed + each)
        best = 10 * values.draws(features(log.after)).mean(0).amax(1)
        target = log.reward + DISCOUNT * torch.where(log.over, 0.0, best)
    return values


def walk(values: Values, gate: Gate | None, seed: int, walkers: int = 200) -> tuple[float, float]:
    """Return the share of walkers that fall, and the mean sum of rewards."""
    random = torch.Generator().manual_seed(seed)
    place = torch.stack(
        [torch.randint(3, (walkers,), generator=random), torch.zeros(walkers, dtype=torch.int64)], 1
    )
    over, total = torch.zeros(walkers, dtype=torch.bool), torch.zeros(walkers)
    fallen = torch.zeros(walkers, dtype=torch.bool)
    for _ in range(PATIENCE):
        draws = values.draws(features(place))
        action = greedy(draws) if gate is None else cautious(draws, gate, safe=UP)
        blown = torch.rand(walkers, generator=random) < WIND
        after = moved(place, action)
        after[:, 0] = (after[:, 0] + blown).clamp(max=ROWS - 1)  # no fence stops the wind
        place = torch.where(over[:, None], place, after)
        reward, end = outcome(place)
        total += torch.where(over, 0.0, reward)
        fallen |= ~over & (reward == FALL)
        over |= end
    return float(fallen.double().mean()), float(total.mean())


def print_grid(seeds: int) -> None:
    """Print a row for the greedy walker and the cautious one."""
    found: dict[str, list[tuple[float, float]]] = {"greedy": [], "safe where in doubt": []}
    for seed in range(seeds):
        random = torch.Generator().manual_seed(seed)
        values = learned(journeys(800, random), seed)
        known = features(journeys(400, random).place)
        gate = Gate.keep(0.99).fit(action_uncertainty(values.draws(known)))
        found["greedy"].append(walk(values, None, seed))
        found["safe where in doubt"].append(walk(values, gate, seed))
    print(f"cliff, {seeds} seeds of 200 walkers in a wind")
    print("| actions | fall | from, to | return |")
    print("|---|---|---|---|")
    for name, pairs in found.items():
        falls, returns = zip(*pairs, strict=True)
        print(
            f"| {name} | {statistics.mean(falls):.1%} | {min(falls):.1%}, {max(falls):.1%} | "
            f"{statistics.mean(returns):.1f} |"
        )


def main() -> None:
    """Print both tables."""
    torch.set_num_threads(1)
    print(machine())
    print_bandit(seeds=3)
    print_grid(seeds=3)


if __name__ == "__main__":
    main()
