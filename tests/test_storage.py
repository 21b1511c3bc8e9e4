"""Files of nested states: what is written comes back to the last bit, or one sentence says why."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import duda
from duda.storage import Format, checksum_of, read_safetensors

THING = Format("thing", version=2)
STATE: dict[str, Any] = {
    "weights": [torch.randn(2, 3, dtype=torch.float64), torch.arange(3)[::2]],
    "empty": torch.zeros(0, 4),
    "flag": torch.tensor(True),
    "options": {"k": 3, "rate": 0.1, "name": None, "ends": (-math.inf, math.nan)},
}


def rewritten(path: Path, **changes: str) -> Path:
    """Write a file again with other metadata, whose checksum fits."""
    metadata, tensors = read_safetensors(path)
    metadata |= changes
    if "checksum" not in changes:
        del metadata["checksum"]
        metadata["checksum"] = checksum_of(metadata, tensors)
    save_file(tensors, path, metadata)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return THING.write(tmp_path / "thing", "Box", STATE)


def test_a_state_comes_back_to_the_last_bit(path: Path) -> None:
    kind, state = THING.read(path)
    assert kind == "Box"
    assert repr(state["options"]) == repr(STATE["options"])
    for found, stored in zip(state["weights"], STATE["weights"], strict=True):
        assert torch.equal(found, stored)
        assert found.dtype == stored.dtype
    assert state["empty"].shape == (0, 4)
    assert state["flag"].dtype == torch.bool


def test_the_file_says_what_it_is(path: Path) -> None:
    metadata, _ = read_safetensors(path)
    assert metadata["format"] == "duda.thing"
    assert metadata["version"] == "2"
    assert metadata["duda"] == duda.__version__
    assert set(load_file(path)) == {"weights.0", "weights.1", "empty", "flag"}


def test_names_that_meet_are_told_apart(tmp_path: Path) -> None:
    state = {"a.b": torch.zeros(1), "a": {"b": torch.ones(1)}, "": torch.ones(2)}
    _, found = THING.read(THING.write(tmp_path / "thing", "", state))
    assert all(torch.equal(found[name], state[name]) for name in ("a.b", ""))
    assert torch.equal(found["a"]["b"], state["a"]["b"])


def test_tensors_that_share_memory(tmp_path: Path) -> None:
    whole = torch.arange(6.0).view(2, 3)
    _, found = THING.read(THING.write(tmp_path / "thing", "", {"one": whole, "other": whole.T}))
    assert torch.equal(found["other"], whole.T)


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    state = {"share": np.float32(0.5), "count": np.int64(3)}
    _, found = THING.read(THING.write(tmp_path / "thing", "", state))
    assert found == {"share": 0.5, "count": 3}


def test_what_no_file_can_hold_is_named(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"cannot hold the function at 'options\.rule'"):
        THING.write(tmp_path / "thing", "", {"options": {"rule": lambda: None}})
    assert not list(tmp_path.iterdir())


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no thing at .*: save one with `thing\.save"):
        THING.read(tmp_path / "thing")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "duda.gate"}, "holds a 'duda.gate', expected a 'duda.thing': give the path"),
        ({"version": "3"}, "in version '3' of its format, expected at most 2: update duda"),
        ({"version": "new"}, "in version 'new'"),
        ({"checksum": "0"}, "is damaged, its checksum is wrong: save it again"),
        ({"content": "{"}, "no readable state"),
        ({"content": '{"dict": [["a", {"tensor": "none"}]]}'}, "no readable state"),
        ({"content": '{"odd": 1}'}, "no readable state"),
        ({"content": "[1]"}, "whose state is no dict"),
        ({"content": "3"}, "whose state is no dict"),
    ],
)
def test_files_of_something_else(path: Path, changes: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        THING.read(rewritten(path, **changes))


@given(data=st.data())
def test_damage_anywhere_is_told(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    state = {name: value for name, value in STATE.items() if name != "flag"}  # any byte is True
    path = THING.write(tmp_path_factory.getbasetemp() / "thing", "Box", state)
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    damaged = bytearray(whole)
    damaged[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(damaged)
    if damaged[place] in b"\t\n\r" and whole[place] == ord(" "):
        return  # a blank that pads the header means nothing
    with pytest.raises(ValueError, match="thing"):
        THING.read(path)


def test_older_versions_are_read(path: Path) -> None:
    assert THING.read(rewritten(path, version="1"))[0] == "Box"


def test_tensors_without_metadata(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "thing")
    with pytest.raises(ValueError, match=r"holds a 'set of tensors', expected a 'duda\.thing'"):
        THING.read(tmp_path / "thing")


def test_half_a_file(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"no whole safetensors file: .*; save it again"):
        THING.read(path)
