from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from heatpoint.data import Annotations
from heatpoint.data.readers.coco import read_coco, write_coco
from heatpoint.data.readers.given import Given
from heatpoint.errors import HeatpointError


def coco(folder: Path, **changes: Any) -> Path:
    """Writes a JSON file of two images and four annotations; ``changes`` replace sections."""
    data = {
        "images": [
            {"id": 5, "file_name": "a.png", "height": 30, "width": 40},
            {"id": 9, "file_name": "b.png", "height": 30, "width": 40},
        ],
        "categories": [{"id": 12, "name": "dog"}, {"id": 3, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 12, "bbox": [1, 2, 10, 20], "area": 150.0},
            {"id": 2, "image_id": 5, "category_id": 3, "bbox": [0, 0, 5, 5]},
            {
                "id": 3,
                "image_id": 5,
                "category_id": 3,
                "bbox": [8, 8, 4, 4],
                "iscrowd": 1,
                "segmentation": {"counts": [1, 2], "size": [30, 40]},
            },
            {"id": 4, "image_id": 5, "category_id": 3, "bbox": [9, 9, 4, 4], "ignore": 1},
        ],
        **changes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "instances_val.json"
    path.write_text(json.dumps(data))
    return path


def draw(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30)).save(path)


def same(a: Annotations, b: Annotations) -> bool:
    fields = ("boxes", "labels", "crowd", "difficult", "areas", "size", "image_id")
    return (a.names, a.category_ids, len(a)) == (b.names, b.category_ids, len(b)) and all(
        np.array_equal(getattr(x, key), getattr(y, key))
        for x, y in zip(a.images, b.images, strict=True)
        for key in fields
    )


def test_ids_with_gaps_are_mapped_in_order_of_id(tmp_path: Path) -> None:
    annotations = read_coco(Given(coco(tmp_path)))
    assert annotations.names == ("cat", "dog")
    assert annotations.category_ids == (3, 12)
    record = annotations.images[0]
    assert record.labels.tolist() == [1, 0, 0, 0]
    assert record.boxes[0].tolist() == [1, 2, 11, 22]
    assert record.areas.tolist() == [150, 25, 16, 16]
    assert record.size == (30, 40)
    assert record.image_id == 5


def test_crowd_and_ignore_are_kept_and_marked(tmp_path: Path) -> None:
    record = read_coco(Given(coco(tmp_path))).images[0]
    assert record.crowd.tolist() == [False, False, True, True]


def test_images_without_objects_stay(tmp_path: Path) -> None:
    annotations = read_coco(Given(coco(tmp_path)))
    assert [len(record) for record in annotations.images] == [4, 0]
    empty = read_coco(Given(coco(tmp_path, annotations=[])))
    assert empty.objects == 0
    assert len(empty) == 2


@pytest.mark.parametrize("place", [".", "images", "../images", "../val", "val", "../images/val"])
def test_images_are_found_in_the_usual_places(tmp_path: Path, place: str) -> None:
    path = coco(tmp_path / "annotations")
    draw(path.parent / place / "a.png")
    annotations = read_coco(Given(path))
    assert annotations.images[0].path.is_file()
    assert annotations.searched == ()


def test_images_folder_can_be_given(tmp_path: Path) -> None:
    path = coco(tmp_path / "labels")
    draw(tmp_path / "pictures" / "b.png")
    assert read_coco(Given(path, images=tmp_path / "pictures")).images[1].path.is_file()
    with pytest.raises(HeatpointError, match="nowhere is not a folder"):
        read_coco(Given(path, images=tmp_path / "nowhere"))
    with pytest.raises(HeatpointError, match=r"holds none of the 2 images"):
        read_coco(Given(path, images=tmp_path / "labels"))


def test_searched_folders_are_remembered(tmp_path: Path) -> None:
    annotations = read_coco(Given(coco(tmp_path / "annotations")))
    assert str(tmp_path / "images") in annotations.searched


def test_misfits_are_counted_and_named(tmp_path: Path) -> None:
    objects: list[dict[str, Any]] = [
        {"id": 1, "image_id": 77, "category_id": 3, "bbox": [0, 0, 5, 5]},
        {"id": 2, "image_id": 5, "category_id": 4, "bbox": [0, 0, 5, 5]},
        {"id": 3, "image_id": 5, "category_id": 3, "bbox": [0, 0, 5]},
        {"id": 4, "image_id": 5, "category_id": 3},
        {"id": 5, "image_id": 5, "category_id": 3, "bbox": [0, 0, None, 5]},
        {"id": 6, "image_id": 5, "category_id": 3, "bbox": [0, 0, 5, 5]},
    ]
    annotations = read_coco(Given(coco(tmp_path, annotations=objects)))
    assert annotations.left_out == {
        "unknown image id": 1,
        "unknown category id": 1,
        "object without a box": 3,
    }
    assert annotations.objects == 1
    assert "annotation 2 has category 4" in annotations.findings[1].detail


def test_nan_and_negative_boxes_are_kept_for_validate(tmp_path: Path) -> None:
    objects = [
        {"id": 1, "image_id": 5, "category_id": 3, "bbox": [0, 0, float("nan"), 5], "area": 1},
        {"id": 2, "image_id": 5, "category_id": 3, "bbox": [9, 9, -5, 5]},
    ]
    record = read_coco(Given(coco(tmp_path, annotations=objects))).images[0]
    assert np.isnan(record.boxes[0, 2])
    assert record.boxes[1].tolist() == [9, 9, 4, 14]
    assert record.areas.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "cat"}]},
            "classes 0 and 1 are both called 'cat'",
        ),
        (
            {"categories": [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}]},
            "'cat' and 'dog' share the id 1",
        ),
        (
            {"images": [{"id": 1, "file_name": "a.png"}, {"id": 1, "file_name": "b.png"}]},
            "a.png and b.png share the id 1",
        ),
        (
            {"images": [{"id": None, "file_name": "a.png"}]},
            "expected a number or text as 'id' of a.png in 'images', got None",
        ),
        ({"images": [{"id": 1.5, "file_name": "a.png"}]}, "as 'id' of a.png in 'images', got 1.5"),
        ({"annotations": [3]}, "expected 'annotations' to be a list of objects, got 3 as number 1"),
        ({"images": [{"id": 1}]}, "has no 'file_name'"),
        ({"annotations": {}}, "expected 'annotations' to be a list"),
        ({"categories": [], "annotations": []}, "names no class"),
    ],
)
def test_contradictions_are_errors(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(HeatpointError, match=message):
        read_coco(Given(coco(tmp_path, **changes)))


def test_json_cut_in_half_is_an_error(tmp_path: Path) -> None:
    path = coco(tmp_path)
    path.write_text(path.read_text()[:200])
    with pytest.raises(HeatpointError, match="not valid JSON"):
        read_coco(Given(path))


def test_detections_are_not_annotations(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text("[]")
    with pytest.raises(HeatpointError, match=r"a list \(detections, perhaps\)"):
        read_coco(Given(path))


def test_written_file_reads_back(tmp_path: Path) -> None:
    path = coco(tmp_path / "annotations")
    draw(tmp_path / "images" / "a.png", tmp_path / "images" / "b.png")
    annotations = read_coco(Given(path))
    annotations.images[0].difficult[1] = True
    copy = tmp_path / "elsewhere" / "copy.json"
    write_coco(annotations, copy)
    again = read_coco(Given(copy))
    assert same(annotations, again)
    assert again.images[0].path.is_file()


def test_real_coco(shared: Path) -> None:
    annotations = read_coco(Given(shared / "data/coco_cc/annotations/instances.json"))
    assert (len(annotations), annotations.objects, len(annotations.names)) == (59, 579, 80)
    assert sum(int(record.crowd.sum()) for record in annotations.images) == 8
    assert annotations.category_ids[-1] == 90
    assert all(record.path.is_file() for record in annotations.images)


def test_real_coco_without_images_still_reads(shared: Path, tmp_path: Path) -> None:
    annotations = read_coco(Given(shared / "data/coco_eval/instances_val2014_100.json"))
    assert (len(annotations), annotations.objects, len(annotations.names)) == (100, 839, 80)
    assert annotations.searched
    write_coco(annotations, tmp_path / "copy.json")
    again = read_coco(Given(tmp_path / "copy.json"))
    assert np.allclose(
        np.concatenate([record.boxes for record in annotations.images]),
        np.concatenate([record.boxes for record in again.images]),
        atol=1e-9,
    )
