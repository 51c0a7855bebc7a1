"""Label Studio: percents, turned boxes, joints, several annotators, and names of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sample_content import write

from heatpoint.data import Annotations
from heatpoint.data.readers import read
from heatpoint.errors import HeatpointError

SIZE = {"original_width": 200, "original_height": 100}


def region(kind: str, label: str | None, key: str = "r", **more: Any) -> dict[str, Any]:
    """Returns one result; ``more`` are its coordinates, and ``parentID`` and the like."""
    value = {name: v for name, v in more.items() if name[:1].islower() and name != "parentID"}
    item = {k: v for k, v in more.items() if k not in value}
    if label is not None:
        value[f"{kind}labels"] = [label]
    return {"id": key, "type": f"{kind}labels", "value": value} | SIZE | item


def task(*results: Any, image: str = "a.jpg", **more: Any) -> dict[str, Any]:
    entry = {"id": 7, "completed_by": 3, "was_cancelled": False, "result": list(results)}
    return {"id": 1, "data": {"image": image}, "annotations": [entry]} | more


def data_of(folder: Path, *tasks: Any, **more: Any) -> Annotations:
    return read(write(folder / "export.json", list(tasks)), **more)


def drawn(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (200, 100)).save(path)
    return path


CAT = region("rectangle", "cat", "c", x=10, y=20, width=30, height=40, rotation=0)


def test_percents_become_pixels_of_width_and_height(tmp_path: Path) -> None:
    data = data_of(tmp_path, task(CAT))
    assert data.images[0].boxes.tolist() == [[20, 20, 80, 60]]
    assert data.images[0].size == (100, 200)
    assert (data.names, data.images[0].path) == (("cat",), tmp_path / "a.jpg")


def test_a_rectangle_is_turned_about_its_upper_left_corner(tmp_path: Path) -> None:
    turned = region("rectangle", "cat", x=50, y=10, width=10, height=40, rotation=90)
    data = data_of(tmp_path, task(turned))
    # 20 wide and 40 high at (100, 10): 90 degrees clockwise it lies to the left of the corner.
    assert data.images[0].boxes.round(6).tolist() == [[60, 10, 100, 30]]
    told = [(each.kind, each.detail) for each in data.findings]
    assert told == [("rotated box read as upright", "region 1 of task 1: rotated box")]


def test_polygons_and_ellipses_are_read_as_boxes_and_told(tmp_path: Path) -> None:
    polygon = region("polygon", "cat", "p", points=[[10, 10], [20, 50], [5, 30]])
    ellipse = region("ellipse", "dog", "e", x=50, y=50, radiusX=10, radiusY=20, rotation=0)
    brush = region("brush", "dog", "b", format="rle", rle=[0, 1, 2])
    data = data_of(tmp_path, task(polygon, ellipse, brush))
    assert data.images[0].boxes.tolist() == [[10, 10, 40, 50], [80, 30, 120, 70]]
    assert [each.kind for each in data.findings].count("polygon read as its box") == 2
    assert data.left_out == {"object without a box": 1}


def test_keypoints_belong_to_their_parent_or_to_the_one_box_around(tmp_path: Path) -> None:
    dog = region("rectangle", "dog", "d", x=20, y=20, width=60, height=60)
    points = [
        region("keypoint", "nose", "k1", x=21, y=30, width=1, parentID="c"),
        region("keypoint", "tail", "k2", x=70, y=70, width=1),
        region("keypoint", "tail", "k3", x=30, y=30, width=1),
    ]
    data = data_of(tmp_path, task(CAT, dog, *points))
    assert data.skeleton is not None
    assert data.skeleton.joints == ("nose", "tail")
    joints = data.images[0].joints(2).tolist()
    assert joints == [[[42, 30, 2], [0, 0, 0]], [[0, 0, 0], [140, 70, 2]]]
    assert data.left_out == {"point of no object": 1}  # k3 lies in both boxes
    assert data.findings[-1].detail.startswith("region 5 of task 1, 'tail', lies in 2 boxes")


def test_keypoints_without_a_box_are_one_object(tmp_path: Path) -> None:
    nose = region("keypoint", "nose", "k1", x=10, y=20, width=1)
    tail = region("keypoint", "tail", "k2", x=50, y=60, width=1)
    data = data_of(tmp_path, task(nose, tail))
    assert data.names == ("object",)
    assert data.images[0].boxes.tolist() == [[16, 16, 104, 64]]  # 5 % of 80 on each side
    assert data.images[0].joints(2).tolist() == [[[20, 20, 2], [100, 60, 2]]]


def test_points_of_one_name_without_boxes_are_objects(tmp_path: Path) -> None:
    cells = [region("keypoint", "cell", f"k{i}", x=i, y=i, width=1) for i in range(3)]
    data = data_of(tmp_path, task(*cells))
    assert (data.objects, data.left_out, data.pointed) == (3, {}, True)
    assert data.names == ("cell",)
    box = region("rectangle", "cell", "b", x=50, y=50, width=9, height=9)
    data = data_of(tmp_path, task(box, *cells))  # beside boxes they belong to one, or to none
    assert (data.objects, data.left_out) == (1, {"point of no object": 3})


def test_labels_apart_from_their_shapes(tmp_path: Path) -> None:
    shape = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0}
    bare = {"id": "q", "type": "rectangle", "value": shape} | SIZE
    label = {"id": "q", "type": "labels", "value": shape | {"labels": ["cat"]}} | SIZE
    data = data_of(tmp_path, task(bare, label))
    assert data.images[0].boxes.tolist() == [[20, 20, 80, 60]]
    assert data.names == ("cat",)


def test_the_first_annotation_that_was_not_cancelled_counts(tmp_path: Path) -> None:
    def entry(number: int, cancelled: bool, *results: Any) -> dict[str, Any]:
        return {"id": number, "was_cancelled": cancelled, "result": list(results)}

    dog = region("rectangle", "dog", x=0, y=0, width=10, height=10)
    several = [entry(1, True, dog), entry(2, False, CAT), entry(3, False, dog, dog)]
    foretold = {"annotations": [], "predictions": [{"result": [dog]}]}
    skipped = {"annotations": [entry(4, True)]}
    data = data_of(
        tmp_path,
        task(annotations=several),
        task(image="b.jpg", **foretold),
        task(image="c.jpg", **skipped),
        task(image="d.jpg"),
    )
    assert [(each.path.name, len(each)) for each in data.images] == [("a.jpg", 1), ("d.jpg", 0)]
    assert data.left_out == {"second annotation of an image": 1, "image not annotated": 2}
    details = [each.detail for each in data.findings if each.kind == "image not annotated"]
    assert details == [
        "task 1: it has a model's predictions alone",
        "task 1: its annotations were all cancelled",
    ]


@pytest.mark.parametrize(
    ("name", "there", "told"),
    [
        ("/data/upload/1/0a1b2c3d-a.jpg", "0a1b2c3d-a.jpg", []),
        ("/data/upload/1/0a1b2c3d-a.jpg", "images/a.jpg", ["images under shorter names"]),
        ("/data/local-files/?d=set%2Fa+b.jpg", "set/a+b.jpg", []),
        ("s3://bucket/day/a.jpg", "day/a.jpg", ["image named by an address"]),
        (
            "https://host/x/a%20b.jpg?key=1",
            "a b.jpg",
            ["image named by an address", "images under shorter names"],
        ),
    ],
)
def test_names_of_pictures(tmp_path: Path, name: str, there: str, told: list[str]) -> None:
    drawn(tmp_path / there)
    data = data_of(tmp_path, task(CAT, image=name))
    assert data.images[0].path == tmp_path / there
    assert [each.kind for each in data.findings] == told


def test_uploads_that_would_become_one_name_keep_their_prefix(tmp_path: Path) -> None:
    drawn(tmp_path / "a.jpg")
    names = ("/data/upload/1/0a1b2c3d-a.jpg", "/data/upload/1/ffffffff-a.jpg")
    data = data_of(tmp_path, *(task(CAT, image=name) for name in names))
    assert [each.path.is_file() for each in data.images] == [False, False]


def test_pictures_elsewhere(tmp_path: Path) -> None:
    there = drawn(tmp_path / "else/a.jpg")
    data = data_of(
        tmp_path / "x", task(CAT, image="/data/upload/3/01234567-a.jpg"), images=there.parent
    )
    assert data.images[0].path == there


def test_what_has_no_size_or_was_turned_is_left_out(tmp_path: Path) -> None:
    bare = {key: value for key, value in CAT.items() if key not in SIZE} | {"id": "x"}
    data = data_of(tmp_path, task(CAT, bare, CAT | {"image_rotation": 90, "id": "y"}))
    assert (data.objects, data.left_out) == (1, {"object without a box": 2})


def test_ids_of_other_kinds_do_not_matter(tmp_path: Path) -> None:
    nose = region("keypoint", "nose", "k", x=21, y=30, width=1, parentID=5)
    odd = region("keypoint", "tail", "o", x=22, y=30, width=1, parentID=["c"])
    data = data_of(tmp_path, task(CAT | {"id": 5}, nose, odd))
    assert data.images[0].joints(2)[0].tolist() == [[42, 30, 2], [0, 0, 0]]


def test_a_task_without_a_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(HeatpointError, match=r"export.json: task 1: expected the name of a pict"):
        data_of(tmp_path, task(CAT, data={"text": "hello"}))
    with pytest.raises(HeatpointError, match="has no split 'train'"):
        read(f"{write(tmp_path / 'e.json', [task(CAT)])}:train")


@pytest.mark.parametrize("key", ["to_name", "source"])
def test_regions_of_a_second_picture_are_left_out(tmp_path: Path, key: str) -> None:
    sign = "$" if key == "source" else ""
    first, second = (CAT | {"id": name, key: sign + name} for name in ("left", "right"))
    both = task(first, second) | {"data": {"left": "a.jpg", "right": "b.jpg"}}
    other = task(CAT | {key: sign + "tag"})  # what names no picture says nothing
    other |= {"id": 2, "data": {"image": "c.jpg", "tag2": "x"}}
    about = task(CAT | {"to_name": "note"}) | {"data": {"image": "d.jpg", "note": "dark"}}
    data = data_of(tmp_path, both, other, about | {"id": 3})
    assert [len(each.boxes) for each in data.images] == [1, 1, 1]
    assert data.left_out == {"object without a box": 1}
    said = "it is on another picture of the task than the first"
    assert any(said in each.detail for each in data.findings)
