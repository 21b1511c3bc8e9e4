"""Metrics of the validation data in history and callbacks, and logs of a training."""

from __future__ import annotations

import csv
import sys
import types
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import duda
from duda import Training, evaluation
from duda.training import FitState
from tests.training.models import classes, ensemble, noisy, plain, regression, same, values
from tests.training.test_checkpoint import cut_off_each_epoch

X, Y = regression(40)


def dropping() -> duda.UncertainModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return duda.MCDropout(noisy(), duda.Categorical(), samples=20)


@pytest.mark.parametrize("ema", [None, 0.5])
@pytest.mark.parametrize("build", [plain, ensemble], ids=["loop", "one step"])
def test_metrics_are_of_what_would_be_predicted(build: Any, ema: float | None) -> None:
    seen: list[tuple[float, float]] = []

    class Listener:
        def on_epoch_end(self, state: FitState) -> None:
            assert state.metrics is not None
            prediction = state.model.predict(X)
            seen.append((state.metrics["rmse"], evaluation.rmse(prediction, Y)))

    history = duda.fit(
        build(),
        (X, Y),
        epochs=3,
        validation=(X, Y),
        metrics={"rmse": evaluation.rmse, "mean": lambda prediction, y: prediction.mean.mean()},
        callbacks=[Listener()],
        training=Training(ema=ema, batch_size=16),
    )
    assert [one for one, _ in seen] == pytest.approx([other for _, other in seen], rel=1e-5)
    assert list(history.metrics) == ["rmse", "mean"]
    found = history.metrics["rmse"]
    assert found.shape == history.losses.shape
    assert sorted(found.flatten().tolist()) == sorted(one for one, _ in seen)


def test_metrics_by_name_go_by_the_draws_of_the_validation() -> None:
    x, y = classes(60)
    model = dropping()
    names = ["accuracy", "nll", "brier", "ece"]
    history = duda.fit(
        model,
        (x, y),
        epochs=2,
        validation=DataLoader(TensorDataset(x, y), 7),
        metrics=names,
        seed=0,
    )
    best = history.best_epochs[0] - 1
    assert history.validation_losses is not None
    found = {name: float(history.metrics[name][0, best]) for name in names}
    assert found["nll"] == pytest.approx(float(history.validation_losses[0, best]), rel=1e-5)
    answer = torch.cat([model.validation_prediction(part).probs for part in x.split(7)])
    assert found["accuracy"] == evaluation.accuracy(answer, y)
    assert found["ece"] == pytest.approx(evaluation.reliability(answer, y).ece)


def test_metrics_of_members_that_have_stopped_are_nan() -> None:
    history = duda.fit(
        ensemble(members=4),
        (X, Y),
        epochs=30,
        patience=1,
        validation=regression(12),
        metrics=["rmse"],
        seed=0,
        lr=0.3,
    )
    assert torch.equal(history.metrics["rmse"].isnan(), history.losses.isnan())
    assert history.losses.isnan().any()


def test_pixels_without_a_label_count_in_no_metric() -> None:
    network = nn.Conv2d(1, 3, 1)
    model = duda.Deterministic(network, duda.Categorical(ignore_index=9))
    x, y = torch.randn(4, 1, 5, 5), torch.randint(0, 3, (4, 5, 5))
    y[:, 0] = 9
    history = duda.fit(model, (x, y), epochs=1, validation=(x, y), metrics=["accuracy", "nll"])
    assert history.validation_losses is not None
    assert float(history.metrics["nll"]) == pytest.approx(float(history.validation_losses))


def test_a_log_is_told_of_each_epoch_and_member() -> None:
    told: list[dict[str, Any]] = []
    history = duda.fit(
        ensemble(members=2),
        (X, Y),
        epochs=3,
        validation=(X, Y),
        metrics=["mae"],
        log=told.append,
        training=Training(lr=0.01, schedule="cosine", batch_size=20),
        vectorize=False,
    )
    assert [(each["member"], each["epoch"]) for each in told] == [
        (member, epoch) for member in (1, 2) for epoch in (1, 2, 3)
    ]
    assert list(told[0]) == ["member", "epoch", "step", "lr", "loss", "validation_loss", "mae"]
    assert [each["loss"] for each in told] == history.losses.flatten().tolist()
    assert [each["mae"] for each in told] == history.metrics["mae"].flatten().tolist()
    assert [each["step"] for each in told[:3]] == [2, 4, 6]
    assert told[0]["lr"] == pytest.approx(0.0075)


def test_a_table_goes_on_with_its_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments: dict[str, Any] = {"epochs": 4, "seed": 0, "validation": classes(20)}
    arguments["metrics"] = ["accuracy"]
    data, whole = lambda: classes(40), dropping()
    expected = duda.fit(whole, data(), log=tmp_path / "logs" / "whole.csv", **arguments)
    path = tmp_path / "cut.csv"
    found, history, attempts = cut_off_each_epoch(
        dropping, tmp_path / "run", monkeypatch, data=data, log=path, **arguments
    )
    assert attempts >= 4
    assert same(values(found), values(whole))
    assert torch.equal(history.metrics["accuracy"], expected.metrics["accuracy"])
    assert path.read_text() == (tmp_path / "logs" / "whole.csv").read_text()
    path.unlink()
    duda.fit(dropping(), data(), checkpoint=tmp_path / "run", log=path, callbacks=[], **arguments)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert [float(row["loss"]) for row in rows] == expected.losses[0].tolist()
    with pytest.raises(ValueError, match=r"is of another run: its metrics is \[\"accuracy\"\]"):
        duda.fit(
            dropping(),
            data(),
            checkpoint=tmp_path / "run",
            log=path,
            **{**arguments, "metrics": None},
        )


class Writer:
    """Stands for the writer of TensorBoard, and keeps what it is told."""

    made: ClassVar[list[Writer]] = []

    def __init__(self, folder: str, purge_step: int) -> None:
        self.folder, self.purge_step, self.scalars = folder, purge_step, list[Any]()
        self.closed = False
        Writer.made.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars.append((name, value, step))

    def flush(self) -> None: ...

    def close(self) -> None:
        self.closed = True


def test_a_folder_is_for_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.SimpleNamespace(SummaryWriter=Writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)  # type: ignore[arg-type]
    monkeypatch.setattr(Writer, "made", [])
    history = duda.fit(ensemble(members=2), (X, Y), epochs=2, log=tmp_path / "board")
    assert [Path(each.folder).name for each in Writer.made] == ["member-1", "member-2"]
    assert all(each.closed for each in Writer.made)
    losses = [value for name, value, _ in Writer.made[1].scalars if name == "loss"]
    assert losses == history.losses[1].tolist()


def test_tensorboard_that_is_missing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match="`pip install tensorboard`, or give a path that ends in"):
        duda.fit(plain(), (X, Y), epochs=1, log=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"metrics": ["rmse"]}, ValueError, r"`metrics` is \['rmse'\], but there is no `validat"),
        ({"metrics": ["accurcy"]}, ValueError, "unknown metric 'accurcy': did you mean 'accuracy'"),
        ({"metrics": "rmse"}, TypeError, "`metrics` is 'rmse', expected a list of names"),
        ({"metrics": {"a": 3}}, TypeError, r"`metrics\['a'\]` is a int, expected a function"),
        ({"metrics": {"a": lambda p, y: p}}, TypeError, r"`metrics\['a'\]` returned a Gaussian"),
        ({"log": 3}, TypeError, "`log` is a int, expected a path that ends in '.csv'"),
    ],
)
def test_metrics_and_logs_that_are_none(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    if "no `valid" not in message:
        arguments = {**arguments, "validation": (X, Y)}
    with pytest.raises(error, match=message):
        duda.fit(plain(), (X, Y), epochs=1, **arguments)
