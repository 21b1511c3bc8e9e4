from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest
import torch

from duda import GaussianPrediction, LaplacianPrediction, ScoredClassPrediction
from duda.reporting import OneInput, report
from tests.reporting.conftest import class_prediction, number_prediction, quantile_prediction


class Page(HTMLParser):
    """What a browser would load, and what stands in the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.policy = ""
        self.charts: list[dict] = []
        self.texts: list[str] = []
        self.legend: list[str] = []
        self.rows: list[list[str]] = []
        self.titles: list[str] = []
        self._inside = ""
        self._whole: list[str] | None = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.loads += [values[name] for name in ("src", "href", "data", "action") if name in values]
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"]
        self._inside = values.get("type") or tag
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td", "button"):
            self._whole = self.legend if tag == "button" else self.rows[-1]
            self._whole.append("")
        if tag == "th" and "title" in values:
            self.titles.append(values["title"])

    def handle_data(self, data):
        if self._inside == "application/json":
            self.charts.append(json.loads(data))
        elif self._inside not in ("script", "style"):
            self.texts.append(data)
        if self._whole is not None:
            self._whole[-1] += data

    def handle_endtag(self, tag):
        self._inside = ""
        if tag in ("th", "td", "button"):
            self._whole = None


@pytest.fixture(scope="module")
def page():
    answers = {"one": class_prediction(0), "<b>two</b>": class_prediction(1)}
    ood = {"one": class_prediction(2, 20), "<b>two</b>": class_prediction(3, 20)}
    made = report(
        answers,
        torch.arange(60) % 4,
        ood={"noise": ood},
        inputs=torch.rand(60, 1, 8, 8),
        ood_inputs=torch.rand(20, 1, 8, 8),
        classes=("a", "b", "</script>", "d"),
    )
    return made, Page(made.html())


def test_nothing_is_fetched(page):
    _, html = page
    assert html.loads
    assert all(address.startswith("data:") for address in html.loads)
    assert "default-src 'none'" in html.policy


def test_every_section_stands_in_the_page_with_how_to_read_it(page):
    made, html = page
    text = " ".join(html.texts)
    assert len(made.sections) == 10
    for section in made.sections:
        assert section.title in text
        assert section.reading in text


def test_every_chart_stands_in_the_page(page):
    made, html = page
    charts = [chart for section in made.sections for chart in section.charts]
    explorer, *figures = html.charts
    assert explorer == json.loads(made.explorer.json)
    assert len(figures) == len(charts) == 2 + 2 + 1
    assert figures[0]["data"][0]["type"] == "bar"


def test_the_table_has_a_row_for_each_method_and_a_column_for_each_metric(page):
    made, html = page
    head, *body = html.rows[: 1 + len(made.styles)]
    shown = [f"{row.metric.label}\xa0{row.metric.arrow}" for row in made.table]
    assert head == ["Method", *shown]
    for place, (method, row) in enumerate(zip(("one", "<b>two</b>"), body, strict=True)):
        assert row == [method, *(str(column.cells[place]) for column in made.table)]


def test_what_a_column_means_stands_below_the_table_and_over_its_head(page):
    made, html = page
    meanings = [row.metric.meaning for row in made.table]
    titles = html.titles[: len(meanings)]
    assert [title.split(". ", 1)[1] for title in titles] == meanings
    assert set(meanings) <= set(html.texts)


def test_all_methods_in_one_chart_have_a_legend(page):
    made, html = page
    assert [name for name in html.legend if name in made.styles] == ["one", "<b>two</b>"]


def test_sixteen_methods_have_sixteen_lines(labels):
    methods = [f"method {index}" for index in range(16)]
    made = report({method: class_prediction(0) for method in methods}, labels)
    refusal = next(each for each in made.sections if each.title == "What does refusing gain?")
    lines = refusal.charts[0].figure.data
    assert len({(line.line.color, line.line.dash) for line in lines}) == 16
    html = made.html()
    assert all(f"border-top:3px {style.border}" in html for style in made.styles.values())
    assert len(html) < 8e6


def test_the_verdicts_come_first_and_classes_have_their_rows(page):
    made, html = page
    text = "".join(html.texts)
    for verdict in made.verdicts.values():
        for sentence in verdict.sentences:
            assert text.index(sentence) < text.index("In numbers")
    classes = next(each for each in made.sections if each.title == "Class by class")
    shown = [row[0] for row in html.rows[1 + len(made.styles) :]]
    assert shown == [
        name for table in classes.tables for name in ("Class", *(row[0] for row in table.rows))
    ]


def test_names_are_text_and_no_markup(page):
    _, html = page
    assert any("<b>two</b>" in text for text in html.texts)
    assert any("</script>" in text for text in html.texts)


def test_it_is_written_whole(page, tmp_path):
    made, _ = page
    path = made.save(tmp_path / "deep" / "report.html")
    assert path.read_text(encoding="utf-8") == made.html()
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_one_method_takes_its_out_of_distribution_prediction_as_it_is(labels):
    made = report({"one": class_prediction(0)}, labels, ood={"noise": class_prediction(1)})
    assert "Is the unfamiliar noticed?" in [section.title for section in made.sections]


def test_numbers_get_bands_and_coverage(targets):
    x = torch.linspace(-1, 1, 60)[:, None]
    problem = OneInput(x, {"one": number_prediction(1)}, (x, targets))
    made = report({"one": number_prediction(0)}, targets, one_input=problem)
    assert [section.title for section in made.sections] == [
        "What is known, and where does it end?",
        "Do intervals keep their promise?",
        "What does refusing gain?",
        "Noise, or ignorance?",
    ]


def test_quantiles_get_bands_and_coverage(targets):
    x = torch.linspace(-1, 1, 60)[:, None]
    problem = OneInput(x, {"one": quantile_prediction(1)}, (x, targets))
    made = report(
        {"one": quantile_prediction(0)},
        targets,
        ood={"far": quantile_prediction(2)},
        one_input=problem,
    )
    assert [section.title for section in made.sections] == [
        "What is known, and where does it end?",
        "Do intervals keep their promise?",
        "What does refusing gain?",
        "Is the unfamiliar noticed?",
    ]
    assert "median, the bands should hold 50 % and 95 % of the true" in made.sections[0].reading
    assert "width of the 95 % interval" in made.html()
    assert "the widest interval between two predicted quantiles" in made.uncertainty


def test_families_of_numbers_stand_side_by_side(targets):
    gaussian = number_prediction(0)
    laplacian = LaplacianPrediction(gaussian.mean, gaussian.aleatoric)
    made = report({"gaussian": gaussian, "laplacian": laplacian}, targets)
    assert len(made.table[0].cells) == 2


def test_what_goes_over_other_levels_is_not_the_best(targets):
    few = quantile_prediction(0)
    more = type(few)(few.quantiles[:, 1:4], few.levels[1:4])
    alike = report({"one": few, "two": few}, targets).table
    apart = report({"one": few, "two": more}, targets).table
    for rows, marked in ((alike, {"Pinball loss", "Interval width"}), (apart, set())):
        best = {row.metric.label for row in rows if any(cell.best for cell in row.cells)}
        assert best & {"Pinball loss", "Interval width"} == marked


def test_scores_of_their_own_have_an_axis_of_their_own(labels):
    entropies = class_prediction(0)
    scored = ScoredClassPrediction.from_prediction(entropies, torch.linspace(-900, 900, 60))
    answers = {"entropy": entropies, "norm": scored}
    made = report(answers, labels, ood={"far": answers})
    charts = next(s for s in made.sections if s.title == "Is the unfamiliar noticed?").charts
    axes = [chart.figure.layout.xaxis for chart in charts]
    assert [axis.title.text for axis in axes] == ["entropy (nats)", "score of norm"]
    assert axes[0].range[1] < 2
    low, high = axes[1].range
    assert low < -800
    assert high > 800
    assert "entropy of the predicted probabilities" in made.uncertainty
    assert "For norm, uncertainty is the method's own score" in made.uncertainty


def test_several_scores_of_their_own_are_named(labels):
    scored = ScoredClassPrediction.from_prediction(class_prediction(0), torch.zeros(60))
    made = report({"a": scored, "b": scored, "c": scored}, labels)
    assert made.uncertainty.startswith("For a, b and c, uncertainty is the method's own score")
    assert made.uncertainty in made.html().replace("&#39;", "'")


def test_measured_numbers_of_several_seeds_are_shown(labels):
    measured = {"one": {"nll": [1.0, 2.0]}}
    made = report({"one": class_prediction(0)}, labels, measured=measured)
    assert made.seeds == 2
    assert str(made.table[0].cells[0]) == "1.50 ± 0.71"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predictions": {}}, "`predictions` is empty"),
        ({"predictions": {"a": class_prediction(0), "b": number_prediction(0)}}, "2 kinds"),
        ({"predictions": {"a": class_prediction(0), "b": class_prediction(0, 9)}}, "same examples"),
        ({"ood": {"x": class_prediction(1), "y": class_prediction(1)}}, "names 2 sets"),
        ({"ood": {"x": {"b": class_prediction(1)}}}, r"predictions of \['b'\]"),
        ({"ood": {"x": number_prediction(1)}}, "expected a ClassPrediction"),
        ({"inputs": torch.zeros(9, 1, 8, 8)}, "9 pictures for a prediction of 60"),
        ({"inputs": torch.zeros(60, 1, 8, 8), "classes": ("a", "b")}, "has 2 names, expected 4"),
    ],
)
def test_what_does_not_fit_gets_a_sentence(labels, change, message):
    arguments = {"predictions": {"a": class_prediction(0)}, "y": labels} | change
    with pytest.raises(ValueError, match=message):
        report(**arguments)


def test_what_is_no_prediction_is_refused(labels):
    with pytest.raises(TypeError, match="is a Tensor, expected a ClassPrediction"):
        report({"a": torch.zeros(60, 4)}, labels)


def test_several_outputs_are_reported():
    answer = GaussianPrediction(torch.zeros(20, 3), torch.ones(20, 3))
    made = report({"a": answer}, torch.zeros(20, 3), ood={"far": answer})
    assert made.table[0].metric.label == "RMSE"


def test_many_methods_and_large_photographs_stay_below_8_mb():
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(60, 3, 14, 14, generator=random)
    photographs = torch.nn.functional.interpolate(coarse, 224, mode="bilinear")
    answers = {f"method {index}": class_prediction(index) for index in range(13)}
    made = report(
        answers,
        torch.arange(60) % 4,
        ood={"far": answers},
        inputs=photographs,
        ood_inputs=photographs,
    )
    assert len(made.html().encode()) < 8e6
