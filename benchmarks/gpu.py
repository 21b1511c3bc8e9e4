"""Prediction where networks live: duda beside the simplest way, by hand and torch-uncertainty.

Run with `python -m benchmarks.gpu` on a machine with a GPU (within four minutes), or with `--small`
anywhere, for sizes that show only that all ways run. Peers' rows appear where they are installed.
"""

from __future__ import annotations

import copy
import functools
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

import duda
from benchmarks.calls import calls_of
from benchmarks.clock import machine, ratio, side_by_side
from benchmarks.resnet import resnet18, resnet50
from benchmarks.sampling import Network
from duda.graphs import NotCaptured

__all__ = ["Work", "lines", "works"]

_SECONDS = 200  # after which no further work is begun
Ways = dict[str, Callable[[], object]]


@dataclass(frozen=True)
class Work:
    """One kind of work, and ways to do it.

    Args:
        name: what is done.
        ways: the first is what the others are measured by.
    """

    name: str
    ways: Ways


class Encoder(nn.Module):
    """A transformer with dropout in each layer."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, 8, 4 * width, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, layers)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x).mean(1))


def mlp(width: int, p: float = 0.1) -> nn.Module:
    """Return an MLP with dropout in each layer."""
    sizes = [100, width, width, width]
    hidden = [
        part
        for i, o in itertools.pairwise(sizes)
        for part in (nn.Linear(i, o), nn.ReLU(), nn.Dropout(p))
    ]
    return nn.Sequential(*hidden, nn.Linear(width, 10))


def works(device: torch.device, *, small: bool) -> Iterator[Callable[[], Work]]:
    """Yield what makes each kind of work, when it is its turn."""
    for rows in (2, 4) if small else (1, 32, 256, 4096):
        yield functools.partial(head_dropout, device, rows, 3 if small else 50)
    yield functools.partial(_every_layer, device, mlp(16 if small else 512), (100,), small, 8192)
    width, steps = (8, 4) if small else (512, 128)
    encoder = Encoder(width, 1 if small else 6)
    for rows in (1,) if small else (1, 32, 128):
        yield functools.partial(_every_layer, device, encoder, (steps, width), small, rows)
    yield functools.partial(_large_trunk, device, small)
    residual = functools.partial(resnet18, 4 if small else 64)
    for rows in (2,) if small else (1, 256):
        yield functools.partial(_members, device, residual, (3, 32, 32), 2 if small else 5, rows)
    for rows in (2,) if small else (1, 4096):
        of_tables = functools.partial(mlp, 8 if small else 100, 0.0)
        yield functools.partial(_members, device, of_tables, (100,), 3 if small else 20, rows)
    rows = 2 if small else 256
    yield functools.partial(_drawn_weights, device, residual, 2 if small else 20, rows)
    yield functools.partial(_plain, device, residual, rows)
    yield functools.partial(_metrics, device, 100 if small else 10**7)


def head_dropout(device: torch.device, rows: int, draws: int) -> Work:
    """Return draws of a CNN whose only dropout is in front of its head."""
    network = Network().to(device).eval()
    x = torch.rand(rows, 1, 28, 28, device=device)

    def by_hand() -> Tensor:
        features = network.trunk(x)
        dropped = F.dropout(features.expand(draws, *features.shape), 0.5)
        return network.head(dropped).softmax(2).mean(0)

    ways: Ways = {"by hand": by_hand, **_duda(network, x, draws), **_peers(network, x, draws)}
    return Work(f"dropout in the head of a CNN, {draws} draws of {rows}", ways)


def _large_trunk(device: torch.device, small: bool) -> Work:
    """Return draws of a ResNet-50 whose only dropout is in front of its last layer."""
    width, rows, pixels, draws = (4, 2, 32, 2) if small else (64, 128, 224, 50)
    network = resnet50(width).to(device).eval()
    x = torch.rand(rows, 3, pixels, pixels, device=device)
    ways: Ways = {
        "plain pass": lambda: network(x),
        **_duda(network, x, draws),
        **_peers(network, x, draws),
    }
    return Work(f"dropout before the last layer of a ResNet-50, {draws} draws of {rows}", ways)


def _every_layer(
    device: torch.device, network: nn.Module, shape: tuple[int, ...], small: bool, rows: int
) -> Work:
    """Return draws of a network with dropout in each layer."""
    draws, rows = (2, 2) if small else (20, rows)
    network = network.to(device).eval()
    dropping = copy.deepcopy(network).train()
    x = torch.rand(rows, *shape, device=device)

    def repeat() -> Tensor:
        return dropping(x.repeat(draws, *[1] * len(shape))).softmax(1).view(draws, rows, -1).mean(0)

    def loop() -> Tensor:
        return torch.stack([dropping(x).softmax(1) for _ in range(draws)]).mean(0)

    ways: Ways = {"repeat": repeat, "loop": loop, **_duda(network, x, draws)}
    return Work(f"dropout in each layer of a {_kind(network)}, {draws} draws of {rows}", ways)


def _members(
    device: torch.device,
    make: Callable[[], nn.Module],
    shape: tuple[int, ...],
    size: int,
    rows: int,
) -> Work:
    """Return the members of an ensemble."""
    networks = [make().to(device).eval() for _ in range(size)]
    model = duda.DeepEnsemble(networks, duda.Categorical())
    x = torch.rand(rows, *shape, device=device)
    ways: Ways = {
        "loop": lambda: torch.stack([each(x).softmax(1) for each in networks]).mean(0),
        "duda": lambda: model.predict(x, batch_size=rows),
    }
    kind = "ResNet-18" if len(shape) == 3 else "MLP"
    return Work(f"ensemble of {size} {kind}, batch of {rows}", ways)


def _drawn_weights(
    device: torch.device, make: Callable[[], nn.Module], draws: int, rows: int
) -> Work:
    """Return draws of a CNN with weights of its own in each."""
    network = make().to(device).eval()
    x = torch.rand(rows, 3, 32, 32, device=device)
    matrices = {name for name, weight in network.named_parameters() if weight.ndim > 1}
    dropconnect = duda.MCDropConnect(network, duda.Categorical(), samples=draws)
    variational = duda.Variational(
        copy.deepcopy(network), duda.Categorical(), samples=draws, examples=50_000
    ).to(device)

    def by_hand() -> Tensor:
        found = []
        for _ in range(draws):
            weights = {
                name: F.dropout(weight, 0.1) if name in matrices else weight
                for name, weight in network.named_parameters()
            }
            found.append(functional_call(network, weights, (x,)).softmax(1))
        return torch.stack(found).mean(0)

    ways: Ways = {
        "MC-DropConnect by hand": by_hand,
        "duda.MCDropConnect": lambda: dropconnect.predict(x, batch_size=rows),
        "duda.Variational": lambda: variational.predict(x, batch_size=rows),
    }
    return Work(f"weights drawn in each layer of a ResNet-18, {draws} draws of {rows}", ways)


def _plain(device: torch.device, make: Callable[[], nn.Module], rows: int) -> Work:
    """Return one pass."""
    network = make().to(device).eval()
    x = torch.rand(rows, 3, 32, 32, device=device)
    model = duda.Deterministic(network, duda.Categorical())
    ways: Ways = {
        "plain pass": lambda: network(x),
        "duda": lambda: model.predict(x, batch_size=rows),
    }
    return Work(f"one pass of a ResNet-18, batch of {rows}", ways)


def _metrics(device: torch.device, rows: int) -> Work:
    """Return metrics of probabilities of ten classes."""
    probs = torch.rand(rows, 10, device=device).softmax(1)
    y = torch.randint(10, (rows,), device=device)
    ways: Ways = {"counts of all labels": lambda: torch.bincount(y)}
    try:
        from torchmetrics.functional.classification import multiclass_calibration_error
    except ImportError:
        print("(torchmetrics is not installed)")
    else:
        ways["torchmetrics ECE"] = lambda: multiclass_calibration_error(probs, y, 10)
    ways["duda reliability"] = lambda: duda.evaluation.reliability(probs, y).ece
    ways["duda nll"] = lambda: duda.evaluation.nll(probs, y)
    return Work(f"metrics of {rows} x 10 probabilities", ways)


def _duda(network: nn.Module, x: Tensor, draws: int) -> Ways:
    """Return MC-Dropout, and the same with the network captured."""
    model = duda.MCDropout(network, duda.Categorical(), samples=draws)
    captured = duda.MCDropout(copy.deepcopy(network), duda.Categorical(), samples=draws)
    ways: Ways = {"duda": lambda: model.predict(x, batch_size=len(x))}
    try:
        captured.prepare(x)
    except NotCaptured as error:
        print(f"({error})")
    else:
        ways["duda, prepared"] = lambda: captured.predict(x, batch_size=len(x))
    return ways


def _peers(network: nn.Module, x: Tensor, draws: int) -> Ways:
    try:
        from torch_uncertainty.methods import mc_dropout
    except ImportError:
        return {}
    repeating = mc_dropout(copy.deepcopy(network), draws).eval()
    return {"torch-uncertainty": lambda: repeating(x)}


def _kind(network: nn.Module) -> str:
    return "MLP" if isinstance(network, nn.Sequential) else type(network).__name__


def lines(work: Work, rounds: int) -> Iterator[str]:
    """Yield a row for each way: its calls of torch, its median, and how many times the first's."""
    seconds = side_by_side(work.ways, rounds)
    first = next(iter(work.ways))
    yield f"\n{work.name:<58}  calls median ms   / {first}"
    for name, times in seconds.items():
        middle, calls = 1e3 * statistics.median(times), calls_of(work.ways[name])
        yield f"  {name:<56} {calls:6d} {middle:9.3f}   {ratio(seconds, name, first):6.2f}"


def main(small: bool = False) -> None:
    """Print a table for each kind of work."""
    if not (small or torch.cuda.is_available()):
        print("(there is no GPU here: `python -m benchmarks.gpu --small` shows that all runs)")
        return
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"predictions, {machine()}")
    start = time.monotonic()
    for make in works(device, small=small):
        if time.monotonic() - start > _SECONDS:
            print("\n(the rest was left out for want of time)")
            break
        for line in lines(make(), rounds=1 if small else 7):
            print(line, flush=True)


if __name__ == "__main__":
    main(small="--small" in sys.argv)
