"""Data that was once lost or misread without a word: near names, second files, repetitions."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PIL

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.combining import merge
from heatpoint.data.dividing import grouped
from heatpoint.data.readers import read
from heatpoint.data.readers.coco import write_coco
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


def test_labels_of_several_versions_and_depths_are_read_or_named(tmp_path: Path) -> None:
    picture(tmp_path / "dota/images/a.jpg")
    picture(tmp_path / "dota/images/a.png")
    (tmp_path / "dota/images/b.dcm").write_bytes(b"x")
    line = "10 10 30 12 28 32 8 30 ship 0\n"
    for version, lines in (("v1.0", line), ("v1.5", line * 2)):
        file = tmp_path / f"dota/labelTxt-{version}/a.txt"
        file.parent.mkdir()
        file.write_text(lines)
    data = read(tmp_path / "dota")
    assert [(each.path.name, len(each.boxes)) for each in data.images] == [("a.jpg", 2)]
    told = {each.kind: each.detail for each in data.findings}
    assert "labelTxt-v1.0 is meant" in told["annotations in a second format"]
    assert told["image without annotation file"] == "a.jpg has its name"
    assert data.left_out["picture of a format that is not read"] == 1

    shape = {"label": "cat", "points": [[1, 1], [9, 9]], "shape_type": "rectangle"}
    content = {"shapes": [shape], "imageHeight": 80, "imageWidth": 100}
    for place in ("a", "train/b", "train/2024/may/c"):
        file = picture(tmp_path / f"labelme/{place}.jpg").with_suffix(".json")
        file.write_text(json.dumps(content | {"imagePath": f"{file.stem}.jpg"}))
    (tmp_path / "labelme/train/2024/may/other.json").write_text("[")
    assert len(read(tmp_path / "labelme")) == 3
    assert len(read(f"{tmp_path / 'labelme'}:train")) == 2


@pytest.mark.parametrize("name", ["_annotations.csv", "_annotations.createml.json"])
def test_a_file_beside_those_of_splits_is_asked_for(tmp_path: Path, name: str) -> None:
    at = {"x": 5, "y": 5, "width": 4, "height": 4}
    for part in ("", "train", "valid"):
        image = picture(tmp_path / part / f"{part or 'top'}.jpg").name
        content = f"filename,class,xmin,ymin,xmax,ymax\n{image},cat,1,2,30,40\n"
        if name.endswith(".json"):
            boxes = [{"label": "cat", "coordinates": at}]
            content = json.dumps([{"image": image, "annotations": boxes}])
        (tmp_path / part / name).write_text(content)
    with pytest.raises(HeatpointError, match=f"has {name}, and so have train, valid"):
        read(tmp_path)
    assert [each.path.name for each in read(f"{tmp_path}:valid").images] == ["valid.jpg"]
    assert [each.path.name for each in read(tmp_path / name).images] == ["top.jpg"]


def test_an_order_of_classes_is_read_back(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    data = read(coco(tmp_path / "all.json", ["a.jpg"]))
    more = replace(data, names=("dog", "cat", "owl"), category_ids=(7, 2, "10"))
    write_coco(more, tmp_path / "more.json")
    back = read(tmp_path / "more.json")
    assert (back.names, back.category_ids) == (more.names, (1, 2, 3))
    assert back.images[0].labels.tolist() == [0]
    in_order = replace(more, category_ids=(2, "9", "10"))
    write_coco(in_order, tmp_path / "other.json")
    assert read(tmp_path / "other.json").category_ids == in_order.category_ids


@pytest.mark.parametrize("first", ["nose", "cat_nose"])
def test_joints_of_classes_keep_their_names(tmp_path: Path, first: str) -> None:
    picture(tmp_path / "a.jpg")
    joints = {"cat": [first, "tail"], "dog": ["nose", "ear", "tail"], "owl": []}
    named = [{"id": i, "name": n, "keypoints": joints[n]} for i, n in enumerate(joints, start=1)]
    file = coco(tmp_path / "own.json", ["a.jpg"])
    file.write_text(json.dumps(json.loads(file.read_text()) | {"categories": named}))
    data = read(file)
    assert data.skeleton is not None
    assert "dog_tail" in data.skeleton.joints
    write_coco(data, tmp_path / "again.json")
    written = json.loads((tmp_path / "again.json").read_text())["categories"]
    assert {each["name"]: each.get("keypoints", []) for each in written} == joints
    assert read(tmp_path / "again.json").skeleton == data.skeleton


def test_near_names_have_keys_of_their_own_in_shards(tmp_path: Path) -> None:
    names = [picture(tmp_path / f"frame_1{mark}0.jpg").name for mark in "._"]
    write({"train": read(coco(tmp_path / "all.json", names))}, "shards", tmp_path / "shards")
    data = read(tmp_path / "shards")
    assert (len(data), data.left_out, data.findings) == (2, {}, [])


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_names_of_pictures_hold_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "far/away/runs").mkdir(parents=True)
    (tmp_path / "home").mkdir()
    (tmp_path / "home/runs").symlink_to(tmp_path / "far/away/runs")
    data = read(coco(tmp_path / "home/all.json", [picture(tmp_path / "home/a.jpg").name]))
    file = tmp_path / "home/runs/a.json"
    write_coco(data, file)
    name = json.loads(file.read_text())["images"][0]["file_name"]
    assert (file.parent / name).is_file()
    for given in (file, file.resolve()):
        assert read(given, tmp_path / "home").images[0].path.is_file()


def test_a_picture_without_a_group_is_told(tmp_path: Path) -> None:
    data = read(coco(tmp_path / "all.json", ["a.jpg", "b.jpg", "c.jpg"]))
    table = tmp_path / "groups.csv"
    table.write_text("file,film\na.jpg,0\nb.jpg, \nc.jpg\n")
    with pytest.raises(HeatpointError, match=r"2 of the 3 images .* no group, such as .*b\.jpg"):
        grouped(data, table=f"{table}:film")


@pytest.mark.skipif(os.name == "nt", reason="no name of a file there")
def test_a_colon_is_part_of_a_name(tmp_path: Path) -> None:
    names = [picture(tmp_path / name).name for name in ("t:1.jpg", "1.jpg")]
    data = read(coco(tmp_path / "all.json", names[:1]))
    assert data.images[0].path.name == "t:1.jpg"
