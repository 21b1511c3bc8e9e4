"""Uncertainty for any PyTorch network: estimate it, check it, decide with it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# All public names of these packages are duda's, so that a new method is there by itself ...
_WHOLE = ("predictions", "likelihoods", "methods")
# ... these are packages, or come from others.
_HOMES = {
    "Gate": "decisions",
    "Training": "training",
    "TrainingDynamics": "difficulty",
    "boxes": "boxes",
    "compare": "comparison",
    "datasets": "datasets",
    "decisions": "decisions",
    "detectors": "detectors",
    "difficulty": "difficulty",
    "evaluation": "evaluation",
    "fit": "training",
    "layers": "layers",
    "maps": "maps",
    "report": "reporting",
    "training": "training",
}

if TYPE_CHECKING:  # the same once more, for those that only read
    from duda import boxes as boxes
    from duda import datasets as datasets
    from duda import decisions as decisions
    from duda import detectors as detectors
    from duda import difficulty as difficulty
    from duda import evaluation as evaluation
    from duda import layers as layers
    from duda import maps as maps
    from duda import training as training
    from duda.comparison import compare as compare
    from duda.decisions import Gate as Gate
    from duda.difficulty import TrainingDynamics as TrainingDynamics
    from duda.likelihoods import *  # noqa: F403
    from duda.methods import *  # noqa: F403
    from duda.predictions import *  # noqa: F403
    from duda.reporting import report as report
    from duda.training import Training as Training
    from duda.training import fit as fit
else:  # a type checker that saw this function would take any misspelled name

    def __getattr__(name: str) -> object:
        """Import a name when it is first used, so that `import duda` costs little."""
        if name == "__all__":
            return sorted(_homes())
        home = _HOMES.get(name)
        if home is None and not name.startswith("_"):
            home = _homes().get(name)
        if home is None:
            raise AttributeError(f"module 'duda' has no attribute {name!r}")
        package = importlib.import_module(f"duda.{home}")
        globals()[name] = package if home == name else getattr(package, name)
        return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *_homes()})


def _homes() -> dict[str, str]:
    """Return the package that each public name comes from, or is."""
    from duda.registry import exported

    return _HOMES | {name: home for home in _WHOLE for name in exported(f"duda.{home}")}
