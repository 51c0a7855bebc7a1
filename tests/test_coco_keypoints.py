"""Joints in COCO JSON: skeleton, frame, writing back, and what can be wrong with them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.readers.coco import read_coco, write_coco
from heatpoint.data.readers.given import Given
from heatpoint.data.scene import with_skeleton
from heatpoint.data.skeleton import SKELETONS, Skeleton
from heatpoint.data.validate import clean, validate
from heatpoint.errors import HeatpointError


def person(keypoints: Any, **more: Any) -> dict[str, Any]:
    item = {"image_id": 1, "category_id": 1, "bbox": [2, 3, 10, 10], "keypoints": keypoints}
    return item | more


def write(folder: Path, people: list[dict[str, Any]], **category: Any) -> Path:
    Image.new("RGB", (40, 20)).save(folder / "a.png")
    path = folder / "joints.json"
    names = ["nose", "left_eye", "right_eye"]
    data = {
        "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 20}],
        "annotations": people,
        "categories": [{"id": 1, "name": "person", "keypoints": names} | category],
    }
    path.write_text(json.dumps(data))
    return path


GOOD = [4, 5, 2, 6, 5, 1, 0, 0, 0]


def test_joints_become_continuous(tmp_path: Path) -> None:
    data = read_coco(Given(write(tmp_path, [person(GOOD)], skeleton=[[1, 2], [1, 3]])))
    assert data.skeleton == Skeleton(("nose", "left_eye", "right_eye"), ((0, 1), (0, 2)), ((1, 2),))
    keypoints = data.images[0].keypoints
    assert keypoints is not None
    assert keypoints.tolist() == [[[4.5, 5.5, 2], [6.5, 5.5, 1], [0, 0, 0]]]


def test_unlabelled_coordinates_mean_nothing(tmp_path: Path) -> None:
    data = read_coco(Given(write(tmp_path, [person([4, 5, 2, 7, 7, 0, 9, 9, 0])])))
    assert data.images[0].keypoints is not None
    assert data.images[0].keypoints[0, 1:].tolist() == [[0, 0, 0], [0, 0, 0]]


def test_shipped_pairs_and_own_pairs(tmp_path: Path) -> None:
    coco = SKELETONS["coco17"]
    data = read_coco(Given(write(tmp_path, [], keypoints=list(coco.joints))))
    assert data.skeleton is not None
    assert data.skeleton.pairs == coco.pairs
    data = read_coco(Given(write(tmp_path, [], flip_pairs=[[0, 1]])))
    assert data.skeleton is not None
    assert data.skeleton.pairs == ((0, 1),)
    with pytest.raises(HeatpointError, match=r"category 'person': pairs .* twice"):
        read_coco(Given(write(tmp_path, [], flip_pairs=[[0, 1], [1, 2]])))


def test_boxes_alone_have_no_joints(tmp_path: Path) -> None:
    for keypoints in (None, [], [0.0]):
        data = read_coco(Given(write(tmp_path, [person(keypoints)], keypoints=[])))
        assert data.skeleton is None
        assert data.images[0].keypoints is None


def test_joints_that_no_category_names_are_named_by_a_skeleton(tmp_path: Path) -> None:
    path = write(tmp_path, [person(GOOD), person([1, 1, 2]), person(GOOD)], keypoints=None)
    data = read_coco(Given(path))
    assert data.skeleton is None
    assert data.images[0].keypoints is not None
    assert data.images[0].keypoints[0].tolist() == [[4.5, 5.5, 2], [6.5, 5.5, 1], [0, 0, 0]]
    assert data.left_out == {"malformed joints": 1}
    with pytest.raises(HeatpointError, match="does not name its 3 joints; name them with skeleton"):
        with_skeleton(data, "")
    names = tmp_path / "skeleton.json"
    names.write_text('{"joints": ["nose", "left_ear", "right_ear"]}')
    assert with_skeleton(data, str(names)).skeleton == Skeleton.load(names)


def test_objects_without_joints_beside_some_with(tmp_path: Path) -> None:
    people = [person(GOOD), {"image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5]}]
    data = read_coco(Given(write(tmp_path, people)))
    assert data.images[0].keypoints is not None
    assert data.images[0].keypoints.shape == (2, 3, 3)
    report = validate(data)
    assert report.counts() == {"person without joints": 1}
    assert not report.problems()
    cleaned, counts = clean(data)
    assert len(cleaned.images[0]) == 2
    assert counts == {}


@pytest.mark.parametrize(
    "keypoints",
    [[1, 2, 2], "none", [1, 2, 2] * 4, [1, "x", 2, *GOOD[3:]], [1, 2, 3, *GOOD[3:]]],
)
def test_malformed_joints_are_counted(tmp_path: Path, keypoints: Any) -> None:
    data = read_coco(Given(write(tmp_path, [person(GOOD), person(keypoints)])))
    assert data.left_out == {"malformed joints": 1}
    assert data.images[0].keypoints is not None
    assert data.images[0].keypoints[1].tolist() == [[0, 0, 0]] * 3
    assert "malformed joints" in validate(data).summary()


def test_all_of_another_number_is_a_mistake(tmp_path: Path) -> None:
    path = write(tmp_path, [person([1, 2, 2]), person([1, 2, 2])])
    with pytest.raises(
        HeatpointError, match=r"no object has the 3 joints .* 3 numbers, expected 9"
    ):
        read_coco(Given(path))


def test_skeleton_and_data_of_different_counts() -> None:
    record = ImageRecord(
        Path("a"), boxes=np.zeros((1, 4)), labels=np.array([0]), keypoints=np.zeros((1, 3, 3))
    )
    with pytest.raises(HeatpointError, match="objects of a have 3 joints, but the skeleton has 17"):
        Annotations(("person",), [record], "x", skeleton=SKELETONS["coco17"])


def test_records_check_their_shapes() -> None:
    box = np.zeros((1, 4))
    with pytest.raises(ValueError, match=r"keypoints of a: expected shape \(1, J, 3\)"):
        ImageRecord(Path("a"), boxes=box, labels=np.array([0]), keypoints=np.zeros((2, 3, 3)))
    with pytest.raises(ValueError, match="heads of a: expected 1"):
        ImageRecord(Path("a"), boxes=box, labels=np.array([0]), heads=np.zeros(2))


def test_nan_and_outside_joints_are_found_and_nan_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path, [person([math.nan, 5, 2, 60, 5, 2, 4, 4, 2])])
    data = read_coco(Given(path))
    report = validate(data)
    assert report.counts() == {"non-finite joint": 1, "joint outside the image": 1}
    assert "left_eye of object 1 at (60.5, 5.5) in 40x20" in report.summary()
    assert data.images[0].keypoints is not None
    assert np.isnan(data.images[0].keypoints[0, 0, 0]), "reading repairs nothing"
    cleaned, counts = clean(data)
    assert counts == {"non-finite joint": 1}
    assert cleaned.images[0].keypoints is not None
    assert cleaned.images[0].keypoints[0].tolist() == [[0, 0, 0], [60.5, 5.5, 2], [4.5, 4.5, 2]]
    assert cleaned.skeleton == data.skeleton


@pytest.mark.parametrize(
    ("box", "kind"),
    [([5, 5, 0, 4], "degenerate box"), ([400, 5, 4, 4], "box outside the image")],
)
def test_zero_size_and_outside_boxes_are_left_out(tmp_path: Path, box: list, kind: str) -> None:
    people = [person(GOOD), person([0] * 9, bbox=box)]
    cleaned, counts = clean(read_coco(Given(write(tmp_path, people))))
    assert counts == {kind: 1}
    assert cleaned.images[0].keypoints is not None
    assert cleaned.images[0].keypoints[:, 0, 0].tolist() == [4.5]


def test_a_crop_may_reach_beyond_the_image(tmp_path: Path) -> None:
    data = read_coco(Given(write(tmp_path, [person(GOOD, bbox=[-20, -5, 60, 60])])))
    assert validate(data).counts() == {}
    assert clean(data)[0].images[0].boxes.tolist() == [[-20, -5, 40, 55]]


def test_written_joints_are_read_back(tmp_path: Path) -> None:
    people = [person(GOOD), {"image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5]}]
    data = read_coco(Given(write(tmp_path, people, skeleton=[[1, 2]])))
    data.images[0].heads = np.array([3.5, math.nan])
    write_coco(data, tmp_path / "sub" / "again.json")
    again = read_coco(Given(tmp_path / "sub" / "again.json"))
    assert again.skeleton == data.skeleton
    assert again.images[0].path.resolve() == data.images[0].path.resolve()
    assert again.images[0].keypoints is not None
    assert np.array_equal(again.images[0].keypoints, data.images[0].keypoints)  # type: ignore[arg-type]
    assert again.images[0].heads is not None
    np.testing.assert_array_equal(again.images[0].heads, [3.5, math.nan])
    raw = json.loads((tmp_path / "sub" / "again.json").read_text())
    assert raw["annotations"][0]["keypoints"] == GOOD
    assert raw["annotations"][0]["num_keypoints"] == 2
    assert raw["categories"][0]["skeleton"] == [[1, 2]]


def test_classes_have_joints_of_their_own(tmp_path: Path) -> None:
    cat, dog, car = ([1, 2, 2], [8, 9, 1], [7, 7, 2])
    objects = [person(GOOD), person(cat, category_id=2), person(car, category_id=4)]
    path = write(
        tmp_path, [*objects, person([*dog, *dog], category_id=3), person([9], category_id=4)]
    )
    data = json.loads(path.read_text())
    more = [{"id": 2, "name": "cat", "keypoints": ["tail"]}, {"id": 4, "name": "car"}]
    dogs = {"id": 3, "name": "dog", "keypoints": ["nose", "tail"], "skeleton": [[1, 2]]}
    path.write_text(json.dumps(data | {"categories": [*data["categories"], *more, dogs]}))
    read = read_coco(Given(path))
    assert read.skeleton is not None
    joints = ("person_nose", "left_eye", "right_eye", "cat_tail", "dog_nose", "dog_tail")
    assert (read.names, read.skeleton.joints) == (("person", "cat", "dog", "car"), joints)
    assert read.skeleton.slices == ((0, 3), (3, 4), (4, 6), (0, 0))
    assert read.skeleton.edges == ((4, 5),)
    assert read.left_out == {"joints that no class names": 2}
    keypoints = read.images[0].keypoints
    assert keypoints is not None
    assert keypoints[0].tolist() == [[4.5, 5.5, 2], [6.5, 5.5, 1], *[[0, 0, 0]] * 4]
    assert keypoints[1].tolist() == [*[[0, 0, 0]] * 3, [1.5, 2.5, 2], *[[0, 0, 0]] * 2]
    assert keypoints[3].tolist() == [*[[0, 0, 0]] * 4, *[[8.5, 9.5, 1]] * 2]
    write_coco(read, tmp_path / "again.json")
    again = read_coco(Given(tmp_path / "again.json"))
    assert (again.skeleton, again.left_out) == (read.skeleton, {})
    assert np.array_equal(again.images[0].keypoints, keypoints)  # type: ignore[arg-type]


def test_joints_that_are_not_those_of_their_class(tmp_path: Path) -> None:
    path = write(tmp_path, [person(GOOD), person(GOOD, category_id=2)])
    data = json.loads(path.read_text())
    data["categories"].append({"id": 2, "name": "cat", "keypoints": ["tail"]})
    path.write_text(json.dumps(data))
    with pytest.raises(HeatpointError, match=r"no object has the 1 joints .* number 2 has 9 num"):
        read_coco(Given(path))


@pytest.mark.parametrize("box", [None, [], [0, 0, 0, 0], [5, 5, 0, 4]])
def test_joints_say_where_a_subject_without_a_box_is(tmp_path: Path, box: Any) -> None:
    data = read_coco(Given(write(tmp_path, [person([4, 5, 2, 14, 5, 1, 9, 9, 0], bbox=box)])))
    assert data.images[0].boxes.tolist() == [[3.5, 4.5, 15.5, 6.5]]
    assert [(each.kind, each.detail) for each in data.findings] == [
        ("joints read as their box", f"annotation number 1 has {box} as 'bbox'")
    ]
    assert data.left_out == {}


@pytest.mark.parametrize("edges", [[[0, 1]], [[1, 4]], [[1]], "none"])
def test_edges_count_from_one(tmp_path: Path, edges: Any) -> None:
    with pytest.raises(HeatpointError, match="category 'person': expected"):
        read_coco(Given(write(tmp_path, [], skeleton=edges)))


def test_cut_off_file(tmp_path: Path) -> None:
    path = write(tmp_path, [person(GOOD)])
    path.write_text(path.read_text()[:-40])
    with pytest.raises(HeatpointError, match="may be cut off"):
        read_coco(Given(path))


def test_keep_and_subset_carry_joints(tmp_path: Path) -> None:
    data = read_coco(Given(write(tmp_path, [person(GOOD), person([1, 1, 2] * 3, head_size=4)])))
    kept = data.images[0].keep(np.array([False, True]))
    assert kept.keypoints is not None
    assert kept.keypoints.tolist() == [[[1.5, 1.5, 2]] * 3]
    assert kept.heads is not None
    assert kept.heads.tolist() == [4.0]
    assert data.subset([0]).skeleton == data.skeleton
