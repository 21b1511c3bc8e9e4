"""Faces load with their votes, and missing or damaged files say what to do."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from duda.datasets import gallery

FOLDERS = ("FER2013Train", "FER2013Valid", "FER2013Test")
SURE = [0, 10, 0, 0, 0, 0, 0, 0, 0, 0]
TORN = [4, 0, 0, 1, 3, 1, 0, 0, 1, 0]
UNKNOWN = [3, 0, 0, 0, 0, 0, 0, 0, 6, 1]
TIED = [4, 0, 0, 0, 0, 0, 0, 2, 4, 0]
NO_FACE = [0, 0, 0, 0, 0, 0, 0, 0, 0, 10]


def face(number: int, side: int = 48) -> np.ndarray:
    return np.full((side, side), number, dtype=np.uint8)


def write_part(folder: Path, votes: list[list[int]]) -> None:
    """Write pictures, each of one grey, in the order of their numbers in `label.csv`."""
    folder.mkdir(parents=True)
    with (folder / "label.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        for number, row in enumerate(votes):
            Image.fromarray(face(number)).save(folder / f"fer{number:07}.png")
            writer.writerow([f"fer{number:07}.png", "(0, 0, 48, 48)", *row])


@pytest.fixture
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a tiny set, which DUDA_DATA leads to."""
    root = tmp_path / "ferplus"
    write_part(root / FOLDERS[0], [SURE, UNKNOWN, TORN, TIED, NO_FACE])
    write_part(root / FOLDERS[1], [TORN, SURE])
    write_part(root / FOLDERS[2], [TORN])
    monkeypatch.setenv("DUDA_DATA", str(tmp_path))
    return root


def test_each_part_has_its_faces_and_their_votes_for_emotions(faces: Path) -> None:
    found = gallery.ferplus()
    assert found.classes[0] == "neutral"
    assert found.classes[-1] == "contempt"
    assert found.validation.votes.tolist() == [TORN[:8], SURE[:8]]
    assert found.test.pictures.shape == (1, 1, 48, 48)
    assert (found.validation.left_out, found.test.left_out) == (0, 0)


def test_faces_of_no_known_emotion_are_left_out_and_counted(faces: Path) -> None:
    train = gallery.ferplus().train
    assert train.left_out == 2
    assert train.votes.tolist() == [SURE[:8], TORN[:8], TIED[:8]]
    # the pictures went with their votes: each has the grey of its number
    assert torch.equal(train.pictures.amax((1, 2, 3)), torch.tensor([0, 2, 3]) / 255)


def test_labels_without_boxes(faces: Path) -> None:
    path = faces / FOLDERS[0] / "label.csv"
    path.write_text(path.read_text().replace('"(0, 0, 48, 48)",', ""))
    assert gallery.ferplus().train.votes.tolist() == [SURE[:8], TORN[:8], TIED[:8]]


def test_shares_are_soft_labels(faces: Path) -> None:
    train = gallery.ferplus().train
    torch.testing.assert_close(train.shares.sum(1), torch.ones(3))
    assert train.shares[1].tolist() == pytest.approx([share / 9 for share in TORN[:8]])


def test_a_limit_reads_the_first_lines_alone(faces: Path) -> None:
    (faces / FOLDERS[0] / "fer0000003.png").unlink()
    found = gallery.ferplus(limit=2)
    assert found.train.votes.tolist() == [SURE[:8]]
    assert found.train.left_out == 1
    assert len(found.validation.votes) == 2
    with pytest.raises(ValueError, match="`limit` is 0"):
        gallery.ferplus(limit=0)


def test_without_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DUDA_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=r"DUDA_DATA.*github\.com/microsoft/FERPlus"):
        gallery.ferplus()
    monkeypatch.setenv("DUDA_DATA", str(tmp_path))
    missing = re.escape(f"lacks {FOLDERS[0]}/label.csv, {FOLDERS[1]}/label.csv")
    with pytest.raises(FileNotFoundError, match=missing) as error:
        gallery.ferplus()
    assert str(tmp_path / "ferplus") in str(error.value)
    assert "kaggle.com" in str(error.value)


def test_missing_pictures_are_counted(faces: Path) -> None:
    for number in (1, 3):
        (faces / FOLDERS[0] / f"fer{number:07}.png").unlink()
    message = r"FER2013Train` lacks 2 of the 5 pictures .* first `fer0000001\.png`: .*kaggle\.com"
    with pytest.raises(FileNotFoundError, match=message):
        gallery.ferplus()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xff\xfe\0", "is no table of votes"),
        (b'a.png,"(0, 0, 48, 48)",10,0\n', r"line 1, has 4 columns, expected 12 \(picture, box, n"),
        (b"Usage,Image name" + b",neutral" * 10, "line 1, holds the votes neutral, neutral"),
        (b"a.png,box,10" + b",0" * 9 + b"\nb.png,box,11,-1" + b",0" * 8, "line 2, holds the votes"),
        (b"a.png,box,9.5,0.5" + b",0" * 8, r"votes 9\.5, 0\.5, .* whole numbers from 0 up"),
        (b"a.png,box,3" + b",0" * 9, "holds 3 votes, expected 10"),
    ],
    ids=["empty", "binary", "columns", "header", "negative", "fractions", "sum"],
)
def test_damaged_labels(faces: Path, content: bytes, message: str) -> None:
    path = faces / FOLDERS[1] / "label.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        gallery.ferplus()
    assert str(path) in str(error.value)
    assert "github.com/microsoft/FERPlus" in str(error.value)


def test_labels_without_any_emotion(faces: Path) -> None:
    path = faces / FOLDERS[1] / "label.csv"
    path.write_text("fer0000000.png,box" + ",0" * 9 + ",10\n")
    with pytest.raises(ValueError, match="no face among its first 1 for which an emotion"):
        gallery.ferplus()


@pytest.mark.parametrize("kept", [0, 20, 60, 100])
def test_damaged_pictures(faces: Path, kept: int) -> None:
    path = faces / FOLDERS[2] / "fer0000000.png"
    noise = np.random.default_rng(0).integers(256, size=(48, 48), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="is damaged or no picture") as error:
        gallery.ferplus()
    assert str(path) in str(error.value)
    assert "github.com/microsoft/FERPlus" in str(error.value)


def test_a_flipped_byte_in_a_picture(faces: Path) -> None:
    path = faces / FOLDERS[2] / "fer0000000.png"
    content = bytearray(path.read_bytes())
    content[18] ^= 1  # of the header, which a checksum guards
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged or no picture"):
        gallery.ferplus()


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (face(1, side=47), r"shape \(47, 47\) and mode L, expected \(48, 48\)"),
        (np.zeros((48, 48, 3), np.uint8), r"shape \(48, 48, 3\) and mode RGB"),
    ],
)
def test_pictures_of_another_kind(faces: Path, pixels: np.ndarray, message: str) -> None:
    Image.fromarray(pixels).save(faces / FOLDERS[0] / "fer0000000.png")
    with pytest.raises(ValueError, match=message):
        gallery.ferplus()


@pytest.mark.skipif("DUDA_DATA" not in os.environ, reason="needs the real data sets")
def test_real_faces() -> None:
    found = gallery.ferplus(limit=100)
    for part in (found.train, found.validation, found.test):
        assert len(part.pictures) + part.left_out == 100
        assert part.pictures.shape[1:] == (1, 48, 48)
        assert 0.3 < float(part.pictures.mean()) < 0.7
        assert int(part.votes.sum(1).max()) == 10
    assert found.test.votes[0].tolist() == [0, 0, 0, 0, 2, 1, 0, 7]  # fer0032220.png
