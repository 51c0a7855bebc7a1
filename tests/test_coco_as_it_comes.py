"""COCO files as tools and people really write them: ids, flags, shapes, classes, damage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faster_coco_eval.core import mask
from test_coco import coco

from heatpoint.data import Annotations
from heatpoint.data.readers import read
from heatpoint.data.readers.coco import read_coco, write_coco
from heatpoint.data.readers.coco_shapes import extent
from heatpoint.data.readers.given import Given
from heatpoint.data.results import Detections
from heatpoint.errors import HeatpointError
from heatpoint.scoring.boxes import coco_metrics

IMAGE = {"id": 1, "file_name": "a.png", "width": 40, "height": 30}


def one(folder: Path, *items: dict[str, Any], **changes: Any) -> Annotations:
    """Reads a file of one image with these objects."""
    rows = [{"id": n, "image_id": 1, "category_id": 3} | item for n, item in enumerate(items)]
    return read_coco(Given(coco(folder, **({"images": [IMAGE], "annotations": rows} | changes))))


def kinds(data: Annotations) -> list[str]:
    return [each.kind for each in data.findings]


@pytest.mark.parametrize("ids", [("a-1", "b/2"), (7, "7"), (3, 10**30), ("007", "7"), (-1, 0)])
def test_ids_come_back_as_they_are(tmp_path: Path, ids: tuple[Any, Any]) -> None:
    images = [{"id": each, "file_name": f"{n}.png"} for n, each in enumerate(ids)]
    rows = [
        {"image_id": each, "category_id": 3, "bbox": [n, 0, 5, 5]} for n, each in enumerate(ids)
    ]
    data = read_coco(Given(coco(tmp_path, images=images, annotations=rows)))
    write_coco(data, tmp_path / "again.json")
    again = read_coco(Given(tmp_path / "again.json"))
    for each in (data, again):
        assert [record.image_id for record in each.images] == list(ids)
        assert [record.boxes[:, 0].tolist() for record in each.images] == [[0], [1]]
    found = [
        Detections(r.boxes.astype(np.float32), np.ones(1, np.float32), r.labels, data.names)
        for r in data.images
    ]
    rows = [
        row
        for record, each in zip(data.images, found, strict=True)
        for row in each.to_coco(record.image_id, data.category_ids)
    ]
    assert [row["image_id"] for row in json.loads(json.dumps(rows))] == list(ids)
    assert coco_metrics(rows, data).ap == coco_metrics(found, data).ap == 1.0


def test_objects_may_spell_ids_as_numbers_or_texts(tmp_path: Path) -> None:
    data = one(
        tmp_path,
        {"image_id": "1", "bbox": [0, 0, 5, 5]},
        {"image_id": 1.0, "category_id": "12", "bbox": [0, 0, 5, 5]},
        {"image_id": [1], "bbox": [0, 0, 5, 5]},
        {"image_id": None, "bbox": [0, 0, 5, 5]},
    )
    assert data.images[0].labels.tolist() == [0, 1]
    assert data.left_out == {"unknown image id": 2}


def test_ids_of_classes_may_be_texts(tmp_path: Path) -> None:
    categories = [
        {"id": "10", "name": "ten"},
        {"id": "9", "name": "nine"},
        {"id": "b", "name": "b"},
    ]
    data = one(tmp_path, {"category_id": 10, "bbox": [0, 0, 5, 5]}, categories=categories)
    assert (data.names, data.category_ids) == (("nine", "ten", "b"), ("9", "10", "b"))
    assert data.images[0].labels.tolist() == [1]


@pytest.mark.parametrize("key", ["iscrowd", "ignore", "difficult"])
def test_flags_as_texts_and_missing_fields(tmp_path: Path, key: str) -> None:
    values = ["0", "1", 0, 1, True, False, None, "false", "true", "", 1.0, "0.0", "maybe"]
    data = one(tmp_path, *({"bbox": [0, 0, 5, 4], key: value} for value in values))
    flags = data.images[0].difficult if key == "difficult" else data.images[0].crowd
    assert np.flatnonzero(flags).tolist() == [1, 3, 4, 8, 10]
    assert [each.detail for each in data.findings] == [f"annotation 12 has 'maybe' as {key!r}"]
    assert data.images[0].areas.tolist() == [20] * len(values)


def test_areas_as_texts(tmp_path: Path) -> None:
    boxes = [{"bbox": [0, 0, 5, 4], "area": area} for area in ("12.5", None, "large", 3)]
    data = one(tmp_path, *boxes)
    assert data.images[0].areas.tolist() == [12.5, 20, 20, 3]
    assert kinds(data) == ["field that cannot be read"]


SQUARE = [[3, 4, 13, 4, 13.5, 24, 3, 24]]


@pytest.mark.parametrize("box", [None, [], [0, 0, 0, 0], [3, 4, 0, 20], "none"])
def test_a_polygon_says_where_an_object_without_a_box_is(tmp_path: Path, box: Any) -> None:
    data = one(tmp_path, {"bbox": box, "segmentation": SQUARE}, {"bbox": [1, 2, 3, 4]})
    assert data.images[0].boxes.tolist() == [[3, 4, 13.5, 24], [1, 2, 4, 6]]
    assert kinds(data) == ["polygon read as its box"]
    assert data.left_out == {}


def test_of_a_polygon_and_a_box_the_box_counts(tmp_path: Path) -> None:
    data = one(tmp_path, {"bbox": [1, 2, 3, 4], "segmentation": SQUARE})
    assert data.images[0].boxes.tolist() == [[1, 2, 4, 6]]
    assert data.findings == []


@pytest.mark.parametrize(
    ("shape", "box"),
    [
        (SQUARE[0], (3, 4, 13.5, 24)),
        ([[[3, 4], [5, 9]], [[1, 6]]], (1, 4, 5, 9)),
        ([[3, 4, 5, 9], []], (3, 4, 5, 9)),
        ({"size": [4, 5], "counts": [5, 2, 13]}, (1, 1, 2, 3)),
        ({"size": [4, 5], "counts": [7, 2, 11]}, (1, 0, 3, 4)),
        ({"size": [4, 5], "counts": [0, 20]}, (0, 0, 5, 4)),
    ],
)
def test_extents(shape: Any, box: tuple[float, ...]) -> None:
    assert extent(shape) == box


@pytest.mark.parametrize(
    "shape",
    [
        None, [], [[]], "x", [[1, 2, 3]], [["a", 2]], [[1, 2, 1, 9]], [[1, 2, float("nan"), 4]], 7,
        {"size": [4, 5], "counts": [5, 2]}, {"size": [4, 5], "counts": [20]}, {"counts": "x"},
        {"size": [4, 5], "counts": [30, -10]}, {"size": [4, 5], "counts": "o" * 99}, [[10**400, 2]],
        {"size": [0, 0], "counts": []}, {"size": [1 << 40, 1 << 40], "counts": "\xff"},
    ],
)  # fmt: skip
def test_shapes_without_extent(tmp_path: Path, shape: Any) -> None:
    assert extent(shape) is None
    data = one(tmp_path, {"segmentation": shape}, {"bbox": [0, 0, 1, 0], "segmentation": shape})
    assert data.left_out == {"object without a box": 1}
    assert data.images[0].boxes.tolist() == [[0, 0, 1, 0]]


def test_masks_have_the_boxes_that_cocos_own_code_gives(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        height, width = (int(side) for side in rng.integers(1, 60, 2))
        x, y = rng.integers(0, width), rng.integers(0, height)
        pixels = np.zeros((height, width), np.uint8, "F")
        pixels[y : y + 20, x : x + 30] = rng.random((height, width))[y : y + 20, x : x + 30] < 0.2
        if not pixels.any():
            continue
        encoded = mask.encode(pixels)
        x1, y1, wide, high = mask.toBbox(encoded).tolist()
        text = {"size": [height, width], "counts": encoded["counts"].decode()}
        assert extent(text) == (x1, y1, x1 + wide, y1 + high)
        runs = np.diff(np.flatnonzero(np.diff(np.r_[2, pixels.ravel("F"), 2])), append=[])
        counts = [0] * int(pixels[0, 0]) + runs.tolist()
        assert extent(text | {"counts": counts}) == (x1, y1, x1 + wide, y1 + high)


ROOT = {"id": 0, "name": "fish", "supercategory": "none"}


@pytest.mark.parametrize("child", ["fish", "eel"])
def test_the_projects_name_of_roboflow_is_no_class(tmp_path: Path, child: str) -> None:
    classes = [ROOT, {"id": 3, "name": child, "supercategory": "fish"}]
    data = one(tmp_path, {"bbox": [0, 0, 5, 5]}, categories=classes)
    assert (data.names, data.category_ids) == ((child,), (3,))
    assert data.images[0].labels.tolist() == [0]
    assert data.left_out == {"class left out": 1}


def test_a_class_that_is_used_or_stands_alone_is_one(tmp_path: Path) -> None:
    classes = [ROOT, {"id": 3, "name": "eel", "supercategory": "fish"}]
    data = one(tmp_path, {"category_id": 0, "bbox": [0, 0, 5, 5]}, categories=classes)
    assert data.names == ("fish", "eel")
    classes[1]["supercategory"] = "none"
    assert one(tmp_path, {"bbox": [0, 0, 5, 5]}, categories=classes).names == ("fish", "eel")


@pytest.mark.parametrize("categories", [None, []])
def test_without_categories_classes_are_called_by_their_ids(
    tmp_path: Path, categories: Any
) -> None:
    items = [{"category_id": each, "bbox": [0, 0, 5, 5]} for each in (10, 9, 10)]
    data = one(tmp_path, *items, categories=categories)
    assert (data.names, data.category_ids) == (("9", "10"), (9, 10))
    assert kinds(data) == ["class without a name"] * 2


def test_a_class_without_a_name_and_one_listed_twice(tmp_path: Path) -> None:
    classes = [{"id": 3}, {"id": 4, "name": "cat"}, {"id": 4, "name": "cat"}]
    data = one(tmp_path, {"bbox": [0, 0, 5, 5]}, categories=classes)
    assert data.names == ("3", "cat")
    assert kinds(data) == ["class without a name", "class left out"]


def test_images_and_objects_listed_twice(tmp_path: Path) -> None:
    box = {"id": 5, "bbox": [0, 0, 5, 5]}
    data = one(tmp_path, box, box, images=[IMAGE, IMAGE])
    assert (len(data), data.objects) == (1, 2)
    assert data.left_out == {"image listed twice": 1}
    assert data.findings[1].kind == "object id used twice"
    assert data.findings[1].detail == "1 of 2 objects, such as 5"


def test_a_list_of_images_alone(tmp_path: Path) -> None:
    path = coco(tmp_path)
    content = json.loads(path.read_text())
    del content["annotations"]
    path.write_text(json.dumps(content))
    data = read_coco(Given(path))
    assert (len(data), data.objects, data.names) == (2, 0, ("cat", "dog"))
    assert kinds(data) == ["file without annotations"]


def test_sizes_as_texts_or_missing(tmp_path: Path) -> None:
    sizes = [("30", "40"), (None, 40), (0, 40), (30.0, 40), ("x", 40), (1e300, 40), (10**400, 40)]
    images = [
        {"id": n, "file_name": f"{n}.png", "height": high, "width": wide}
        for n, (high, wide) in enumerate(sizes)
    ]
    found = [record.size for record in one(tmp_path, images=images).images]
    assert found == [(30, 40), None, None, (30, 40), None, None, None]


def test_names_of_lvis_are_in_its_addresses(tmp_path: Path) -> None:
    address = "http://images.cocodataset.org/val2017/000000397133.jpg"
    (tmp_path / "val2017").mkdir()
    (tmp_path / "val2017/000000397133.jpg").write_bytes(b"")
    data = one(tmp_path, images=[{"id": 1, "coco_url": address}])
    assert data.images[0].path == tmp_path / "val2017/000000397133.jpg"


def test_boxes_in_other_units_are_told(tmp_path: Path) -> None:
    corners = [{"bbox": box} for box in ([5, 5, 35, 25], [1, 2, 9, 12], [20, 10, 39, 29])]
    data = one(tmp_path, *corners)
    assert kinds(data) == ["boxes in other units"]
    assert "1 of 3 boxes end beyond their images, as x1, y1, x2, y2 all fit" in str(data.findings)
    shares = [{"bbox": box} for box in ([0.1, 0.2, 0.5, 0.6], [0.5, 0.5, 0.5, 0.5])]
    one(tmp_path, *shares)
    assert (
        "no box is wider than one pixel" in read(tmp_path / "instances_val.json").findings[0].detail
    )
    sound = [{"bbox": box} for box in ([5, 5, 35, 25], [30, 2, 9, 12], [0, 0, 40, 30])]
    assert one(tmp_path, *sound).findings == []


def test_what_only_pythons_json_takes_reads_alike(tmp_path: Path) -> None:
    items = [{"bbox": [0, 0, 5, 5], "iscrowd": "1"}, {"segmentation": SQUARE}]
    strict = one(tmp_path / "strict", *items)
    loose = one(tmp_path / "loose", *items, {"bbox": [0, 0, float("nan"), 5]})
    assert loose.images[0].boxes[:2].tolist() == strict.images[0].boxes.tolist()
    assert loose.images[0].crowd[:2].tolist() == strict.images[0].crowd.tolist() == [True, False]
    assert kinds(loose) == kinds(strict) == ["polygon read as its box"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_encodings_of_windows(tmp_path: Path, encoding: str) -> None:
    path = coco(tmp_path, categories=[{"id": 3, "name": "\u6c7d\u8f66"}])
    text = json.dumps(json.loads(path.read_text()), ensure_ascii=False)
    path.write_bytes(text.encode(encoding))
    assert read(path).names == ("\u6c7d\u8f66",)


def test_a_name_in_another_encoding_is_an_error_wherever_it_is(tmp_path: Path) -> None:
    path = coco(tmp_path, categories=[{"id": 3, "name": "\u6c7d\u8f66"}])
    text = json.dumps(json.loads(path.read_text()), ensure_ascii=False)
    path.write_bytes(text.encode("gb18030"))
    with pytest.raises(HeatpointError, match=r"not a JSON text file in UTF-8 .*gb18030"):
        read(path)


def test_names_that_lead_out_are_not_opened(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"x")
    folder = tmp_path / "a/b"
    images = [IMAGE | {"file_name": "../../secret.png"}]
    with pytest.raises(HeatpointError, match="outside of its folder"):
        read(coco(folder, images=images))
    found = read(coco(folder, images=images), tmp_path)
    assert found.images[0].path == secret
