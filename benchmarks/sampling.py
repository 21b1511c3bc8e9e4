"""50 draws of a CNN with dropout in its head: what sharing the trunk and cheap masks are worth.

Run with `python -m benchmarks.sampling`; the peers' rows appear where the `peers` extra is
installed.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import vmap

import duda
from benchmarks.clock import machine, ratio, side_by_side

SAMPLES = 50
FEATURES = 64 * 7 * 7


class Network(nn.Module):
    """A small CNN whose only dropout is in front of its head."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Sequential(nn.Linear(FEATURES, 128), nn.ReLU(), nn.Linear(128, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(self.trunk(x)))


def ways(network: Network, x: Tensor) -> dict[str, Callable[[], object]]:
    """Return the ways to take 50 draws, each ending in the mean of the probabilities."""
    dropping = Network()
    dropping.load_state_dict(network.state_dict())
    dropping.train()  # there is nothing but dropout that knows the difference
    model = duda.MCDropout(network, duda.Categorical(), samples=SAMPLES)
    rows = len(x)

    def loop() -> Tensor:
        return torch.stack([dropping(x).softmax(1) for _ in range(SAMPLES)]).mean(0)

    def repeat() -> Tensor:
        repeated = x.repeat(SAMPLES, 1, 1, 1)
        return dropping(repeated).softmax(1).view(SAMPLES, rows, -1).mean(0)

    def plain_vmap() -> Tensor:
        draws = vmap(lambda _: dropping(x), randomness="different")(torch.arange(SAMPLES))
        return draws.softmax(2).mean(0)

    def by_hand() -> Tensor:
        features = network.trunk(x).expand(SAMPLES, rows, FEATURES)
        return network.head(F.dropout(features, 0.5)).softmax(2).mean(0)

    dropped = torch.rand(SAMPLES * rows, FEATURES)

    return {
        "repeat the batch": repeat,
        "loop": loop,
        "vmap": plain_vmap,
        "trunk once, head by hand": by_hand,
        "duda": lambda: model.predict(x, seed=0, batch_size=rows),
        "one plain pass": lambda: network(x),
        "the head's matrix product": lambda: dropped @ network.head[0].weight.T,
    } | peers(network, x)


def peers(network: Network, x: Tensor) -> dict[str, Callable[[], object]]:
    """Return what the peers do for the same, where they are installed."""
    found: dict[str, Callable[[], object]] = {}
    try:
        from torch_uncertainty.methods import mc_dropout
    except ImportError:
        print("(torch-uncertainty is not installed)")
    else:
        repeating = mc_dropout(copy.deepcopy(network), SAMPLES).eval()
        looping = mc_dropout(copy.deepcopy(network), SAMPLES, on_batch=False).eval()
        found["torch-uncertainty"] = lambda: repeating(x)
        found["torch-uncertainty, on_batch=False"] = lambda: looping(x)
    try:
        from lightning_uq_box.uq_methods import MCDropoutClassification
    except ImportError:
        print("(lightning-uq-box is not installed)")
    else:
        method = MCDropoutClassification(copy.deepcopy(network), SAMPLES, nn.CrossEntropyLoss())
        method.eval()
        found["lightning-uq-box"] = lambda: method.predict_step(x)
    return found


def chunks(network: Network, x: Tensor) -> dict[str, Callable[[], object]]:
    """Return predictions in chunks of several sizes, and in those that duda chooses."""
    model = duda.MCDropout(network, duda.Categorical(), samples=SAMPLES)
    sizes = {"as chosen": None, **{str(size): size for size in (1, 2, 5, 10, 25, 50)}}
    return {
        name: partial(model.predict, x, seed=0, batch_size=len(x), chunk=size)
        for name, size in sizes.items()
    }


def main() -> None:
    """Print a table for each batch size, and one of chunks."""
    torch.set_grad_enabled(False)
    generator = torch.Generator().manual_seed(0)
    network = Network().eval()
    print(f"{SAMPLES} draws, {machine()}")
    for rows in (1, 32, 256):
        x = torch.rand(rows, 1, 28, 28, generator=generator)
        network.eval()
        seconds = side_by_side(ways(network, x))
        print(f"\nbatch of {rows:<28} median s   / by hand   / loop")
        for name, times in seconds.items():
            print(
                f"  {name:<34} {statistics.median(times):9.4f}   "
                f"{ratio(seconds, name, 'trunk once, head by hand'):9.2f}   "
                f"{ratio(seconds, name, 'loop'):6.2f}"
            )

    seconds = side_by_side(chunks(network, x))
    print(f"\nduda, batch of {len(x)}, draws in a chunk   median s   / as chosen")
    for name, times in seconds.items():
        middle = statistics.median(times)
        print(f"  {name:<34} {middle:9.4f}   {ratio(seconds, name, 'as chosen'):9.2f}")


if __name__ == "__main__":
    main()
