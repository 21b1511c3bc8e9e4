"""What the page on hard pictures shows, in small."""

from itertools import pairwise

import numpy as np
import torch

from duda import datasets


def test_hard_pictures_and_their_correlations(example):
    found = example("plot_11_difficulty", needs_data=True)
    action, hardest, easiest = found["recorder"].action, found["hardest"], found["easiest"]
    count = len(found["x"])
    assert len({*hardest.tolist(), *easiest.tolist()}) == 20
    assert action[hardest].min() > action[easiest].max()
    assert torch.equal(found["so_far"][-1], action)
    assert all((late > early).all() for early, late in pairwise(found["so_far"]))
    # Human disagreement belongs to the test pictures that the network learnt.
    votes = datasets.cifar_10h()[:count].double()
    shares = votes / votes.sum(1, keepdim=True)
    entropy = -(shares * shares.clamp(min=1e-9).log()).sum(1)
    assert np.allclose(found["people"], entropy, atol=1e-5)
    for value, low, high in [*found["with_people"].values(), found["with_ensemble"]]:
        assert -1 <= low < value < high <= 1
    assert found["over_time"][-1] == found["with_people"]["action score"]


def test_the_ensemble_never_saw_the_pictures(example):
    found = example("plot_11_difficulty", needs_data=True)
    own, others = found["x"].flatten(1), found["rest"][0].flatten(1)
    assert torch.cdist(own, others).min() > 1
    assert len(found["answer"].probs) == len(found["x"])


def test_the_figures(example):
    found = example("plot_11_difficulty", needs_data=True)
    axes = [ax for figure in found["all_figures"] for ax in figure.axes]
    titles = [ax.get_title() for ax in axes]
    assert titles[:3] == [
        "Hardest for the network: the highest action scores",
        "Easiest for the network: the lowest",
        "Hardest for people: the votes of highest entropy",
    ]
    assert [len(ax.images) for ax in axes[:3]] == [10, 10, 10]
