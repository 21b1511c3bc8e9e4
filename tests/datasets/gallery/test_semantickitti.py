"""Scans in the official layout load one by one; what is missing or damaged says what to do."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import duda
from duda.datasets.gallery import RangeView, SemanticKITTI
from duda.datasets.gallery.label_map import read_label_map
from tests.datasets.test_datasets import needs_files

RAW = [0, 10, 11, 15, 18, 20, 30, 31, 32, 40, 44, 48, 49, 50, 51, 70, 71, 72, 80, 81]  # by class
TINY = RangeView(4, 8)


def yaml(classes: int = 20) -> str:
    """Return a file with the sections, comments and kinds of values of the official one."""
    each = list(enumerate(RAW))[:classes]
    lines = ["# This file is covered by a licence.", "labels: "]
    lines += [f'  {raw:<2}: "name {index}"' for index, raw in each]
    lines += ['  252: "moving-car"', "color_map: # bgr"]
    lines += [f"  {raw:<2}: [{index}, 100, 255]" for index, raw in each]
    lines += ["content: # as a ratio", "  0: 0.0188", "  16: 1.1e-08", "learning_map:"]
    lines += [f'  {raw:<2}: {index}     # "a name" ----mapped' for index, raw in each]
    lines += ["  252: 1", "learning_map_inv: # inverse"]
    lines += [f"  {index}: {raw}" for index, raw in each]
    lines += ["learning_ignore:", "  0: True # others", "split: # sequences"]
    lines += ["  train:", "    - 0", "    - 1", "  valid:", "    - 8", "  test:", "    - 11", ""]
    return "\n".join(lines)


def write_scan(folder: Path, sequence: int, number: int, raw: list[int] | None) -> None:
    """Write points on a circle about the scanner, one for each raw label."""
    count = 3 if raw is None else len(raw)
    angles = np.linspace(3, -3, count)
    points = np.stack([np.cos(angles), np.sin(angles), 0 * angles, angles], 1) * 5
    name = f"{number:06}"
    place = folder / "semantickitti" / "sequences" / f"{sequence:02}"
    (place / "velodyne").mkdir(parents=True, exist_ok=True)
    points.astype("<f4").tofile(place / "velodyne" / f"{name}.bin")
    if raw is not None:
        (place / "labels").mkdir(exist_ok=True)
        instances = np.arange(1, count + 1) << 16
        (np.array(raw) + instances).astype("<u4").tofile(place / "labels" / f"{name}.label")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DUDA_DATA", str(tmp_path))
    write_scan(tmp_path, 0, 0, [0, 10, 252, 40])
    write_scan(tmp_path, 0, 1, [72, 81])
    write_scan(tmp_path, 1, 0, [50, 50, 51])
    write_scan(tmp_path, 8, 964, [10])
    write_scan(tmp_path, 11, 0, None)
    (tmp_path / "semantickitti" / "semantic-kitti.yaml").write_text(yaml())
    return tmp_path / "semantickitti"


def test_parts_and_sequences_in_their_order(folder: Path) -> None:
    scans = SemanticKITTI("train", TINY)
    names = [f"{path.parents[1].name}/{path.stem}" for path in scans.files]
    assert names == ["00/000000", "00/000001", "01/000000"]
    assert len(SemanticKITTI("valid")) == len(SemanticKITTI([8])) == len(SemanticKITTI("test")) == 1
    assert [path.parents[1].name for path in SemanticKITTI([8, 0]).files] == ["08", "00", "00"]


def test_labels_are_the_lower_half_by_the_official_map(folder: Path) -> None:
    scans = SemanticKITTI("train", TINY)
    scan = scans.scan(0)
    assert scan.labels.tolist() == [0, 1, 1, 9]
    assert scan.labels.dtype == torch.int64
    torch.testing.assert_close(scan.points[0, :2].norm(), torch.tensor(5.0))
    assert scans.classes[:2] == ("name 0", "name 1")
    torch.testing.assert_close(scans.colors[7] * 255, torch.tensor([255.0, 100, 7]))  # from bgr


def test_items_are_pictures_with_labels(folder: Path) -> None:
    scans = SemanticKITTI("train", TINY)
    for index in range(len(scans)):
        image, labels = scans[index]
        assert image.shape == (5, 4, 8)
        assert labels.shape == (4, 8)
        assert image.dtype == torch.float32
        scan = scans.scan(index)
        assert torch.equal(labels.flatten()[scan.view.pixels], scan.labels)
        assert int((image[0] > 0).sum()) == len(scan.points)
        assert bool((labels[image[0] == 0] == 0).all())


def test_the_secret_part_has_class_0_everywhere(folder: Path) -> None:
    image, labels = SemanticKITTI("test", TINY)[0]
    assert int((image[0] > 0).sum()) == 3
    assert not labels.any()
    write_scan(folder.parent, 11, 0, [10, 10, 10])  # whoever has labels of it
    assert not SemanticKITTI("test", TINY)[0][1].any()


def test_files_that_archives_of_a_mac_add_are_no_scans(folder: Path) -> None:
    sequence = folder / "sequences" / "08"
    for place in ("velodyne/._000964.bin", "labels/._000964.label"):
        (sequence / place).write_bytes(b"attributes")
    assert [path.name for path in SemanticKITTI("valid").files] == ["000964.bin"]


def test_a_scan_is_read_only_when_it_is_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    fromfile = np.fromfile

    def noted(path, *args):
        read.append(Path(path).name)
        return fromfile(path, *args)

    monkeypatch.setattr(np, "fromfile", noted)
    scans = SemanticKITTI("train", TINY)
    assert read == []
    scans[2]
    assert read == ["000000.bin", "000000.label"]


def test_points_are_transformed_before_they_become_pixels(folder: Path) -> None:
    behind = torch.tensor([-1.0, -1.0, 1.0, 1.0])
    plain, turned = SemanticKITTI([0], TINY), SemanticKITTI([0], TINY, lambda p: p * behind)
    torch.testing.assert_close(turned.scan(0).points, plain.scan(0).points * behind)
    torch.testing.assert_close(turned[0][0][0].roll(4, -1), plain[0][0][0])
    assert torch.equal(turned.scan(0).labels, plain.scan(0).labels)
    with pytest.raises(ValueError, match=r"shape \(2, 4\), expected \(4, 4\)"):
        SemanticKITTI([0], TINY, lambda p: p[::2])[0]


def test_fit_and_predict_take_it(folder: Path) -> None:
    network = nn.Sequential(nn.Conv2d(5, 20, 1), nn.Dropout(0.5))
    model = duda.MCDropout(network, duda.Categorical(ignore_index=0), samples=3)
    scans = SemanticKITTI("train", TINY)
    before = model.predict(scans, seed=0)
    assert before.probs.shape == (3, 20, 4, 8)
    history = duda.fit(model, scans, epochs=8, batch_size=2, lr=0.05, seed=0)
    assert float(history.losses[0, -1]) < float(history.losses[0, 0])
    loader = DataLoader(SemanticKITTI("test", TINY), batch_size=1)
    assert model.predict(loader, seed=0).labels.shape == (1, 4, 8)


def damage(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def test_half_downloaded_files(folder: Path) -> None:
    sequence = folder / "sequences" / "00"
    scan, labels = sequence / "velodyne" / "000001.bin", sequence / "labels" / "000001.label"
    whole = labels.read_bytes()
    labels.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=r"000001.label` has 7 bytes, expected 8.*2 points.*http"):
        SemanticKITTI("train")
    labels.write_bytes(whole + whole)
    with pytest.raises(ValueError, match=r"000001.label` has 16 bytes, expected 8"):
        SemanticKITTI("train")
    labels.unlink()
    with pytest.raises(
        FileNotFoundError, match=r"labels` has 1 labels for 2 scans in .*velodyne`, and 000001 is"
    ):
        SemanticKITTI("train")
    labels.write_bytes(whole)
    damage(scan, 31)
    with pytest.raises(ValueError, match=r"000001.bin` has 31 bytes, expected 16 for each.*http"):
        SemanticKITTI("train")
    damage(scan, 0)
    with pytest.raises(ValueError, match=r"000001.bin` has 0 bytes"):
        SemanticKITTI("train")
    scan.unlink()
    with pytest.raises(FileNotFoundError, match=r"has 2 labels for 1 scans"):
        SemanticKITTI("train")


def test_missing_folders(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(folder / "sequences" / "01")
    missing = r"no folder `.*01/velodyne`, only 00, 08, 11 in `.*sequences`.*semantic-kitti\.org"
    with pytest.raises(FileNotFoundError, match=missing):
        SemanticKITTI("train")
    shutil.rmtree(folder / "sequences" / "00" / "labels")
    with pytest.raises(FileNotFoundError, match=r"no folder `.*00/labels`, only velodyne in"):
        SemanticKITTI([0])
    (folder / "sequences" / "08" / "velodyne" / "000964.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"08/velodyne` has no .bin file.*http"):
        SemanticKITTI([8])
    shutil.rmtree(folder / "sequences")
    with pytest.raises(FileNotFoundError, match=r"only semantic-kitti.yaml in `.*semantickitti`"):
        SemanticKITTI("valid")
    (folder / "semantic-kitti.yaml").unlink()
    with pytest.raises(FileNotFoundError, match=r"semantic-kitti.yaml.*semantic-kitti\.org"):
        SemanticKITTI("valid")
    monkeypatch.delenv("DUDA_DATA")
    with pytest.raises(FileNotFoundError, match=r"DUDA_DATA.*not set.*semantic-kitti\.org"):
        SemanticKITTI("valid")


def test_unknown_raw_labels_and_points_that_are_no_numbers(folder: Path) -> None:
    write_scan(folder.parent, 0, 0, [10, 77, 40, 77])
    with pytest.raises(ValueError, match=r"000000.label` has the label 77 at 2 of 4 points.*yaml"):
        SemanticKITTI([0])[0]
    scan = folder / "sequences" / "08" / "velodyne" / "000964.bin"
    np.full((1, 4), np.nan, "<f4").tofile(scan)
    with pytest.raises(ValueError, match=r"000964.bin` has 4 NaN.*http"):
        SemanticKITTI([8])[0]


@pytest.mark.parametrize("part", [[], [99], [0, 0], [8.0], 8])
def test_unknown_sequences(folder: Path, part: Any) -> None:
    with pytest.raises(ValueError, match=r"`part` is .*from 0 to 11"):
        SemanticKITTI(part)


def test_unknown_parts(folder: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'valid'"):
        SemanticKITTI("validation")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (yaml(classes=19), "to 19 classes and has 19 to map back, expected 0 to 19"),
        (yaml().replace("split:", "parts:"), "lacks the entry 'split'"),
        (yaml().replace("  valid:", "  validation:"), "lacks the entry 'valid'"),
        (yaml().replace("252: 1", "252: [1]"), "to 21 classes and has 20 to map back"),
        (yaml().replace("    - 8\n", "    - 'eight'\n"), r"has \['eight'\] for the part 'valid'"),
        (yaml().replace("    - 8\n", ""), r"has \[\] for the part 'valid'"),
        ("", "lacks the entry 'labels'"),
        ("<html>\n</html>", "has '<html>' in line 1"),
        ("labels:\n  0: unquoted\n", "has 'unquoted' in line 2"),
        ("labels:\n  - 0\n", "has '- 0' in line 2"),
        ("  0: 1\n", "has '0: 1' in line 1"),
        (yaml().replace("252: 1", "-1: 1"), "has '-1: 1' in line"),
        (yaml().replace("252: 1", "70000: 1"), "maps the label 70000, expected numbers from 0"),
        (yaml().replace("  1: 10\n", "  1: 11\n"), "maps class 1 back to the label 11"),
        (yaml().replace("[1, 100, 255]", "[1, 100]"), r"has \[1, 100\] for the color of .* 10,"),
        (yaml().replace("[1, 100, 255]", "[1, 100, 256]"), "whole numbers from 0 to 255"),
    ],
)
def test_other_versions_of_the_label_map(folder: Path, content: str, message: str) -> None:
    (folder / "semantic-kitti.yaml").write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        SemanticKITTI("valid")
    assert "https://github.com/PRBonn/semantic-kitti-api" in str(error.value)


@pytest.mark.parametrize(
    "value",
    ["[" * 5000, "-" * 9000 + "1", "{[]: 1}", "'\\d'", "1" * 5000, "²", "[[1]]", "1j", "True", "'"],
)
@pytest.mark.parametrize("line", ["  252: 1", "    - 8", "[1, 100, 255]", "  1: 10", "  5: 1"])
def test_values_that_are_odd_in_python(tmp_path: Path, line: str, value: str) -> None:
    """They are told, or mean what they say; what Python says of them reaches nobody."""
    path = tmp_path / "semantic-kitti.yaml"
    start, found, _ = line.rpartition(": ")
    path.write_text(yaml().replace(line, f"{start}{found}{value}" if found else f"    - {value}"))
    with contextlib.suppress(ValueError):
        assert len(read_label_map(path).names) == 20


def test_flipped_bits_in_a_label_map(tmp_path: Path) -> None:
    path, whole, randomly = tmp_path / "map.yaml", yaml().encode(), random.Random(0)
    for _ in range(1000):
        damaged = bytearray(whole)
        for _ in range(randomly.randrange(1, 4)):
            damaged[randomly.randrange(len(damaged))] ^= 1 << randomly.randrange(8)
        path.write_bytes(damaged)
        with contextlib.suppress(ValueError):
            found = read_label_map(path)
            assert all(0 <= each < 100 for part in found.split.values() for each in part)


def test_a_label_map_that_is_no_text(folder: Path) -> None:
    (folder / "semantic-kitti.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="is no text"):
        SemanticKITTI("valid")


@needs_files
def test_the_official_files() -> None:
    label_map = read_label_map(
        Path(os.environ["DUDA_DATA"]) / "semantickitti" / "semantic-kitti.yaml"
    )
    assert label_map.names[:2] == ("unlabeled", "car")
    assert label_map.names[19] == "traffic-sign"
    assert label_map.split["valid"] == (8,)
    assert sorted(n for part in label_map.split.values() for n in part) == list(range(22))
    assert int((label_map.table >= 0).sum()) == 34
    scans = SemanticKITTI([0])
    scan = scans.scan(0)
    assert len(scan.points) == len(scan.labels) == 123_389
    assert int((scan.labels == 9).sum()) == 20_975
    assert float((scan.view.nearest >= 0).float().mean()) > 0.7
