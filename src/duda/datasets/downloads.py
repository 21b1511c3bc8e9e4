"""Downloads of data sets by name, from their official sources."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from duda.checks import nearest
from duda.datasets.cifar import fetch_cifar_10, fetch_cifar_10h
from duda.datasets.mnist import fetch_mnist

__all__ = ["download"]

_FETCHERS: dict[str, Callable[[Path], Path]] = {
    "mnist": partial(fetch_mnist, "mnist"),
    "fashion-mnist": partial(fetch_mnist, "fashion-mnist"),
    "cifar-10": fetch_cifar_10,
    "cifar-10h": fetch_cifar_10h,
}


def download(name: str, folder: str | Path) -> Path:
    """Fetch the published files of a data set into its own folder in `folder`, and return that.

    There are `"mnist"`, `"fashion-mnist"`, `"cifar-10"` and `"cifar-10h"`. Files that are there
    already, as published, stay; others of these names are replaced.

    Raises:
        ValueError: if the name is unknown, or what came is not the published file.
        OSError: if a file cannot be fetched or written.
    """
    if name not in _FETCHERS:
        raise ValueError(nearest(name, _FETCHERS, "download"))
    return _FETCHERS[name](Path(folder))
