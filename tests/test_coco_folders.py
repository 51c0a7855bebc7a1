"""COCO files in the folders that tools leave: splits, pictures beside or above, several files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from heatpoint.data.readers import read
from heatpoint.errors import HeatpointError


def put(file: Path, *pictures: str, **changes: Any) -> None:
    """Writes a COCO file with a box in each picture, and the pictures where they are named."""
    content = {
        "info": {"description": "drawn"},
        "images": [{"id": n, "file_name": Path(name).name} for n, name in enumerate(pictures)],
        "annotations": [
            {"image_id": n, "category_id": 1, "bbox": [n, 0, 5, 5]} for n in range(len(pictures))
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content | changes))
    for name in pictures:
        path = file.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def paths(data: str | Path, folder: Path) -> list[str]:
    """Returns the pictures of a data set that are there, relative to the folder."""
    records = read(data).images
    return [r.path.relative_to(folder).as_posix() for r in records if r.path.is_file()]


def test_roboflow(tmp_path: Path) -> None:
    for split, names in {"train": ("a.jpg", "b.jpg"), "valid": ("c.jpg",), "test": ()}.items():
        put(tmp_path / split / "_annotations.coco.json", *names)
    assert paths(f"{tmp_path}:train", tmp_path) == ["train/a.jpg", "train/b.jpg"]
    assert paths(f"{tmp_path}:valid", tmp_path) == ["valid/c.jpg"]
    assert paths(tmp_path / "valid", tmp_path) == ["valid/c.jpg"]
    with pytest.raises(
        HeatpointError, match=r"no split 'val' .*it has test, train, valid; did you"
    ):
        read(f"{tmp_path}:val")
    whole = read(tmp_path)
    assert [(r.image_id, r.boxes[0, 0], r.path.name) for r in whole.images] == [
        (1, 0, "a.jpg"),
        (2, 1, "b.jpg"),
        (3, 0, "c.jpg"),
    ]
    assert [each.kind for each in whole.findings] == ["images numbered anew"]


def test_splits_of_different_classes_are_not_joined(tmp_path: Path) -> None:
    put(tmp_path / "train/_annotations.coco.json", "a.jpg")
    put(tmp_path / "test/_annotations.coco.json", "b.jpg", categories=[{"id": 1, "name": "dog"}])
    with pytest.raises(HeatpointError, match=r"different classes .*\(dog; cat\); name one split"):
        read(tmp_path)
    assert read(f"{tmp_path}:test").names == ("dog",)


def test_fiftyone(tmp_path: Path) -> None:
    put(tmp_path / "labels.json", "data/a.jpg")
    assert paths(tmp_path, tmp_path) == ["data/a.jpg"]
    assert paths(tmp_path / "labels.json", tmp_path) == ["data/a.jpg"]
    put(tmp_path / "sets/train/labels.json", "data/a.jpg")
    put(tmp_path / "sets/val/labels.json", "data/b.jpg")
    assert paths(f"{tmp_path / 'sets'}:val", tmp_path) == ["sets/val/data/b.jpg"]


def test_cocos_own_tree(tmp_path: Path) -> None:
    files = tmp_path / "annotations"
    put(files / "instances_train2017.json", "../train2017/a.jpg", "../train2017/b.jpg")
    put(files / "person_keypoints_train2017.json", "../train2017/a.jpg")
    put(files / "instances_val2017.json", "../val2017/c.jpg")
    for split in ("train2017", "train"):
        assert paths(f"{tmp_path}:{split}", tmp_path) == ["train2017/a.jpg", "train2017/b.jpg"]
    told = read(f"{tmp_path}:train").findings
    assert [each.kind for each in told] == ["annotations in a second format"]
    assert "instances_train2017.json is read; give" in told[0].detail
    assert len(read(f"{tmp_path}:person_keypoints_train2017")) == 1
    with pytest.raises(
        HeatpointError, match=r"holds 3 COCO files; name the split, as .*:train2017"
    ):
        read(tmp_path)


def test_images_can_be_given_for_a_folder(tmp_path: Path) -> None:
    put(tmp_path / "set/annotations/instances_val.json", "../../photos/a.jpg")
    found = read(f"{tmp_path / 'set'}:val", tmp_path / "photos")
    assert found.images[0].path == tmp_path / "photos/a.jpg"


def test_json_files_of_others_are_no_coco(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"version": "5", "layers": []}')
    with pytest.raises(HeatpointError, match=r"looked for .*COCO files.*; got a\.json"):
        read(tmp_path)


def test_results_and_coco_under_another_key_are_told(tmp_path: Path) -> None:
    results, nested = tmp_path / "results.json", tmp_path / "nested.json"
    results.write_text('[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]')
    with pytest.raises(HeatpointError, match=r"predictions: give the annotations"):
        read(results)
    nested.write_text('{"dataset": {"images": [], "annotations": []}}')
    with pytest.raises(HeatpointError, match=r"what 'dataset' holds looks like COCO"):
        read(nested)
