"""A score of the method's own takes the place of the entropy, and of nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from duda import Categorical, ClassPrediction, ScoredClassPrediction

ANSWER = ClassPrediction.from_probs(torch.tensor([[0.7, 0.3], [0.5, 0.5], [0.0, 1.0]]))


def test_only_the_score_differs() -> None:
    answer = ScoredClassPrediction.from_prediction(ANSWER, [3.0, 1.0, 2.0])
    assert answer.score.tolist() == [3.0, 1.0, 2.0]
    expected = ANSWER.numpy() | {"score": answer.own_score.numpy()}
    found = answer.numpy()
    assert found.keys() == expected.keys() | {"own_score"}
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_draws_and_positions_stay() -> None:
    pixels = Categorical().reduce(torch.randn(4, 5, 3, 2, 2), keep_draws=True)
    answer = ScoredClassPrediction.from_prediction(pixels, torch.full((5, 2, 2), torch.inf))
    assert torch.equal(answer.draws, pixels.draws)
    assert answer[1:3].score.shape == (2, 2, 2)


def test_another_kind_does_not_join() -> None:
    scored = ScoredClassPrediction.from_prediction(ANSWER, [3.0, 1.0, 2.0])
    with pytest.raises(TypeError, match="holds a ScoredClassPrediction, expected each to be a "):
        ClassPrediction.concatenate([ANSWER, scored])
    with pytest.raises(TypeError, match="holds a ClassPrediction"):
        ScoredClassPrediction.concatenate([scored, ANSWER])


@pytest.mark.parametrize(
    ("score", "message"),
    [
        ([[1.0], [2.0], [3.0]], r"`own_score` has shape \(3, 1\).*call `own_score.squeeze\(1\)`"),
        ([1.0, 2.0], r"`own_score` has shape \(2,\), expected \(3,\)"),
        ([1.0, np.nan, 2.0], "`own_score` has 1 NaN of 3"),
    ],
)
def test_scores_that_do_not_fit_are_told(score: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScoredClassPrediction.from_prediction(ANSWER, score)
