"""From candidates to results in image pixels."""

from __future__ import annotations

import numpy as np
import pytest

from heatpoint.engines.engine import Answer
from heatpoint.errors import HeatpointError
from heatpoint.geometry.affine import Affine
from heatpoint.inference.finish import finish
from heatpoint.views.picture import Frame

NAMES = ("cat", "dog")
TWICE = Frame("twice.jpg", (100, 200), Affine.scale(2, 2))


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


def test_every_image_has_its_own_frame() -> None:
    both = {
        "boxes": np.float32([[[1, 1, 3, 3]], [[1, 1, 3, 3]]]),
        "scores": np.ones((2, 1), np.float32),
        "labels": np.array([[0], [1]]),
    }
    shifted = Frame("", (50, 50), Affine.translate(-1, 10))
    first, second = finish(both, [TWICE, shifted], NAMES)
    assert first.boxes.tolist() == [[2, 2, 6, 6]]
    assert second.boxes.tolist() == [[0, 11, 2, 13]]
    assert (first.labels.tolist(), second.labels.tolist()) == ([0], [1])


def test_empty_rows_margins_and_low_scores_are_left_out() -> None:
    boxes = [[1.0, 1, 3, 3], [1.0, 1, 3, 3], [101.0, 1, 110, 9], [5.0, 5, 5, 9], [5.0, 5, 9, 9]]
    found = finish(answer(boxes, [0.5, 0.0, 0.9, 0.8, 0.2]), [TWICE], NAMES)[0]
    assert found.scores.tolist() == pytest.approx([0.5, 0.2])
    above = finish(answer(boxes, [0.5, 0.0, 0.9, 0.8, 0.2]), [TWICE], NAMES, 0.5)[0]
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
        finish(broken, [TWICE], NAMES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"score_threshold": 1.5}, "score_threshold"),
        ({"nms": 0.0}, "nms"),
        ({"max_detections": 0}, "max_detections"),
    ],
)
def test_arguments_out_of_range(arguments: dict, message: str) -> None:
    with pytest.raises(HeatpointError, match=message):
        finish(answer([[0.0, 0, 1, 1]], [0.5]), [TWICE], NAMES, **arguments)
