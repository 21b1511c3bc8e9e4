"""Which methods go with which likelihoods, and what targets these take."""

from __future__ import annotations

from torch import Tensor

from duda.likelihoods import LIKELIHOODS, Bernoulli, Likelihood
from duda.methods import METHODS

_ALL = [(method, likelihood) for method in METHODS for likelihood in LIKELIHOODS]
PAIRS = [(m, name) for m, name in _ALL if issubclass(LIKELIHOODS[name], METHODS[m].likelihoods)]
OTHERS = [pair for pair in _ALL if pair not in PAIRS]


def takes_labels(likelihood: Likelihood) -> bool:
    """Return whether each target is one of as many classes as `width` is asked for."""
    return likelihood.of_classes and not isinstance(likelihood, Bernoulli)


def as_targets(likelihood: Likelihood, y: Tensor) -> Tensor:
    """Return numbers, about as large as normal ones, as targets that the likelihood takes."""
    if isinstance(likelihood, Bernoulli):
        return (y > 0).to(y.dtype)
    support = getattr(likelihood, "support", "numbers")
    if support == "numbers":
        return y
    if support == "shares":
        return y.sigmoid()
    return y.exp().round() if support == "counts" else y.exp()
