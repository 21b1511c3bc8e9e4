"""Metrics against those of other libraries, side by side in one run.

Run with `python -m benchmarks.evaluation`, from an environment that has the peers; a peer that is
not installed is left out.
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks.clock import machine, ratio, side_by_side
from duda import evaluation

SIZES = ((1_000_000, 10), (100_000, 1000))
ROUNDS = 5

Ways = dict[str, Callable[[], object]]


def classes(n: int, width: int) -> tuple[Tensor, Tensor]:
    """Return probabilities in float32 of a model that is mostly right, and labels."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(width, (n,), generator=generator)
    logits = torch.randn(n, width, generator=generator)
    sure = 8 * torch.rand(n, 1, generator=generator)
    return logits.scatter_add_(1, y.unsqueeze(1), sure).softmax(1), y


def reliability(n: int, width: int) -> Ways:
    probs, y = classes(n, width)

    def torchmetrics() -> object:
        from torchmetrics.functional.classification import multiclass_calibration_error

        return multiclass_calibration_error(probs, y, num_classes=width, n_bins=15)

    def netcal() -> object:
        from netcal.metrics import ECE

        return ECE(15).measure(probs.numpy(), y.numpy())

    return {
        "duda": lambda: evaluation.reliability(probs, y).ece,
        "torchmetrics": torchmetrics,
        "netcal": netcal,
    }


def brier(n: int, width: int) -> Ways:
    probs, y = classes(n, width)

    def sklearn() -> object:
        from sklearn.metrics import brier_score_loss

        return brier_score_loss(y.numpy(), probs.numpy(), labels=range(width))

    return {"duda": lambda: evaluation.brier(probs, y), "scikit-learn": sklearn}


def nll(n: int, width: int) -> Ways:
    probs, y = classes(n, width)

    def sklearn() -> object:
        from sklearn.metrics import log_loss

        return log_loss(y.numpy(), probs.numpy(), labels=range(width))

    return {"duda": lambda: evaluation.nll(probs, y), "scikit-learn": sklearn}


def gaussians(n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return means, standard deviations, and targets that are drawn from them."""
    generator = torch.Generator().manual_seed(0)
    mean, noise = torch.randn(2, n, generator=generator, dtype=torch.float64)
    std = torch.rand(n, generator=generator, dtype=torch.float64) + 0.1
    return mean, std, mean + std * noise


def crps(n: int) -> Ways:
    mean, std, y = gaussians(n)

    def properscoring() -> object:
        from properscoring import crps_gaussian

        return crps_gaussian(y.numpy(), mean.numpy(), std.numpy()).mean()

    def uncertainty_toolbox() -> object:
        from uncertainty_toolbox import crps_gaussian

        return crps_gaussian(mean.numpy(), std.numpy(), y.numpy())

    return {
        "duda": lambda: evaluation.crps_of_gaussian(mean, std, y).mean(),
        "properscoring": properscoring,
        "uncertainty-toolbox": uncertainty_toolbox,
    }


def crps_of_draws(n: int, count: int) -> Ways:
    _, _, y = gaussians(n)
    draws = torch.randn(count, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def properscoring() -> object:
        from properscoring import crps_ensemble

        return crps_ensemble(y.numpy(), draws.numpy().T).mean()

    return {
        "duda": lambda: evaluation.crps_of_draws(draws, y).mean(),
        "properscoring": properscoring,
    }


def coverage(n: int, count: int) -> Ways:
    """Return ways to find the shares inside central intervals of `count` even levels, 0 to 1."""
    mean, std, y = gaussians(n)

    def uncertainty_toolbox() -> object:
        from uncertainty_toolbox.metrics_calibration import get_proportion_lists

        arrays = mean.numpy(), std.numpy(), y.numpy()
        return get_proportion_lists(*arrays, num_bins=count, prop_type="interval")

    bins = 2 * (count - 1)
    return {
        "duda": lambda: evaluation.pit(mean, y, std=std, bins=bins).coverage.observed,
        "uncertainty-toolbox": uncertainty_toolbox,
    }


def ranks(n: int) -> tuple[Tensor, Tensor]:
    """Return scores and whether the examples are bad, three of ten and with higher scores."""
    generator = torch.Generator().manual_seed(0)
    bad = torch.rand(n, generator=generator) < 0.3
    return torch.randn(n, generator=generator, dtype=torch.float64) + bad, bad


def auroc(n: int) -> Ways:
    score, bad = ranks(n)

    def sklearn() -> object:
        from sklearn.metrics import roc_auc_score

        return roc_auc_score(bad.numpy(), score.numpy())

    def torchmetrics() -> object:
        from torchmetrics.functional.classification import binary_auroc

        return binary_auroc(score, bad.long())

    return {
        "duda": lambda: evaluation.rank(score, bad).auroc,
        "scikit-learn": sklearn,
        "torchmetrics": torchmetrics,
    }


def average_precision(n: int) -> Ways:
    score, bad = ranks(n)

    def sklearn() -> object:
        from sklearn.metrics import average_precision_score

        return average_precision_score(bad.numpy(), score.numpy())

    return {
        "duda": lambda: evaluation.rank(score, bad).average_precision,
        "scikit-learn": sklearn,
    }


# What is measured: for each of its sizes, ways to find the same number; "duda" is one of them.
ROWS: dict[str, tuple[Callable[..., Ways], tuple[tuple[int, ...], ...]]] = {
    "reliability": (reliability, SIZES),
    "brier": (brier, SIZES),
    "nll": (nll, SIZES),
    "crps": (crps, ((1_000_000,),)),
    "crps of draws": (crps_of_draws, ((100_000, 20),)),
    "coverage": (coverage, ((1_000_000, 100),)),
    "auroc": (auroc, ((1_000_000,),)),
    "average precision": (average_precision, ((1_000_000,),)),
}


def installed(ways: Ways) -> Iterator[str]:
    """Yield the names of the ways whose library is there, and say which are not."""
    for name, way in ways.items():
        try:
            way()
        except ImportError as error:
            print(f"left out: {name} ({error})")
        else:
            yield name


def main() -> None:
    """Print a row for each metric and size: seconds, and how many times longer peers take."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(machine())
    print("| metric | size | duda | peers, times longer |")
    print("|---|---|---|---|")
    for metric, (ways_of, sizes) in ROWS.items():
        for size in sizes:
            ways = ways_of(*size)
            seconds = side_by_side({name: ways[name] for name in installed(ways)}, ROUNDS)
            peers = (name for name in seconds if name != "duda")
            cells = ", ".join(f"{name} {ratio(seconds, name, 'duda'):.2f}" for name in peers)
            own = statistics.median(seconds["duda"])
            shape = " x ".join(f"{length:,}" for length in size)
            print(f"| {metric} | {shape} | {own:.3f} s | {cells} |", flush=True)


if __name__ == "__main__":
    main()
