"""What duda answers about ranking, refusal and what is out of distribution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from duda.detectors import Mahalanobis, NearestNeighbors, energy
from duda.evaluation import (
    Selection,
    ood,
    ood_scores,
    rank,
    selective,
)
from duda.likelihoods import Categorical
from duda.predictions import ClassPrediction


def _ranked(inputs: Any) -> Any:
    return rank(inputs["score"], inputs["is_ood"])


def _bundle(inputs: Any, params: Any) -> dict[str, float]:
    score, is_ood = inputs["score"], inputs["is_ood"] == 1
    found = ood(score[~is_ood], score[is_ood])
    return {
        "AUROC": found.auroc,
        "AUTC": found.ranking.autc,
        "AUPR-IN": found.ranking.opposite.aupr_trapezoid,
        "AUPR-OUT": found.ranking.aupr_trapezoid,
        "FPR95TPR": found.fpr95_out,
    }


def _selected(inputs: Any) -> Selection:
    return selective(-inputs["confidence"], inputs["error"])


def _curve(inputs: Any, params: Any) -> dict[str, Any]:
    found = _selected(inputs)
    return {
        "coverages": found.coverages.flip(0),
        "selective_risks": found.risks.flip(0),
        "generalized_risks": found.generalized_risks.flip(0),
    }


def _prediction(probs: np.ndarray) -> ClassPrediction:
    """Return the prediction of draws `(N, M, C)`."""
    return Categorical().reduce(torch.from_numpy(probs).transpose(0, 1).log())


def _of_prediction(score: Callable[[ClassPrediction], Any]) -> Callable[[Any, Any], Any]:
    return lambda inputs, params: score(_prediction(inputs["probs"]))


def _variation_ratio(inputs: Any, params: Any) -> Any:
    votes = torch.nn.functional.one_hot(torch.from_numpy(inputs["votes"])).sum(1)
    even = torch.full(votes.shape, 1 / votes.shape[1], dtype=torch.float64)
    entropies = torch.zeros(len(votes), dtype=torch.float64)
    return ood_scores.variation_ratio(ClassPrediction(even.log(), entropies, votes))


ANSWERS: dict[str, Callable[[Any, Any], Any]] = {
    "auroc": lambda inputs, params: _ranked(inputs).auroc,
    "aupr_trapezoid_ood_positive": lambda inputs, params: _ranked(inputs).aupr_trapezoid,
    "average_precision_id_positive": lambda inputs, params: (
        _ranked(inputs).opposite.average_precision
    ),
    "fpr95_id_positive": lambda inputs, params: _ranked(inputs).opposite.fpr_at(params["tpr"]),
    "fpr95_ties": lambda inputs, params: _ranked(inputs).fpr_at(0.95),
    "ood_metrics_bundle": _bundle,
    "augrc": lambda inputs, params: _selected(inputs).augrc,
    "eaurc": lambda inputs, params: _selected(inputs).eaurc,
    "risk_coverage_curve": _curve,
    "aurc_mean_of_prefix_risks": lambda inputs, params: _selected(inputs).aurc_of_prefixes,
    "auarc": lambda inputs, params: 1 - _selected(inputs).aurc_of_prefixes,
    "aurc_all_correct": lambda inputs, params: _selected(inputs).aurc,
    "aurc_n1": lambda inputs, params: {
        "aurc": _selected(inputs).aurc,
        "augrc": _selected(inputs).augrc,
    },
    "predictive_entropy": _of_prediction(ood_scores.entropy),
    "expected_entropy_aleatoric": _of_prediction(ood_scores.expected_entropy),
    "max_prob": _of_prediction(lambda prediction: 1 - ood_scores.max_probability(prediction)),
    "variation_ratio": _variation_ratio,
    "energy_score": lambda inputs, params: energy(inputs["logits"], temperature=params["T"]),
    "mahalanobis_min_sq": lambda inputs, params: Mahalanobis(shrinkage=0).fit(
        inputs["features"], inputs["labels"]
    )(inputs["query"]),
    "knn_distance": lambda inputs, params: NearestNeighbors(k=params["k"]).fit(inputs["features"])(
        inputs["query"]
    ),
}
