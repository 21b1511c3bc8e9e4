"""Ensembles and single networks: `predict` over a loop by hand, and over weights stacked for vmap.

Run with `python -m benchmarks.members`, on another device with `--device cuda`. "stacked" stacks
the weights at each prediction, as it must when they may have changed; "ready" has them stacked.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

import duda
from benchmarks.clock import machine, ratio, side_by_side
from benchmarks.resnet import ResNet20

Make = Callable[[], nn.Module]


def mlp(width: int) -> nn.Module:
    """Return an MLP for tables."""
    return nn.Sequential(
        nn.Linear(13, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2)
    )


def cnn() -> nn.Module:
    """Return a small network for digits."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(800, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


NETWORKS: dict[str, tuple[Make, tuple[int, ...], tuple[int, ...]]] = {
    "MLP 13-50-50-2": (lambda: mlp(50), (13,), (1, 32, 256, 4096)),
    "MLP 13-400-400-2": (lambda: mlp(400), (13,), (1, 32, 256, 4096)),
    "CNN, 2 convolutions": (cnn, (1, 28, 28), (1, 32, 256)),
    "ResNet-20": (ResNet20, (3, 32, 32), (1, 32)),
}


def members_row(make: Make, members: int, x: Tensor) -> str:
    """Return how many times longer than a loop by hand the others take."""
    networks = [make().to(x.device).eval() for _ in range(members)]
    blank = copy.deepcopy(networks[0]).to("meta")
    model = duda.DeepEnsemble(networks, duda.Categorical())
    ready = stack_module_state(networks)

    def vmapped(state: tuple[dict[str, Tensor], dict[str, Tensor]]) -> Tensor:
        return vmap(lambda *state: functional_call(blank, state, x))(*state).softmax(2).mean(0)

    seconds = side_by_side(
        {
            "loop": lambda: torch.stack([each(x).softmax(1) for each in networks]).mean(0),
            "predict": lambda: model.predict(x, batch_size=len(x)),
            "stacked": lambda: vmapped(stack_module_state(networks)),
            "ready": lambda: vmapped(ready),
        },
        rounds=9 if members * x.numel() < 2**17 else 3,
    )
    shares = (ratio(seconds, way, "loop") for way in ("predict", "stacked", "ready"))
    return "".join(f"{share:10.2f}" for share in shares)


def single_row(make: Make, x: Tensor) -> str:
    """Return how many times longer than a plain pass `Deterministic.predict` takes."""
    network = make().to(x.device).eval()
    model = duda.Deterministic(network, duda.Categorical())
    ways = {
        "plain": lambda: network(x).softmax(1),
        "predict": lambda: model.predict(x, batch_size=len(x)),
    }
    return f"{ratio(side_by_side(ways, rounds=9), 'predict', 'plain'):10.2f}"


def main(arguments: Sequence[str] = ()) -> None:
    """Print both tables, over networks, members and batch sizes."""
    parser = argparse.ArgumentParser("benchmarks.members", description=__doc__)
    parser.add_argument("--device", default="cpu")
    device = parser.parse_args(arguments).device
    torch.set_grad_enabled(False)
    if device == "cpu":
        torch.set_num_threads(1)
    print(f"{device}, {machine()}")
    print("\nDeepEnsemble, over a loop by hand")
    print(f"{'network':<20} members   rows   predict   stacked     ready")
    for name, (make, shape, batches) in NETWORKS.items():
        for members in (5, 20):
            for rows in batches:
                x = torch.randn(rows, *shape, device=device)
                print(f"{name:<20} {members:7d} {rows:6d}{members_row(make, members, x)}")
    print("\nDeterministic, over a plain pass")
    print(f"{'network':<20}   rows   predict")
    for name, (make, shape, batches) in NETWORKS.items():
        for rows in batches:
            x = torch.randn(rows, *shape, device=device)
            print(f"{name:<20} {rows:6d}{single_row(make, x)}")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
