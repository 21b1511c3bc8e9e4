"""The gallery's script on the difficulty of boxes."""

import pytest
import torch


def test_every_picture_has_a_score_of_each_kind(example):
    found = example("plot_12_boxes", needs_data=True)
    dynamics = found["dynamics"]
    assert len(found["x"]) == 12
    assert dynamics.counts.tolist() == [2] * 12  # once in each epoch
    assert set(dynamics.action_scores) == {"classification", "localisation"}
    for score in dynamics.action_scores.values():
        assert score.isfinite().all()
        assert (score > 0).all()
        assert len(score.unique()) == 12


def test_the_last_epoch_is_in_the_scores(example):
    """What the network says now is the last term of a sum whose other terms are positive."""
    found = example("plot_12_boxes", needs_data=True)
    network, x, wanted = found["network"], found["x"], found["wanted"][()]
    with torch.no_grad():
        last = found["losses"](network(x), wanted)
    for name, score in found["dynamics"].action_scores.items():
        assert (score > last[name] * (1 - 1e-4)).all()


def test_boxes_are_those_of_the_files_at_a_quarter(example):
    found = example("plot_12_boxes", needs_data=True)
    for i in (0, 11):
        picture = found["cells"][i]
        assert torch.equal(found["boxes"][i] * 4, picture.boxes)
        assert torch.equal(found["labels"][i], picture.labels)
        assert float(found["x"][i].mean()) == pytest.approx(float(picture.image.mean()), abs=1e-4)


def test_pictures_are_drawn_from_hard_to_easy(example):
    found = example("plot_12_boxes", needs_data=True)
    by, chosen = found["by"], found["chosen"]
    scores = found["dynamics"].action_scores[by][chosen]
    assert (scores[:-1] >= scores[1:]).all()
    outlines = [len(ax.patches) for ax in found["axes"].flat]
    assert outlines == [
        len(found["boxes"][i]) + len(ours[0])
        for i, ours in zip(chosen, found["found"], strict=True)
    ]


def test_the_map_shows_both_scores_of_every_picture(example):
    found = example("plot_12_boxes", needs_data=True)
    scores = found["dynamics"].action_scores
    expected = torch.stack([scores["localisation"], scores["classification"]], 1) / 2
    assert torch.allclose(torch.tensor(found["points"].get_offsets().data), expected)
