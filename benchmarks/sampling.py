"""Draws of a CNN with dropout in its head, and of transformers, against loops and repeats.

Run with `python -m benchmarks.sampling`, or `--device cuda`; the peers' rows appear where the
`peers` extra is installed.
"""

from __future__ import annotations

import copy
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import vmap

import duda
from benchmarks.clock import asked_device, machine, ratio, side_by_side

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


class Block(nn.Module):
    """A layer of a transformer, with attention as Hugging Face's networks call it."""

    def __init__(self, eager: bool, width: int = 64, p: float = 0.1) -> None:
        super().__init__()
        self.eager, self.p = eager, p
        self.inputs, self.outputs = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(p)
        self.hidden = nn.Sequential(
            nn.Linear(width, 2 * width), nn.ReLU(), nn.Dropout(p), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        heads = (each.unflatten(2, (4, -1)).transpose(1, 2) for each in self.inputs(x).chunk(3, 2))
        attended = self._attended(*heads).transpose(1, 2).flatten(2)
        x = self.first(x + self.dropout(self.outputs(attended)))
        return self.second(x + self.dropout(self.hidden(x)))

    def _attended(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if not self.eager:
            p = self.p if self.training else 0.0
            return F.scaled_dot_product_attention(q, k, v, dropout_p=p)
        weights = (q @ k.transpose(2, 3) * q.shape[-1] ** -0.5).softmax(3)
        return F.dropout(weights, self.p, self.training) @ v


class Transformer(nn.Module):
    """Two layers with dropout everywhere, and a head."""

    def __init__(self, eager: bool) -> None:
        super().__init__()
        self.layers, self.head = nn.Sequential(Block(eager), Block(eager)), nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x).mean(1))


def ways(network: Network, x: Tensor) -> dict[str, Callable[[], object]]:
    """Return the ways to take 50 draws, each ending in the mean of the probabilities."""
    dropping = copy.deepcopy(
        network
    ).train()  # there is nothing but dropout that knows the difference
    model = duda.MCDropout(network, duda.Categorical(), samples=SAMPLES)
    rows, numbers = len(x), torch.arange(SAMPLES, device=x.device)

    def loop() -> Tensor:
        return torch.stack([dropping(x).softmax(1) for _ in range(SAMPLES)]).mean(0)

    def repeat() -> Tensor:
        repeated = x.repeat(SAMPLES, 1, 1, 1)
        return dropping(repeated).softmax(1).view(SAMPLES, rows, -1).mean(0)

    def plain_vmap() -> Tensor:
        draws = vmap(lambda _: dropping(x), randomness="different")(numbers)
        return draws.softmax(2).mean(0)

    def by_hand() -> Tensor:
        features = network.trunk(x).expand(SAMPLES, rows, FEATURES)
        return network.head(F.dropout(features, 0.5)).softmax(2).mean(0)

    dropped = torch.rand(SAMPLES * rows, FEATURES, device=x.device)

    return {
        "repeat the batch": repeat,
        "loop": loop,
        "vmap": plain_vmap,
        "trunk once, head by hand": by_hand,
        "duda": lambda: model.predict(x, seed=0, batch_size=rows),
        "one plain pass": lambda: network(x),
        "the head's matrix product": lambda: dropped @ network.head[0].weight.T,
    } | peers(network, x)


def ways_everywhere(network: nn.Module, x: Tensor) -> dict[str, Callable[[], object]]:
    """Return the ways to take draws of a network with dropout in each layer."""
    dropping = copy.deepcopy(network).train()
    model = duda.MCDropout(network, duda.Categorical(), samples=SAMPLES)
    prepared = duda.MCDropout(copy.deepcopy(network), duda.Categorical(), samples=SAMPLES)
    prepared.prepare(x)
    repeated = (SAMPLES, *[1] * (x.ndim - 1))

    def loop() -> Tensor:
        return torch.stack([dropping(x).softmax(1) for _ in range(SAMPLES)]).mean(0)

    def repeat() -> Tensor:
        return dropping(x.repeat(repeated)).softmax(1).unflatten(0, (SAMPLES, -1)).mean(0)

    return {
        "repeat the batch": repeat,
        "loop": loop,
        "duda": lambda: model.predict(x, seed=0, batch_size=len(x)),
        "duda, prepared": lambda: prepared.predict(x, seed=0, batch_size=len(x)),
    }


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


def lines(
    title: str, ways: dict[str, Callable[[], object]], others: Sequence[str]
) -> Iterator[str]:
    """Yield the median of each way, and how many times longer than others it takes."""
    seconds = side_by_side(ways)
    yield f"\n{title:<36} median s" + "".join(f"   / {other}" for other in others)
    for name, times in seconds.items():
        ratios = "".join(f"   {ratio(seconds, name, each):{len(each) + 2}.2f}" for each in others)
        yield f"  {name:<34} {statistics.median(times):9.4f}{ratios}"


def main(arguments: Sequence[str] = ()) -> None:
    """Print a table for each network and batch size, and one of chunks."""
    device = asked_device("sampling", arguments)
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    network = Network().to(device).eval()
    print(f"{SAMPLES} draws, {machine(device)}")
    for rows in (1, 32, 256):
        x = torch.rand(rows, 1, 28, 28, device=device)
        others = ("trunk once, head by hand", "loop")
        print("\n".join(lines(f"CNN, batch of {rows}", ways(network, x), others)))
    title = f"duda, batch of {len(x)}, draws in a chunk"
    print("\n".join(lines(title, chunks(network, x), ("as chosen",))))
    for kind in ("sdpa", "eager"):
        transformer = Transformer(kind == "eager").to(device).eval()
        for rows in (1, 32):
            x = torch.rand(rows, 16, 64, device=device)
            title = f"transformer, {kind}, batch of {rows}"
            each = ways_everywhere(transformer, x)
            print("\n".join(lines(title, each, ("repeat the batch", "loop"))))


if __name__ == "__main__":
    main(sys.argv[1:])
