"""The script on the bandit counts what was missed."""

import pytest
import torch


def test_regret_only_grows_and_all_decisions_are_counted(example):
    found = example("plot_17_bandit")
    for _, regret in found["played"].values():
        assert len(regret) == found["rounds"]
        assert bool((regret.diff() >= 0).all())
    assert set(found["beliefs"]) == {"greedy", "Thompson sampling", "the truth"}


def test_the_prize_lies_at_the_rim(example):
    pays = example("plot_17_bandit")["pays"]
    best = pays(torch.tensor([[0.0, 0.9], [0.0, 0.7]])).max(1)
    assert best.values.tolist() == pytest.approx([50.0, 1.2])
    assert best.indices[0] != best.indices[1] == 0
