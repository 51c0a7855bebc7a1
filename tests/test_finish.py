"""From rows to results in image pixels."""

from __future__ import annotations

import numpy as np
import pytest
from finishing import FIELDS, finish, look

from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.geometry import Affine
from heatpoint.inference.engines.engine import Answer
from heatpoint.views.fields import SCORES, Field

NAMES = ("cat", "dog")
TWICE = (look(Affine.scale(2, 2)), (100, 200))


def answer(
    boxes: list[list[float]], scores: list[float], labels: list[int] | None = None
) -> Answer:
    return {
        "boxes": np.array([boxes], np.float32),
        "scores": np.array([scores], np.float32),
        "labels": np.array([labels or [0] * len(scores)]),
    }


def test_boxes_go_to_image_pixels_clipped_and_sorted() -> None:
    found = finish(
        answer([[1.0, 2, 3, 4], [-5.0, -5, 20, 20], [90.0, 40, 130, 70]], [0.2, 0.4, 0.9]),
        [TWICE],
        NAMES,
    )[0]
    assert found.boxes.tolist() == [[180, 80, 200, 100], [0, 0, 40, 40], [2, 4, 6, 8]]
    assert found.scores.tolist() == pytest.approx([0.9, 0.4, 0.2])
    assert found.names == NAMES


def test_every_image_has_its_own_way_back() -> None:
    both = {
        "boxes": np.float32([[[1, 1, 3, 3]], [[1, 1, 3, 3]]]),
        "scores": np.ones((2, 1), np.float32),
        "labels": np.array([[0], [1]]),
    }
    shifted = (look(Affine.translate(-1, 10)), (50, 50))
    first, second = finish(both, [TWICE, shifted], NAMES)
    assert first.boxes.tolist() == [[2, 2, 6, 6]]
    assert second.boxes.tolist() == [[0, 11, 2, 13]]
    assert (first.labels.tolist(), second.labels.tolist()) == ([0], [1])


def test_empty_rows_margins_and_low_scores_are_left_out() -> None:
    boxes = [[1.0, 1, 3, 3], [1.0, 1, 3, 3], [101.0, 1, 110, 9], [5.0, 5, 5, 9], [5.0, 5, 9, 9]]
    found = finish(answer(boxes, [0.5, 0.0, 0.9, 0.8, 0.2]), [TWICE], NAMES)[0]
    assert found.scores.tolist() == pytest.approx([0.5, 0.2])
    above = finish(answer(boxes, [0.5, 0.0, 0.9, 0.8, 0.2]), [TWICE], NAMES, score=0.5)[0]
    assert above.scores.tolist() == pytest.approx([0.5])


def test_equal_scores_keep_the_order_of_the_codec() -> None:
    boxes = [[float(i), 0, i + 1.0, 1] for i in range(50)]
    found = finish(answer(boxes, [0.5] * 50), [TWICE], NAMES, max_detections=20)[0]
    assert found.boxes[:, 0].tolist() == [2.0 * i for i in range(20)]


def test_nms_only_on_request_and_within_a_class() -> None:
    boxes = [[0.0, 0, 10, 10], [0.0, 0, 10, 9], [0.0, 0, 9, 10], [30.0, 30, 40, 40]]
    given = answer(boxes, [0.9, 0.8, 0.7, 0.6], [0, 0, 1, 0])
    assert len(finish(given, [TWICE], NAMES)[0]) == 4
    found = finish(given, [TWICE], NAMES, nms=0.5)[0]
    assert found.scores.tolist() == pytest.approx([0.9, 0.7, 0.6])
    assert len(finish(given, [TWICE], NAMES, nms=0.5, max_detections=2)[0]) == 2


def test_an_image_in_which_nothing_is_found() -> None:
    found = finish(answer([[0.0, 0, 1, 1]], [0.0]), [TWICE], NAMES, nms=0.5)[0]
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)


@pytest.mark.parametrize("field", ["boxes", "scores"])
def test_what_is_not_finite_is_an_error_that_names_the_image(field: str) -> None:
    broken = answer([[0.0, 0, 1, 1]], [0.5])
    broken[field].flat[0] = float("nan")
    with pytest.raises(HeatpointError, match=r"twice\.jpg is not a finite number"):
        finish(broken, [TWICE], NAMES, where="twice.jpg")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"score": 1.5}, "score"),
        ({"nms": 0.0}, "nms"),
        ({"max_detections": 0}, "max_detections"),
    ],
)
def test_arguments_out_of_range(arguments: dict, message: str) -> None:
    with pytest.raises(HeatpointError, match=message):
        finish(answer([[0.0, 0, 1, 1]], [0.5]), [TWICE], NAMES, **arguments)


SKELETON = Skeleton(("nose", "left_eye", "right_eye"), ((0, 1), (0, 2)), ((1, 2),))
JOINTS = (Field("keypoints", (3, 3), "points"), SCORES)
SUBJECT = (0.0, 0.0, 9.0, 9.0)


def joints(points: list[list[list[float]]], heights: list[list[float]]) -> Answer:
    """Returns the answer about one subject per look."""
    both = np.concatenate((np.float32(points), np.float32(heights)[..., None]), -1)
    return {"keypoints": both[:, None], "scores": np.float32([[0.7], [1.0]])[: len(both)]}


def test_joints_of_each_crop_go_back_by_its_own_look() -> None:
    points = [[[0.0, 0], [64, 64], [10, 20]]] * 2
    heights = [[0.9, 0.5, 0.1], [1.5, 0.1, -2.0]]
    crops = [
        (look(Affine.translate(5, 7) @ Affine.scale(0.5, 0.5), box=SUBJECT), (100, 100)),
        (look(Affine.flip(64), box=SUBJECT), (9, 9)),
    ]
    found = finish(joints(points, heights), crops, ["mouse"], JOINTS, SKELETON, asks=True)
    first, second = (one.keypoints for one in found)
    assert first is not None
    assert second is not None
    assert first[0, :, :2].tolist() == [[5, 7], [37, 39], [10, 17]]
    assert second[0, :, :2].tolist() == [[64, 0], [0, 64], [54, 20]]
    np.testing.assert_array_equal(np.stack([first[0], second[0]])[..., 2], np.float32(heights))
    assert [one.boxes.tolist() for one in found] == [[list(SUBJECT)]] * 2
    assert [one.labels.tolist() for one in found] == [[0], [0]]


def test_joints_found_anywhere_have_the_box_around_them() -> None:
    given = joints([[[10.0, 5], [30, 40], [20, 45]]], [[0.9, 0.5, 0.1]])
    (found,) = finish(given, [TWICE], ["mouse"], JOINTS, SKELETON)
    assert found.boxes.tolist() == [[20, 10, 60, 90]]
    outside = (look(Affine.translate(500, 0)), (100, 200))
    assert len(finish(given, [outside], ["mouse"], JOINTS, SKELETON)[0]) == 0


@pytest.mark.parametrize("place", [(0, 0, 1, 0), (0, 0, 2, 2)])
def test_joints_that_are_not_finite_name_the_image(place: tuple[int, ...]) -> None:
    broken = joints([[[0.0, 0], [1, 1], [2, 2]]], [[0.1, 0.1, 0.1]])
    broken["keypoints"][place] = float("nan")
    with pytest.raises(HeatpointError, match=r"a\.jpg is not a finite"):
        finish(broken, [TWICE], ["mouse"], JOINTS, SKELETON, where="a.jpg", asks=True)


def test_further_fields_are_columns_and_travel_with_their_rows() -> None:
    depth, way = Field("depth"), Field("way", (2,), "vector")
    given = answer([[1.0, 2, 3, 4], [5.0, 5, 9, 9], [5.0, 5, 9, 9]], [0.2, 0.9, 0.0])
    given |= {"depth": np.float32([[7, 8, np.nan]]), "way": np.float32([[[1, 0], [0, 3], [0, 0]]])}
    (found,) = finish(given, [TWICE], NAMES, (*FIELDS, depth, way))
    assert found.scores.tolist() == pytest.approx([0.9, 0.2])
    assert found.columns["depth"].tolist() == [8, 7]
    assert found.columns["way"].tolist() == [[0, 6], [2, 0]]
    given["depth"][0, 0] = float("inf")
    with pytest.raises(HeatpointError, match="not a finite number"):
        finish(given, [TWICE], NAMES, (*FIELDS, depth, way))
