"""Uncertainty for any PyTorch network: estimate it, check it, decide with it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duda import datasets, decisions, difficulty, evaluation, layers
    from duda.comparison import compare
    from duda.decisions import Gate
    from duda.difficulty import TrainingDynamics
    from duda.likelihoods import (
        LIKELIHOODS,
        BetaGaussian,
        Categorical,
        Dirichlet,
        FixedGaussian,
        Gaussian,
        Laplacian,
        NormalInverseGamma,
        Quantiles,
        SampledSoftmax,
    )
    from duda.methods import (
        DUQ,
        METHODS,
        SWAG,
        BatchEnsemble,
        DeepEnsemble,
        Deterministic,
        GaussianPrior,
        GradientConfidence,
        Laplace,
        MCDropConnect,
        MCDropout,
        ScaleMixturePrior,
        SDENet,
        SubEnsemble,
        TestTimeAugmentation,
        UncertainModel,
        Variational,
    )
    from duda.predictions import (
        ClassPrediction,
        GaussianPrediction,
        LaplacianPrediction,
        QuantilePrediction,
        ScoredClassPrediction,
        load_prediction,
    )
    from duda.reporting import report
    from duda.training import fit

__all__ = [
    "DUQ",
    "LIKELIHOODS",
    "METHODS",
    "SWAG",
    "BatchEnsemble",
    "BetaGaussian",
    "Categorical",
    "ClassPrediction",
    "DeepEnsemble",
    "Deterministic",
    "Dirichlet",
    "FixedGaussian",
    "Gate",
    "Gaussian",
    "GaussianPrediction",
    "GaussianPrior",
    "GradientConfidence",
    "Laplace",
    "Laplacian",
    "LaplacianPrediction",
    "MCDropConnect",
    "MCDropout",
    "NormalInverseGamma",
    "QuantilePrediction",
    "Quantiles",
    "SDENet",
    "SampledSoftmax",
    "ScaleMixturePrior",
    "ScoredClassPrediction",
    "SubEnsemble",
    "TestTimeAugmentation",
    "TrainingDynamics",
    "UncertainModel",
    "Variational",
    "compare",
    "datasets",
    "decisions",
    "difficulty",
    "evaluation",
    "fit",
    "layers",
    "load_prediction",
    "report",
]

__version__ = "0.1.0"

_HOMES = {
    "Categorical": "likelihoods",
    "FixedGaussian": "likelihoods",
    "Gaussian": "likelihoods",
    "BetaGaussian": "likelihoods",
    "Laplacian": "likelihoods",
    "Quantiles": "likelihoods",
    "SampledSoftmax": "likelihoods",
    "Dirichlet": "likelihoods",
    "NormalInverseGamma": "likelihoods",
    "LIKELIHOODS": "likelihoods",
    "METHODS": "methods",
    "DUQ": "methods",
    "GradientConfidence": "methods",
    "SDENet": "methods",
    "Laplace": "methods",
    "SWAG": "methods",
    "DeepEnsemble": "methods",
    "TestTimeAugmentation": "methods",
    "BatchEnsemble": "methods",
    "SubEnsemble": "methods",
    "Deterministic": "methods",
    "MCDropConnect": "methods",
    "MCDropout": "methods",
    "UncertainModel": "methods",
    "GaussianPrior": "methods",
    "ScaleMixturePrior": "methods",
    "Variational": "methods",
    "ClassPrediction": "predictions",
    "GaussianPrediction": "predictions",
    "LaplacianPrediction": "predictions",
    "QuantilePrediction": "predictions",
    "ScoredClassPrediction": "predictions",
    "load_prediction": "predictions",
    "Gate": "decisions",
    "TrainingDynamics": "difficulty",
    "fit": "training",
    "report": "reporting",
    "compare": "comparison",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used, so that `import duda` costs little more than torch."""
    if name in _HOMES:
        value = getattr(importlib.import_module(f"duda.{_HOMES[name]}"), name)
    elif name in __all__:
        value = importlib.import_module(f"duda.{name}")
    else:
        raise AttributeError(f"module 'duda' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
