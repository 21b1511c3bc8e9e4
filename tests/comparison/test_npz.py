"""Files of arrays that are damaged or hostile: one sentence, or exactly the numbers."""

from __future__ import annotations

import contextlib
import io
import random
import resource
import struct
import sys
import zipfile

import numpy as np
import pytest

from duda.comparison.arrays import read_arrays, read_prediction
from duda.comparison.npz import read_npz

PROBS = np.random.default_rng(0).dirichlet([1, 1, 1], 400)
LABELS = PROBS.argmax(1)


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def with_header(header: str, content: bytes = b"", version: int = 1) -> bytes:
    text = header.encode("latin1") + b"\n"
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + content


def zipped(path, compression=zipfile.ZIP_STORED, **members: bytes):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize("compressed", [False, True])
def test_flipped_bits_are_told_or_change_nothing(tmp_path, compressed) -> None:
    path, randomly = tmp_path / "a.npz", random.Random(0)
    (np.savez_compressed if compressed else np.savez)(path, probs=PROBS, labels=LABELS)
    whole, (before, y, _) = path.read_bytes(), read_arrays(path)
    for _ in range(400):
        damaged, place = bytearray(whole), randomly.randrange(8 * len(whole))
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        with contextlib.suppress(ValueError):
            answer, labels, _ = read_arrays(path)
            np.testing.assert_array_equal(answer.log_probs, before.log_probs)
            np.testing.assert_array_equal(labels, y)


HEADERS = {
    "huge": "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 3)}",
    "beyond 64 bits": "{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 8)}",
    "negative": "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -3)}",
    "no shape": "{'descr': '<f8', 'fortran_order': False, 'shape': 3}",
    "wide items": "{'descr': '|V2147483647', 'fortran_order': False, 'shape': (1000000, 3)}",
    "pickled": "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
    "unknown dtype": "{'descr': '<q9', 'fortran_order': False, 'shape': (1,)}",
    "odd dtype": "{'descr': [[[['a']]]], 'fortran_order': False, 'shape': (1,)}",
    "brackets": "(" * 5000,
    "signs": "-" * 9000 + "1",
    "open string": "{'descr': '''",
    "indented": "  1\n 2",
    "no dict": "[1, 2]",
    "long": "{" + " " * 20000 + "}",
    "nothing": "",
    "code": "__import__('os').abort()",
}


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_odd_headers(tmp_path, header, version) -> None:
    path = zipped(tmp_path / "a.npz", probs=with_header(header, bytes(24), version))
    with pytest.raises(ValueError, match=r"a.npz` is no .npz file of numbers \(.+\): write one"):
        read_prediction(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("shape", ["(300, 3)", "(400, 2)", "(2, 3)"])
def test_a_smaller_shape_does_not_hide_the_rest(tmp_path, shape, compression) -> None:
    content = npy(PROBS).replace(b"(400, 3)", shape.ljust(8).encode())
    path = zipped(tmp_path / "a.npz", compression, probs=content)
    with pytest.raises(ValueError, match="`probs` goes on behind its last number"):
        read_prediction(path)


def test_a_small_file_that_unpacks_to_much(tmp_path) -> None:
    path = tmp_path / "a.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("probs.npy", "w") as member,
    ):
        member.write(with_header("{'descr': '<f8', 'fortran_order': False, 'shape': (75000000,)}"))
        for _ in range(600):
            member.write(bytes(10**6))
    assert path.stat().st_size < 10**6
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r"it unpacks to 600 MB, but a file of its size may to 3"):
        read_prediction(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_a_size_that_is_told_too_small_is_no_way_around(tmp_path) -> None:
    path = zipped(tmp_path / "a.npz", zipfile.ZIP_DEFLATED, probs=npy(PROBS))
    size = struct.pack("<I", len(npy(PROBS)))
    path.write_bytes(path.read_bytes().replace(size, struct.pack("<I", 200)))
    with pytest.raises(ValueError, match=r"is no .npz file of numbers"):
        read_prediction(path)


def test_what_compresses_well_is_read(tmp_path) -> None:
    one_hot = np.eye(100)[np.arange(20_000) % 100]
    np.savez_compressed(tmp_path / "a.npz", probs=one_hot)
    assert len(read_prediction(tmp_path / "a.npz")) == 20_000


def test_encrypted(tmp_path) -> None:
    path = zipped(tmp_path / "a.npz", probs=npy(PROBS))
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is encrypted"):
        read_prediction(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_otherwise(tmp_path, compression) -> None:
    path = zipped(tmp_path / "a.npz", compression, probs=npy(PROBS))
    with pytest.raises(ValueError, match="`probs` is compressed in a way that numpy does not know"):
        read_prediction(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_same_name_twice(tmp_path) -> None:
    path = zipped(tmp_path / "a.npz", probs=npy(PROBS))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("probs.npy", npy(PROBS[::-1]))
    with pytest.raises(ValueError, match="`probs` is there 2 times"):
        read_prediction(path)


def test_what_is_not_asked_for_is_not_touched(tmp_path) -> None:
    path = zipped(tmp_path / "a.npz", probs=npy(PROBS), notes=b"no array")
    assert len(read_prediction(path)) == 400
    assert read_npz(path, ["labels"]) == ({}, ["probs", "notes"])


def test_members_elsewhere_are_nobodys(tmp_path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../probs.npy", npy(PROBS))
    with pytest.raises(ValueError, match=r"holds \.\./probs, expected one of"):
        read_prediction(path)


@pytest.mark.skipif(sys.platform == "win32", reason="no such files")
def test_what_is_no_file(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="no file at"):
        read_prediction(tmp_path)
    with pytest.raises(FileNotFoundError, match="no file at"):
        read_prediction("/dev/zero")
