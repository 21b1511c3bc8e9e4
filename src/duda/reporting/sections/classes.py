"""Classes one by one, a confusion in words: which are recognized, how surely, and as what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from duda.checks import ArrayLike, as_tensor
from duda.predictions import ClassPrediction
from duda.reporting.evidence import IGNORED, Evidence
from duda.reporting.page import Section, Table

__all__ = ["ClassRow", "class_rows", "section"]

_COLUMNS = (
    ("Class", ""),
    ("Examples", ""),
    ("Accuracy", ""),
    ("Confidence", ""),
    ("Too sure by", "confidence less accuracy: above 0 it is too sure"),
    ("Entropy (nats)", ""),
    ("Most often taken for", ""),
)


def section(evidence: Evidence) -> list[Section]:
    """Return the tables of classes, one for each method."""
    tables = [
        Table(
            method,
            _COLUMNS,
            [row.cells for row in class_rows(prediction, evidence.labels, evidence.classes)],
        )
        for method, prediction in evidence.of_classes.items()
    ]
    if not tables:
        return []
    return [
        Section(
            "Class by class",
            "How many of each class are recognized, and how sure the method is of its answers for "
            "them; where confidence exceeds accuracy it is too sure.",
            tables=tables,
        )
    ]


@dataclass(frozen=True)
class ClassRow:
    """A class, and the test examples that belong to it; shares and entropies are their means.

    Args:
        name: of the class.
        count: how many examples.
        accuracy: the share of them recognized.
        confidence: in the answers given for them.
        surplus: confidence less accuracy, above 0 where the method is too sure.
        entropy: nats.
        taken_for: the class they are mistaken for most often, with how often; empty if never.
    """

    name: str
    count: int
    accuracy: float
    confidence: float
    surplus: float
    entropy: float
    taken_for: str

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        return (
            self.name,
            f"{self.count:,}",
            f"{100 * self.accuracy:.1f} %",
            f"{100 * self.confidence:.1f} %",
            f"{100 * self.surplus:+.1f}".replace("-", "−"),
            f"{self.entropy:.3f}",
            self.taken_for or "–",
        )


def class_rows(prediction: ClassPrediction, y: ArrayLike, names: Sequence[str]) -> list[ClassRow]:
    """Return a row for each class that has examples, in their order; positions count one by one.

    Labels that are `IGNORED` are left out.

    >>> answer = ClassPrediction.from_probs([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    >>> [row] = class_rows(answer, [0, 0, 0], ("cat", "dog"))
    >>> row.count, round(row.accuracy, 2), row.taken_for
    (3, 0.67, 'dog (1)')
    """
    target = as_tensor(y, "y").cpu().long()
    kept = target != IGNORED
    labels, target = prediction.labels.cpu()[kept], target[kept]
    values = torch.stack(
        [
            (labels == target).double(),
            prediction.confidence.cpu()[kept].double(),
            prediction.entropy.cpu()[kept].double(),
        ]
    )
    counts = target.bincount(minlength=len(names))
    sums = torch.zeros(3, len(names), dtype=torch.float64).index_add_(1, target, values)
    pairs = (target * len(names) + labels).bincount(minlength=len(names) ** 2)
    confused = pairs.reshape(len(names), len(names)).fill_diagonal_(0)
    rows = []
    for label in counts.nonzero().flatten().tolist():
        accuracy, confidence, entropy = (sums[:, label] / counts[label]).tolist()
        rows.append(
            ClassRow(
                names[label],
                int(counts[label]),
                accuracy,
                confidence,
                confidence - accuracy,
                entropy,
                _most_confused(confused[label], names),
            )
        )
    return rows


def _most_confused(counts: Int[Tensor, "C"], names: Sequence[str]) -> str:
    most = int(counts.max())
    return f"{names[int(counts.argmax())]} ({most:,})" if most else ""
