"""The charts hold the numbers of `duda.evaluation`, and nothing of their own."""

from __future__ import annotations

import base64
import io

import pytest
import torch

from duda import ClassPrediction, GaussianPrediction, evaluation
from duda.reporting import OneInput
from duda.reporting.bands import band_chart, band_range
from duda.reporting.calibration import reliability_diagram
from duda.reporting.intervals import coverage_chart
from duda.reporting.pictures import data_uri, extremes, is_pictures, pictures
from duda.reporting.refusal import risk_chart
from duda.reporting.separation import score_edges, score_histogram, shares
from duda.reporting.theme import palette, thinned
from tests.reporting.conftest import class_prediction, number_prediction, quantile_prediction


def test_the_reliability_diagram_shows_filled_bins(labels):
    bins = evaluation.reliability(class_prediction(0).probs, labels)
    filled = bins.counts > 0
    accuracy, diagonal, counts = reliability_diagram(bins, "#0072B2").data
    assert list(accuracy.y) == bins.accuracy[filled].tolist()
    assert list(counts.y) == bins.counts[filled].tolist()
    assert sum(counts.y) == 60
    assert list(diagonal.x) == list(diagonal.y) == [0, 1]


def test_bins_of_few_examples_are_pale():
    bins = evaluation.reliability_of([0.2] * 9 + [0.9] * 10, [True] * 19)
    colours = reliability_diagram(bins, "#0072B2").data[0].marker.color
    assert list(colours) == ["rgba(0,114,178,0.35)", "rgba(0,114,178,1)"]


def test_the_coverage_chart_shows_the_coverage(targets):
    curve = evaluation.coverage(number_prediction(0), targets)
    _, line = coverage_chart({"a": curve}, {"a": "#0072B2"}).data
    assert (list(line.x), list(line.y)) == (curve.levels.tolist(), curve.observed.tolist())


def test_the_risk_chart_shows_the_selection(labels):
    answer = class_prediction(0)
    curve = evaluation.selective(answer.score, answer.labels != labels)
    [line] = risk_chart({"a": curve}, {"a": "#0072B2"}, "share wrong", percent=True).data
    assert (list(line.x), list(line.y)) == (curve.coverages.tolist(), curve.risks.tolist())


def test_long_curves_are_thinned_but_keep_their_ends():
    points = thinned(10_000)
    assert len(points) == 500
    assert (int(points[0]), int(points[-1])) == (0, 9_999)
    assert thinned(7).tolist() == list(range(7))


def test_the_histogram_holds_every_score():
    own, other = class_prediction(0).score, class_prediction(1).score
    edges = score_edges([own, other])
    bars, outline = score_histogram(own, other, edges, "#0072B2", "nats").data
    assert list(bars.customdata) == shares(own, edges).tolist()
    assert list(outline.customdata)[:-1] == shares(other, edges).tolist()
    assert sum(bars.customdata) == pytest.approx(1)
    assert sum(list(outline.customdata)[:-1]) == pytest.approx(1)


def test_scores_that_are_all_zero_have_a_histogram():
    edges = score_edges([torch.zeros(5)])
    assert shares(torch.zeros(5), edges)[0] == 1


def test_infinite_scores_lie_in_the_last_bin():
    score = torch.tensor([0.0, 1.0, torch.inf])
    edges = score_edges([score])
    assert (float(edges[0]), float(edges[-1])) == (0.0, 1.0)
    assert float(shares(score, edges)[-1]) == pytest.approx(2 / 3)


def test_bands_of_quantiles_lie_between_them():
    x, answer = torch.linspace(-2, 2, 60)[:, None], quantile_prediction(0)
    problem = OneInput(x, {"a": answer}, (torch.tensor([[-1.0], [1.0]]), torch.zeros(2, 1)))
    wide, narrow, median, _ = band_chart(problem, "a", "#0072B2").data
    for band, (low, high) in ((wide, (0, 4)), (narrow, (1, 3))):
        assert list(band.y)[:60] == answer.quantiles[:, low, 0].tolist()
        assert list(band.y)[:59:-1] == answer.quantiles[:, high, 0].tolist()
    assert list(median.y) == answer.quantiles[:, 2, 0].tolist()


def test_bands_are_one_two_and_three_deviations_about_the_mean():
    x = torch.linspace(-2, 2, 5)[:, None]
    answer = GaussianPrediction(x.double(), torch.full((5, 1), 4.0).double())
    problem = OneInput(x, {"a": answer}, (torch.tensor([[-1.0], [1.0]]), torch.zeros(2, 1)), x**2)
    figure = band_chart(problem, "a", "#0072B2")
    three, two, one, mean, data, truth = figure.data
    for band, width in ((three, 3), (two, 2), (one, 1)):
        assert list(band.y)[:5] == pytest.approx((x[:, 0] - 2 * width).tolist())
        assert list(band.y)[:4:-1] == pytest.approx((x[:, 0] + 2 * width).tolist())
    assert list(mean.y) == x[:, 0].tolist()
    assert list(data.x) == [-1.0, 1.0]
    assert list(truth.y) == (x[:, 0] ** 2).tolist()
    assert [(shape.x0, shape.x1) for shape in figure.layout.shapes] == [(-2, -1), (1, 2)]
    assert band_range(problem) == (-1.0, 5.0)


def test_a_picture_survives_the_way_into_the_page():
    from PIL import Image

    picture = torch.rand(3, 8, 6, generator=torch.Generator().manual_seed(0))
    head, content = data_uri(picture).split(",")
    image = Image.open(io.BytesIO(base64.b64decode(content)))
    assert head == "data:image/png;base64"
    assert (image.size, image.mode) == ((6, 8), "RGB")
    assert image.getpixel((5, 0)) == tuple((picture[:, 0, 5] * 255).round().int().tolist())


def test_extremes_are_the_first_among_equals():
    unsure, sure = extremes(torch.tensor([0.5, 0.1, 0.5, 0.1]), 2)
    assert (unsure.tolist(), sure.tolist()) == ([0, 2], [1, 3])
    assert len(extremes(torch.zeros(3), 8)[0]) == 3


def test_pictures_say_the_two_highest_probabilities_and_what_is_right():
    answer = ClassPrediction.from_probs([[0.7, 0.1, 0.2], [0.2, 0.3, 0.5]])
    x, y = torch.zeros(2, 1, 4, 4), torch.tensor([0, 1])
    right, wrong = pictures(x, answer, torch.tensor([0, 1]), "abc", y)
    assert [claim.label for claim in right.claims] == ["a", "c"]
    assert [claim.probability for claim in wrong.claims] == pytest.approx([0.5, 0.3])
    assert (right.truth, wrong.truth) == ("", "b")


def test_only_grey_and_coloured_pictures_are_pictures():
    assert is_pictures(torch.zeros(2, 3, 4, 4))
    assert not is_pictures(torch.zeros(2, 2, 4, 4))
    assert not is_pictures(None)


def test_a_method_has_one_colour_and_neighbours_differ():
    colours = palette(["a", "b", "c"])
    assert list(colours) == ["a", "b", "c"]
    assert len(set(colours.values())) == 3
    assert len(palette(str(i) for i in range(9))) == 9
