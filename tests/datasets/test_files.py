"""Official files load, and missing or damaged ones say what to do."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from duda import datasets
from duda.datasets.mnist import read_idx
from tests.datasets.test_datasets import needs_files

IDX = struct.pack(">4B2I", 0, 0, 8, 2, 2, 3) + bytes(range(6))
MNIST = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def fake_mnist(folder: Path, label: int = 9, images: int = 2) -> None:
    for name in MNIST:
        shape = (images, 28, 28) if "images" in name else (2,)
        body = bytes([label]) * int(np.prod(shape))
        head = struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape)
        write(folder / "mnist" / f"{name}-ubyte.gz", gzip.compress(head + body))


def test_idx_files_are_read_in_their_shape(tmp_path: Path) -> None:
    values = read_idx(write(tmp_path / "x.gz", gzip.compress(IDX)))
    assert torch.equal(values, torch.arange(6, dtype=torch.uint8).view(2, 3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(IDX)[:-9], "truncated or corrupt"),
        (b"", "no idx file|truncated or corrupt"),
        (b"hello", "truncated or corrupt"),
        (gzip.compress(b"\0\0\x0d\x02" + IDX[4:]), "no idx file of unsigned bytes"),
        (gzip.compress(IDX[:6]), "ends within its header"),
        (gzip.compress(IDX[:-1]), r"has 5 bytes of data, expected 6 for its shape \(2, 3\)"),
        (gzip.compress(IDX + b"0"), "has 7 bytes of data, expected 6"),
    ],
)
def test_damaged_idx_files(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read_idx(write(tmp_path / "x.gz", content))
    assert "get it again" in str(error.value)


def test_labels_and_pictures_must_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUDA_DATA", str(tmp_path))
    fake_mnist(tmp_path, images=3)
    with pytest.raises(ValueError, match=r"\(3, 28, 28\).*get both again"):
        datasets.load("mnist")
    fake_mnist(tmp_path, label=10)
    with pytest.raises(ValueError, match="label 10, expected 0 to 9"):
        datasets.load("mnist")
    fake_mnist(tmp_path, label=7)
    assert datasets.load("mnist").test[1].tolist() == [7, 7]


def test_no_folder_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DUDA_DATA", raising=False)
    for name in ("mnist", "uci:yacht"):
        with pytest.raises(FileNotFoundError, match=r"DUDA_DATA names, which is not set.*http"):
            datasets.load(name)


def test_missing_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUDA_DATA", str(tmp_path))
    fake_mnist(tmp_path)
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks t10k-labels-idx1-ubyte\.gz.*https"):
        datasets.load("mnist")
    with pytest.raises(FileNotFoundError, match=r"lacks data\.txt, .*yaringal"):
        datasets.load("uci:yacht")


def fake_table(folder: Path, **files: str) -> None:
    content = {
        "data": "1 2 3\n4 5 6\n7 8 10\n",
        "index_features": "0\n1\n",
        "index_target": "2\n",
        "n_splits": "1\n",
        "index_train_0": "0 1\n",
        "index_test_0": "2\n",
    } | files
    for name, text in content.items():
        write(folder / "uci" / "yacht" / f"{name}.txt", text.encode())


def test_tables_are_standardised_by_their_training_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUDA_DATA", str(tmp_path))
    fake_table(tmp_path)
    split = datasets.load("uci:yacht", seed=7)  # there is one split, number 0
    assert torch.equal(split.train[0], torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))
    assert torch.equal(split.test[0], torch.tensor([[3.0, 3.0]]))
    assert (split.y_mean, split.y_std) == (4.5, 1.5)
    assert float(split.test[1]) == pytest.approx((10 - 4.5) / 1.5)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"data": "1 2 3\n4 5\n"}, r"data\.txt` is no table of numbers"),
        ({"data": "1 2 x\n"}, r"data\.txt` is no table of numbers"),
        ({"data": "1 2 nan\n4 5 6\n7 8 9\n"}, r"data\.txt` has 1 NaN"),
        ({"index_target": "3\n"}, r"index_target\.txt` holds 3 to 3, .*0 to 2"),
        ({"index_train_0": "0.5\n"}, r"index_train_0\.txt` holds 0\.5"),
        ({"index_test_0": "-1\n"}, r"index_test_0\.txt` holds -1"),
        ({"index_train_0": "0 9\n"}, r"index_train_0\.txt` holds 0 to 9, .*0 to 2"),
    ],
)
def test_damaged_tables(
    files: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUDA_DATA", str(tmp_path))
    fake_table(tmp_path, **files)
    with pytest.raises(ValueError, match=message):
        datasets.load("uci:yacht")


def test_an_empty_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUDA_DATA", str(tmp_path))
    fake_table(tmp_path, data="")
    with pytest.raises(ValueError, match=r"data\.txt` is no table of numbers \(it is empty\)"):
        datasets.load("uci:yacht")


def test_downloads_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pooch

    asked = []
    monkeypatch.setattr(pooch, "retrieve", lambda url, known_hash, **to: asked.append(url))
    assert datasets.download("mnist", tmp_path) == tmp_path / "mnist"
    assert [url.rsplit("/", 1)[1] for url in asked] == [f"{name}-ubyte.gz" for name in MNIST]
    with pytest.raises(ValueError, match="unknown download 'mnits'"):
        datasets.download("mnits", tmp_path)


@needs_files
def test_mnist_is_the_real_one() -> None:
    split = datasets.load("mnist")
    assert (len(split.train[0]), len(split.test[0])) == (60_000, 10_000)
    # The label counts that the authors of the set publish.
    assert split.train[1].bincount().tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    assert float(split.train[0].mean()) == pytest.approx(0.1307, abs=1e-4)
    assert float(split.train[0].std()) == pytest.approx(0.3081, abs=1e-4)


@needs_files
@pytest.mark.parametrize(
    ("table", "rows"),
    [
        ("bostonHousing", 506),
        ("concrete", 1030),
        ("energy", 768),
        ("power-plant", 9568),
        ("wine-quality-red", 1599),
        ("yacht", 308),
    ],
)
def test_uci_splits_are_the_standard_ones(table: str, rows: int) -> None:
    sizes = {
        (len(s.train[0]), len(s.test[0]))
        for s in (datasets.load(f"uci:{table}", seed) for seed in range(20))
    }
    assert len(sizes) == 1
    train, test = sizes.pop()
    assert train + test == rows
    assert test == pytest.approx(0.1 * rows, abs=1)
