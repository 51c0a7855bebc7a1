"""LabelMe: shapes, groups, folders and where the picture is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sample_content import write

from heatpoint.data.readers import read
from heatpoint.errors import HeatpointError


def shape(kind: str, label: str, *points: Any, **more: Any) -> dict[str, Any]:
    base = {"label": label, "points": list(points), "shape_type": kind, "group_id": None}
    return base | {"flags": {}} | more


def labels(*shapes: Any, image: str | None = "a.jpg", **more: Any) -> dict[str, Any]:
    content = {"version": "5.5.0", "flags": {}, "shapes": list(shapes), "imagePath": image}
    return content | {"imageData": None, "imageHeight": 30, "imageWidth": 40} | more


def drawn(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30)).save(path)
    return path


BOX = shape("rectangle", "cat", [20, 25], [5, 10])


def test_shapes(tmp_path: Path) -> None:
    shapes = [
        BOX,
        shape("polygon", "dog", [1, 2], [9, 4], [3, 8]),
        shape("circle", "cat", [10, 10], [13, 14]),
        shape("mask", "dog", [3, 4], [6, 8], mask="iVBORw0KGgo="),
        shape("rotation", "dog", [10, 0], [20, 10], [10, 20], [0, 10]),
        shape("linestrip", "cat", [1, 1], [2, 2]),
        shape("rectangle", "", [1, 1], [2, 2]),
    ]
    data = read(write(tmp_path / "a.json", labels(*shapes)))
    assert data.names == ("cat", "dog")
    assert data.images[0].boxes.tolist() == [
        [5, 10, 20, 25],
        [1, 2, 9, 8],
        [5, 5, 15, 15],
        [3, 4, 7, 9],
        [0, 0, 20, 20],
    ]
    assert data.images[0].labels.tolist() == [0, 1, 0, 1, 1]
    assert data.images[0].size == (30, 40)
    assert data.left_out == {"object without a box": 1, "object without a class": 1}
    kinds = [each.kind for each in data.findings]
    assert kinds.count("polygon read as its box") == 2
    assert kinds.count("rotated box read as upright") == 1


def test_joints_are_points_of_the_group(tmp_path: Path) -> None:
    shapes = [
        BOX | {"group_id": 1},
        shape("rectangle", "cat", [0, 0], [39, 29], group_id=2, flags={"difficult": True}),
        shape("point", "nose", [6, 11], group_id=1),
        shape("point", "nose", [30, 3], group_id=2, difficult=True),
        shape("point", "tail", [10, 12], group_id=1),
        shape("point", "tail", [10, 12]),
    ]
    data = read(write(tmp_path / "a.json", labels(*shapes)))
    assert data.images[0].joints(2).tolist() == [
        [[6, 11, 2], [10, 12, 2]],
        [[30, 3, 1], [0, 0, 0]],
    ]
    assert data.images[0].difficult.tolist() == [False, True]
    assert data.left_out == {"point of no object": 1}


def test_polygons_of_one_group_are_one_object(tmp_path: Path) -> None:
    parts = [
        shape("polygon", "cat", [0, 0], [5, 0], [5, 5], group_id=4),
        shape("polygon", "cat", [20, 10], [30, 10], [30, 20], group_id=4),
        shape("polygon", "dog", [1, 1], [2, 1], [2, 2], group_id=4),
    ]
    data = read(write(tmp_path / "a.json", labels(*parts)))
    assert data.images[0].boxes.tolist() == [[0, 0, 30, 20], [1, 1, 2, 2]]


def test_a_folder_with_splits_agrees_on_classes(tmp_path: Path) -> None:
    for part, label in (("train", "dog"), ("val", "cat")):
        drawn(tmp_path / part / "a.jpg")
        write(tmp_path / part / "a.json", labels(BOX | {"label": label}))
    drawn(tmp_path / "val/b.jpg")
    write(tmp_path / "val/notes.json", {"by": "me"})
    data = read(f"{tmp_path}:val")
    assert (data.names, len(data), data.images[0].path) == (
        ("cat", "dog"),
        1,
        tmp_path / "val/a.jpg",
    )
    assert data.images[0].labels.tolist() == [0]
    assert data.left_out == {
        "annotations in a second format": 1,
        "image without annotation file": 1,
    }
    with pytest.raises(HeatpointError, match=r"no split 'vall'.*it has train, val; did you mean"):
        read(f"{tmp_path}:vall")


def test_labels_txt_gives_the_order_of_classes(tmp_path: Path) -> None:
    write(tmp_path / "labels.txt", "__ignore__\n_background_\nzebra\ncat\nnose\n")
    write(tmp_path / "a.json", labels(BOX, shape("point", "nose", [6, 11])))
    assert read(tmp_path).names == ("zebra", "cat")


@pytest.mark.parametrize(
    ("image", "there"),
    [
        ("..\\img\\a.jpg", "img/a.jpg"),
        ("C:\\Users\\me\\a.jpg", "ann/a.jpg"),
        ("before.jpg", "ann/x.png"),
        ("a.jpg", "images/a.jpg"),
    ],
)
def test_where_the_picture_is(tmp_path: Path, image: str, there: str) -> None:
    drawn(tmp_path / there)
    for data in (
        read(write(tmp_path / "ann/x.json", labels(BOX, image=image))),
        read(tmp_path / "ann"),
    ):
        assert data.images[0].path.resolve() == tmp_path / there
    if image == "before.jpg":
        told = [(each.kind, each.detail) for each in data.findings]
        assert told == [("image under a near name", "the annotations call it 'before.jpg'")]


def test_pictures_elsewhere(tmp_path: Path) -> None:
    there = drawn(tmp_path / "else/a.jpg")
    file = write(tmp_path / "set/deep/x.json", labels(BOX))
    assert read(file, there.parent).images[0].path == there


def test_a_picture_without_shapes_is_kept(tmp_path: Path) -> None:
    write(tmp_path / "b.json", labels(image="b.jpg"))
    write(tmp_path / "a.json", labels(BOX, imageData="AAAA" * 40_000))
    assert [len(record) for record in read(tmp_path).images] == [1, 0]


def test_damaged_files_are_named_together(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path / f"{name}.json", labels(BOX))
    for name in "bc":
        write(tmp_path / f"{name}.json", '{"shapes": [')
    with pytest.raises(
        HeatpointError, match=r"2 of 3 JSON files cannot be read: .*b.json is not valid JSON"
    ):
        read(tmp_path)


def test_numbers_that_are_none(tmp_path: Path) -> None:
    shapes = [shape("rectangle", "cat", [1, None], [2, 3]), shape("rectangle", "cat", 7), BOX, "x"]
    data = read(write(tmp_path / "a.json", labels(*shapes)))
    assert data.objects == 2  # one is NaN, which validate reports
    assert data.left_out == {"object without a box": 2}
