"""Arrays: whole data as users have them, tables too, one or several by their places or names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from duda.batches import of_batch
from duda.checks import as_tensor

__all__ = ["Arrays", "array_of", "arrays_of", "is_loadable"]

Arrays = Tensor | np.ndarray


def is_loadable(data: Any) -> bool:
    """Return whether items come one by one, as from a Dataset, if not of torch then like one."""
    if isinstance(data, Dataset | DataLoader):
        return True
    whole = isinstance(data, Tensor | Mapping | Sequence) or hasattr(data, "__array__")
    return not whole and hasattr(data, "__len__") and hasattr(data, "__getitem__")


def arrays_of(x: Any, name: str, expected: str, of: str = "") -> Arrays | dict[Any, Arrays]:
    """Return one array, or several by their places or names."""
    several = dict(enumerate(x)) if isinstance(x, tuple) else x
    if not isinstance(several, Mapping):
        if not isinstance(x, Tensor) and not hasattr(x, "__array__"):
            raise TypeError(f"`{name}` is a {type(x).__name__}, expected {expected}.")
        return array_of(x, f"x{of_batch(name)}")
    return {key: array_of(values, f"x[{key!r}]{of}", of != "") for key, values in several.items()}


def array_of(values: Any, name: str, lists: bool = True) -> Arrays:
    """Return a tensor or an array; of tables, such as those of pandas, their numbers."""
    if isinstance(values, Tensor | np.ndarray):
        return values
    if not lists and not hasattr(values, "__array__"):
        raise TypeError(f"`{name}` is a {type(values).__name__}, expected a tensor or an array.")
    return as_tensor(values, name)
