"""The code on the pages runs, and the Spanish pages say the same as the English ones."""

import io
import re
import tokenize
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
import torch

import duda
from docs import tables
from duda.registry import exported

DOCS = Path(__file__).parents[2] / "docs"


def code(page: str) -> str:
    """Return all Python on a page, joined in its order."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    return "\n".join(blocks)


def without_comments(source: str) -> list[str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    skipped = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE)
    return [token.string for token in tokens if token.type not in skipped]


def run(page: str, monkeypatch, folder: Path) -> dict[str, object]:
    monkeypatch.chdir(folder)
    mpl.use("agg")
    names: dict[str, object] = {}
    exec(compile(code(page), page, "exec"), names)
    plt.close("all")
    return names


def test_getting_started_runs_and_does_what_it_says(monkeypatch, tmp_path):
    found = run("start.md", monkeypatch, tmp_path)
    accuracy = (found["answer"].labels == found["y_test"]).double().mean()
    assert accuracy > 0.9
    assert found["decisions"].accepted.double().mean() > 0.8
    assert (tmp_path / "report.html").stat().st_size < 8_000_000
    assert bool((found["ensemble"].predict(found["x_test"]).probs == found["other"].probs).all())
    assert (tmp_path / "comparison" / "report.html").is_file()


def test_the_page_on_networks_and_data_reads_them_in_each_way(monkeypatch, tmp_path):
    found = run("data.md", monkeypatch, tmp_path)
    assert bool((found["answer"].probs == found["same"].probs).all())
    assert found["tagger"].predict(found["tokens"], seed=0).probs.shape == (8, 5, 12)
    assert bool((found["ended"].epistemic > 0).all())
    assert found["said"].classes == ("ant", "bee", "cat")


def test_the_page_on_choosing_compares_on_data_of_ones_own(monkeypatch, tmp_path):
    comparison = run("choosing.md", monkeypatch, tmp_path)["comparison"]
    assert comparison.methods == ["plain", "20 draws", "5 members"]
    assert len(comparison.chosen) == 2
    assert (tmp_path / "results" / "report.html").is_file()


def test_the_page_on_draws_counts_what_it_says(monkeypatch, tmp_path):
    found = run("how-draws-are-made.md", monkeypatch, tmp_path)
    assert found["trunk"].seen[0] == 256
    assert found["answer"].draws.shape == (50, 256, 3)
    apart, joint = found["apart"], found["joint"]
    assert not bool((apart[:, :256] == apart[:, 256:]).all())
    torch.testing.assert_close(joint[:, :256], joint[:, 256:])


def test_one_prediction_runs_the_trunk_of_the_page_once(monkeypatch, tmp_path):
    source = code("how-draws-are-made.md").split("x = torch.randn(256, 8)\none_by_one")[0]
    names: dict[str, object] = {}
    exec(compile(source, "how-draws-are-made.md", "exec"), names)
    assert names["trunk"].seen == [256]


def test_the_spanish_page_has_the_same_code():
    assert without_comments(code("es/empezar.md")) == without_comments(code("start.md"))


def test_the_method_of_the_page_on_adding_one_keeps_its_latest_epochs(monkeypatch, tmp_path):
    found = run("adding.md", monkeypatch, tmp_path)
    model, answer = found["model"], found["answer"]
    assert bool((answer.epistemic > 0).any())
    data = found["data"]
    x, _ = data.test

    class Watch:
        def __init__(self):
            self.outputs = []

        def on_epoch_end(self, state):
            with torch.no_grad():
                self.outputs.append(state.model.network.eval()(x).softmax(1))

    watch = Watch()
    duda.fit(model, data.train, epochs=4, seed=0, callbacks=[watch])
    draws = model.predict(x, keep_draws=True).draws
    # The latest took the place of the oldest.
    expected = [watch.outputs[epoch] for epoch in (3, 1, 2)]
    torch.testing.assert_close(draws, torch.stack(expected))
    with pytest.raises(ValueError, match=r"`samples` is 4, but the model has kept .* of 3 epochs"):
        model.predict(x, samples=4)


def test_every_public_name_has_a_place_in_the_reference():
    pages = (DOCS / "conf.py", *(DOCS / "reference").glob("*.md"))
    written = "\n".join(page.read_text() for page in pages)
    whole = re.findall(r'write_reference\(\s*"(\w+)"', written)
    by_itself = {name for package in whole for name in exported(f"duda.{package}")}
    assert by_itself > {"MCDropout", "Gaussian", "GaussianPrediction"}
    for name in set(duda.__all__) - by_itself:
        assert re.search(rf"duda\.{name}\b|\"{name}\"", written), name


@pytest.mark.parametrize("path", tables.PAGES, ids=lambda path: path.name)
@pytest.mark.parametrize("registry", [duda.METHODS, duda.LIKELIHOODS], ids=["methods", "meanings"])
def test_the_tables_of_the_readme_follow_the_registries(path, registry):
    page = path.read_text()
    assert tables.completed(page, registry) == page, "call `make format`"
    known = {kind.__name__ for kind in registry.values()}
    rows = [
        name
        for line in page.splitlines()
        if known & set(tables.names(line))
        for name in tables.names(line)
    ]
    assert sorted(rows) == sorted(known)

    class Another(duda.Deterministic):
        """A method, or a likelihood: one more.

        The rest."""

    more = tables.completed(page, registry | {"another": Another}).splitlines()
    [row] = set(more) - set(page.splitlines())
    assert row.startswith("| `Another` | A method, or a likelihood: one more |")
    assert known & set(tables.names(more[more.index(row) - 1]))


def test_the_readme_runs(monkeypatch, tmp_path):
    found = run("../README.md", monkeypatch, tmp_path)
    assert found["gate"](found["answer"]).accepted.double().mean() >= 0.95
    assert (tmp_path / "report.html").is_file()


def test_the_spanish_readme_has_the_same_code_tables_and_sections():
    english, spanish = (
        (DOCS.parent / name).read_text().splitlines() for name in ("README.md", "README.es.md")
    )
    for start in ("| ", "#", "```", "duda ", "make ", "!["):
        assert sum(line.startswith(start) for line in english) == sum(
            line.startswith(start) for line in spanish
        ), start
    assert without_comments(code("../README.es.md")) == without_comments(code("../README.md"))
