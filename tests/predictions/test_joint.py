"""Joint predictions: parts by name, examples by number, and sentences where one part is meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import duda
from duda import ClassPrediction, GaussianPrediction, JointPrediction, load_prediction


def made(rows: int = 4, start: int = 0) -> JointPrediction:
    places = torch.arange(start, start + rows).unsqueeze(1)
    draws = torch.stack([places + shift for shift in (0.0, 2.0)])
    return JointPrediction(
        {
            "class": ClassPrediction.from_probs([[0.7, 0.3]] * rows),
            "depth": GaussianPrediction(
                draws.mean(0), draws[0] * 0 + 1, draws.var(0), torch.cat([draws, draws * 0 + 1], 2)
            ),
        }
    ).with_joint(True)


def same(one: JointPrediction, other: JointPrediction) -> bool:
    a, b = one.numpy(), other.numpy()
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_it_is_a_mapping_by_name_and_a_sequence_of_examples() -> None:
    answer = made()
    assert answer.names == ("class", "depth") == tuple(dict(answer))
    assert len(answer) == 4
    assert "depth" in answer
    assert "box" not in answer
    assert answer["depth"].mean.shape == (4, 1)
    assert answer["class"].joint
    assert answer.said_shape == (2, 1)
    assert answer.outputs == "class: 2 classes, depth: 1 output"
    assert repr(answer).startswith("JointPrediction(class=ClassPrediction(")
    some = answer[[True, False, True, False]]
    assert torch.equal(some["depth"].mean, answer["depth"].mean[[0, 2]])
    assert some["depth"].draws.shape == (2, 2, 2)
    assert some.joint
    with pytest.raises(KeyError, match="'box', expected 'class' and 'depth'"):
        answer["box"]
    with pytest.raises(IndexError, match="asks for example 9"):
        answer[9]


def test_files_and_joins_hold_the_same(tmp_path: Path) -> None:
    answer = made()
    back = load_prediction(answer.save(tmp_path / "answer"))
    assert isinstance(back, JointPrediction)
    assert same(back, answer)
    assert back.joint
    assert back["depth"].joint
    joined = JointPrediction.concatenate([answer[:1], answer[1:]])
    assert same(joined, answer)
    assert joined.joint
    assert answer.to("cpu", torch.float64)["depth"].mean.dtype == torch.float64
    other = JointPrediction({"depth": answer["depth"]})
    with pytest.raises(ValueError, match="have the names 'class' and 'depth' and 'depth'"):
        JointPrediction.concatenate([answer, other])
    with pytest.raises(TypeError, match="holds a GaussianPrediction"):
        JointPrediction.concatenate([answer, answer["depth"]])


Y = torch.zeros(4, dtype=torch.int64)


@pytest.mark.parametrize(
    "asked",
    [
        lambda answer: answer.score,
        lambda answer: answer.loss(Y),
        lambda answer: duda.evaluation.nll(answer, Y),
        lambda answer: duda.evaluation.rmse(answer, Y),
        lambda answer: duda.Gate.keep(0.9).fit(answer),
        lambda answer: duda.report({"it": answer}, Y),
        lambda answer: duda.decisions.acquire(answer, 2, "entropy"),
        lambda answer: duda.decisions.ConformalClassifier(alpha=0.1).fit(answer, Y),
    ],
)
def test_who_takes_one_part_says_so(asked: Any) -> None:
    with pytest.raises(
        TypeError, match=r"JointPrediction.*expected.*: take `prediction\['class'\]` or"
    ):
        asked(made())


def test_what_is_none_is_told() -> None:
    with pytest.raises(ValueError, match="`by_name` is empty"):
        JointPrediction({})
    with pytest.raises(TypeError, match="`by_name` has a list as 'class', expected predictions"):
        JointPrediction({"class": [1.0]})
    with pytest.raises(ValueError, match=r"`by_name` are of \[2, 4\] examples"):
        JointPrediction({"one": made(2)["class"], "other": made(4)["depth"]})
