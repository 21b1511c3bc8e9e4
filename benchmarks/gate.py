"""Does every promise of a gate hold on MNIST, with Fashion-MNIST mixed in?

Run with `python -m benchmarks.gate`, with `DUDA_DATA` set. A small CNN with dropout learns 5,000
digits; its predictions for the test digits, and for as many pictures of clothes, are split 200
times at random into held-out and new examples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

import duda
from benchmarks.clock import machine
from duda.comparison.networks import network_factory
from duda.datasets import load
from duda.decisions import Gate
from duda.sampling import seeded

SPLITS, HELD_OUT, OUTLIERS = 200, 5000, 1000


@dataclass(frozen=True, eq=False)
class Pictures:
    """Scores of digits, which of them were labelled wrongly, and scores of clothes."""

    digits: Tensor
    bad: Tensor
    clothes: Tensor

    def splits(self) -> Iterator[tuple[Pictures, Pictures]]:
        """Yield held-out and new examples; both digits, but for clothes among the new ones."""
        random = torch.Generator().manual_seed(1)
        for _ in range(SPLITS):
            order = torch.randperm(len(self.digits), generator=random)
            clothes = self.clothes[torch.randperm(len(self.clothes), generator=random)]
            old, new = order[:HELD_OUT], order[HELD_OUT:]
            yield (
                Pictures(self.digits[old], self.bad[old], clothes[:0]),
                Pictures(self.digits[new], self.bad[new], clothes[:OUTLIERS]),
            )


def trained_pictures(examples: int = 5000, epochs: int = 8, samples: int = 30) -> Pictures:
    """Train, and predict once."""
    split = load("mnist")
    split = replace(split, train=(split.train[0][:examples], split.train[1][:examples]))
    with seeded(0, []):
        model = duda.MCDropout(network_factory(split, duda.Categorical())(), duda.Categorical())
    duda.fit(model, split.train, epochs=epochs, seed=0)
    digits = model.predict(split.test[0], samples=samples, seed=0)
    clothes = model.predict(load("fashion-mnist").test[0], samples=samples, seed=0)
    return Pictures(digits.score, digits.labels != split.test[1], clothes.score)


def kept(gate: Gate, new: Pictures) -> float:
    """Return the share of digits accepted."""
    return float(gate(new.digits).accepted.double().mean())


def wrong(gate: Gate, new: Pictures) -> float:
    """Return the share of wrong labels among the digits accepted."""
    return float(new.bad[gate(new.digits).accepted].double().mean())


def false_alarms(gate: Gate, new: Pictures) -> float:
    """Return the share of digits refused."""
    return float(gate(new.digits).refused.double().mean())


def false_discoveries(gate: Gate, new: Pictures) -> float:
    """Return the share of digits among what is refused of digits and clothes in one batch."""
    refused = gate(torch.cat([new.digits, new.clothes])).refused
    return int(refused[: len(new.digits)].sum()) / max(1, int(refused.sum()))


def cost(gate: Gate, new: Pictures) -> float:
    """Return the mean cost of a digit: 20 for an error, 1 for a refusal."""
    found = gate(new.digits)
    return float((20 * (found.accepted & new.bad) + found.refused).double().mean())


def clothes_refused(gate: Gate, new: Pictures) -> float:
    """Return the share of clothes refused, among the digits in one batch."""
    return float(gate(torch.cat([new.digits, new.clothes])).refused[-OUTLIERS:].double().mean())


@dataclass(frozen=True)
class Row:
    """A promise, what measures it on new examples, and the values that keep it.

    Args:
        promise: in words.
        gate: makes it.
        measured: the number promised about.
        broken: whether such a number breaks the promise.
        allowed: in which share of splits that may be; None where the mean over splits is promised.
    """

    promise: str
    gate: Callable[[], Gate]
    measured: Callable[[Gate, Pictures], float]
    broken: Callable[[float], bool]
    allowed: float | None


ROWS = (
    Row("keep(0.95): keeps >= 0.95", lambda: Gate.keep(0.95), kept, lambda x: x < 0.95, None),
    Row("keep(0.99): keeps >= 0.99", lambda: Gate.keep(0.99), kept, lambda x: x < 0.99, None),
    Row("risk(0.01): errors <= 0.01", lambda: Gate.risk(0.01), wrong, lambda x: x > 0.01, 0.05),
    Row("risk(0.003): errors <= 0.003", lambda: Gate.risk(0.003), wrong, lambda x: x > 0.003, 0.05),
    Row(
        "risk(0.01, 0.5): errors <= 0.01",
        lambda: Gate.risk(0.01, 0.5),
        wrong,
        lambda x: x > 0.01,
        0.5,
    ),
    Row(
        "false_alarm(0.05): alarms <= 0.05",
        lambda: Gate.false_alarm(0.05),
        false_alarms,
        lambda x: x > 0.05,
        None,
    ),
    Row(
        "false_alarm(0.05, batch): FDR <= 0.05",
        lambda: Gate.false_alarm(0.05, batch=True),
        false_discoveries,
        lambda x: x > 0.05,
        None,
    ),
)


def main() -> None:
    """Print a row for each promise."""
    torch.set_num_threads(1)
    print(machine())
    pictures = trained_pictures()
    splits = list(pictures.splits())
    print(
        f"{len(pictures.digits):,} digits, {float(pictures.bad.double().mean()):.2%} labelled "
        f"wrongly; {SPLITS} splits, {HELD_OUT:,} held out; {OUTLIERS:,} clothes among the new"
    )
    print("| promise | mean | broken | digits kept | clothes refused | splits without promise |")
    print("|---|---|---|---|---|---|")
    for row in ROWS:
        print(line(row, splits), flush=True)
    print_costs(splits)


def line(row: Row, splits: list[tuple[Pictures, Pictures]]) -> str:
    """Return the line of the table for one promise."""
    measured, digits, clothes = [], [], []
    for old, new in splits:
        try:
            gate = row.gate().fit(old.digits, is_bad=old.bad)
        except ValueError:
            continue
        measured.append(row.measured(gate, new))
        digits.append(kept(gate, new))
        clothes.append(clothes_refused(gate, new))
    if not measured:
        return f"| {row.promise} | | | | | {len(splits)} |"
    values = torch.tensor(measured, dtype=torch.float64)
    error = float(values.std()) / len(values) ** 0.5
    if row.allowed is None:
        broken_by = "by the mean" if row.broken(float(values.mean())) else "not by the mean"
    else:
        share = sum(map(row.broken, measured)) / len(splits)
        broken_by = f"in {share:.1%} of splits, allowed {row.allowed:.0%}"
    return (
        f"| {row.promise} | {float(values.mean()):.4f} ± {error:.4f} | {broken_by} | "
        f"{sum(digits) / len(digits):.3f} | {sum(clothes) / len(clothes):.3f} | "
        f"{len(splits) - len(measured)} |"
    )


def print_costs(splits: list[tuple[Pictures, Pictures]]) -> None:
    """Print what the gate of least cost costs on new examples, beside simpler rules."""
    paid, best, accepting = [], [], []
    for old, new in splits:
        gate = Gate.cost(error=20, refusal=1)
        paid.append(cost(gate.fit(old.digits, is_bad=old.bad), new))
        best.append(cost(gate.fit(new.digits, is_bad=new.bad), new))
        accepting.append(20 * float(new.bad.double().mean()))
    means = [sum(values) / len(values) for values in (paid, best, accepting)]
    print(
        "cost(error=20, refusal=1): {:.4f} an example; the best threshold in hindsight {:.4f}, "
        "accepting all {:.4f}, refusing all 1".format(*means)
    )


if __name__ == "__main__":
    main()
