"""The VOC layout loads, pixel by pixel, and what is missing or damaged says what to do."""

from __future__ import annotations

import contextlib
import os
import random
import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image

from duda.datasets import gallery
from duda.datasets.gallery.voc import BoxedPictures
from tests.datasets.test_datasets import needs_files

SIZE = "<size><width>8</width><height>6</height><depth>3</depth></size>"


def thing(
    name: str = "cat",
    xmin: object = 2,
    ymin: object = 1,
    xmax: object = 8,
    ymax: object = 6,
    inside: str = "",
) -> str:
    corners = f"<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"
    return f"<object><name>{name}</name><bndbox>{corners}</bndbox>{inside}</object>"


def annotation(*things: str, size: str = SIZE) -> str:
    return f"<annotation><filename>any.jpg</filename>{size}{''.join(things)}</annotation>"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make two pictures in the layout of Pascal VOC, below what DUDA_DATA names."""
    monkeypatch.setenv("DUDA_DATA", str(tmp_path))
    folder = tmp_path / "pets"
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    for name, color in (("a", (255, 0, 0)), ("b", (0, 0, 255))):
        Image.new("RGB", (8, 6), color).save(folder / f"JPEGImages/{name}.jpg", quality=95)
    (folder / "Annotations/a.xml").write_text(annotation(thing("dog", 1, 1, 8, 6), thing()))
    (folder / "Annotations/b.xml").write_text(annotation())
    (folder / "ImageSets/Main/train.txt").write_text("b\na\n\n")
    (folder / "ImageSets/Main/val.txt").write_text("a\n")
    return folder


def pets(part: str = "train") -> BoxedPictures:
    return gallery.voc("pets", part, classes=("cat", "dog"))


def test_pictures_come_in_the_order_of_the_image_set(folder: Path) -> None:
    found = pets()
    assert found.names == ("b", "a")
    assert found.classes == ("cat", "dog")
    assert len(found) == 2
    assert [picture.name for picture in found] == ["b", "a"]
    assert len(pets("val")) == 1


def test_a_picture_has_its_colors_boxes_and_labels(folder: Path) -> None:
    blue, red = pets()
    assert red.image.shape == (3, 6, 8)
    assert torch.allclose(red.image[:, 3, 4], torch.tensor([1.0, 0.0, 0.0]), atol=0.02)
    # The first pixel has the number 1, and the last one belongs to the box.
    assert red.boxes.tolist() == [[0, 0, 8, 6], [1, 0, 8, 6]]
    assert red.labels.tolist() == [1, 0]
    assert (blue.boxes.shape, blue.labels.shape) == ((0, 4), (0,))
    assert (blue.boxes.dtype, blue.labels.dtype) == (torch.float32, torch.int64)


def test_who_changes_a_picture_changes_no_later_one(folder: Path) -> None:
    found = pets("val")
    found[0].boxes.zero_()
    found[0].labels.zero_()
    assert found[0].boxes[0].tolist() == [0, 0, 8, 6]
    assert found[0].labels.tolist() == [1, 0]


def test_grey_pictures_get_three_channels(folder: Path) -> None:
    Image.new("L", (8, 6), 51).save(folder / "JPEGImages/a.jpg")
    image = pets("val")[0].image
    assert image.shape == (3, 6, 8)
    assert torch.allclose(image, torch.tensor(0.2), atol=0.02)


def test_a_box_may_be_one_pixel_and_have_fractions(folder: Path) -> None:
    things = thing(xmin=8, ymin=6), thing(xmin=1.5, ymin=2, xmax=4.25, ymax=3)
    (folder / "Annotations/a.xml").write_text(annotation(*things))
    assert pets("val")[0].boxes.tolist() == [[7, 5, 8, 6], [0.5, 1, 4.25, 3]]


def test_difficult_boxes_are_marked(folder: Path) -> None:
    marks = ["", "<difficult>1</difficult>", "<difficult>0</difficult>"]
    things = (thing(inside=mark) for mark in marks)
    (folder / "Annotations/a.xml").write_text(annotation(*things))
    assert pets("val")[0].difficult.tolist() == [False, True, False]
    assert pets()[0].difficult.shape == (0,)


def test_a_byte_order_mark_belongs_to_no_name(folder: Path) -> None:
    (folder / "ImageSets/Main/val.txt").write_text("a\n", encoding="utf-8-sig")
    assert pets("val").names == ("a",)


def test_parts_within_an_object_are_no_objects(folder: Path) -> None:
    part = thing(name="ear", xmax=3).replace("object", "part")
    (folder / "Annotations/a.xml").write_text(annotation(thing(inside=part)))
    assert pets("val")[0].labels.tolist() == [0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (annotation(thing())[:-20], r"is no whole XML file \("),
        ("", r"is no whole XML file \("),
        ('<?xml version="1.0" encoding="odd"?>' + annotation(), r"XML file \(unknown encoding"),
        ("<annotation></annotation>", "None for 'size/width' of <annotation>, expected a number"),
        (annotation(size=SIZE.replace("8", "wide")), "'wide' for 'size/width'"),
        (annotation("<object><name>cat</name></object>"), "None for 'bndbox/xmin' of <object>"),
        (annotation(thing(xmin="nan")), "'nan' for 'bndbox/xmin' of <object>, expected a number"),
        (annotation(thing(xmin=0)), "box xmin 0, .* expected it in its picture, from 1 to 8"),
        (annotation(thing(ymin=0)), r"box xmin 2, ymin 0, .*and 1 to 6"),
        (annotation(thing(xmax=9)), "xmax 9, ymax 6, expected it in its picture"),
        (annotation(thing(ymax=7)), "ymax 7, expected it in its picture"),
        (annotation(thing(xmin=5, xmax=4)), "box with no area, xmin 5, ymin 1, xmax 4, ymax 6"),
        (annotation(thing(ymin=6, ymax=5)), "box with no area"),
    ],
)
def test_damaged_annotations(folder: Path, content: str, message: str) -> None:
    path = folder / "Annotations/a.xml"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        pets()
    assert str(path) in str(error.value)
    assert "correct it, or get it from where you have" in str(error.value)


def test_entities_do_not_read_other_files(folder: Path) -> None:
    (folder / "secret").write_text("cat")
    entity = f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{folder}/secret">]>'
    (folder / "Annotations/a.xml").write_text(entity + annotation(thing(name="&x;")))
    with pytest.raises(ValueError, match=r"is no whole XML file .*undefined entity"):
        pets()


def test_an_unknown_class(folder: Path) -> None:
    (folder / "Annotations/a.xml").write_text(annotation(thing(name="cow")))
    with pytest.raises(ValueError, match=r"a\.xml`: unknown class 'cow'.*Known: cat, dog: give"):
        pets()


def test_classes_in_one_text(folder: Path) -> None:
    with pytest.raises(TypeError, match=r"`classes` is 'cat', expected .* such as \('cat',\)"):
        gallery.voc("pets", classes="cat")


def test_classes_that_nobody_knows(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"classes of 'pets' are not known.*bccd-voc"):
        gallery.voc("pets")


def test_a_truncated_picture(folder: Path) -> None:
    path = folder / "JPEGImages/a.jpg"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"a\.jpg` is no whole picture \(.*get it again"):
        pets("val")[0]
    path.write_bytes(b"sign in to continue")
    with pytest.raises(ValueError, match=r"a\.jpg` is no whole picture \(.*get it again"):
        pets("val")[0]


def test_a_picture_too_large_to_be_true(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ValueError, match=r"a\.jpg` is no whole picture .*decompression bomb"):
        pets("val")[0]


def test_a_picture_of_another_size(folder: Path) -> None:
    Image.new("RGB", (6, 8)).save(folder / "JPEGImages/a.jpg")
    with pytest.raises(ValueError, match=r"size \(6, 8\) in pixels, expected \(8, 6\).*a\.xml"):
        pets("val")[0]


@pytest.mark.parametrize(("place", "what"), [("JPEGImages", "pictures"), ("Annotations", "annota")])
def test_missing_files_are_counted(folder: Path, place: str, what: str) -> None:
    for file in (folder / place).iterdir():
        file.unlink()
    with pytest.raises(FileNotFoundError, match=rf"lacks 2 of the 2 {what}.*{place}/b\."):
        pets()
    with pytest.raises(FileNotFoundError, match=rf"lacks 1 of the 1 {what}.*val\.txt.*{place}/a\."):
        pets("val")


def test_a_missing_image_set(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no image set 'test'.*Main` has train, val: ch"):
        pets("test")


def test_a_missing_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = r"https://github\.com/Shenggan/BCCD_Dataset"
    with pytest.raises(FileNotFoundError, match=rf"lacks ImageSets/Main/train\.txt.*{source}"):
        gallery.voc("bccd-voc")
    monkeypatch.delenv("DUDA_DATA")
    with pytest.raises(FileNotFoundError, match=rf"`bccd-voc` below.*DUDA_DATA.*{source}"):
        gallery.voc("bccd-voc")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty, expected the name of a picture in each line"),
        (b"a -1\nb 1\n", "has the line 'a -1', expected the name of a picture"),
        (b"a\nb\na\n", "names 'a' more than once, expected each"),
        (b"\xff\xfe\xff", "is no text"),
    ],
    ids=["empty", "flags", "twice", "binary"],
)
def test_damaged_image_sets(folder: Path, content: bytes, message: str) -> None:
    (folder / "ImageSets/Main/train.txt").write_bytes(content)
    with pytest.raises(ValueError, match=rf"train\.txt` {message}"):
        pets()


@needs_files
def test_the_blood_cells_are_all_there() -> None:
    parts = {part: gallery.voc("bccd-voc", part) for part in ("train", "val", "test")}
    assert [len(found) for found in parts.values()] == [205, 87, 72]
    names = {name for found in parts.values() for name in found.names}
    assert len(names) == 364  # no picture is in two parts
    assert len(list((Path(os.environ["DUDA_DATA"]) / "bccd-voc/JPEGImages").iterdir())) == 364
    found = parts["val"][0]
    assert found.name == "BloodImage_00000"
    assert found.image.shape == (3, 480, 640)
    assert found.boxes[0].tolist() == [259, 176, 491, 376]
    assert found.labels.bincount().tolist() == [19, 1]
    # A box of the published files that is a slip of the hand: it has one pixel.
    odd = parts["train"][parts["train"].names.index("BloodImage_00343")].boxes
    sides = odd[:, 2:] - odd[:, :2]
    assert sides.amin(0).tolist() == [1, 1]


@pytest.mark.parametrize(
    "name",
    [
        "../../secret",
        "../b",
        "sub/../../../secret",
        "/etc/passwd",
        "C:/secret",
        "..\\..\\secret",
        "..",
        "x" * 5000,
        "a\x00b",
        "a\x1b[31mb",
    ],
)
def test_names_of_what_is_no_file_of_the_data_set(folder: Path, tmp_path: Path, name: str) -> None:
    for suffix in ("jpg", "xml"):
        (tmp_path / f"secret.{suffix}").write_bytes(b"secret")
    (folder / "ImageSets/Main/train.txt").write_text(f"a\n{name}\n")
    with pytest.raises(ValueError, match=r"train.txt` has the line .*expected the name of a pic"):
        pets()


@pytest.mark.parametrize(("name", "part"), [("../pets", "train"), ("pets", "../../secret")])
def test_arguments_that_lead_elsewhere(folder: Path, name: str, part: str) -> None:
    with pytest.raises(ValueError, match=r"there is no data set .* expected names of folders"):
        gallery.voc(name, part, classes=("cat",))


def test_pictures_in_folders_of_their_own(folder: Path) -> None:
    for place, suffix in (("JPEGImages", "jpg"), ("Annotations", "xml")):
        (folder / place / "2012").mkdir()
        (folder / place / f"a.{suffix}").replace(folder / place / "2012" / f"a.{suffix}")
    (folder / "ImageSets/Main/train.txt").write_text("2012/a\n")
    assert len(pets()[0].boxes) == 2


@pytest.mark.parametrize("kind", ["EPS", "PPM", "TIFF", "GIF"])
def test_a_picture_of_another_format_is_not_opened(folder: Path, kind: str) -> None:
    Image.new("RGB", (8, 6)).save(folder / "JPEGImages/a.jpg", format=kind)
    with pytest.raises(ValueError, match="is no whole picture"):
        pets("val")[0]


def test_flipped_bits_in_pictures_and_annotations(folder: Path) -> None:
    """Pictures have no checksum: they are told, or are pictures of the same size."""
    randomly = random.Random(0)
    for path in (folder / "JPEGImages/a.jpg", folder / "Annotations/a.xml"):
        whole = path.read_bytes()
        for _ in range(300):
            damaged = bytearray(whole)
            for _ in range(randomly.randrange(1, 4)):
                damaged[randomly.randrange(len(damaged))] ^= 1 << randomly.randrange(8)
            path.write_bytes(damaged)
            with contextlib.suppress(ValueError), warnings.catch_warnings(action="ignore"):
                assert pets("val")[0].image.shape == (3, 6, 8)
        path.write_bytes(whole)
