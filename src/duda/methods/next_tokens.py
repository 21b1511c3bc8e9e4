"""Causal language models: labels that are their own inputs, which nobody shifts by one here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from duda.batches import Batch
from duda.outputs import moves_classes
from duda.sampling import tensors

if TYPE_CHECKING:
    from duda.methods.losses import Losses

__all__ = ["check_next_tokens"]


def check_next_tokens(model: Losses, x: Batch, y: Tensor) -> None:
    """Raise a `ValueError` if labels of a network as those of Hugging Face are its inputs.

    Such a network shifts them by one where it is given labels, to learn the next token. Here its
    loss is not asked, and it would learn to copy.
    """
    if y.is_floating_point() or y.ndim != 2 or not moves_classes(model):
        return
    ignored = getattr(model.given_likelihood, "ignore_index", None)
    counted = y != (-1 if ignored is None else ignored)
    for inputs in tensors(x):
        if inputs.shape == y.shape and bool(((inputs == y) | ~counted).all() & counted.any()):
            raise ValueError(
                "the labels are the network's own inputs, expected at each position what it is to "
                "predict there: for the next token leave out the last of the inputs, `x[:, :-1]`, "
                "and the first of the labels, `x[:, 1:]`, which no loss of duda shifts."
            )
