"""Class names: labels that are words, and the numbers that they are learned and predicted by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from duda.checks import nearest

__all__ = ["ClassNames", "check_names", "words_of"]

Y = TypeVar("Y")


class ClassNames:
    """Names of classes in the order of their numbers, learned from labels where none are known.

    Args:
        known: the names, or None where none are known yet.

    >>> names = ClassNames()
    >>> names.coded(["dog", "cat", "dog"], "y"), names.known
    (tensor([1, 0, 1]), ('cat', 'dog'))
    """

    def __init__(self, known: Iterable[str] | None = None) -> None:
        self.known = None if known is None else check_names(known)

    def coded(self, y: Y, name: str, whole: bool = True) -> Y | Tensor:
        """Return the numbers of classes for labels that are words, and any others as they are.

        Names that are not known yet are taken in alphabetical order.

        Args:
            y: labels.
            name: of the argument, for errors.
            whole: whether these are all labels, from which names may be learned.

        Raises:
            ValueError: if one is none of the names, or no names are known, and none to be learned.
        """
        words = words_of(y, name)
        if words is None:
            return y
        found, places = np.unique(words, return_inverse=True)
        if self.known is None and not whole:
            raise ValueError(
                f"`{name}` holds words such as {str(found[0])!r}, and a batch does not tell the "
                "order of all classes: name them before, `model.classes = [...]`."
            )
        if self.known is None:
            self.known = check_names(map(str, found))
        numbers = {known: number for number, known in enumerate(self.known)}
        for each in found:
            if each not in numbers:
                raise ValueError(f"`{name}` holds an {nearest(str(each), numbers, 'class')}")
        order = np.array([numbers[each] for each in found], dtype=np.int64)
        return torch.from_numpy(order[places].reshape(words.shape))


def check_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return names of classes as a tuple.

    Raises:
        TypeError: if they are no strings.
        ValueError: if there are fewer than two, or one comes twice.
    """
    found = tuple(names)
    if isinstance(names, str) or not all(isinstance(each, str) for each in found):
        raise TypeError(f"`classes` is {names!r}, expected names of classes, which are strings.")
    if len(found) < 2 or len(set(found)) < len(found):
        raise ValueError(
            f"`classes` has {len(set(found))} names in {len(found)}, expected at least two names, "
            "each once."
        )
    return found


def words_of(y: Any, name: str) -> np.ndarray | None:
    """Return labels that are words, from any kind of array or list; None for anything else.

    Raises:
        ValueError: if only some are words.
    """
    if isinstance(y, Tensor) or not (isinstance(y, list | tuple) or hasattr(y, "__array__")):
        return None
    array = np.asarray(y)
    if array.dtype.kind not in "UOT":
        return None
    if isinstance(y, list | tuple):
        array = np.array(y, dtype=object)  # numpy would make words of whatever is beside them
    others = [each for each in array.flat if not isinstance(each, str)]
    if len(others) == array.size:
        return None
    if others:
        raise ValueError(
            f"`{name}` has {len(others)} labels that are no words as the others are, the first "
            f"{others[0]!r}: remove or replace them."
        )
    return array.astype(object).astype(str)  # which numpy has for all kinds of strings
