"""Does the epistemic part fall with more data and rise away from it, and is the aleatoric true?

Run with `python -m benchmarks.epistemic`. Regression: the cubic whose noise grows, 100 and 10,000
examples on [-4, 4], near |x| < 3.5, far 6 < |x| < 7. Classification: two moons, and a ring about
them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

import duda
from benchmarks.clock import machine
from duda.comparison.networks import network_factory
from duda.datasets import Split
from duda.datasets.cubic import heteroscedastic_cubic
from duda.datasets.two_moons import two_moons
from duda.likelihoods import LIKELIHOODS
from duda.methods import METHODS, UncertainModel
from duda.sampling import seeded

FEW, MANY = 100, 10_000
CLAIMS_ONLY_NOISE = ("deterministic", "gradient-confidence", "duq", "test-time-augmentation")


@dataclass(frozen=True)
class Measured:
    """What a method says, with the likelihood that it was trained with.

    Args:
        falls: epistemic variance near the data, with many examples over that with few.
        rises: with many examples, epistemic variance far from the data over that near it.
        noise: with many examples, the aleatoric standard deviation over the true one, near.
        ring: mutual information about the moons over that on them.
    """

    falls: float
    rises: float
    noise: float
    ring: float


def pairs() -> Iterator[tuple[str, str, str]]:
    """Yield what claims both parts: a method, its likelihood of numbers and that of classes."""
    for method in METHODS:
        if method not in CLAIMS_ONLY_NOISE:
            yield method, "gaussian", "categorical"
    yield "deterministic", "normal-inverse-gamma", "dirichlet"


def trained(method: str, likelihood: str, split: Split, seed: int, steps: int) -> UncertainModel:
    """Return the method, trained for about so many steps."""
    meaning = LIKELIHOODS[likelihood]()
    with seeded(seed, []):
        model = METHODS[method].from_factory(network_factory(split, meaning), meaning)
    batch = 32 if len(split.train[0]) <= FEW else 128
    steps_in_epoch = -(-len(split.train[0]) // batch)
    epochs = max(1, steps // steps_in_epoch)
    duda.fit(model, split.train, epochs=epochs, lr=1e-3, batch_size=batch, seed=seed)
    return model


def measured(method: str, numbers: str, classes: str, seed: int = 0, steps: int = 1000) -> Measured:
    """Train on the three sets, thrice as long on the large one, and compare the parts."""
    near = torch.linspace(-3.5, 3.5, 141)[:, None]
    far = torch.cat([torch.linspace(-7, -6, 21), torch.linspace(6, 7, 21)])[:, None]
    few, many = heteroscedastic_cubic(seed, FEW), heteroscedastic_cubic(seed, MANY)
    little = trained(method, numbers, few, seed, steps).predict(near, seed=seed)
    model = trained(method, numbers, many, seed, 3 * steps)
    much, away = model.predict(near, seed=seed), model.predict(far, seed=seed)
    noise = many.y_std * much.aleatoric.sqrt() / (0.5 + 2.5 * near.abs())

    moons = two_moons(seed)
    model = trained(method, classes, moons, seed, steps)
    on, about = (model.predict(x, seed=seed) for x in (moons.test[0], moons.ood))
    return Measured(
        falls=float(
            many.y_std**2 * much.epistemic.mean() / (few.y_std**2 * little.epistemic.mean())
        ),
        rises=float(away.epistemic.mean() / much.epistemic.mean()),
        noise=float(noise.mean()),
        ring=float(about.epistemic.mean() / on.epistemic.mean()),
    )


def main() -> None:
    """Print a row for each method."""
    torch.set_num_threads(1)
    print(machine())
    print(
        "| method, likelihoods | falls with data | rises far away | noise / true | ring / moons |"
    )
    print("|---|---|---|---|---|")
    for method, numbers, classes in pairs():
        found = measured(method, numbers, classes)
        cells = (
            f"{found.falls:.2g}" + (" ✗" if found.falls >= 1 else ""),
            f"{found.rises:.2g}" + (" ✗" if found.rises <= 1 else ""),
            f"{found.noise:.2f}" + (" ✗" if abs(found.noise - 1) > 0.25 else ""),
            f"{found.ring:.2g}" + (" ✗" if found.ring <= 1 else ""),
        )
        print(f"| {method}, {numbers}, {classes} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
