"""Reads YOLO folders: which label file is whose, in whatever layout, and none lost in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from heatpoint.data import Annotations
from heatpoint.data.images import image_size, load_image
from heatpoint.data.readers.given import Given
from heatpoint.data.readers.yolo import read_yolo
from heatpoint.errors import HeatpointError


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 20)).save(path)


def label(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    for name in ("a.1", "b", "c"):
        draw(tmp_path / f"images/{name}.png")
    label(tmp_path / "labels/a.1.txt", "1 0.5 0.5 0.25 0.5\n\n0 0.25 0.25 0.5 0.5\n")
    label(tmp_path / "labels/b.txt", "")
    label(tmp_path / "classes.txt", "cat\ndog\n\n")
    label(tmp_path / "train.txt", "a.1\nimages/b.png\n")
    label(tmp_path / "val.txt", "./images/c.png\n")
    return tmp_path


def test_boxes_become_pixels_by_the_size_of_the_file(yolo: Path) -> None:
    annotations = read_yolo(Given(yolo, "train"))
    assert annotations.names == ("cat", "dog")
    assert annotations.category_ids == (0, 1)
    record = annotations.images[0]
    assert record.size == (20, 40)
    assert record.boxes.tolist() == [[15, 5, 25, 15], [0, 0, 20, 10]]
    assert record.labels.tolist() == [1, 0]


def test_images_without_labels_are_kept(yolo: Path) -> None:
    assert [len(record) for record in read_yolo(Given(yolo)).images] == [2, 0, 0]
    assert read_yolo(Given(yolo, "val")).images[0].path.name == "c.png"


@pytest.mark.parametrize("layout", ["images/{}", "{}/images"])
def test_split_folders(tmp_path: Path, layout: str) -> None:
    for split in ("train", "val"):
        place = layout.format(split)
        draw(tmp_path / place / "same.png")
        label(tmp_path / place.replace("images", "labels") / "same.txt", "0 0.5 0.5 1 1")
    label(tmp_path / "data.yaml", "path: x\nnames:\n  0: cat\n  1: dog\n")
    annotations = read_yolo(Given(tmp_path, "val"))
    assert annotations.objects == len(annotations) == 1
    assert len(read_yolo(Given(tmp_path))) == 2  # one stem in two folders is two images
    with pytest.raises(HeatpointError, match=r"no split 'test' .* it has train, val"):
        read_yolo(Given(tmp_path, "test"))


def test_labels_may_lie_beside_the_images(tmp_path: Path) -> None:
    draw(tmp_path / "images/a.jpg")
    label(tmp_path / "images/a.txt", "0 0.5 0.5 1 1")
    label(tmp_path / "obj.names", "cat")
    assert read_yolo(Given(tmp_path)).images[0].boxes.tolist() == [[0, 0, 40, 20]]


def test_polygons_become_boxes_unless_the_set_has_joints(yolo: Path) -> None:
    line = "0 0.25 0.5 0.75 0.5 0.5 1.0 0.5 0.75"
    label(yolo / "labels/b.txt", line)
    assert read_yolo(Given(yolo)).images[1].boxes.tolist() == [[10, 10, 30, 20]]
    label(yolo / "data.yaml", "names: [cat, dog]\nkpt_shape: [2, 2]\n")
    assert read_yolo(Given(yolo)).images[1].boxes.tolist() == [[-5, 5, 25, 15]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.5", r"b\.txt:2: expected 'class cx cy w h' .* got 4 values"),
        ("0 0.5 0.5 0.5 0.5 0.9 0.9 0.9", r"b\.txt:2: .* got 8 values"),
        ("cow 0.5 0.5 0.5 0.5", r"b\.txt:2: expected numbers, or a class's name .* got 'cow"),
        ("0.5 0.5 0.5 0.5 0.5", r"b\.txt:2: expected a class index first"),
    ],
)
def test_malformed_lines_are_named(yolo: Path, line: str, message: str) -> None:
    label(yolo / "labels/b.txt", f"0 0.5 0.5 1 1\n{line}\n")
    with pytest.raises(HeatpointError, match=message):
        read_yolo(Given(yolo))


def test_class_out_of_range_and_image_without_size_are_counted(yolo: Path) -> None:
    label(yolo / "labels/b.txt", "2 0.5 0.5 1 1\n-1 0.5 0.5 1 1\n1 nan 0.5 1 1\n")
    (yolo / "images/a.1.png").write_text("no image")
    annotations = read_yolo(Given(yolo))
    assert annotations.left_out == {"unknown category id": 2, "object of an unreadable image": 2}
    assert np.isnan(annotations.images[1].boxes[0, 0])
    assert annotations.images[0].size is None


def test_listed_image_that_is_not_there_stays_in_the_list(yolo: Path) -> None:
    label(yolo / "val.txt", "c\nd\nc.png\n")
    annotations = read_yolo(Given(yolo, "val"))
    assert [record.path.name for record in annotations.images] == ["c.png", "d.jpg"]
    assert annotations.left_out == {"image listed twice": 1}


def test_class_names_must_be_there_and_distinct(yolo: Path) -> None:
    label(yolo / "classes.txt", "cat\ncat\n")
    with pytest.raises(HeatpointError, match="both called 'cat'"):
        read_yolo(Given(yolo))
    (yolo / "classes.txt").unlink()
    with pytest.raises(HeatpointError, match=r"expected the class names.*obj\.names"):
        read_yolo(Given(yolo))
    label(yolo / "data.yaml", "names: {1: cat, 2: dog}")
    with pytest.raises(HeatpointError, match="numbered from 0"):
        read_yolo(Given(yolo))
    label(yolo / "data.yaml", "names: [cat")
    with pytest.raises(HeatpointError, match="not valid YAML"):
        read_yolo(Given(yolo))


def unused(data: Annotations) -> list[tuple[str, str]]:
    """Returns the label files that are not used, with why."""
    found = [each for each in data.findings if each.kind == "unused label file"]
    return [(Path(each.image).name, each.detail) for each in found]


def test_label_files_of_no_picture_are_counted(yolo: Path) -> None:
    label(yolo / "labels/d_png.rf.1.txt", "0 0.5 0.5 1 1\n1 0.5 0.5 1 1\n")
    label(yolo / "labels/old/e.txt", "0 0.5 0.5 1 1")
    label(yolo / "labels/f.txt", "")
    label(yolo / "labels/classes.txt", "cat\ndog")
    annotations = read_yolo(Given(yolo))
    assert annotations.objects == 2
    assert unused(annotations) == [
        ("d_png.rf.1.txt", "2 objects; no picture has this name"),
        ("e.txt", "1 object; no picture has this name"),
    ]
    assert annotations.left_out == {"unused label file": 2}


def test_a_split_counts_no_label_files_of_another(yolo: Path) -> None:
    label(yolo / "labels/c.txt", "0 0.5 0.5 1 1")
    assert not read_yolo(Given(yolo, "train")).findings
    assert read_yolo(Given(yolo, "val")).objects == 1


def test_a_second_label_file_of_a_picture_is_counted(yolo: Path) -> None:
    label(yolo / "images/a.1.txt", "0 0.5 0.5 1 1")
    annotations = read_yolo(Given(yolo))
    assert annotations.objects == 2
    assert [name for name, _ in unused(annotations)] == ["a.1.txt"]
    assert "a.1.png has" in unused(annotations)[0][1]


def test_labels_of_a_picture_in_another_format_are_counted_with_its_name(yolo: Path) -> None:
    (yolo / "images/IMG_1.XYZ").write_bytes(b"")
    label(yolo / "labels/IMG_1.txt", "0 0.5 0.5 1 1")
    detail = "1 object; IMG_1.XYZ is no picture that is read"
    assert unused(read_yolo(Given(yolo))) == [("IMG_1.txt", detail)]


@pytest.mark.parametrize(
    ("picture", "text"),
    [
        ("Images/a.png", "Labels/a.txt"),
        ("IMAGES/day/a.PNG", "labels/day/a.TXT"),
        ("imgs/a.png", "labels/a.txt"),
        ("imgs/train/a.png", "labels/train/a.txt"),
        ("a.png", "labels/a.txt"),
        ("train/a.png", "train/labels/a.txt"),
        ("train/images/a.png", "train/labels/a.txt"),
        ("images/x/images/a.png", "images/x/labels/a.txt"),
        ("images/a.png", "labels/a.png.txt"),
        ("images/a.png", "label/a.txt"),
        ("a.png", "a.txt"),
        ("some/where/a.png", "some/where/a.txt"),
        ("images/Caf\u00e9.png", "labels/cafe\u0301.txt"),
    ],
)
def test_where_labels_lie(
    tmp_path: Path, picture: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / picture)
    label(tmp_path / text, "\ufeff0 0.5\t0.5 1 1\r\n\r\n0 0.25 0.25 0.5 0.5\r\n")
    label(tmp_path / "classes.txt", "cat")
    annotations = read_yolo(Given(tmp_path))
    assert [each.boxes.tolist() for each in annotations.images] == [
        [[0, 0, 40, 20], [0, 0, 20, 10]]
    ]
    assert not annotations.left_out
    monkeypatch.chdir(tmp_path)
    assert read_yolo(Given(Path("."))).objects == 2


def test_labels_that_two_folders_may_claim_are_nobodys(tmp_path: Path) -> None:
    for place in ("photos", "masks"):
        draw(tmp_path / place / "a.png")
    label(tmp_path / "labels/a.txt", "0 0.5 0.5 1 1")
    label(tmp_path / "classes.txt", "cat")
    annotations = read_yolo(Given(tmp_path))
    assert annotations.objects == 0
    assert "call the folder of the pictures 'images'" in unused(annotations)[0][1]


def test_pictures_of_one_stem_share_their_labels_and_that_is_told(yolo: Path) -> None:
    draw(yolo / "images/a.1.bmp")
    annotations = read_yolo(Given(yolo))
    assert [len(each) for each in annotations.images] == [2, 2, 0, 0]
    assert [each.kind for each in annotations.findings] == ["label file of several pictures"]


def test_a_set_without_any_label_file_is_told(tmp_path: Path) -> None:
    draw(tmp_path / "images/a.png")
    label(tmp_path / "classes.txt", "cat")
    (tmp_path / "labels").mkdir()
    assert [each.kind for each in read_yolo(Given(tmp_path)).findings] == ["no label files"]


def test_pictures_may_lie_elsewhere(yolo: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    away = tmp_path_factory.mktemp("away")
    for path in sorted((yolo / "images").iterdir()):
        path.rename(away / path.name)
    (yolo / "images").rmdir()
    annotations = read_yolo(Given(yolo, images=away))
    assert [each.path.name for each in annotations.images] == ["a.1.png", "b.png", "c.png"]
    assert annotations.objects == read_yolo(Given(yolo, "train", away)).objects == 2
    with pytest.raises(HeatpointError, match="not a folder"):
        read_yolo(Given(yolo, images=yolo / "nothing"))


def test_what_systems_leave_behind_is_no_label_file(yolo: Path) -> None:
    label(yolo / "labels/._b.txt", "\0\1")
    label(yolo / "labels/.ipynb_checkpoints/b.txt", "0 0.5 0.5 1 1")
    assert not read_yolo(Given(yolo)).findings


@pytest.mark.parametrize("side", [(40, 20), (3, 500)])
def test_sizes_of_plain_jpegs_are_those_of_the_decoder(
    tmp_path: Path, side: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, options in (
        ("plain", {}),
        ("grey", {"quality": 5}),
        ("progressive", {"progressive": True}),
        ("turned", {"exif": exif}),
        ("long", {"icc_profile": b"x" * 70_000}),
    ):
        mode = "L" if name == "grey" else "RGB"
        Image.new(mode, side).save(tmp_path / f"{name}.jpg", **options)
        path = tmp_path / f"{name}.jpg"
        assert image_size(path) == load_image(path).shape[:2]
    whole = (tmp_path / "plain.jpg").read_bytes()
    for end in (0, 1, 2, 3, 20, 21, 150):
        (tmp_path / "cut.jpg").write_bytes(whole[:end])
        with pytest.raises(HeatpointError, match=r"cut\.jpg"):
            image_size(tmp_path / "cut.jpg")


def test_real_dice(shared: Path) -> None:
    folder = shared / "data/dice"
    train, val = read_yolo(Given(folder, "train")), read_yolo(Given(folder, "val"))
    assert (len(train), len(val)) == (160, 40)
    counts = read_yolo(Given(folder)).counts()
    assert counts == {"one": 254, "two": 258, "three": 245, "four": 238, "five": 257, "six": 235}
    assert {record.size for record in train.images + val.images} == {(640, 640)}
    assert train.objects + val.objects == 1487
