"""Does it help an agent to know when not to act: a walk along a cliff, in a wind from nowhere.

Run with `python -m benchmarks.gridworld`. The values of actions are learned from journeys that kept
three rows away from the cliff and met no wind. Then a wind blows the walker down in a quarter of
the steps, into states of which nothing is known: there the greedy action is a guess, and the safe
one, away from the cliff, is taken where the gate refuses to act on it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.clock import machine
from benchmarks.exploration import Values
from duda.decisions import Gate, action_uncertainty, cautious, greedy

UP, DOWN, LEFT, RIGHT = range(4)
MOVES = torch.tensor([[1, 0], [-1, 0], [0, -1], [0, 1]])  # rows, columns
ROWS, COLUMNS = 6, 8  # row 0 is the cliff, the last column the goal
KNOWN_ROW = 3  # the lowest that the journeys visited
WIND, MOST_STEPS = 0.25, 100
DISCOUNT, GOAL_REWARD = 0.95, 10.0

Policy = Callable[[Tensor], Tensor]  # states (N, 2) to actions (N)


def moved(state: Tensor, action: Tensor) -> Tensor:
    """Return where actions lead: walls are around all but the cliff."""
    row, column = (state + MOVES[action]).unbind(1)
    return torch.stack([row.clamp(0, ROWS - 1), column.clamp(0, COLUMNS - 1)], 1)


def features(state: Tensor) -> Tensor:
    """Return states as numbers of about 1."""
    return state / torch.tensor([ROWS, COLUMNS]) * 2 - 1


@dataclass
class Journeys:
    """Steps of journeys that kept away from the cliff, and what was earned from each step on."""

    states: Tensor
    actions: Tensor
    returns: Tensor

    @classmethod
    def recorded(cls, count: int, seed: int) -> Journeys:
        """Return those of a walker who goes right in half of the steps, else anywhere."""
        random = torch.Generator().manual_seed(seed)
        states, actions, returns = [], [], []
        for _ in range(count):
            state = torch.tensor([[int(torch.randint(KNOWN_ROW, ROWS, (), generator=random)), 0]])
            path = []
            while state[0, 1] < COLUMNS - 1:
                chances = torch.tensor([1.0, 1.0, 1.0, 3.0])
                chances[DOWN] *= float(state[0, 0] > KNOWN_ROW)
                action = torch.multinomial(chances, 1, generator=random)
                path.append((state, action))
                state = moved(state, action)
            earned = GOAL_REWARD
            for state, action in reversed(path):
                earned = -1 + DISCOUNT * earned
                states.append(state)
                actions.append(action)
                returns.append(earned)
        return cls(torch.cat(states), torch.cat(actions), torch.tensor(returns))


def policies(seed: int) -> dict[str, Policy]:
    """Return the greedy one, and the one that knows when not to act."""
    seen = Journeys.recorded(200, seed)
    values = Values.new(features=2, actions=4, seed=seed)
    values.fit(features(seen.states), seen.actions, seen.returns / 10, steps=1500, seed=seed)
    known = features(Journeys.recorded(50, seed + 1000).states)
    gate = Gate.keep(0.95).fit(action_uncertainty(values.draws(known)))
    return {
        "greedy": lambda state: greedy(values.draws(features(state))),
        "greedy, or up where the gate refuses": lambda state: cautious(
            values.draws(features(state)), gate, safe=UP
        ),
    }


def walked(policy: Policy, wind: float, seed: int, walkers: int = 500) -> tuple[float, float]:
    """Return the shares of walkers who fell off the cliff, and who reached the goal."""
    random = torch.Generator().manual_seed(seed)
    state = torch.tensor([[KNOWN_ROW, 0]]).repeat(walkers, 1)
    for _ in range(MOST_STEPS):
        going = (state[:, 0] > 0) & (state[:, 1] < COLUMNS - 1)
        if not bool(going.any()):
            break
        after = moved(state, policy(state))
        blown = torch.rand(walkers, generator=random) < wind
        after[:, 0] = (after[:, 0] - blown.long()).clamp(min=0)
        state = torch.where(going[:, None], after, state)
    fell = state[:, 0] == 0
    arrived = ~fell & (state[:, 1] == COLUMNS - 1)
    return float(fell.float().mean()), float(arrived.float().mean())


def main(seeds: int = 5) -> None:
    """Print a row for each policy, without and with wind."""
    torch.set_num_threads(1)
    print(f"{machine()}; means over {seeds} seeds of 500 walkers each")
    made = [policies(seed) for seed in range(seeds)]
    print("| policy | wind | fell off the cliff | reached the goal |")
    print("|---|---|---|---|")
    for name in made[0]:
        for wind in (0.0, WIND):
            shares = [walked(made[seed][name], wind, seed) for seed in range(seeds)]
            fell, arrived = (statistics.mean(each) for each in zip(*shares, strict=True))
            print(f"| {name} | {wind:.2f} | {100 * fell:.1f} % | {100 * arrived:.1f} % |")


if __name__ == "__main__":
    main()
