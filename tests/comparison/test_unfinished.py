"""A comparison that ends before its end keeps what it has, and one method takes none with it."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import duda
from duda.comparison import compare
from duda.comparison import run as runs
from tests.cli.runner import run

RANDOM = torch.Generator().manual_seed(0)
X, LABELS = torch.randn(60, 4, generator=RANDOM), torch.arange(60) % 3
TWO = ["deterministic", "mc-dropout"]


def network(width: int = 8, p: float = 0.2) -> nn.Module:
    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Dropout(p), nn.Linear(width, 3))


def dropout(network: Callable[[], nn.Module], likelihood: duda.Categorical) -> duda.MCDropout:
    return duda.MCDropout(network(), likelihood, samples=5)


go = functools.partial(compare, (X, LABELS), methods=TWO, network=network, epochs=2)


def figures(comparison: Any) -> dict[str, Any]:
    return {
        method: {name: v for name, v in each.items() if not name.startswith("seconds")}
        for method, each in comparison.measured.items()
    }


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note which models are trained, after the dry runs."""
    names: list[str] = []
    fit = runs.fit

    def noting(model: Any, *args: Any, **options: Any) -> Any:
        names.append(type(model).__name__)
        return fit(model, *args, **options)

    monkeypatch.setattr(runs, "fit", noting)
    return names


def test_a_rerun_goes_on_from_the_methods_that_had_ended(
    tmp_path: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, told = go(seeds=2), []
    trained.clear()
    ask = runs._ask

    def cut_off(*args: Any) -> Any:
        if len(trained) == 4:
            raise KeyboardInterrupt
        return ask(*args)

    monkeypatch.setattr(runs, "_ask", cut_off)
    with pytest.raises(KeyboardInterrupt):
        go(seeds=2, folder=tmp_path)
    monkeypatch.setattr(runs, "_ask", ask)
    assert len(list((tmp_path / "unfinished").iterdir())) == 3
    again = go(seeds=2, folder=tmp_path, tell=told.append)
    assert trained == ["Deterministic", "MCDropout"] * 2 + ["MCDropout"]
    assert told[0] == "1 of 4: deterministic, seed 0, is there from before"
    assert told[3] == "4 of 4: mc-dropout, seed 1"
    assert figures(again) == figures(whole)
    assert torch.equal(again.runs[0].test.probs, whole.runs[0].test.probs)
    again.save(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["predictions", "report.html", "results.json"]


def test_numbers_and_sets_from_elsewhere_come_back_as_they_were(
    tmp_path: Path, trained: list[str]
) -> None:
    once = functools.partial(compare, "cubic", TWO, epochs=1, folder=tmp_path)
    first, second = once(), once()
    assert len(trained) == 2
    assert figures(first) == figures(second)
    for one, other in zip(first.runs, second.runs, strict=True):
        assert one.ood.keys() == other.ood.keys()
        assert torch.equal(one.shown.mean, other.shown.mean)
    assert second.report().html()


def with_loader(shift: float = 0.0) -> Any:
    return DataLoader(TensorDataset(X + shift, LABELS), 16)


CHANGES: dict[str, dict[str, Any]] = {
    "epochs": {"epochs": 3},
    "network": {"network": lambda: network(9)},
    "dropout": {"network": lambda: network(p=0.3)},
    "data": {"data": (X, (LABELS + 1) % 3)},
    "test": {"test": (X[:9], LABELS[:9])},
    "validation": {"validation": (X[:9], LABELS[:9])},
    "ood": {"ood": {"noise": X}},
    "likelihood": {"likelihood": duda.Categorical(ignore_index=-1)},
    "optimizer": {"fit": {"optimizer": lambda p: torch.optim.SGD(p, lr=0.1)}},
    "arguments": {"methods": {"deterministic": "deterministic", "mc-dropout": dropout}},
    "loader": {"data": with_loader(), "test": (X, LABELS)},
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_another_run_is_trained_anew(
    change: str, tmp_path: Path, trained: list[str]
) -> None:
    given = {"data": (X, LABELS), "methods": TWO, "network": network, "epochs": 2}
    compare(**given, folder=tmp_path)
    changed = given | CHANGES[change]
    compare(**changed, folder=tmp_path)
    expected = 1 if change == "arguments" else 2
    assert len(trained) == 2 + expected
    compare(**changed, folder=tmp_path)
    assert len(trained) == 2 + expected


def test_a_kept_run_that_is_damaged_is_trained_anew(tmp_path: Path, trained: list[str]) -> None:
    go(folder=tmp_path)
    for name in ("run", "test"):
        file = tmp_path / "unfinished" / "mc-dropout-seed0" / f"{name}.safetensors"
        file.write_bytes(file.read_bytes()[:-1])
        go(folder=tmp_path)
    assert trained == ["Deterministic", "MCDropout", "MCDropout", "MCDropout"]


def test_a_run_that_cannot_be_told_from_others_is_not_kept(
    tmp_path: Path, trained: list[str]
) -> None:
    lock, told = threading.Lock(), []

    def locked(network: Any, likelihood: Any) -> Any:
        transforms = [functools.partial(lambda x, lock: x, lock=lock)]
        return duda.TestTimeAugmentation(network(), likelihood, transforms)

    for _ in range(2):
        go(methods={"locked": locked}, folder=tmp_path, tell=told.append)
    assert len(trained) == 2
    assert told[0].startswith("locked is not kept: `transforms` of the TestTimeAugmentation")


class Failing(nn.Module):
    """A network that fails in its own way when it has seen more than the dry run shows it."""

    def __init__(self, how: Callable[[Tensor], Tensor], passes: int) -> None:
        super().__init__()
        self.network, self.how, self.left = network(), how, passes

    def forward(self, x: Tensor) -> Tensor:
        self.left -= self.training
        return self.network(x) if self.left >= 0 else self.how(self.network(x))


def broken(outputs: Tensor) -> Tensor:
    raise RuntimeError("CUDA out of\nmemory")


def unknown(outputs: Tensor) -> Tensor:
    raise KeyError("labels")


WAYS = {
    "the loss is nan": lambda outputs: outputs * float("nan"),
    "RuntimeError: CUDA out of memory": broken,
    "KeyError: 'labels'": unknown,
}


@pytest.mark.parametrize("sentence", WAYS)
def test_a_method_that_fails_has_its_sentence_and_the_others_their_numbers(
    sentence: str, tmp_path: Path
) -> None:
    told: list[str] = []
    methods = {
        "deterministic": "deterministic",
        "failing": lambda network, likelihood: duda.Deterministic(
            Failing(WAYS[sentence], 10), likelihood
        ),
        "mc-dropout": "mc-dropout",
    }
    found = go(
        methods=methods,
        epochs=5,
        fit={"batch_size": 10},
        seeds=2,
        tell=told.append,
        folder=tmp_path,
    )
    assert found.methods == TWO
    assert figures(found) == figures(go(epochs=5, fit={"batch_size": 10}, seeds=2))
    assert found.left_out["failing"].startswith(sentence)
    assert sum(line.startswith(f"left out failing: {sentence}") for line in told) == 1
    assert f"without failing: {sentence}" in repr(found)
    found.save(tmp_path)
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["left_out"]["failing"].startswith(sentence)
    assert "without failing" in found.report().about


def test_by_default_what_fails_in_a_way_of_its_own_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(self: Any, samples: int, joint: bool = False) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(duda.SWAG, "sampler", fails)
    found = go(methods=None, epochs=4)
    assert found.left_out["swag"] == "RuntimeError: out of memory"
    assert "deterministic" in found.methods


def test_a_method_that_fails_with_the_second_seed_is_left_out_as_a_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fit = runs.fit

    def fails_later(model: Any, *args: Any, seed: int, **options: Any) -> Any:
        if seed == 1 and isinstance(model, duda.MCDropout):
            raise FloatingPointError("the loss is nan")
        return fit(model, *args, seed=seed, **options)

    monkeypatch.setattr(runs, "fit", fails_later)
    found = go(seeds=3)
    assert found.methods == ["deterministic"]
    assert len(found.measured["deterministic"]["nll"]) == 3
    assert found.left_out == {"mc-dropout": "the loss is nan"}
    assert found.report().html()


def test_where_all_fail_the_first_error_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(model: Any, *args: Any, **options: Any) -> Any:
        raise FloatingPointError(type(model).__name__)

    monkeypatch.setattr(runs, "fit", fails)
    with pytest.raises(FloatingPointError, match="Deterministic"):
        go()


QUICK = ("compare", "--data", "two-moons", "--methods", "deterministic,deep-ensemble")


def test_a_second_comparison_in_a_folder_is_told_and_an_empty_folder_goes(tmp_path: Path) -> None:
    place, errors = tmp_path / "new", []

    def second(line: str) -> None:
        thread = threading.Thread(target=third)
        thread.start()
        thread.join()
        raise KeyboardInterrupt

    def third() -> None:
        try:
            go(folder=place)
        except OSError as error:
            errors.append(str(error))

    with pytest.raises(KeyboardInterrupt):
        go(folder=place, tell=second)
    assert errors[0].startswith(f"another run writes `{place}` (process {os.getpid()} on")
    assert list(tmp_path.iterdir()) == []


def test_the_command_goes_on_after_a_kill(tmp_path: Path) -> None:
    arguments = [*QUICK, "--epochs", "10", "--out", str(tmp_path / "new")]
    process = subprocess.Popen(
        [sys.executable, "-c", "from duda.cli import main; main()", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stderr is not None
        while "2 of 2" not in process.stderr.readline():
            assert process.poll() is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert os.listdir(tmp_path / "new" / "unfinished") == ["deterministic-seed0"]
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert "1 of 2: deterministic, seed 0, is there from before" in result.stderr
    assert "2 of 2: deep-ensemble, seed 0\n" in result.stderr
    assert "unfinished" not in os.listdir(tmp_path / "new")


def test_what_one_epoch_is_too_few_for_is_in_the_table_with_its_reason(tmp_path: Path) -> None:
    result = run(*QUICK[:3], "--epochs", "1", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    line = result.stderr.splitlines()[0]
    assert line.startswith("left out swag: the SWAG model has collected 1")  # before all others
    shown = " ".join(result.stdout.split())
    assert "without swag: the SWAG model has collected 1 iterates, expected at least 2" in shown
