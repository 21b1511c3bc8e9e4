"""How many labels does MNIST take to 95 % accuracy, if the model chooses what is labelled?

Run with `python -m benchmarks.active_learning`, with `DUDA_DATA` set; with `--full` for three seeds
and more ways of choosing. As in Gal et al. 2017: MC-Dropout starts with 20 labels, two of each
digit, is trained anew and then has 10 more labelled, up to 95 % of the test digits right. Unlike
there, a step looks at 2,000 digits of the pool, drawn anew, and the CNN is that of `duda compare`.
What random labels bring is looked at once in 50.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch import Tensor

import duda
from benchmarks.clock import machine
from duda.comparison.networks import network_factory
from duda.datasets import Split, load
from duda.decisions import acquire
from duda.sampling.generators import seeded

GOAL = 0.95
FIRST, MORE, MOST = 20, 10, 1000
LOOKED_AT, SAMPLES, STEPS = 2000, 20, 300
EVERY = 50  # labels


def trained(split: Split, chosen: Tensor, seed: int) -> duda.MCDropout:
    """Return a new network, trained on the chosen digits for about so many steps."""
    with seeded(seed, []):
        model = duda.MCDropout(network_factory(split, duda.Categorical())(), duda.Categorical())
    x, y = split.train[0][chosen], split.train[1][chosen]
    batch = min(32, len(x))
    epochs = max(1, STEPS // -(-len(x) // batch))
    duda.fit(model, (x, y), epochs=epochs, batch_size=batch, seed=seed)
    return model


def first_labels(y: Tensor, random: torch.Generator) -> Tensor:
    """Return equally many examples of each class."""
    order = torch.randperm(len(y), generator=random)
    each = FIRST // 10
    return torch.cat([order[y[order] == digit][:each] for digit in range(10)])


def accuracies(split: Split, by: str, seed: int) -> dict[int, float]:
    """Return the test accuracy by the number of labels, up to the goal."""
    random = torch.Generator().manual_seed(seed)
    chosen = first_labels(split.train[1], random)
    found: dict[int, float] = {}
    more = EVERY if by == "random" else MORE
    while True:
        model = trained(split, chosen, seed)
        answer = model.predict(split.test[0], samples=SAMPLES, seed=seed, batch_size=1000)
        found[len(chosen)] = duda.evaluation.accuracy(answer.probs, split.test[1])
        if found[len(chosen)] >= GOAL or len(chosen) + more > MOST:
            return found
        order = torch.randperm(len(split.train[0]), generator=random)
        pool = order[~torch.isin(order, chosen)][:LOOKED_AT]
        draws = by == "batch-bald"
        answer = model.predict(
            split.train[0][pool], samples=SAMPLES, seed=seed, keep_draws=draws, batch_size=1000
        )
        chosen = torch.cat([chosen, pool[acquire(answer, more, by=by, seed=seed)]])


def labels_to(accuracy: float, found: dict[int, float]) -> int | None:
    """Return how many labels it took, if it came to that."""
    return next((labels for labels, value in found.items() if value >= accuracy), None)


def main(full: bool = False) -> None:
    """Print a row for each way of choosing."""
    torch.set_num_threads(1)
    print(machine())
    split = load("mnist")
    ways = ("bald", "batch-bald", "variation-ratio", "entropy", "margin", "random")
    print("| chosen by | labels to 90 % | to 95 % | of random's | accuracy at 120 | minutes |")
    print("|---|---|---|---|---|---|")
    at_random: float | None = None
    for by in reversed(ways) if full else ("random", "bald"):
        start = time.monotonic()
        runs = [accuracies(split, by, seed) for seed in range(3 if full else 1)]
        cells = []
        for goal in (0.9, GOAL):
            labels = [labels_to(goal, found) for found in runs]
            counted = [MOST if each is None else each for each in labels]
            cells.append(
                f"{statistics.mean(counted):.0f}"
                + (f" ({min(counted)}-{max(counted)})" if full else "")
                + (" not reached" if None in labels else "")
            )
        at_random = statistics.mean(counted) if at_random is None else at_random
        at_120 = statistics.mean(found[120] for found in runs)
        minutes = (time.monotonic() - start) / 60
        print(
            f"| {by} | {' | '.join(cells)} | {statistics.mean(counted) / at_random:.2f} | "
            f"{at_120:.3f} | {minutes:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="three seeds, six ways of choosing")
    main(parser.parse_args().full)
