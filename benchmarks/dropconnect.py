"""Weights that differ by draw: against a loop by hand, at once or in turn, and in some layers only.

Run with `python -m benchmarks.dropconnect`; with `--figure FILE` it draws the curve over λ.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

import duda
from benchmarks.clock import machine, ratio, side_by_side
from benchmarks.resnet import ResNet20
from benchmarks.sampling import Transformer

SAMPLES = 10
LAYERS = (0, 4, 7, 10, 13, 16, 18, 19)
Ways = dict[str, Callable[[], object]]


def main(arguments: Sequence[str] = ()) -> None:
    """Print the tables, and draw the curve if asked to."""
    parser = argparse.ArgumentParser("benchmarks.dropconnect", description=__doc__)
    parser.add_argument("--figure", type=Path, help="where to draw the curve, as .png or .svg")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    asked = parser.parse_args(arguments)
    figure, device = asked.figure, asked.device
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    print(f"{SAMPLES} draws, {machine(device)}")
    _over_by_hand(device)
    _at_once_or_in_turn(device)
    curve = _over_layers(device)
    if figure is not None:
        _draw(curve, figure)


def _over_layers(device: torch.device) -> list[tuple[int, float, float]]:
    """Return λ, time and arithmetic as shares of those with λ = 0, and print them."""
    network, x = ResNet20().eval().to(device), torch.randn(32, 3, 32, 32, device=device)
    models = {
        count: duda.MCDropConnect(network, duda.Categorical(), 0.1, count, SAMPLES)
        for count in LAYERS
    }
    ways: Ways = {
        str(count): lambda model=model: model.predict(x, seed=0) for count, model in models.items()
    }
    work = {count: _flops(way) for count, way in zip(models, ways.values(), strict=True)}
    seconds = side_by_side(ways, rounds=5)
    print("\nResNet-20, batch of 32: first λ of 20 layers plain")
    print("  λ   median s   / λ = 0   arithmetic / λ = 0")
    curve = []
    for count in LAYERS:
        share, arithmetic = ratio(seconds, str(count), "0"), work[count] / work[0]
        curve.append((count, share, arithmetic))
        median = statistics.median(seconds[str(count)])
        print(f" {count:2d} {median:10.3f} {share:9.2f} {arithmetic:20.2f}")
    return curve


def _flops(way: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        way()
    return counter.get_total_flops()


def _at_once_or_in_turn(device: torch.device) -> None:
    """Print how many times longer draws take at once, by vmap, than in turn."""
    print("\n  network                     rows   at once / in turn: MC-DropConnect   Variational")
    for name, network, shape in NETWORKS:
        for rows in (1, 8, 64):
            x = torch.randn(rows, *shape, device=device)
            ratios = []
            for method in (duda.MCDropConnect, duda.Variational):
                seconds = side_by_side(_both(method, network().to(device), x), rounds=3)
                ratios.append(ratio(seconds, "at once", "in turn"))
            print(f"  {name:<27} {rows:4d} {ratios[0]:35.2f} {ratios[1]:13.2f}")


def _both(method: type[duda.UncertainModel], network: nn.Module, x: Tensor) -> Ways:
    model = method(network, duda.Categorical(), samples=SAMPLES).to(x.device)

    def predict(at_once: bool) -> object:
        with patch(f"{method.__module__}.fast_in_vmap", lambda *_: at_once):
            return model.predict(x, seed=0)

    return {"at once": lambda: predict(True), "in turn": lambda: predict(False)}


def _over_by_hand(device: torch.device) -> None:
    """Print how many times longer `predict` takes than the same draws in a loop by hand."""
    print("\n  network                     rows   / by hand: MC-DropConnect   Variational")
    for name, network, shape in NETWORKS:
        for rows in (1, 32):
            x = torch.randn(rows, *shape, device=device)
            seconds = side_by_side(_beside_by_hand(network().to(device), x), rounds=5)
            shares = ratio(seconds, "dropconnect", "masks"), ratio(seconds, "variational", "noise")
            print(f"  {name:<27} {rows:4d} {shares[0]:27.2f} {shares[1]:13.2f}")


def _beside_by_hand(network: nn.Module, x: Tensor) -> Ways:
    weights = dict(network.named_parameters())
    stds = {name: torch.full_like(weight, 0.01) for name, weight in weights.items()}
    models = {
        "dropconnect": duda.MCDropConnect(network, duda.Categorical(), 0.1, samples=SAMPLES),
        "variational": duda.Variational(network, duda.Categorical(), samples=SAMPLES).to(x.device),
    }

    def by_hand(draw: Callable[[str, Tensor], Tensor]) -> Tensor:
        total = torch.zeros((), device=x.device)
        for _ in range(SAMPLES):
            drawn = {name: draw(name, weight) for name, weight in weights.items()}
            total = total + functional_call(network, drawn, (x,)).softmax(1)
        return total / SAMPLES

    def masked(_: str, weight: Tensor) -> Tensor:
        return F.dropout(weight, 0.1) if weight.ndim > 1 else weight

    def noisy(name: str, weight: Tensor) -> Tensor:
        return weight + stds[name] * torch.randn_like(weight)

    return {
        "masks": lambda: by_hand(masked),
        "noise": lambda: by_hand(noisy),
        **{name: partial(each.predict, x, batch_size=len(x)) for name, each in models.items()},
    }


def _perceptron(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(13, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2)
    ).eval()


def _convolutional(width: int) -> nn.Module:
    layers: list[nn.Module] = []
    for inputs in (3, width, width, width, width):
        layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)
    ).eval()


NETWORKS: tuple[tuple[str, Callable[[], nn.Module], tuple[int, ...]], ...] = (
    ("MLP 13-100-100-2", partial(_perceptron, 100), (13,)),
    ("MLP 13-400-400-2", partial(_perceptron, 400), (13,)),
    ("5 convolutions, 16 channels", partial(_convolutional, 16), (3, 32, 32)),
    ("5 convolutions, 64 channels", partial(_convolutional, 64), (3, 16, 16)),
    ("transformer, 2 layers of 64", lambda: Transformer(eager=False).eval(), (16, 64)),
)


def _draw(curve: list[tuple[int, float, float]], path: Path) -> None:
    import matplotlib.pyplot as plt

    layers, seconds, arithmetic = zip(*curve, strict=True)
    fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
    ax.plot(layers, seconds, "o-", label="time")
    ax.plot(layers, arithmetic, "--", color="0.4", label="arithmetic, counted")
    ax.axhline(1 / SAMPLES, color="0.7", lw=1)
    ax.annotate(
        "one pass", (0, 1 / SAMPLES), xytext=(0, 3), textcoords="offset points", color="0.4"
    )
    ax.set(
        xlabel="λ: layers at the front that keep their weights",
        ylabel="cost, all layers masked = 1",
        title=f"Selective DropConnect on ResNet-20, {SAMPLES} draws",
        ylim=(0, 1.1),
        xticks=layers,
    )
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    fig.savefig(path, dpi=150)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
