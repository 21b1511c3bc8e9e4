"""A section is a file and a name in the registry."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from duda.reporting import report, sections
from duda.reporting.evidence import Evidence
from duda.reporting.page import Section, Table
from duda.reporting.sections import SECTIONS
from tests.reporting.conftest import class_prediction, number_prediction


def test_every_file_is_in_the_registry() -> None:
    files = Path(sections.__file__).parent.glob("*.py")
    assert sorted(SECTIONS) == sorted(file.stem for file in files if file.stem != "__init__")


def own(evidence: Evidence) -> list[Section]:
    """Tell the mean score of each method that has class probabilities."""
    return [
        Section(
            "How sure on average?",
            f"Of {len(evidence.y)} examples.",
            tables=[
                Table(method, [("Score", "their mean"), ("Value", "")], [("mean", f"{score:.3f}")])
                for method, each in evidence.of_classes.items()
                for score in [float(each.score.mean())]
            ],
        )
        for _ in [None]
        if evidence.of_classes
    ]


def test_a_section_of_ones_own_stands_in_the_page(
    labels: torch.Tensor, targets: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SECTIONS, "own", own)
    page = report({"net": class_prediction(0)}, labels)
    assert page.sections[-1].title == "How sure on average?"
    html = page.html()
    assert "Of 60 examples." in html
    assert '<th scope="col" title="their mean">Score</th>' in html
    assert f"<td>{float(class_prediction(0).score.mean()):.3f}</td>" in html
    assert "How sure on average?" not in report({"net": number_prediction(0)}, targets).html()


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_with_nothing_to_say_is_not_there(
    name: str, labels: torch.Tensor, targets: torch.Tensor
) -> None:
    bare = [
        Evidence.of({"net": class_prediction(0)}, labels),
        Evidence.of({"net": number_prediction(0)}, targets),
    ]
    said = [[each.title for each in SECTIONS[name](evidence)] for evidence in bare]
    assert (
        said
        == {
            "bands": [[], []],
            "calibration": [["Is confidence deserved?"], []],
            "coverage": [[], ["Do intervals keep their promise?"]],
            "abstention": [["What does refusing gain?"], ["What does refusing gain?"]],
            "out_of_distribution": [[], []],
            "parts": [[], ["Noise, or ignorance?"]],
            "classes": [["Class by class"], []],
            "pictures": [[], []],
        }[name]
    )
