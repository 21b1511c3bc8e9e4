"""A sub-ensemble of 15 heads on a ResNet-20 against 15 networks: what the shared trunk is worth.

Run with `OMP_NUM_THREADS=1 python -m benchmarks.sub_ensembles`. Arithmetic allows a speed-up of
15 / (trunk's share + 15 x head's share), the shares counted in FLOPs of matrix products and
convolutions; at least 0.85 of it should be reached, in the median over rounds.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import duda
from benchmarks.clock import asked_device, machine, ratio, side_by_side
from benchmarks.resnet import ResNet20

MEMBERS = 15
TRUNKS = {
    "last block in the heads": ["conv", "bn", "stage1", "stage2", "stage3.0", "stage3.1"],
    "last stage in the heads": ["conv", "bn", "stage1", "stage2"],
}


def flops(model: duda.UncertainModel, x: Tensor, members: int) -> int:
    """Return the floating-point operations of a prediction by some of the members."""
    with FlopCounterMode(display=False) as counter:
        model.predict(x, samples=members)
    return counter.get_total_flops()


def allowed(model: duda.SubEnsemble, x: Tensor) -> float:
    """Return the speed-up over all members as whole networks that arithmetic allows."""
    one, two = flops(model, x, 1), flops(model, x, 2)
    head = (two - one) / one
    return MEMBERS / (1 - head + MEMBERS * head)


def main(arguments: Sequence[str] = ()) -> None:
    """Print a table over trunks and batch sizes."""
    device = asked_device("sub_ensembles", arguments)
    print(f"{MEMBERS} members, ResNet-20 on 32 x 32 pictures, {machine(device)}")
    print(
        "                           batch   ensemble s   sub s   speed-up   allowed   share of it"
    )
    ensemble = duda.DeepEnsemble(ResNet20, duda.Categorical(), MEMBERS).to(device)
    for name, shared in TRUNKS.items():
        model = duda.SubEnsemble(ResNet20, duda.Categorical(), shared, MEMBERS).to(device)
        for rows in (32, 128):
            x = torch.randn(rows, 3, 32, 32).to(device)
            limit = allowed(model, x)
            seconds = side_by_side(
                {"ensemble": lambda: ensemble.predict(x), "sub": lambda: model.predict(x)}  # noqa: B023
            )
            faster = ratio(seconds, "ensemble", "sub")
            middle = {way: statistics.median(times) for way, times in seconds.items()}
            print(
                f"{name:<26} {rows:5d} {middle['ensemble']:12.3f} {middle['sub']:7.3f}"
                f" {faster:10.2f} {limit:9.2f} {faster / limit:13.2f}"
            )


if __name__ == "__main__":
    main(sys.argv[1:])
