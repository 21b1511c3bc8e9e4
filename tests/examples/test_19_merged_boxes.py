"""The gallery's script on the boxes of several detectors."""

import pytest


@pytest.fixture
def found(example):
    return example("plot_19_merged_boxes", needs_data=True)


def test_each_picture_has_an_answer_of_each_model(found):
    assert set(found["said_of"]) == {"one network", "MC-Dropout", "ensemble"}
    for name, pictures in found["found"].items():
        assert len(pictures) == len(found["x_test"]) == 12
        draws = {"MC-Dropout": found["samples"], "ensemble": found["members"]}[name]
        assert all(len(members) == draws for members in pictures)
        merged = found["said_of"][name]
        assert all(each.members == draws for each in merged)
        assert sum(map(len, merged)) > 0


def test_draws_of_dropout_differ_and_members_do(found):
    for name in ("MC-Dropout", "ensemble"):
        spread = [each.between for each in found["said_of"][name] if int(each.votes.max()) > 1]
        assert any(bool(each.any()) for each in spread)


def test_every_picture_is_drawn(found):
    scatter, pictures = found["all_figures"]
    for ax in scatter.axes:
        assert len(ax.lines[0].get_xdata()) == 12
        assert "rank correlation" in ax.get_title()
    assert all(len(ax.images) == 1 for ax in pictures.axes)


def test_bounds_rest_on_the_first_half(found):
    assert found["bounds"].pairs > 0
    assert 0 <= found["held"].overall <= 1
    assert min(found["few"]) >= found["half"]
