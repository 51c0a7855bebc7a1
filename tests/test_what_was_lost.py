"""Data that was once lost or misread without a word: near names, second files, repetitions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PIL

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.combining import merge
from heatpoint.data.readers import read
from heatpoint.data.readers.outlines import ellipse_box, turned
from heatpoint.data.writers import write
from heatpoint.errors import HeatpointError


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.new("RGB", (100, 80)).save(path)
    return path


def coco(file: Path, names: list[str], **given: Any) -> Path:
    """Writes a COCO file of one object in each picture."""
    images = [{"id": i, "file_name": n, "width": 100, "height": 80} for i, n in enumerate(names)]
    objects = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [i, 5, 20, 20], "area": 400, **given}
        for i in range(len(names))
    ]
    content = {
        "images": images,
        "annotations": objects,
        "categories": [{"id": 1, "name": "cat"}],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file


def test_a_picture_that_is_gone_does_not_take_the_place_of_another(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    found = read(coco(tmp_path / "set.json", ["a.jpg", "a.png"]))
    assert [record.path.name for record in found.images] == ["a.jpg", "a.png"]
    alone = read(coco(tmp_path / "one.json", ["a.jpg"]))
    assert alone.images[0].path.name == "a.png"  # nobody else's


def test_of_two_coco_files_of_a_split_the_exported_one_is_read(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        for name in ("a.jpg", "b.jpg"):
            picture(tmp_path / split / name)
    coco(tmp_path / "train/_annotations.coco.json", ["a.jpg", "b.jpg"])
    coco(tmp_path / "train/Backup.json", ["a.jpg"])
    coco(tmp_path / "valid/_annotations.coco.json", ["a.jpg"])
    for given, count in ((f"{tmp_path}:train", 2), (str(tmp_path), 3)):
        found = read(given)
        assert len(found.images) == count
        assert any("Backup.json" in finding.detail for finding in found.findings)


def drawn(tmp_path: Path, count: int = 1, **given: Any) -> Annotations:
    """Returns data in which one picture is listed so many times."""
    path, box = picture(tmp_path / "a.jpg"), np.array([[10.0, 10, 40, 40]])
    record = ImageRecord(path, (80, 100), box, np.zeros(1, int), **given)
    images = [replace(record, image_id=number) for number in range(count)]
    return Annotations(("cat",), images, "drawn")


@pytest.mark.parametrize("form", ["yolo", "voc"])
def test_a_picture_that_is_listed_twice_is_not_written_over(tmp_path: Path, form: Any) -> None:
    twice, once = drawn(tmp_path, 2), drawn(tmp_path)
    for parts in ({"train": twice}, {"train": once, "val": once}):
        with pytest.raises(HeatpointError, match=r"a\.jpg is listed more than once"):
            write(parts, form, tmp_path / "out")
    write({"train": merge([twice])[0]}, form, tmp_path / "out")


def test_joints_without_names_are_counted_and_joined(tmp_path: Path) -> None:
    joints = np.array([[[20.0, 20, 2], [30, 30, 2], [0, 0, 0]]])
    data = drawn(tmp_path, keypoints=joints)
    assert write({"train": data}, "yolo", tmp_path / "out") == {"joints without names": 2}
    other = replace(data, images=[replace(data.images[0], boxes=data.images[0].boxes + 20)])
    assert merge([data, other])[0].images[0].joints(3).shape == (2, 3, 3)
    short = replace(data, images=[replace(data.images[0], keypoints=joints[:, :2])])
    with pytest.raises(HeatpointError, match="different numbers of joints"):
        merge([data, short])


@pytest.mark.parametrize(
    "given",
    [
        {"area": [1, 2]},
        {"segmentation": {"counts": 8000, "size": [80, 100]}},
        {"segmentation": {"counts": [[]], "size": [80, 100]}},
    ],
)
def test_damaged_values_of_coco_are_no_traceback(tmp_path: Path, given: dict[str, Any]) -> None:
    picture(tmp_path / "a.jpg")
    assert len(read(coco(tmp_path / "set.json", ["a.jpg"], **given)).images) == 1


@pytest.mark.parametrize("degrees", [float("inf"), float("nan")])
def test_a_turn_that_is_no_number_gives_none(degrees: float) -> None:
    assert np.isnan(turned((0, 0, 2, 2), degrees, (1, 1))).all()
    assert np.isnan(ellipse_box(0, 0, 2, 2, degrees)).all()
