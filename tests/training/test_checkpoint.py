"""A run that is cut off and started again ends as if nothing had happened."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, TensorDataset

import duda
from duda.training.checkpoint import _FORMAT, Checkpoint
from tests.training.killed import CASES, train
from tests.training.models import (
    dropping,
    ensemble,
    mlp,
    noisy,
    plain,
    regression,
    same,
    values,
)

ROOT = Path(__file__).parents[2]


class CutOffError(Exception):
    """Stands for whatever ends a process between two epochs."""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """Return where the runs of all cases are, and how often each was killed."""
    directory = tmp_path_factory.mktemp("killed")
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.killed", directory, "12"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return directory, {case: int(n) for case, n in map(str.split, done.stdout.splitlines())}


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_is_killed_again_and_again_ends_in_the_same_bits(
    case: str, killed: tuple[Path, dict[str, int]]
) -> None:
    directory, kills = killed
    assert kills[case] >= 3
    found = load_file(directory / f"{case}.result")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        expected = train(case, None)
    finally:
        torch.set_num_threads(threads)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name].nan_to_num(99.0), value.nan_to_num(99.0)), name
    assert [file.name for file in (directory / case).iterdir()] == ["run.safetensors"]


def cut_off_each_epoch(
    build: Callable[[], duda.UncertainModel],
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    data: Callable[[], Any] = regression,
    callbacks: Callable[[], list[Any]] = list,
    **arguments: Any,
) -> tuple[duda.UncertainModel, Any, int]:
    """Train with all new and another `fit` for every epoch that the checkpoint takes in."""
    save, attempts = Checkpoint.save, 0

    def save_and_stop(self: Checkpoint, state: dict[str, Any]) -> None:
        save(self, state)
        raise CutOffError

    monkeypatch.setattr(Checkpoint, "save", save_and_stop)
    while True:
        model, attempts = build(), attempts + 1
        try:
            history = duda.fit(model, data(), checkpoint=path, callbacks=callbacks(), **arguments)
        except CutOffError:
            continue
        monkeypatch.undo()
        return model, history, attempts


OPTIMIZERS = {
    "adam": None,
    "amsgrad": functools.partial(torch.optim.AdamW, amsgrad=True),
    "momentum": functools.partial(torch.optim.SGD, lr=0.01, momentum=0.9),
    "rmsprop": functools.partial(torch.optim.RMSprop, centered=True),
    "adafactor": torch.optim.Adafactor,
}
MODELS = {
    "dropping": dropping,
    "in-turn": lambda: ensemble(noisy, members=2),
    "one-step": ensemble,
}


def _cut_off_and_whole(
    model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    least: int,
    **arguments: Any,
) -> tuple[duda.training.History, duda.training.History]:
    """Return the histories of a training cut off so often, and of one that was not, alike."""
    whole = MODELS[model]()
    expected = duda.fit(whole, regression(), **arguments)
    found, history, attempts = cut_off_each_epoch(
        MODELS[model], tmp_path / "run", monkeypatch, **arguments
    )
    assert attempts >= least
    assert same(values(found), values(whole))
    return history, expected


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("patience", [None, 2])
def test_every_epoch_is_a_place_to_go_on_from(
    model: str,
    optimizer: str,
    patience: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments: dict[str, Any] = {
        "epochs": 4,
        "batch_size": 16,
        "seed": 4,
        "optimizer": OPTIMIZERS[optimizer],
        "validation": patience and regression(20),
        "patience": patience,
    }
    history, expected = _cut_off_and_whole(model, tmp_path, monkeypatch, 4, **arguments)
    assert torch.equal(history.losses.nan_to_num(9), expected.losses.nan_to_num(9))
    assert history.best_epochs == expected.best_epochs


STEP = functools.partial(torch.optim.lr_scheduler.StepLR, step_size=2, gamma=0.5)
SETTINGS: dict[str, dict[str, Any]] = {
    "cosine": {"schedule": "cosine", "warmup": 3},
    "one cycle": {"schedule": "one-cycle"},
    "own": {"schedule": STEP},
    "averages": {"ema": 0.8},
    "accumulated": {"accumulate": 3, "clip": 0.1},
    "bfloat16": {"precision": "bf16"},
    "float16": {"precision": "fp16"},
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", SETTINGS)
def test_settings_of_training_go_on_too(
    model: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: dict[str, Any] = {
        "steps": 10,  # of 4 batches, or 2 steps, an epoch
        "batch_size": 16,
        "seed": 4,
        "training": duda.Training(**SETTINGS[kind]),
        "validation": regression(20),
    }
    history, expected = _cut_off_and_whole(model, tmp_path, monkeypatch, 3, **arguments)
    assert torch.equal(history.validation_losses, expected.validation_losses)


def pictures(n: int = 48) -> tuple[Tensor, Tensor]:
    x, y = regression(n * 12)
    return x.reshape(n, 1, 6, 6), y.reshape(n, 12)[:, :1]


def convolutions() -> nn.Module:
    layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(12, 2))


def test_channels_that_are_last_go_on_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = duda.Training(channels_last=True, batch_size=16)
    whole = plain(convolutions)
    duda.fit(whole, pictures(), epochs=3, seed=0, training=training)
    found, _, attempts = cut_off_each_epoch(
        lambda: plain(convolutions),
        tmp_path / "run",
        monkeypatch,
        data=pictures,
        epochs=3,
        seed=0,
        training=training,
    )
    assert attempts >= 3
    assert same(values(found), values(whole))


class OwnBatches(BatchSampler):
    """Batches in an order that their own generator decides."""

    def __init__(self, generator: torch.Generator | None) -> None:
        self.generator = generator

    def __len__(self) -> int:
        return 5

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.randperm(50, generator=self.generator)
        yield from (rows.tolist() for rows in order.split(10))


@pytest.mark.parametrize("kind", ["plain", "generator", "batch sampler"])
def test_loaders_go_on_too(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def loader() -> DataLoader[Any]:
        generator = None if kind == "plain" else torch.Generator().manual_seed(3)
        data = TensorDataset(*regression())
        if kind == "batch sampler":
            return DataLoader(data, batch_sampler=OwnBatches(generator))
        return DataLoader(data, 16, shuffle=True, generator=generator)

    whole = dropping()
    duda.fit(whole, loader(), epochs=4, seed=0)
    found, _, _ = cut_off_each_epoch(
        dropping, tmp_path / "run", monkeypatch, data=loader, epochs=4, seed=0
    )
    assert same(values(found), values(whole))


class Addressed(nn.Tanh):
    """A layer that tells of an object without a name of its own."""

    def extra_repr(self) -> str:
        return f"by {object()}"


def test_an_address_in_a_networks_text_is_no_other_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = []

    def build() -> duda.UncertainModel:
        model = plain(lambda: nn.Sequential(nn.Linear(3, 8), Addressed(), nn.Linear(8, 2)))
        texts.append(re.search(r"at 0x(\w+)", repr(model)))
        return model

    cut_off_each_epoch(build, tmp_path / "run", monkeypatch, epochs=2, seed=0)
    assert len(texts) >= 2
    assert all(texts)


def test_a_seed_that_was_drawn_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, history, _ = cut_off_each_epoch(dropping, tmp_path / "run", monkeypatch, epochs=3)
    again = dropping()
    duda.fit(again, regression(), epochs=3, seed=history.seed)
    assert same(values(found), values(again))


def test_members_that_had_no_turn_yet_start_from_their_first_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = iter(range(100))

    def unlike() -> duda.UncertainModel:
        model = duda.DeepEnsemble(noisy, duda.Gaussian(), 2)
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(next(starts))
            for weight in model.parameters():
                weight.normal_()
        return model

    first = unlike()
    starts = iter(range(100))
    duda.fit(first, regression(), epochs=2, seed=0)
    found, _, _ = cut_off_each_epoch(unlike, tmp_path / "run", monkeypatch, epochs=2, seed=0)
    assert same(values(found), values(first))


@pytest.mark.parametrize("model", MODELS)
def test_a_finished_run_returns_at_once(model: str, tmp_path: Path) -> None:
    path = tmp_path / "run"
    arguments: dict[str, Any] = {
        "epochs": 3,
        "seed": 0,
        "checkpoint": path,
        "validation": regression(20),
    }
    first = MODELS[model]()
    history = duda.fit(first, regression(), **arguments)
    written = path.stat().st_mtime_ns
    second = MODELS[model]()
    again = duda.fit(second, regression(), **arguments)
    assert path.stat().st_mtime_ns == written
    assert same(values(first), values(second))
    for name in ("losses", "validation_losses", "seconds"):
        assert torch.equal(getattr(history, name), getattr(again, name))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"epochs": 4}, "its epochs is 3, here it is 4"),
        ({"training": duda.Training(ema=0.9)}, 'its ema is "None", here it is "0.9"'),
        ({"training": duda.Training(schedule=STEP)}, "its schedule is"),
        ({"lr": 0.1}, "its lr is null, here it is 0.1"),
        ({"batch_size": 10}, "its batch_size is 128, here it is 10"),
        ({"seed": 1}, "its seed is 0, here it is 1"),
        ({"optimizer": torch.optim.SGD}, 'its optimizer is "Adam", here it is "SGD"'),
        ({"data": regression(49)}, "its data is"),
        ({"data": (regression()[0], 2 * regression()[1])}, "its data is"),
        ({"validation": regression(20)}, "its validation is null"),
        ({"model": ensemble()}, "its model is"),
        ({"model": plain(lambda: nn.Linear(3, 2))}, "its weights is"),
        ({"model": duda.Deterministic(mlp(), duda.Gaussian(floor=0.1))}, "its likelihood is"),
        (
            {"model": plain(lambda: nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)))},
            r"its network is .*Tanh\(\).*, here it is .*ReLU\(\)",
        ),
        (
            {"model": plain(lambda: nn.Sequential(nn.Linear(3, 9), nn.Tanh(), nn.Linear(9, 2)))},
            r"its weights is .*network.0.weight.*\[8, 3\].*, here it is .*\[9, 3\]",
        ),
    ],
)
def test_another_run_is_told(changes: dict[str, Any], what: str, tmp_path: Path) -> None:
    path = tmp_path / "run"
    call = {"epochs": 3, "seed": 0, "checkpoint": path, "data": regression()}
    duda.fit(plain(), **call)  # type: ignore[arg-type]
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"is of another run: .*{what}"):
        duda.fit(**{"model": plain(), **call, **changes})
    assert path.read_bytes() == before


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "run.safetensors"
    duda.fit(plain(), regression(), epochs=1, seed=0, checkpoint=path)
    return path


@given(data=st.data())
def test_damage_anywhere_is_told(written: Path, data: st.DataObject) -> None:
    content = bytearray(written.read_bytes())
    damaged = written.with_name("damaged")
    cut = data.draw(st.booleans())
    if cut:
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
    damaged.write_bytes(content)
    model = plain()
    before = values(model)
    if not cut and content[place] in b"\t\n\r" and written.read_bytes()[place] == ord(" "):
        return  # a blank that pads the header means nothing
    with pytest.raises(
        ValueError, match=r"`checkpoint` .*(damaged|no checkpoint).*delete it to start"
    ):
        duda.fit(model, regression(), epochs=1, seed=0, checkpoint=damaged)
    assert same(values(model), before)


def test_other_safetensors_are_told(tmp_path: Path) -> None:
    save_file({"x": torch.ones(3)}, tmp_path / "other")
    with pytest.raises(ValueError, match="or no checkpoint that this version"):
        duda.fit(plain(), regression(), epochs=1, checkpoint=tmp_path / "other")


def test_leftovers_of_a_killed_write_are_removed_and_nothing_else(
    tmp_path: Path, written: Path
) -> None:
    path = tmp_path / "run.safetensors"
    shutil.copy(written, path)
    kept = [tmp_path / name for name in (".run.safetensors.old", ".other.abcdefgh.safetensors")]
    leftover = tmp_path / ".run.safetensors.abc_12yz.safetensors"
    for file in (*kept, leftover):
        file.write_text("x")
    duda.fit(plain(), regression(), epochs=1, seed=0, checkpoint=path)
    assert sorted(tmp_path.iterdir()) == sorted([path, *kept])


def test_a_state_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    class Odd(torch.optim.SGD):
        def state_dict(self) -> dict[str, Any]:
            return {**super().state_dict(), "odd": object()}

    with pytest.raises(
        TypeError, match=r"cannot hold the object at 'state\.trainers\.0\.optimizer\.odd'"
    ):
        duda.fit(plain(), regression(), epochs=1, optimizer=Odd, checkpoint=tmp_path / "run")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool]
)
def test_tensors_come_back_bit_for_bit(dtype: torch.dtype, tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "run", {"a": 1})
    tree = {
        "a": torch.arange(6).to(dtype).reshape(2, 3).T,
        0: [torch.tensor(1).to(dtype), torch.empty(0, 2).to(dtype)],
    }
    checkpoint.save(tree)
    found = checkpoint.load()
    assert found is not None
    assert torch.equal(found["a"], tree["a"])
    assert [value.dtype for value in found[0]] == [dtype] * 2
    assert [value.shape for value in found[0]] == [(), (0, 2)]


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.pop("settings"),
        lambda found: found["state"].pop("seed"),
        lambda found: found["state"].update(trainers=[{}]),
        lambda found: found["state"].update(trainers=[]),
    ],
)
def test_a_whole_file_with_another_content_is_told(
    change: Callable[[Any], Any], tmp_path: Path
) -> None:
    path = tmp_path / "run"
    duda.fit(plain(), regression(), epochs=1, seed=0, checkpoint=path)
    _, found = _FORMAT.read(path)
    change(found)
    _FORMAT.write(path, "run", found)
    with pytest.raises(ValueError, match=r"holds no training that could go on|is of another run"):
        duda.fit(plain(), regression(), epochs=1, seed=0, checkpoint=path)
