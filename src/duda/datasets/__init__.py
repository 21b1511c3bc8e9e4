"""Data sets in their official formats, and a clear error where files are missing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor

from duda.checks import nearest
from duda.datasets import gallery
from duda.datasets.base import Curve, Split
from duda.datasets.cifar import cifar_10, cifar_10h
from duda.datasets.cubic import cubic, heteroscedastic_cubic
from duda.datasets.digits import digits
from duda.datasets.downloads import download
from duda.datasets.mnist import fashion_mnist, mnist
from duda.datasets.sinusoid import sinusoid
from duda.datasets.two_moons import two_moons
from duda.datasets.uci import TABLES, uci
from duda.renamed import renamed

__all__ = [
    "DATASETS",
    "Curve",
    "Split",
    "cifar_10",
    "cifar_10h",
    "download",
    "gallery",
    "load",
    "ood_inputs",
]

DATASETS: dict[str, Callable[[int], Split]] = {
    "digits": digits,
    "sinusoid": sinusoid,
    "cubic": cubic,
    "cubic-heteroscedastic": heteroscedastic_cubic,
    "two-moons": two_moons,
    "mnist": mnist,
    "fashion-mnist": fashion_mnist,
    "cifar-10": lambda seed: cifar_10(),
    **{f"uci:{table}": partial(uci, table) for table in TABLES},
}

if not TYPE_CHECKING:
    __getattr__ = renamed(
        __name__, {name: f"duda.datasets.gallery.{name}" for name in gallery.__all__}
    )


def load(name: str, seed: int = 0) -> Split:
    """Return the data set `name`; `seed` draws it, splits it or chooses one of its splits.

    Raises:
        ValueError: if the name is unknown, the seed not in [0, 2³²), or a file damaged.
        FileNotFoundError: if files are missing; says where to get them and where to put them.

    >>> load("two-moons").task
    'classification'
    """
    if name not in DATASETS:
        raise ValueError(nearest(name, DATASETS, "data set"))
    if not 0 <= seed < 2**32:  # what numpy takes as a seed
        raise ValueError(f"`seed` is {seed}, expected a whole number from 0 to 2**32 - 1.")
    return DATASETS[name](seed)


def ood_inputs(split: Split, name: str | None = None, seed: int = 0) -> tuple[Tensor, str] | None:
    """Return inputs that are out of distribution for `split`, and what they are.

    Args:
        split: the data set that a network is trained on.
        name: the data set whose test inputs to take; by default what `split` brings itself, which
            may be nothing.
        seed: of that data set.

    Raises:
        ValueError: if their shapes differ.
    """
    if name is None:
        return None if split.ood is None else (split.ood, split.ood_name)
    if name == split.name:
        raise ValueError(f"`ood` is {name!r}, which is what the network is trained on.")
    x, own = load(name, seed).test[0], split.test[0]
    if x.shape[1:] != own.shape[1:]:
        raise ValueError(
            f"the inputs of {name!r} have shape {tuple(x.shape[1:])}, those of {split.name!r} "
            f"{tuple(own.shape[1:])}: choose a data set of the same shape."
        )
    return x, name
