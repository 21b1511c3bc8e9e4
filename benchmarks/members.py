"""Predicting with the members of an ensemble: a loop, or their weights stacked for vmap.

Run with `python -m benchmarks.members`. "stacked" stacks the weights at each prediction, as it must
when they may have changed; "ready" has them stacked beforehand.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from benchmarks.clock import machine, ratio, side_by_side


def network(width: int) -> nn.Module:
    """Return an MLP for tables."""
    return nn.Sequential(
        nn.Linear(13, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2)
    )


def row(width: int, members: int, rows: int) -> str:
    """Return how many times longer than the loop the others take."""
    networks = [network(width).eval() for _ in range(members)]
    blank = copy.deepcopy(networks[0]).to("meta")
    x = torch.randn(rows, 13)
    ready = stack_module_state(networks)

    def vmapped(state: tuple[dict[str, Tensor], dict[str, Tensor]]) -> Tensor:
        return vmap(lambda *state: functional_call(blank, state, x))(*state)

    seconds = side_by_side(
        {
            "loop": lambda: torch.stack([network(x) for network in networks]),
            "stacked": lambda: vmapped(stack_module_state(networks)),
            "ready": lambda: vmapped(ready),
        },
        rounds=15,
    )
    return (
        f"{width:6d} {members:8d} {rows:6d} {ratio(seconds, 'stacked', 'loop'):16.2f}"
        f" {ratio(seconds, 'ready', 'loop'):14.2f}"
    )


def main() -> None:
    """Print a table over widths, members and batch sizes."""
    torch.set_grad_enabled(False)
    print(f"MLP 13-width-width-2, {machine()}")
    print(" width  members   rows   stacked / loop   ready / loop")
    for width in (50, 400):
        for members in (5, 20, 50):
            for rows in (1, 32, 256, 4096):
                print(row(width, members, rows))


if __name__ == "__main__":
    main()
