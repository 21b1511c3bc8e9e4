"""Training dynamics and label errors: which examples are hard, and which labelled wrongly.

`TrainingDynamics` watches the training of any model, example by example; `label_errors` looks at
probabilities and labels alone.
"""

from duda.difficulty.dynamics import TrainingDynamics
from duda.difficulty.labels import LabelErrors, label_errors

__all__ = ["LabelErrors", "TrainingDynamics", "label_errors"]
