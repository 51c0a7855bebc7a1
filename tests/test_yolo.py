from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from heatpoint.data.readers.yolo import read_yolo
from heatpoint.errors import HeatpointError


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 20)).save(path)


def label(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


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
    annotations = read_yolo(yolo, "train")
    assert annotations.names == ("cat", "dog")
    assert annotations.category_ids == (0, 1)
    record = annotations.images[0]
    assert record.size == (20, 40)
    assert record.boxes.tolist() == [[15, 5, 25, 15], [0, 0, 20, 10]]
    assert record.labels.tolist() == [1, 0]


def test_images_without_labels_are_kept(yolo: Path) -> None:
    assert [len(record) for record in read_yolo(yolo).images] == [2, 0, 0]
    assert read_yolo(yolo, "val").images[0].path.name == "c.png"


@pytest.mark.parametrize("layout", ["images/{}", "{}/images"])
def test_split_folders(tmp_path: Path, layout: str) -> None:
    for split in ("train", "val"):
        place = layout.format(split)
        draw(tmp_path / place / "same.png")
        label(tmp_path / place.replace("images", "labels") / "same.txt", "0 0.5 0.5 1 1")
    label(tmp_path / "data.yaml", "path: x\nnames:\n  0: cat\n  1: dog\n")
    annotations = read_yolo(tmp_path, "val")
    assert annotations.objects == len(annotations) == 1
    assert len(read_yolo(tmp_path)) == 2  # one stem in two folders is two images
    with pytest.raises(HeatpointError, match=r"no split 'test' .* it has train, val"):
        read_yolo(tmp_path, "test")


def test_labels_may_lie_beside_the_images(tmp_path: Path) -> None:
    draw(tmp_path / "images/a.jpg")
    label(tmp_path / "images/a.txt", "0 0.5 0.5 1 1")
    label(tmp_path / "obj.names", "cat")
    assert read_yolo(tmp_path).images[0].boxes.tolist() == [[0, 0, 40, 20]]


def test_polygons_become_boxes_and_keypoints_are_passed_over(yolo: Path) -> None:
    line = "0 0.25 0.5 0.75 0.5 0.5 1.0 0.5 0.75"
    label(yolo / "labels/b.txt", line)
    assert read_yolo(yolo).images[1].boxes.tolist() == [[10, 10, 30, 20]]
    label(yolo / "data.yaml", "names: [cat, dog]\nkpt_shape: [2, 2]\n")
    assert read_yolo(yolo).images[1].boxes.tolist() == [[-5, 5, 25, 15]]


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
        read_yolo(yolo)


def test_class_out_of_range_and_image_without_size_are_counted(yolo: Path) -> None:
    label(yolo / "labels/b.txt", "2 0.5 0.5 1 1\n-1 0.5 0.5 1 1\n1 nan 0.5 1 1\n")
    (yolo / "images/a.1.png").write_text("no image")
    annotations = read_yolo(yolo)
    assert annotations.left_out == {"unknown category id": 2, "object of an unreadable image": 2}
    assert np.isnan(annotations.images[1].boxes[0, 0])
    assert annotations.images[0].size is None


def test_listed_image_that_is_not_there_stays_in_the_list(yolo: Path) -> None:
    label(yolo / "val.txt", "c\nd\nc.png\n")
    annotations = read_yolo(yolo, "val")
    assert [record.path.name for record in annotations.images] == ["c.png", "d.jpg"]
    assert annotations.left_out == {"image listed twice": 1}


def test_class_names_must_be_there_and_distinct(yolo: Path) -> None:
    label(yolo / "classes.txt", "cat\ncat\n")
    with pytest.raises(HeatpointError, match="both called 'cat'"):
        read_yolo(yolo)
    (yolo / "classes.txt").unlink()
    with pytest.raises(HeatpointError, match=r"expected the class names.*obj\.names"):
        read_yolo(yolo)
    label(yolo / "data.yaml", "names: {1: cat, 2: dog}")
    with pytest.raises(HeatpointError, match="numbered from 0"):
        read_yolo(yolo)
    label(yolo / "data.yaml", "names: [cat")
    with pytest.raises(HeatpointError, match="not valid YAML"):
        read_yolo(yolo)


def test_real_dice(shared: Path) -> None:
    folder = shared / "data/dice"
    train, val = read_yolo(folder, "train"), read_yolo(folder, "val")
    assert (len(train), len(val)) == (160, 40)
    counts = read_yolo(folder).counts()
    assert counts == {"one": 254, "two": 258, "three": 245, "four": 238, "five": 257, "six": 235}
    assert {record.size for record in train.images + val.images} == {(640, 640)}
    assert train.objects + val.objects == 1487
