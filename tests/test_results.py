"""Detections: what they accept, and what they turn into."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from heatpoint.errors import HeatpointError
from heatpoint.inference.results import Detections

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
    for wrong in (0, "cat", [0, 1], torch.tensor([0, 1])):
        with pytest.raises(TypeError, match="indexed by"):
            all_three[wrong]  # type: ignore[index]
    with pytest.raises(TypeError, match="one-dimensional"):
        all_three[np.array(1)]


def test_empty_has_the_right_types() -> None:
    empty = Detections.empty(["cat"])
    assert len(empty) == 0
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
