import matplotlib.pyplot as plt
import pytest
import torch

from duda.plots.pictures import pictures


def corners(ax):
    """Return the upper left corner of each picture."""
    return [(image.get_extent()[0], image.get_extent()[3]) for image in ax.images]


def test_rows_are_filled_from_the_upper_left():
    places = corners(pictures(torch.rand(5, 1, 4, 4), columns=3))
    assert [left for left, _ in places] == [0, 1, 2, 0, 1]
    assert len({top for _, top in places[:3]}) == 1
    assert places[3][1] == places[4][1] < places[0][1] - 1


def test_a_picture_stays_as_it_is():
    x = torch.rand(2, 1, 6, 4)
    grey = pictures(x).images[1]
    assert torch.equal(torch.from_numpy(grey.get_array().data), x[1, 0])
    assert grey.get_clim() == (0, 1)
    left, right, bottom, top = grey.get_extent()
    assert (top - bottom) / (right - left) == pytest.approx(6 / 4)

    colors = torch.rand(1, 3, 5, 5)
    shown = torch.from_numpy(pictures(colors).images[0].get_array().data)
    assert torch.equal(shown, colors[0].permute(1, 2, 0))


def test_captions_stand_below_their_pictures_and_above_the_next_row():
    words = ["one", "two\nlines", "three"]
    ax = pictures(torch.rand(3, 1, 8, 8), words, columns=2, title="three of them")
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert [text.get_text() for text in ax.texts] == words
    assert ax.get_title() == "three of them"
    for box, image in zip(boxes, ax.images, strict=True):
        picture = image.get_window_extent()
        assert box.y1 <= picture.y0
        assert (box.x0 + box.x1) / 2 == pytest.approx((picture.x0 + picture.x1) / 2, abs=1)
    assert boxes[1].y0 >= ax.images[2].get_window_extent().y1
    assert boxes[2].y0 >= ax.get_window_extent().y0


def test_more_captions_than_fit_a_strip_do_not_overlap_in_axes_of_mine():
    figure, axes = plt.subplots(2, figsize=(8, 4), layout="constrained")
    for ax in axes:
        assert pictures(torch.rand(20, 1, 8, 8), ["a\nb"] * 20, ax=ax) is ax
    figure.canvas.draw()
    upper, lower = axes[0].texts[0], axes[0].images[10]
    assert upper.get_window_extent().y0 >= lower.get_window_extent().y1 - 1


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (torch.rand(1, 8, 8), {}, r"`x` has shape \(1, 8, 8\)"),
        (torch.rand(0, 1, 8, 8), {}, r"`x` has shape \(0, 1, 8, 8\)"),
        (torch.rand(1, 2, 8, 8), {}, r"one channel or three"),
        (torch.full((1, 1, 8, 8), 255.0), {}, r"`x` lies in \[255, 255\]"),
        (torch.full((1, 1, 8, 8), torch.nan), {}, r"`x` lies in \[nan, nan\]"),
        (torch.rand(2, 1, 8, 8), {"captions": ["one"]}, "`captions` has 1 of them"),
        (torch.rand(2, 1, 8, 8), {"columns": 0}, "`columns` is 0"),
    ],
)
def test_what_is_no_grid_of_pictures(x, options, message):
    with pytest.raises(ValueError, match=message):
        pictures(x, **options)
