"""CIFAR-10 and the votes of people: the binary version loads, and nothing else passes for it."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from duda import datasets
from duda.datasets import cifar
from tests.datasets.serving import served
from tests.datasets.test_datasets import needs_files

COUNT = 20
FILES = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
SOURCE = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def records(seed: int) -> np.ndarray:
    """Return `COUNT` labelled pictures, in the bytes of the official format."""
    found = np.random.default_rng(seed).integers(256, size=(COUNT, 3073), dtype=np.uint8)
    found[:, 0] = np.arange(COUNT) % 10
    return found


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with all six files, of few pictures, which pass for the published ones."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for seed, name in enumerate(FILES):
        content = records(seed).tobytes()
        (folder / name).write_bytes(content)
        monkeypatch.setitem(cifar._SHA256, name, sha256(content))
    monkeypatch.setattr(cifar, "_PICTURES", COUNT)
    monkeypatch.setenv("DUDA_DATA", str(tmp_path))
    return folder


@pytest.fixture
def votes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Return votes on as many pictures, which pass for the published ones."""
    counts = np.random.default_rng(0).multinomial(50, np.full(10, 0.1), COUNT).astype(np.uint8)
    (tmp_path / "cifar-10h").mkdir()
    path = tmp_path / "cifar-10h" / "cifar10h-counts.npy"
    np.save(path, counts)
    monkeypatch.setattr(cifar, "_PICTURES", COUNT)
    monkeypatch.setattr(cifar, "_VOTES_SHA256", sha256(path.read_bytes()))
    monkeypatch.setenv("DUDA_DATA", str(tmp_path))
    return counts


@pytest.mark.usefixtures("small")
def test_pictures_are_read_channel_by_channel_and_row_by_row() -> None:
    split = datasets.load("cifar-10")
    assert split.train[0].shape == (5 * COUNT, 3, 32, 32)
    found = records(2)[3, 1:]  # the fourth picture of the third batch
    picture = split.train[0][2 * COUNT + 3]
    for channel, row, column in [(0, 0, 1), (1, 2, 0), (2, 31, 31)]:
        byte = found[channel * 1024 + row * 32 + column]
        assert float(picture[channel, row, column]) == pytest.approx(byte / 255)
    assert split.train[1].tolist() == [*(np.arange(COUNT) % 10)] * 5
    assert torch.equal(split.test[0].flatten(1) * 255, torch.tensor(records(5)[:, 1:]).float())
    assert (split.name, split.classes[3], split.classes[5]) == ("cifar-10", "cat", "dog")


def test_fewer_batches_ask_for_fewer_files(small: Path) -> None:
    whole = datasets.cifar_10()
    for name in FILES[2:5]:
        (small / name).unlink()
    split = datasets.cifar_10(batches=(2, 1))
    assert torch.equal(split.train[0][:COUNT], whole.train[0][COUNT : 2 * COUNT])
    assert torch.equal(split.train[0][COUNT:], whole.train[0][:COUNT])
    with pytest.raises(FileNotFoundError) as error:
        datasets.load("cifar-10")
    message = str(error.value)
    assert "lacks data_batch_3.bin, data_batch_4.bin, data_batch_5.bin in" in message
    assert "which holds data_batch_1.bin, data_batch_2.bin, test_batch.bin" in message
    assert str(small) in message
    assert SOURCE in message
    assert "`duda.datasets.cifar_10(batches=(1,))`" in message


@pytest.mark.parametrize("batches", [(), (0,), (6,), (1, 1)])
def test_batches_that_are_none(batches: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"`batches` is \(.*different numbers from 1 to 5"):
        datasets.cifar_10(batches)


@pytest.mark.parametrize("case", ["half", "empty", "coarse", "changed"])
def test_files_that_are_not_the_published_ones(small: Path, case: str) -> None:
    good = records(1)
    changed = good.copy()
    changed[7, 100] ^= 1
    other = good.copy()
    other[4, 0] = 19  # as in CIFAR-100
    content, message = {
        "half": (good.tobytes()[:30_000], r"has 30,000 bytes, expected 61,460"),
        "empty": (b"", r"has 0 bytes, expected 61,460"),
        "coarse": (other.tobytes(), r"holds the label 19, expected 0 to 9"),
        "changed": (changed.tobytes(), r"61,460 bytes with the SHA-256 checksum [0-9a-f]{12}…"),
    }[case]
    (small / FILES[1]).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        datasets.load("cifar-10")
    assert str(small / FILES[1]) in str(error.value)
    assert SOURCE in str(error.value)


def test_votes_are_counts(votes: np.ndarray) -> None:
    found = datasets.cifar_10h()
    assert found.dtype == torch.int64
    assert found.tolist() == votes.tolist()


def test_votes_that_are_not_the_published_ones(tmp_path: Path, votes: np.ndarray) -> None:
    path = tmp_path / "cifar-10h" / "cifar10h-counts.npy"
    whole = path.read_bytes()
    objects = io.BytesIO()
    np.save(objects, votes.astype(object))  # a pickle, which may run anything
    damaged = whole[:-1] + bytes([whole[-1] ^ 1])
    for content in (whole[:200], b"", b"PK", b"<html>", objects.getvalue(), damaged):
        path.write_bytes(content)
        message = f"is not as published: it has {len(content)} bytes"
        with pytest.raises(ValueError, match=message) as error:
            datasets.cifar_10h()
        assert str(path) in str(error.value)
        assert "https://github.com/jcpeterson/cifar-10h" in str(error.value)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks cifar10h-counts.npy in .*which is empty"):
        datasets.cifar_10h()


@pytest.fixture
def site(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serve an archive of the small files as the official one."""
    folder = tmp_path / "site"
    folder.mkdir()
    archive = folder / "cifar-10-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(small, "cifar-10-batches-bin")
    monkeypatch.setattr(cifar, "_ARCHIVE_MD5", hashlib.md5(archive.read_bytes()).hexdigest())
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with served(folder) as address:
        monkeypatch.setattr(cifar, "_ARCHIVE", address + archive.name)
        monkeypatch.setattr(cifar, "_VOTES_URL", f"{address}votes.npy")
        yield folder


def test_a_download_loads(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own"
    half = own / "cifar-10-batches-bin" / FILES[0]
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half of it")
    assert datasets.download("cifar-10", own) == half.parent
    assert sorted(path.name for path in half.parent.iterdir()) == FILES
    assert [path.name for path in own.iterdir()] == ["cifar-10-batches-bin"]  # no archive is left
    monkeypatch.setenv("DUDA_DATA", str(own))
    assert len(datasets.load("cifar-10").train[0]) == 5 * COUNT
    (site / "cifar-10-binary.tar.gz").unlink()
    datasets.download("cifar-10", own)  # fetches nothing, all is there


def test_an_archive_that_is_not_the_published_one(site: Path, tmp_path: Path) -> None:
    (site / "cifar-10-binary.tar.gz").write_bytes(b"sign in to continue")
    with pytest.raises(ValueError, match=r"cifar-10-binary.* is not the published one, by its MD5"):
        datasets.download("cifar-10", tmp_path / "own")
    assert list((tmp_path / "own").iterdir()) == []


def test_a_member_that_is_not_the_published_one(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cifar._SHA256, FILES[3], "0" * 64)
    with pytest.raises(ValueError, match=rf"`{FILES[3]}` of http.* is not as published"):
        datasets.download("cifar-10", tmp_path / "own")


def test_votes_are_fetched(site: Path, tmp_path: Path, votes: np.ndarray) -> None:
    (site / "votes.npy").write_bytes((tmp_path / "cifar-10h" / "cifar10h-counts.npy").read_bytes())
    target = datasets.download("cifar-10h", tmp_path / "own")
    assert np.array_equal(np.load(target / "cifar10h-counts.npy"), votes)


@needs_files
def test_the_real_files() -> None:
    split = datasets.cifar_10(batches=(1,))
    assert split.train[0].shape == split.test[0].shape == (10_000, 3, 32, 32)
    assert split.test[1].bincount().tolist() == [1000] * 10
    # Means of the channels over the whole training set, as commonly published; one batch is close.
    means = split.train[0].mean((0, 2, 3))
    assert means.tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=5e-3)
    votes = datasets.cifar_10h()
    assert votes.shape == (10_000, 10)
    people = votes.sum(1)
    assert (int(people.min()), int(people.max())) == (47, 63)  # as the paper reports
    # Peterson et al. 2019: the most voted class is the label for 99.2 % of the pictures.
    assert float((votes.argmax(1) == split.test[1]).float().mean()) == pytest.approx(
        0.992, abs=1e-3
    )
