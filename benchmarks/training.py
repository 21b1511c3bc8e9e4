"""Training an ensemble: all members as one vectorised step, or one after the other.

Run with `python -m benchmarks.training`. Both ways give the same weights up to rounding, which Adam
makes visible where gradients are tiny: the last column. The row of 20 members of an MLP
13-100-100-2 in batches of 32 should be at least 3 times faster as one step.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable

import torch
from torch import Tensor, nn

import duda
from benchmarks.clock import machine, ratio, side_by_side

ROUNDS = 5


def mlp(width: int, norm: bool = False) -> Callable[[], nn.Module]:
    """Return a factory of MLPs for tables, with or without BatchNorm."""

    def hidden(inputs: int) -> list[nn.Module]:
        norms = [nn.BatchNorm1d(width)] if norm else []
        return [nn.Linear(inputs, width), *norms, nn.ReLU()]

    return lambda: nn.Sequential(*hidden(13), *hidden(width), nn.Linear(width, 2))


def cnn() -> nn.Module:
    """Return a small CNN for 28 x 28 pictures."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 7 * 7, 10),
    )


def row(
    name: str,
    factory: Callable[[], nn.Module],
    likelihood: duda.Gaussian | duda.Categorical,
    members: int,
    data: tuple[Tensor, Tensor],
    batch_size: int,
) -> str:
    """Return the seconds of one epoch in both ways, and what `fit` would choose."""
    model = duda.DeepEnsemble(factory, likelihood, members)
    trained: dict[bool | None, nn.Module] = {}

    def train(vectorize: bool | None) -> duda.training.History:
        trained[vectorize] = copy.deepcopy(model)
        return duda.fit(
            trained[vectorize], data, epochs=1, batch_size=batch_size, seed=0, vectorize=vectorize
        )

    chosen = "one step" if train(None).vectorized else "in turn"
    seconds = side_by_side(
        {"in turn": lambda: train(False), "one step": lambda: train(True)}, ROUNDS
    )
    far = max(
        float((a - b).abs().max().detach())
        for a, b in zip(trained[False].parameters(), trained[True].parameters(), strict=True)
    )
    return (
        f"{name:16s} {members:7d} {batch_size:6d} {statistics.median(seconds['in turn']):9.2f} s"
        f" {statistics.median(seconds['one step']):9.2f} s"
        f" {ratio(seconds, 'in turn', 'one step'):9.2f}   {chosen:9s} {far:10.1e}"
    )


def main() -> None:
    """Print a table over networks, members and batch sizes."""
    torch.manual_seed(0)
    tables = torch.randn(1600, 13), torch.randn(1600, 1)
    pictures = torch.rand(256, 1, 28, 28), torch.randint(10, (256,))
    print(f"an epoch of training with Adam, {machine()}, medians of {ROUNDS} rounds in turn")
    print("network          members  batch     in turn    one step   faster   fit takes difference")
    for width, members, batch_size in (
        (100, 20, 32),
        (50, 5, 32),
        (100, 5, 128),
        (200, 20, 128),
        (400, 5, 32),
        (400, 5, 256),
    ):
        name = f"MLP 13-{width}-{width}-2"
        print(row(name, mlp(width), duda.Gaussian(), members, tables, batch_size), flush=True)
    name = "with BatchNorm"
    print(row(name, mlp(100, norm=True), duda.Gaussian(), 20, tables, 32), flush=True)
    for batch_size in (32, 128):
        print(row("CNN 32-64", cnn, duda.Categorical(), 5, pictures, batch_size), flush=True)


if __name__ == "__main__":
    main()
