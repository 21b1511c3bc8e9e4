"""Function draws: what each draw of a model says of all inputs, for plots of curves and maps."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from duda.methods.base import UncertainModel
from duda.sources import Inputs

__all__ = ["function_draws"]


def function_draws(
    model: UncertainModel,
    x: Inputs,
    samples: int | None = None,
    seed: int | None = None,
    *,
    batch_size: int = 256,
    chunk: int | None = None,
) -> Float[Tensor, "M N *outputs"]:
    """Return draws of a function: M curves over the inputs, each the same wherever they are asked.

    For classes they are probabilities `(M, N, C, *positions)`, for numbers what is named first, a
    mean or median, `(M, N, D, *positions)` in units of the target.

    Args:
        model: whose draws they are, made with `joint=True`.
        x: as in `predict`, and so are the other arguments.
        samples: the number of draws.
        seed: of the draws.
        batch_size: examples at a time.
        chunk: draws at a time.

    Raises:
        ValueError: if the model's draws are no functions, or it has none.

    >>> import duda
    >>> from torch import nn
    >>> network = nn.Sequential(nn.Linear(1, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 2))
    >>> model = duda.MCDropout(network, duda.Gaussian())
    >>> curves = duda.function_draws(model, torch.zeros(100, 1), samples=7, seed=0)
    >>> curves.shape, bool((curves == curves[:, :1]).all())
    (torch.Size([7, 100, 1]), True)
    """
    answer = model.predict(
        x,
        samples=samples,
        seed=seed,
        keep_draws=True,
        joint=True,
        batch_size=batch_size,
        chunk=chunk,
    )
    if answer.draws is None:
        raise ValueError(f"`model` is a {type(model).__name__}, which keeps no draws.")
    if answer.can("components"):
        return torch.stack([each.centre for each in answer.components()])  # type: ignore[attr-defined]
    return answer.draws
