"""Exploration in reinforcement learning: Thompson sampling, greedy and cautious actions."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_finite, check_not_empty, seeded
from duda.decisions.gate import Gate
from duda.devices import on_exact_device
from duda.predictions import NumberPrediction
from duda.predictions.given import NumbersGiven, prediction_given

__all__ = ["action_uncertainty", "cautious", "greedy", "thompson"]


def greedy(values: NumbersGiven) -> Int[Tensor, "N"]:
    """Return the action with the highest mean value for each of N decisions; of equals the first.

    Args:
        values: draws `(M, N, A)` of the values of A actions, or a prediction with A outputs, such
            as a `GaussianPrediction`.

    Raises:
        ValueError: if they are empty, not finite or of another shape.

    >>> greedy([[[0.0, 1.0]], [[0.0, -3.0]]])
    tensor([0])
    """
    return _moments(values)[0].argmax(1)


def thompson(
    values: NumbersGiven,
    per: Literal["decision", "batch"] = "decision",
    seed: int | None = None,
) -> Int[Tensor, "N"]:
    """Return actions that are each as probable as it is that they are best (Thompson sampling).

    A draw is picked at random, and the action that is best in it taken. Of a prediction it is the
    draws of the mean that count: noise of the reward is nothing to explore.
    Source: Thompson 1933; Russo et al. 2018.

    Args:
        values: as for `greedy`, of a model's `predict(x, keep_draws=True)`.
        per: a draw for each `"decision"`, or one for the whole `"batch"`, as a series of decisions
            needs that are to follow one plan: the draws must then be `joint`, one function each.
        seed: of the choice; torch's global generator if None.

    Raises:
        ValueError: if values are empty or not finite, or a prediction has no draws, or for a batch
            none that are joint.

    >>> thompson([[[0.0, 1.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]], seed=0)
    tensor([1, 1])
    """
    if per not in ("decision", "batch"):
        raise ValueError(f"`per` is {per!r}, expected 'decision' or 'batch'.")
    draws, answer = _draws(values), _prediction(values)
    if per == "batch" and answer is not None and not answer.joint:
        raise ValueError(
            "`values` has draws that are not one function for all decisions, as per='batch' needs: "
            "call `model.predict(x, keep_draws=True, joint=True)`."
        )
    count, decisions, _ = draws.shape
    random = seeded(seed)
    size = decisions if per == "decision" else 1
    picked = torch.randint(count, (size,), generator=random).expand(decisions).to(draws.device)
    return draws[picked, torch.arange(decisions, device=draws.device)].argmax(1)


def action_uncertainty(values: NumbersGiven) -> Float[Tensor, "N"]:
    """Return the epistemic standard deviation of the greedy action's value, in units of the value.

    Raises:
        ValueError: as `greedy`, or if there is just one draw or no epistemic part.

    >>> action_uncertainty([[[0.0, 1.0]], [[0.0, 3.0]]])
    tensor([1.], dtype=torch.float64)
    """
    mean, variance = _moments(values)
    if variance is None:
        raise ValueError(
            "`values` has no epistemic part or just one draw, expected at least two draws, or a "
            "prediction made from some: nothing is known of how uncertain it is."
        )
    return variance.gather(1, mean.argmax(1, keepdim=True)).squeeze(1).sqrt()


def cautious(values: NumbersGiven, gate: Gate, safe: ArrayLike) -> Int[Tensor, "N"]:
    """Return the greedy action where the gate accepts its uncertainty, else the safe one.

    Args:
        values: as for `greedy`.
        gate: fitted on the `action_uncertainty` of decisions that the model knows.
        safe: the action to fall back on, a number or `(N)`.

    Raises:
        ValueError: as `action_uncertainty`, or if `safe` is no action.

    >>> gate = Gate.keep(0.5).fit([0.1, 0.2, 0.3])
    >>> cautious([[[0.0, 1.0], [0.0, 1.0]], [[0.0, 1.1], [0.0, 3.0]]], gate, safe=0)
    tensor([1, 0])
    """
    mean, _ = _moments(values)
    fallback = as_tensor(safe, "safe").to(mean.device)
    numbers = not fallback.is_floating_point() and fallback.dtype != torch.bool
    if not numbers or tuple(fallback.shape) not in ((), (len(mean),)):
        raise ValueError(
            f"`safe` has shape {tuple(fallback.shape)} and dtype {fallback.dtype}, expected the "
            f"number of an action, or ({len(mean)},) of them."
        )
    wrong = (fallback < 0) | (fallback >= mean.shape[1])
    if bool(wrong.any()):
        raise ValueError(
            f"`safe` holds {int(fallback[wrong][0])}, expected the number of an action: 0 to "
            f"{mean.shape[1] - 1}."
        )
    accepted = gate(action_uncertainty(values)).accepted
    return torch.where(accepted, mean.argmax(1), fallback.long())


def _prediction(values: NumbersGiven) -> NumberPrediction | None:
    return prediction_given(values, NumberPrediction, "values", "draws (M, N, A)")


def _draws(values: NumbersGiven) -> Float[Tensor, "M N A"]:
    """Return draws of the mean values of actions, in float64."""
    answer = _prediction(values)
    if answer is None:
        draws = as_tensor(values, "values")  # type: ignore[arg-type] # no prediction, as was asked
    elif answer.draws is None:
        raise ValueError(
            "`values` has no draws to pick from: call `model.predict(x, keep_draws=True)`."
        )
    else:
        answer.check_can("mean")
        draws = torch.stack([each.mean for each in answer.components()])
    check_not_empty(draws, "values")
    check_finite(draws, "values")
    if draws.ndim != 3:
        raise ValueError(
            f"`values` has shape {tuple(draws.shape)}, expected (M, N, A): draws, decisions, "
            "actions."
        )
    return on_exact_device(draws).double()


def _moments(values: NumbersGiven) -> tuple[Tensor, Tensor | None]:
    """Return mean and epistemic variance `(N, A)` of the values of actions, None if not known."""
    answer = _prediction(values)
    if answer is None or answer.draws is not None:
        draws = _draws(values)
        return draws.mean(0), draws.var(0, correction=0) if len(draws) > 1 else None
    answer.check_can("mean")
    if answer.mean.ndim != 2:
        raise ValueError(
            f"`values` has means of shape {tuple(answer.mean.shape)}, expected (N, A)."
        )
    mean, parts = on_exact_device(answer.mean).double(), answer.parts()
    if parts is None or not bool(parts.epistemic.any()):
        return mean, None
    return mean, on_exact_device(parts.epistemic).double().square()
