"""Official files load, and missing or damaged ones say what to do."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch

from duda import datasets
from duda.datasets.mnist import _SHA256, _SOURCES, read_idx
from tests.datasets.test_datasets import needs_files

IDX = struct.pack(">4B2I", 0, 0, 8, 2, 2, 3) + bytes(range(6))
MNIST = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def fake_mnist(folder: Path, label: int = 9, images: int = 2, side: int = 28) -> None:
    for name in MNIST:
        shape = (images, side, side) if "images" in name else (2,)
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
        (b"", "is empty"),
        (b"hello", "truncated or corrupt"),
        (gzip.compress(b"\0\0\x0d\x02" + IDX[4:]), "no idx file of unsigned bytes"),
        (gzip.compress(IDX[:6]), "ends within its header"),
        (gzip.compress(IDX[:-1]), r"has 5 bytes of data, expected 6 for its shape \(2, 3\)"),
        (gzip.compress(IDX + b"0"), "has 7 bytes of data, expected 6"),
    ],
    ids=["cut", "empty", "text", "other type", "header", "short", "long"],
)
def test_damaged_idx_files(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read_idx(write(tmp_path / "x.gz", content))
    assert "get it again" in str(error.value)


def test_labels_and_pictures_must_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUDA_DATA", str(tmp_path))
    fake_mnist(tmp_path, images=3)
    with pytest.raises(ValueError, match=r"shape \(2,\), expected \(3,\).*get both again"):
        datasets.load("mnist")
    fake_mnist(tmp_path, side=8)
    with pytest.raises(ValueError, match=r"\(2, 8, 8\), expected \(N, 28, 28\)"):
        datasets.load("mnist")
    fake_mnist(tmp_path, images=0)
    with pytest.raises(ValueError, match=r"\(0, 28, 28\), expected \(N, 28, 28\)"):
        datasets.load("mnist")
    fake_mnist(tmp_path, label=10)
    with pytest.raises(ValueError, match="label 10, expected 0 to 9"):
        datasets.load("mnist")
    fake_mnist(tmp_path, label=7)
    split = datasets.load("mnist")
    assert split.test[1].tolist() == [7, 7]
    assert split.ood is None
    assert datasets.ood_inputs(split) is None


def test_no_folder_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DUDA_DATA", raising=False)
    for name, needs in [("mnist", r"t10k-labels-idx1-ubyte\.gz"), ("uci:yacht", r"data\.txt")]:
        with pytest.raises(FileNotFoundError, match=rf"{name}.*{needs}.*DUDA_DATA.*not set.*http"):
            datasets.load(name)


def test_missing_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUDA_DATA", str(tmp_path))
    fake_mnist(tmp_path)
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks t10k-labels-idx1-ubyte\.gz.*https"):
        datasets.load("mnist")
    with pytest.raises(FileNotFoundError, match=r"'uci:yacht' lacks data\.txt, .*/yacht/data"):
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


def test_the_seed_chooses_the_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUDA_DATA", str(tmp_path))
    fake_table(tmp_path, n_splits="2\n", index_train_1="2\n1\n", index_test_1="0\n")
    targets = []
    for seed in range(4):
        split = datasets.load("uci:yacht", seed)
        targets.append(round(split.y_mean + split.y_std * float(split.test[1]), 4))
    assert targets == [10, 3, 10, 3]


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
        ({"index_train_0": "0 nan\n"}, r"index_train_0\.txt` holds nan"),
        ({"index_train_0": "0 2\n"}, r"2 and 1 rows, 2 of them different, .*each of the 3 rows"),
        ({"index_train_0": "0\n"}, r"1 and 1 rows, 2 of them different"),
        ({"index_features": "0 1 2\n"}, r"3 and 1 columns, 3 of them different"),
        ({"index_features": "0\n", "index_target": "1 2\n"}, r"names 2 columns, expected one"),
        ({"n_splits": "0\n"}, r"n_splits\.txt` holds 0 to 0, expected whole numbers from 1"),
        ({"data": "# a comment\n"}, r"data\.txt` is no table of numbers"),
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


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serve a folder with fake files as the source of MNIST, with their checksums."""
    fake_mnist(tmp_path)
    folder = tmp_path / "mnist"
    checksums = tuple(sha256((folder / f"{name}-ubyte.gz").read_bytes()) for name in MNIST)
    monkeypatch.setitem(_SHA256, "mnist", checksums)
    handler = partial(Silent, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        monkeypatch.setitem(_SOURCES, "mnist", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield folder
        server.shutdown()
        thread.join()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_download_loads(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = write(tmp_path / "own" / "mnist" / f"{MNIST[1]}-ubyte.gz", b"something else")
    assert datasets.download("mnist", tmp_path / "own") == tmp_path / "own" / "mnist"
    assert there.read_bytes() == (mirror / there.name).read_bytes()
    monkeypatch.setenv("DUDA_DATA", str(tmp_path / "own"))
    assert datasets.load("mnist").train[1].tolist() == [9, 9]
    for file in mirror.iterdir():
        file.unlink()
    datasets.download("mnist", tmp_path / "own")  # fetches nothing, all is there


def test_a_download_that_is_not_the_published_file(mirror: Path, tmp_path: Path) -> None:
    write(mirror / f"{MNIST[0]}-ubyte.gz", b"sign in to continue")
    with pytest.raises(ValueError, match=r"train-images.* is not the published one"):
        datasets.download("mnist", tmp_path / "own")
    assert list((tmp_path / "own" / "mnist").iterdir()) == []


def test_a_download_that_fails(mirror: Path, tmp_path: Path) -> None:
    (mirror / f"{MNIST[0]}-ubyte.gz").unlink()
    with pytest.raises(OSError, match=r"cannot fetch http.*train-images.*404"):
        datasets.download("mnist", tmp_path / "own")
    assert list((tmp_path / "own" / "mnist").iterdir()) == []


def test_an_unknown_download(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown download 'mnits'"):
        datasets.download("mnits", tmp_path)


# SHA-256 of the files' content without the gzip around it: the same for each way to compress.
CONTENT = {
    ("mnist", MNIST[0]): "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ("mnist", MNIST[1]): "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ("mnist", MNIST[2]): "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ("mnist", MNIST[3]): "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ("fashion-mnist", MNIST[0]): "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ("fashion-mnist", MNIST[1]): "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ("fashion-mnist", MNIST[2]): "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ("fashion-mnist", MNIST[3]): "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


@needs_files
@pytest.mark.parametrize(("name", "file"), CONTENT)
def test_files_have_the_published_content(name: str, file: str) -> None:
    path = Path(os.environ["DUDA_DATA"]) / name / f"{file}-ubyte.gz"
    assert sha256(gzip.decompress(path.read_bytes())) == CONTENT[name, file]


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
