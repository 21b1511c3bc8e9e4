"""How each method of the UCI benchmark is built, trained, asked and chosen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product

import torch
from torch import Tensor, nn

import duda
from duda.datasets import Split
from duda.methods import UncertainModel
from duda.predictions import GaussianPrediction, QuantilePrediction
from duda.sampling import seeded

HIDDEN, BATCH, LR = 50, 128, 1e-2
PHASES = ((0.6, 1.0), (0.25, 0.3), (0.15, 0.1))  # shares of the steps, and of the learning rate
VALIDATION = 0.2  # of the training rows

# Noise that the validation may add to what a network says, variances of standardised targets.
ADDED = (0.0, *(4e-4 * 1.5**power for power in range(21)))

Rows = tuple[Tensor, Tensor]
Answer = GaussianPrediction | QuantilePrediction


@dataclass(frozen=True)
class Choice:
    """Hyper-parameters.

    Args:
        steps: of the optimizer.
        dropout: its rate, before both layers.
        added: variance added to the predicted one, of standardised targets.
    """

    steps: int
    dropout: float = 0.0
    added: float = 0.0

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class Way:
    """A method.

    Args:
        new: makes an untrained model, from the number of inputs and the rate of dropout.
        steps: what to choose from.
        dropouts: what to choose from.
        decay: of AdamW.
        mixture: whether its density is that of all draws; else a Gaussian with their moments.
    """

    new: Callable[[int, float], UncertainModel]
    steps: tuple[int, ...]
    dropouts: tuple[float, ...] = (0.0,)
    decay: float = 0.1
    mixture: bool = False

    def candidates(self, share: float) -> Iterator[Choice]:
        for steps, dropout in product(self.steps, self.dropouts):
            yield Choice(max(1, round(share * steps)), dropout)

    def ask(self, model: UncertainModel, x: Tensor, choice: Choice) -> Answer:
        answer = model.predict(x, seed=0, keep_draws=self.mixture)
        return noisier(answer, choice.added) if choice.added else answer


def perceptron(inputs: int, outputs: int, dropout: float = 0.0) -> nn.Module:
    if not dropout:
        return nn.Sequential(nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, outputs))
    return nn.Sequential(
        nn.Dropout(dropout),
        nn.Linear(inputs, HIDDEN),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(HIDDEN, outputs),
    )


def _mc_dropout(inputs: int, dropout: float) -> UncertainModel:
    # Adam makes the same steps for any noise, so that the validation may add what is missing.
    noise = duda.FixedGaussian(noise_std=0.02)
    return duda.MCDropout(perceptron(inputs, 1, dropout), noise, samples=100)


def _deep_ensemble(inputs: int, dropout: float) -> UncertainModel:
    return duda.DeepEnsemble(lambda: perceptron(inputs, 2), duda.BetaGaussian(beta=0.5), members=5)


def _variational(inputs: int, dropout: float) -> UncertainModel:
    return duda.Variational(perceptron(inputs, 2), duda.Gaussian(), estimator="local", samples=100)


def _laplace(inputs: int, dropout: float) -> UncertainModel:
    return duda.Laplace(
        perceptron(inputs, 2), duda.BetaGaussian(beta=0.5), "full", approximation="closed-form"
    )


def _quantile_ensemble(inputs: int, dropout: float) -> UncertainModel:
    levels = duda.Quantiles()
    return duda.DeepEnsemble(lambda: perceptron(inputs, levels.width(1)), levels, members=5)


WAYS = {
    "mc-dropout": Way(_mc_dropout, (1500,), (0.005, 0.02, 0.1), decay=1e-3, mixture=True),
    "deep-ensemble": Way(_deep_ensemble, (150, 500, 1500)),
    "variational": Way(_variational, (1500,), decay=0.0, mixture=True),
    "laplace": Way(_laplace, (150, 500, 1500)),
    "quantile-ensemble": Way(_quantile_ensemble, (150, 500, 1500)),
}


def trained(way: Way, choice: Choice, rows: Rows, seed: int) -> tuple[UncertainModel, int]:
    """Return a new model after so many steps, and how many epochs these were."""
    with seeded(seed, []):
        model = way.new(rows[0].shape[1], choice.dropout)
    optimizer = partial(torch.optim.AdamW, weight_decay=way.decay, fused=True)
    steps_in_epoch, total = -(-len(rows[0]) // BATCH), 0
    for phase, (share, slower) in enumerate(PHASES):
        epochs = max(1, round(share * choice.steps / steps_in_epoch))
        duda.fit(
            model,
            rows,
            epochs=epochs,
            optimizer=optimizer,
            lr=LR * slower,
            batch_size=BATCH,
            seed=len(PHASES) * seed + phase,
        )
        total += epochs
    return model, total


def chosen(way: Way, rows: Rows, seed: int, share: float = 1.0) -> Choice:
    """Return what is best on a part of the training rows, trained on the rest of them.

    Args:
        way: the method.
        rows: inputs and targets, of which none is a test row.
        seed: of that part, and of training.
        share: of the training that each candidate asks for.
    """
    rest, held_out = parted(rows, seed)
    scores: dict[Choice, float] = {}
    for candidate in way.candidates(share):
        model, _ = trained(way, candidate, rest, seed)
        answer = way.ask(model, held_out[0], candidate)
        if isinstance(answer, QuantilePrediction):
            scores[candidate] = duda.evaluation.crps(answer, held_out[1])
            continue
        for added in ADDED:
            score = -noisier(answer, added).log_prob(held_out[1]).double().mean()
            scores[replace(candidate, added=added)] = float(score)
    return min(scores, key=lambda choice: scores[choice])


def parted(rows: Rows, seed: int) -> tuple[Rows, Rows]:
    """Return the rows to train on and those to choose by, at random."""
    order = torch.randperm(len(rows[0]), generator=torch.Generator().manual_seed(seed))
    count = round(VALIDATION * len(order))
    first, second = order[count:], order[:count]
    return (rows[0][first], rows[1][first]), (rows[0][second], rows[1][second])


def noisier(answer: GaussianPrediction, variance: float) -> GaussianPrediction:
    """Return the prediction with independent noise on top, in each of its draws."""
    draws = answer.draws
    if draws is not None:
        means, variances = draws.chunk(2, dim=2)
        draws = torch.cat([means, variances + variance], dim=2)
    return GaussianPrediction(answer.mean, answer.aleatoric + variance, answer.epistemic, draws)


def figures(answer: Answer, split: Split) -> dict[str, float]:
    """Return how good the answer is on the test rows, in the targets' original units."""
    y, scale = split.test[1], split.y_std
    error = (answer.centre - y).double().square().mean().sqrt()
    found = {
        "rmse": float(error) * scale,
        "coverage": float(duda.evaluation.coverage(answer, y, [0.95]).observed),
        "crps": duda.evaluation.crps(answer, y) * scale,
    }
    if isinstance(answer, GaussianPrediction):
        found["nll"] = float(-answer.log_prob(y).double().mean()) + math.log(scale)
    return found
