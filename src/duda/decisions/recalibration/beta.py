"""Beta calibration: three parameters, and the maps that ratios of Beta densities make."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from duda.decisions.claims import Claims
from duda.decisions.recalibration.minimum import minimum, warn_separable
from duda.decisions.recalibration.one_vs_rest import OneVsRest
from duda.fitted import check_that

__all__ = ["BetaCalibration"]


@dataclass(eq=False)
class BetaCalibration(OneVsRest):
    """Maps a probability p to that of the log odds a log p - b log(1 - p) + c, with a, b >= 0.

    a = b = 1 and c = 0 change nothing. Of more than two classes each is mapped against the rest,
    and the results divided by their sum. Source: Kull et al. 2017.

    Attributes:
        parameters: `(K, 3)`, a, b and c for each of K mapped classes.

    >>> probs = [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6], [0.2, 0.8]]
    >>> BetaCalibration().fit(probs, [0, 1, 1, 0, 1]).parameters.shape
    torch.Size([1, 3])
    """

    parameters: Float[Tensor, "K 3"] = field(init=False, repr=False)

    def check_learned(self) -> None:
        """Raise a `ValueError` unless there are finite parameters for each mapped class."""
        super().check_learned()
        self._check_mapped(len(self.parameters), "parameters")
        check_that(self.parameters[:, :2] >= 0, "`parameters` hold an a or b below 0")

    def _learn_each(self, claims: Claims, first: int, hits: Float[Tensor, "R K"]) -> None:
        found = []
        for place, features in enumerate(_features(claims, first)):
            found.append(_fitted(features, hits[:, place]))
        self.parameters = torch.stack(found)

    def _map_each(self, claims: Claims, first: int) -> Float[Tensor, "R K"]:
        features = _features(claims, first)
        return torch.einsum("krf,kf->rk", features, self.parameters.to(features.device))


def _fitted(features: Float[Tensor, "R 3"], hits: Float[Tensor, "R"]) -> Float[Tensor, "3"]:
    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        odds = features @ torch.from_numpy(parameters).to(features.device)
        slope = features.t() @ (odds.sigmoid() - hits) / len(hits)
        return float((softplus(odds) - hits * odds).mean()), slope.cpu().numpy()

    bounds = [(0.0, None), (0.0, None), (None, None)]
    best = torch.from_numpy(minimum(loss, np.array([1.0, 1.0, 0.0]), bounds))
    if torch.equal((features @ best.to(features.device) > 0).double(), hits):
        warn_separable("BetaCalibration")
    return best


def _features(claims: Claims, first: int) -> Float[Tensor, "K R 3"]:
    """Return log p, - log(1 - p) and 1 for each class from the `first` on, and each row."""
    log_probs = claims.log_probs
    rest = _log_rest(log_probs)[:, first:]
    log_probs = log_probs[:, first:]
    ends = int((log_probs.isneginf() | rest.isneginf()).sum())
    if ends:
        raise ValueError(
            f"{claims.name} holds {ends} that are 0 or 1, whose log odds are infinite: "
            f"{claims.remedy}."
        )
    return torch.stack([log_probs, -rest, torch.ones_like(rest)], dim=2).transpose(0, 1)


def _log_rest(log_probs: Float[Tensor, "R C"]) -> Float[Tensor, "R C"]:
    """Return log(1 - p) of each p; of the largest by the others' sum, as 1 - p has no digits."""
    first = log_probs.argmax(1, keepdim=True)
    others = log_probs.scatter(1, first, -math.inf).logsumexp(1, keepdim=True)
    return (-log_probs.expm1()).log().scatter(1, first, others)
