"""How many labels does MNIST take to 95 % accuracy, if the model chooses what is labelled?

Run with `python -m benchmarks.active_learning`, with `DUDA_DATA` set; with `--full` for three seeds
and more ways of choosing. As in Gal et al. 2017: MC-Dropout starts with 20 labels, two of each
digit, is trained anew and then has 10 more labelled, up to 95 % of the test digits right. Unlike
there, a step looks at 5,000 digits of the pool, drawn anew, and the CNN is that of `duda compare`.
In the quick mode accuracy is measured once in 50 labels, as it takes longer than to choose.
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
from duda.sampling import seeded

GOAL = 0.95
FIRST, MORE, MOST = 20, 10, 1000
LOOKED_AT, SAMPLES = 5000, 20
WAYS = ("random", "bald", "batch-bald", "variation-ratio", "entropy", "margin")
STEPS, EPOCHS = 400, 20  # of training, at least


def trained(split: Split, chosen: Tensor, seed: int) -> duda.MCDropout:
    """Return a new network, trained on the chosen digits."""
    with seeded(seed, []):
        model = duda.MCDropout(network_factory(split, duda.Categorical())(), duda.Categorical())
    x, y = split.train[0][chosen], split.train[1][chosen]
    batch = min(32, len(x))
    epochs = max(EPOCHS, STEPS // -(-len(x) // batch))
    duda.fit(model, (x, y), epochs=epochs, batch_size=batch, seed=seed)
    return model


def first_labels(y: Tensor, random: torch.Generator) -> Tensor:
    """Return equally many examples of each class."""
    order = torch.randperm(len(y), generator=random)
    each = FIRST // 10
    return torch.cat([order[y[order] == digit][:each] for digit in range(10)])


def accuracies(split: Split, by: str, seed: int, every: int) -> dict[int, float]:
    """Return the test accuracy by the number of labels, once in so many, up to the goal."""
    random = torch.Generator().manual_seed(seed)
    chosen = first_labels(split.train[1], random)
    found: dict[int, float] = {}
    while True:
        due = (len(chosen) - FIRST) % every == 0
        if due or by != "random":  # which asks no model
            model = trained(split, chosen, seed)
        if due:
            answer = model.predict(split.test[0], samples=SAMPLES // 2, seed=seed)
            found[len(chosen)] = duda.evaluation.accuracy(answer.probs, split.test[1])
            if found[len(chosen)] >= GOAL:
                return found
        if len(chosen) + MORE > MOST:
            return found
        order = torch.randperm(len(split.train[0]), generator=random)
        pool = order[~torch.isin(order, chosen)][:LOOKED_AT]
        if by == "random":
            picked = torch.arange(MORE)
        else:
            draws = by == "batch-bald"
            answer = model.predict(
                split.train[0][pool], samples=SAMPLES, seed=seed, keep_draws=draws, joint=draws
            )
            picked = acquire(answer, MORE, by=by, seed=seed)
        chosen = torch.cat([chosen, pool[picked]])


def labels_to(accuracy: float, found: dict[int, float]) -> int | None:
    """Return how many labels it took, if it came to that."""
    return next((labels for labels, value in found.items() if value >= accuracy), None)


def labels_in_words(goal: float, runs: list[dict[int, float]]) -> tuple[float, str]:
    """Return how many labels the goal took on average, and the same with the range over runs."""
    labels = [labels_to(goal, found) for found in runs]
    counted = [MOST if each is None else each for each in labels]
    mean = statistics.mean(counted)
    words = ("> " if None in labels else "") + f"{mean:.0f}"
    return mean, words + (f" ({min(counted)}-{max(counted)})" if len(runs) > 1 else "")


def main(full: bool = False) -> None:
    """Print a row for each way of choosing."""
    torch.set_num_threads(1)
    print(machine())
    split = load("mnist")
    print("| chosen by | labels to 90 % | to 95 % | of random's | accuracy at 120 | minutes |")
    print("|---|---|---|---|---|---|")
    at_random: float | None = None
    for by in WAYS if full else WAYS[:2]:
        start = time.monotonic()
        seeds, every = (3, MORE) if full else (1, 50)
        runs = [accuracies(split, by, seed, every) for seed in range(seeds)]
        to_90, (labels, to_goal) = labels_in_words(0.9, runs)[1], labels_in_words(GOAL, runs)
        at_random = labels if at_random is None else at_random
        at_120 = statistics.mean(found[120] for found in runs)
        print(
            f"| {by} | {to_90} | {to_goal} | {labels / at_random:.2f} | {at_120:.3f} | "
            f"{(time.monotonic() - start) / 60:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="three seeds, six ways of choosing")
    main(parser.parse_args().full)
