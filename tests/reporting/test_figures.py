"""The charts hold the numbers of `duda.evaluation`, and nothing of their own."""

from __future__ import annotations

import base64
import io

import pytest
import torch

from duda import ClassPrediction, GaussianPrediction, evaluation
from duda.reporting import OneInput
from duda.reporting.images import as_pictures, data_uri
from duda.reporting.sections.abstention import risk_chart
from duda.reporting.sections.bands import band_chart, band_range
from duda.reporting.sections.calibration import reliability_diagram
from duda.reporting.sections.coverage import coverage_chart
from duda.reporting.sections.out_of_distribution import score_edges, score_histogram, shares
from duda.reporting.sections.pictures import extremes, pictures
from duda.reporting.theme import Style, palette
from tests.reporting.conftest import class_prediction, number_prediction, quantile_prediction

BLUE = Style("#0072B2")

# What eyes without one kind of cone make of linear RGB. Source: Machado et al. 2009, table 1.
EYES = {
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
    "all": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
}


def test_the_reliability_diagram_shows_filled_bins(labels):
    bins = evaluation.reliability(class_prediction(0).probs, labels)
    filled = bins.counts > 0
    accuracy, _, diagonal, counts = reliability_diagram(bins, bins.null_band(), BLUE).data
    assert list(accuracy.y) == bins.accuracy[filled].tolist()
    assert list(counts.y) == bins.counts[filled].tolist()
    assert sum(counts.y) == 60
    assert list(diagonal.x) == list(diagonal.y) == [0, 1]


def test_marks_are_the_band_of_chance_where_examples_are_enough():
    bins = evaluation.reliability_of([0.2] * 9 + [0.9] * 40, [True] * 49)
    marks = reliability_diagram(bins, bins.null_band(), BLUE).data[1]
    [lower], [height] = marks.base, marks.y
    band = bins.null_band()
    told = bins.counts >= 10
    assert [lower] == band.lower[told].tolist()
    assert lower + height == pytest.approx(float(band.upper[told]))


def test_bins_of_few_examples_are_pale():
    bins = evaluation.reliability_of([0.2] * 9 + [0.9] * 10, [True] * 19)
    bars = reliability_diagram(bins, bins.null_band(), BLUE).data[0]
    assert list(bars.marker.opacity) == [0.35, 1]


def test_the_coverage_chart_shows_the_coverage(targets):
    curve = evaluation.coverage(number_prediction(0), targets)
    band, _, line = coverage_chart({"a": curve}, {"a": BLUE}).data
    assert (list(line.x), list(line.y)) == (curve.levels.tolist(), curve.observed.tolist())
    low, high = curve.null_band()
    half = band.x.index(0.5)
    assert curve.levels[9] == 0.5
    assert band.y[half] == pytest.approx(float(low[9]))
    assert band.y[len(band.y) - 1 - half] == pytest.approx(float(high[9]))


def test_the_risk_chart_shows_the_selection(labels):
    answer = class_prediction(0)
    curve = evaluation.selective(answer.score, answer.labels != labels)
    [line] = risk_chart({"a": curve}, {"a": BLUE}, "share wrong", percent=True).data
    assert (list(line.x), list(line.y)) == (curve.coverages.tolist(), curve.risks.tolist())


def test_the_histogram_holds_every_score():
    own, other = class_prediction(0).score, class_prediction(1).score
    edges = score_edges([own, other])
    bars, outline = score_histogram(own, other, edges, BLUE, "nats").data
    assert list(bars.customdata) == shares(own, edges).tolist()
    assert list(outline.customdata)[:-1] == shares(other, edges).tolist()
    assert sum(bars.customdata) == pytest.approx(1)
    assert sum(list(outline.customdata)[:-1]) == pytest.approx(1)


def test_scores_that_are_all_zero_have_a_histogram():
    edges = score_edges([torch.zeros(5)])
    assert shares(torch.zeros(5), edges)[0] == 1


def test_one_score_far_off_does_not_hide_the_others():
    random = torch.Generator().manual_seed(0)
    own, other = torch.randn(2000, generator=random), 4 + torch.randn(500, generator=random)
    other[0] = 1e6
    edges = score_edges([own, other])
    overlap = torch.minimum(shares(own, edges), shares(other, edges)).sum()
    assert overlap < 0.1
    assert float(shares(other, edges).sum()) == pytest.approx(1)


def test_scores_far_from_zero_fill_the_axis():
    random = torch.Generator().manual_seed(0)
    scores = [1000 + 2 * torch.randn(2000, generator=random), torch.full((30,), 1010.0)]
    edges = score_edges(scores)
    assert 990 < edges[0] < edges[-1] < 1015
    assert (shares(scores[0], edges) > 0).sum() > 10


def test_scores_that_are_all_infinite_have_a_histogram():
    score = torch.tensor([torch.inf] * 3)
    assert shares(score, score_edges([score]))[-1] == 1


def test_infinite_scores_lie_in_the_last_bin():
    score = torch.tensor([0.0, 1.0, torch.inf])
    edges = score_edges([score])
    assert (float(edges[0]), float(edges[-1])) == (0.0, 1.0)
    assert float(shares(score, edges)[-1]) == pytest.approx(2 / 3)


def test_bands_of_quantiles_lie_between_them():
    x, answer = torch.linspace(-2, 2, 60)[:, None], quantile_prediction(0)
    problem = OneInput(x, {"a": answer}, (torch.tensor([[-1.0], [1.0]]), torch.zeros(2, 1)))
    wide, narrow, median, _ = band_chart(problem, "a", BLUE).data
    for band, (low, high) in ((wide, (0, 4)), (narrow, (1, 3))):
        assert list(band.y)[:60] == answer.quantiles[:, low, 0].tolist()
        assert list(band.y)[:59:-1] == answer.quantiles[:, high, 0].tolist()
    assert list(median.y) == answer.quantiles[:, 2, 0].tolist()


def test_bands_are_one_two_and_three_deviations_about_the_mean():
    x = torch.linspace(-2, 2, 5)[:, None]
    answer = GaussianPrediction(x.double(), torch.full((5, 1), 4.0).double())
    problem = OneInput(x, {"a": answer}, (torch.tensor([[-1.0], [1.0]]), torch.zeros(2, 1)), x**2)
    figure = band_chart(problem, "a", BLUE)
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


def test_only_gray_and_colored_pictures_are_pictures():
    answer = class_prediction(0, 2)
    for channels in (1, 3):
        x = torch.zeros(2, channels, 4, 4)
        assert torch.equal(as_pictures(x, "inputs", answer), x)
    with pytest.raises(ValueError, match=r"shape \(2, 2, 4, 4\), expected pictures"):
        as_pictures(torch.zeros(2, 2, 4, 4), "inputs", answer)
    assert as_pictures(None, "inputs", answer) is None


def test_every_method_has_a_style_of_its_own():
    methods = [f"method {index}" for index in range(16)]
    styles = palette(methods)
    assert list(styles) == methods
    assert len(set(styles.values())) == 16
    assert [style.dash for style in styles.values()] == ["solid"] * 8 + ["dash"] * 8
    assert len(palette(str(index) for index in range(40))) == 40


def linear(color: str) -> torch.Tensor:
    values = torch.tensor([int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]).double()
    return torch.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def oklab(rgb: torch.Tensor) -> torch.Tensor:
    """Where distances are what eyes see of them. Source: Ottosson 2020."""
    cones = [[0.41222147, 0.53633254, 0.05144599], [0.2119035, 0.68069955, 0.10739696]]
    cones.append([0.08830246, 0.28171884, 0.6299787])
    axes = [[0.21045426, 0.79361779, -0.00407205], [1.9779985, -2.42859221, 0.45059371]]
    axes.append([0.0259040, 0.78277177, -0.80867577])
    seen = torch.tensor(cones).double() @ rgb.clamp(0, 1)
    return torch.tensor(axes).double() @ seen.pow(1 / 3)


@pytest.mark.parametrize("eye", EYES)
def test_colors_are_told_apart_by_any_eye(eye):
    colors = {style.color for style in palette(str(index) for index in range(24)).values()}
    sight = torch.tensor(EYES[eye]).double()
    seen = torch.stack([oklab(sight @ linear(color)) for color in sorted(colors)])
    assert len(seen) == 8
    assert float(torch.pdist(seen).min()) > 0.07  # a difference of 0.02 can just be seen


@pytest.mark.parametrize("ground", ["#FFFFFF", "#1A2029"])
def test_colors_stand_out_from_the_page(ground):
    weights = torch.tensor([0.2126, 0.7152, 0.0722]).double()
    for style in palette(str(index) for index in range(8)).values():
        light = [float(linear(color) @ weights) + 0.05 for color in (ground, style.color)]
        assert max(light) / min(light) > 2  # contrast as in WCAG 2.1


def test_a_style_is_the_same_in_lines_bars_and_legend(labels):
    answer, style = class_prediction(0), Style("#D55E00", "dash")
    curve = evaluation.selective(answer.score, answer.labels != labels)
    [line] = risk_chart({"a": curve}, {"a": style}, "share wrong", percent=True).data
    bins = evaluation.reliability(answer.probs, labels)
    edges = score_edges([answer.score])
    diagram = reliability_diagram(bins, bins.null_band(), style).data[0]
    histogram = score_histogram(answer.score, answer.score, edges, style, "nats").data[0]
    assert (line.line.color, line.line.dash, style.border) == ("#D55E00", "dash", "dashed #D55E00")
    assert diagram.marker.color == "#D55E00"
    assert diagram.marker.pattern.shape == histogram.marker.pattern.shape == "/"
