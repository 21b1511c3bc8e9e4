"""CIFAR-10 by the usual recipe: networks, ensembles, dropout, SWAG and Laplace, side by side.

Run with `DUDA_DATA=... python -m benchmarks.cifar --device cuda`: ResNet-18 and ResNet-20, 200
epochs of SGD with momentum 0.9, a rate of 0.1 that falls by a cosine, weight decay 5e-4, crops and
flips, in bfloat16 on a GPU. With `--small` a narrow ResNet-18 sees some pictures of half the size,
for minutes on a processor: it shows the order of the methods, and no published number.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

import duda
from benchmarks.clock import machine
from benchmarks.resnet import Block, ResNet20, resnet18
from duda import evaluation
from duda.predictions import ClassPrediction
from duda.training.augmentations import Crop, Flip

__all__ = ["main"]

MEMBERS = 5
DRAWS = 30
_LOWER = [str(i) for i in range(9)]  # all but the last stage of a ResNet-18
_COLLECTED = 0.75  # the share of SWAG's steps after which its weights are collected
_SWAG_RATE = 0.1  # of the first one, from there on

# Of a ResNet-20 in table 6; of a ResNet-18 what papers report with this recipe, about.
PUBLISHED = {
    ("resnet20", "one network"): "91.25 % (He et al. 2016)",
    ("resnet18", "one network"): "about 95 %, 0.16 to 0.19",
    ("resnet18", "ensemble"): "about 96 %, 0.11 to 0.13",
}


@dataclass(frozen=True)
class Plan:
    """What is trained, on what, and for how long."""

    name: str
    network: Callable[[], nn.Module]
    shared: Sequence[str]
    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    epochs: int
    device: torch.device
    padding: int

    @property
    def steps(self) -> int:
        """How many the training has."""
        return self.epochs * -(-len(self.train[1]) // 128)

    def training(self, swag: bool = False) -> duda.Training:
        """Return how weights learn; with SWAG the rate stays where weights still move."""
        on_gpu = self.device.type == "cuda"
        return duda.Training(
            optimizer=functools.partial(torch.optim.SGD, momentum=0.9, weight_decay=5e-4),
            lr=0.1,
            schedule=functools.partial(_to_a_plateau, steps=self.steps) if swag else "cosine",
            augment=[Crop(self.padding), Flip()],
            precision="bf16" if on_gpu else None,
            channels_last=on_gpu,
        )

    def fit(self, model: duda.UncertainModel, seed: int, swag: bool = False) -> duda.UncertainModel:
        """Return the model, trained."""
        duda.fit(
            model.to(self.device),
            self.train,
            epochs=self.epochs,
            training=self.training(swag),
            seed=seed,
        )
        return model


def _to_a_plateau(optimizer: Optimizer, steps: int) -> LambdaLR:
    """Return the schedule of Maddox et al. 2019: half at the first rate, then a line down."""

    def factor(step: int) -> float:
        gone = min(1.0, max(0.0, (step / steps - 0.5) / (_COLLECTED - 0.5)))
        return 1 - gone * (1 - _SWAG_RATE)

    return LambdaLR(optimizer, factor)


def with_dropout(network: Callable[[], nn.Module], p: float = 0.1) -> nn.Module:
    """Return a new network with dropout after each of its blocks."""
    made = network()
    for parent in list(made.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Block):
                setattr(parent, name, nn.Sequential(child, nn.Dropout(p)))
    return made


def answers(plan: Plan) -> dict[str, Callable[[], list[ClassPrediction]]]:
    """Return by method what trains it and returns its predictions, one for each network alone."""
    likelihood = duda.Categorical()
    ensemble = duda.DeepEnsemble(plan.network, likelihood, MEMBERS)

    def ask(model: duda.UncertainModel) -> list[ClassPrediction]:
        samples = None if isinstance(model, duda.DeepEnsemble | duda.SubEnsemble) else DRAWS
        single = isinstance(model, duda.Deterministic)
        return [model.predict(plan.test[0], seed=0, samples=None if single else samples)]

    def members() -> list[ClassPrediction]:
        plan.fit(ensemble, seed=0)
        return [p for part in ensemble.independent() for p in ask(part)]

    def laplace() -> list[ClassPrediction]:
        model = duda.Laplace(ensemble.members[0], likelihood)
        model.fit_posterior(plan.train)
        return ask(model)

    def dropout() -> list[ClassPrediction]:
        network = with_dropout(plan.network)
        return ask(plan.fit(duda.MCDropout(network, likelihood), seed=1))

    def heads() -> list[ClassPrediction]:
        first = ensemble.members[0]
        model = duda.SubEnsemble(plan.network, likelihood, plan.shared, MEMBERS, trained=first)
        return ask(plan.fit(model, seed=2))

    def swag() -> list[ClassPrediction]:
        model = duda.SWAG(plan.network(), likelihood, start=_COLLECTED)
        return ask(plan.fit(model, seed=3, swag=True))

    return {
        "one network": members,
        "Laplace, last layer": laplace,
        "MC-Dropout": dropout,
        "SWAG": swag,
        f"sub-ensemble of {MEMBERS}": heads,
        f"ensemble of {MEMBERS}": lambda: ask(ensemble),
    }


def figures(predictions: Sequence[ClassPrediction], y: Tensor) -> tuple[float, float, float]:
    """Return accuracy, NLL and ECE, the mean over some predictions."""
    each = torch.tensor(
        [
            [evaluation.accuracy(p, y), evaluation.nll(p, y), evaluation.reliability(p, y).ece]
            for p in predictions
        ],
        dtype=torch.float64,
    )
    accuracy, nll, ece = each.mean(0).tolist()
    return accuracy, nll, ece


def compare(plan: Plan) -> None:
    """Print a row for each method."""
    examples = len(plan.train[1])
    print(
        f"\n{plan.name}, {examples:,} training pictures of {plan.train[0].shape[-1]} pixels, "
        f"{plan.epochs} epochs, {len(plan.test[1]):,} test pictures\n"
    )
    print("| method | accuracy | NLL | ECE | seconds | published accuracy, NLL |")
    print("|---|---|---|---|---|---|")
    for method, answer in answers(plan).items():
        start = time.perf_counter()
        accuracy, nll, ece = figures(answer(), plan.test[1])
        seconds = time.perf_counter() - start
        known = PUBLISHED.get((plan.name, method.partition(" of")[0]), "")
        print(
            f"| {method} | {accuracy:.2%} | {nll:.3f} | {ece:.3f} | {seconds:.0f} | {known} |",
            flush=True,
        )


def normalized(x: Tensor) -> Tensor:
    """Return pictures with the mean and standard deviation of CIFAR-10's channels at 0 and 1."""
    mean = torch.tensor([0.4914, 0.4822, 0.4465]).view(1, 3, 1, 1)
    std = torch.tensor([0.2470, 0.2435, 0.2616]).view(1, 3, 1, 1)
    return (x - mean) / std


def main(arguments: Sequence[str] = ()) -> None:
    """Print a table for each network."""
    parser = argparse.ArgumentParser("benchmarks.cifar", description=__doc__)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--small", action="store_true", help="minutes on a processor")
    parser.add_argument("--epochs", type=int)
    given = parser.parse_args(arguments)
    data = duda.datasets.cifar_10((1,) if given.small else (1, 2, 3, 4, 5))
    (x, y), (test_x, test_y) = data.train, data.test
    print(machine(given.device))
    if given.small:
        pictures = [F.avg_pool2d(normalized(each), 2) for each in (x[:4000], test_x[:4000])]
        narrow = functools.partial(resnet18, width=8)
        plan = Plan(
            "resnet18 of width 8",
            narrow,
            _LOWER,
            (pictures[0], y[:4000]),
            (pictures[1], test_y[:4000]),
            given.epochs or 12,
            given.device,
            padding=2,
        )
        compare(plan)
        return
    train, test = (normalized(x), y), (normalized(test_x), test_y)
    networks: dict[str, tuple[Callable[[], nn.Module], list[str]]] = {
        "resnet18": (resnet18, _LOWER),
        "resnet20": (ResNet20, ["conv", "bn", "stage1", "stage2"]),
    }
    for name, (network, shared) in networks.items():
        compare(Plan(name, network, shared, train, test, given.epochs or 200, given.device, 4))


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
