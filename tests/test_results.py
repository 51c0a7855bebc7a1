"""Detections: what they accept, and what they turn into."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from heatpoint.data.results import Detections
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError

NAMES = ("cat", "dog", "cow")


def three() -> Detections:
    boxes = np.array([[0.0, 1, 10, 21], [5, 5, 6, 7], [2.5, 3.5, 4.5, 8]])
    return Detections(boxes, np.array([0.9, 0.5, 0.25]), np.array([2, 0, 2]), NAMES)


def test_types_are_made_uniform() -> None:
    made = Detections(
        np.zeros((1, 4), np.float64),
        np.zeros(1, np.float16),
        np.zeros(1, np.int32),
        ["cat"],  # type: ignore[arg-type]
    )
    assert (made.boxes.dtype, made.scores.dtype) == (np.float32, np.float32)
    assert made.labels.dtype == np.int64
    assert made.names == ("cat",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": np.zeros((3, 5))}, r"boxes must have shape \(N, 4\), not \(3, 5\)"),
        ({"boxes": np.zeros(4)}, r"not \(4,\)"),
        ({"boxes": np.zeros((3, 4), np.int64)}, "boxes must be of a floating type"),
        ({"scores": np.zeros(2)}, r"scores must have shape \(3,\).*not \(2,\)"),
        ({"scores": np.zeros(3, np.int64)}, "scores must be of a floating type"),
        ({"labels": np.zeros(3)}, "labels must be of an integer type, not float64"),
        ({"labels": np.array([True, False, True])}, "integer type, not bool"),
        ({"labels": np.array([0, 1, 3])}, r"\[0, 3\).*span \[0, 3\]"),
        ({"labels": np.array([-1, 1, 0])}, r"span \[-1, 1\]"),
        ({"boxes": torch.zeros(3, 4)}, "boxes must be a numpy array, not Tensor"),
    ],
)
def test_what_does_not_fit_is_named(change: dict, message: str) -> None:
    good = {"boxes": three().boxes, "scores": three().scores, "labels": three().labels}
    with pytest.raises(HeatpointError, match=message):
        Detections(**(good | change), names=NAMES)


def test_indexing_by_mask_slice_and_numbers() -> None:
    all_three = three()
    assert all_three[all_three.scores > 0.3].labels.tolist() == [2, 0]
    assert all_three[1:].labels.tolist() == [0, 2]
    assert all_three[np.array([2, 0])].scores.tolist() == [0.25, pytest.approx(0.9)]
    assert len(all_three[np.zeros(3, bool)]) == 0
    assert all_three[:1].names == NAMES
    assert all_three[[2, 0]].labels.tolist() == [2, 2]
    assert len(all_three[[]]) == 0
    for wrong in ("cat", np.array(1), np.array([0.5]), [[0, 1]], None):
        with pytest.raises(TypeError, match="are indexed by a row number, a slice"):
            all_three[wrong]  # type: ignore[index]


def test_a_number_selects_one_row_and_rows_can_be_gone_through() -> None:
    all_three = three()
    for place in (1, -2, np.int64(1)):
        assert all_three[place].labels.tolist() == [0]
    assert all_three[-1].scores.tolist() == [0.25]
    assert [row.labels.tolist() for row in all_three] == [[2], [0], [2]]
    for beyond in (3, -4):
        with pytest.raises(IndexError, match="of 3 Detections"):
            all_three[beyond]


def test_empty_has_the_right_types() -> None:
    empty = Detections.empty(["cat"])
    assert len(empty) == 0
    assert list(empty) == []
    assert empty.keypoints is None
    assert empty.boxes.shape == (0, 4)
    assert empty.to_coco(1) == []
    assert len(empty.to_supervision()) == 0
    assert json.loads(json.dumps(empty.as_dict()))["boxes"] == []


def test_as_dict_is_json() -> None:
    plain = json.loads(json.dumps(three().as_dict()))
    assert plain["boxes"][2] == [2.5, 3.5, 4.5, 8.0]
    assert plain["labels"] == [2, 0, 2]
    assert plain["class_names"] == ["cow", "cat", "cow"]
    assert plain["names"] == list(NAMES)


def test_to_coco_maps_ids_and_boxes() -> None:
    rows = three().to_coco(7, category_ids=[10, 20, 90])
    assert rows[0] == {
        "image_id": 7,
        "category_id": 90,
        "bbox": [0.0, 1.0, 10.0, 20.0],
        "score": pytest.approx(0.9),
    }
    assert [row["category_id"] for row in three().to_coco(7)] == [3, 1, 3]
    with pytest.raises(HeatpointError, match="3 class names, not 2"):
        three().to_coco(7, [1, 2])


def test_to_supervision_keeps_everything() -> None:
    converted = three().to_supervision()
    np.testing.assert_array_equal(converted.xyxy, three().boxes)
    np.testing.assert_array_equal(converted.class_id, [2, 0, 2])
    np.testing.assert_allclose(converted.confidence, [0.9, 0.5, 0.25])
    assert converted.data["class_name"].tolist() == ["cow", "cat", "cow"]


SKELETON = Skeleton(("nose", "left_eye", "right_eye"), ((0, 1), (0, 2)), ((1, 2),))


def mice(count: int) -> Detections:
    rows = np.arange(count * 9, dtype=np.float32).reshape(count, 3, 3)
    boxes = np.tile(np.float32([1, 2, 3, 4]), (count, 1))
    scores = np.linspace(0, 1, count)
    return Detections(boxes, scores, np.zeros(count, int), ("mouse",), rows, SKELETON)


def test_rows_with_joints_are_selected_alike() -> None:
    found = mice(4)
    assert found.keypoints is not None
    assert len(found[:2]) == 2
    picked = found[np.array([False, True, False, True])]
    np.testing.assert_array_equal(picked.keypoints, found.keypoints[[1, 3]])
    np.testing.assert_array_equal(found[np.array([3, 0])].scores, found.scores[[3, 0]])
    np.testing.assert_array_equal(found[2].keypoints, found.keypoints[2:3])
    assert picked.names == ("mouse",)
    assert picked.skeleton is SKELETON
    empty = Detections.empty(["mouse"], SKELETON)
    assert len(empty) == 0
    assert empty.keypoints is not None
    assert empty.keypoints.shape == (0, 3, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": np.zeros((2, 4, 3))}, r"\(2, 3, 3\) for 2 boxes and a skeleton of 3 joints"),
        ({"keypoints": np.zeros((2, 3, 2))}, r"must have shape \(2, 3, 3\)"),
        ({"keypoints": np.zeros((1, 3, 3))}, r"must have shape \(2, 3, 3\)"),
        ({"keypoints": np.zeros((2, 3, 3), np.int64)}, "keypoints must be of a floating type"),
        ({"keypoints": torch.zeros(2, 3, 3)}, "keypoints must be a numpy array, not Tensor"),
        ({"keypoints": None}, "keypoints and a skeleton, or neither"),
        ({"skeleton": None}, "keypoints and a skeleton, or neither"),
        ({"boxes": np.zeros((1, 4))}, "1 boxes"),
        ({"scores": np.zeros((2, 1))}, r"scores must have shape \(2,\)"),
        ({"columns": {"depth": np.zeros(3)}}, r"columns\['depth'\] must have one row for each of"),
        ({"columns": {"depth": np.float32(3)}}, "depth must be a numpy array"),
    ],
)
def test_joints_and_columns_that_do_not_fit_are_named(change: dict, message: str) -> None:
    good = {
        "boxes": np.zeros((2, 4)),
        "scores": np.zeros(2),
        "labels": np.zeros(2, int),
        "keypoints": np.zeros((2, 3, 3)),
        "skeleton": SKELETON,
    }
    with pytest.raises(HeatpointError, match=message):
        Detections(**(good | change), names=("mouse",))


def test_plain_numbers_and_cocos_pixels() -> None:
    found = mice(2)
    plain = json.loads(json.dumps(found.as_dict()))
    assert plain["keypoints"][1][2] == [15.0, 16.0, 17.0]
    assert plain["skeleton"]["joints"] == ["nose", "left_eye", "right_eye"]
    assert plain["class_names"] == ["mouse", "mouse"]
    rows = found.to_coco(7)
    assert [row["image_id"] for row in rows] == [7, 7]
    # x and y lose half a pixel, the score does not.
    assert rows[0]["keypoints"] == [-0.5, 0.5, 2.0, 2.5, 3.5, 5.0, 5.5, 6.5, 8.0]
    assert rows[1]["score"] == 1.0
    assert set(rows[0]) == {"image_id", "category_id", "keypoints", "score"}
    assert found.to_coco(7, [3])[0]["category_id"] == 3
    assert Detections.empty(["mouse"], SKELETON).to_coco(7) == []


def test_supervision_gets_the_same_joints() -> None:
    for count in (0, 2):
        found = mice(count)
        converted = found.to_supervision()
        assert found.keypoints is not None
        assert converted.xy.shape == (count, 3, 2)
        np.testing.assert_array_equal(converted.xy, found.keypoints[..., :2])
        np.testing.assert_array_equal(converted.keypoint_confidence, found.keypoints[..., 2])
        assert converted.data["class_name"].tolist() == ["mouse"] * count


def test_further_columns_go_everywhere() -> None:
    columns = {"depth": np.float32([7, 8, 9]), "way": np.float32([[1, 2], [3, 4], [5, 6]])}
    plain = three()
    found = Detections(plain.boxes, plain.scores, plain.labels, NAMES, columns=columns)
    assert found[[2, 0]].columns["way"].tolist() == [[5, 6], [1, 2]]
    assert found[1].columns["depth"].tolist() == [8]
    assert found.as_dict()["depth"] == [7, 8, 9]
    assert found.to_coco(1)[2]["way"] == [5, 6]
    assert found.to_supervision().data["depth"].tolist() == [7, 8, 9]
    assert found.renamed(("a", "b"), np.array([1, 0, 0])).columns["depth"].tolist() == [7, 8, 9]


def test_each_class_of_joints_writes_its_own() -> None:
    hand = Skeleton(("wrist", "thumb"), ((0, 1),))
    both = Skeleton.joined(("mouse", "hand"), (SKELETON, hand))
    keypoints = np.arange(30, dtype=np.float32).reshape(2, 5, 3)
    boxes, scores = np.zeros((2, 4), np.float32), np.ones(2, np.float32)
    found = Detections(boxes, scores, np.array([0, 1]), ("mouse", "hand"), keypoints, both)
    rows = found.to_coco(1)
    assert rows[0]["keypoints"] == [-0.5, 0.5, 2, 2.5, 3.5, 5, 5.5, 6.5, 8]
    assert rows[1]["keypoints"] == [23.5, 24.5, 26, 26.5, 27.5, 29]


def test_plot_draws_on_a_copy() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    plain = three()
    found = Detections(plain.boxes * 4, plain.scores, plain.labels, NAMES)
    assert found.plot(image).any()
    assert not found.plot(image, least=0.95).any()
    assert not image.any()
