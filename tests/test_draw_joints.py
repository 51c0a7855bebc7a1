"""Drawn skeletons: the right colours in the right places, and pictures that are left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heatpoint.data import ImageRecord
from heatpoint.data.draw import COLOURS, draw_joints, draw_truth
from heatpoint.data.results import Detections
from heatpoint.data.skeleton import Skeleton
from heatpoint.geometry import Image

SKELETON = Skeleton(
    ("neck", "left_hand", "right_hand", "tail"), ((0, 1), (0, 2), (0, 3), (1, 2)), ((1, 2),)
)


def grey(height: int, width: int) -> Image:
    return np.full((height, width, 3), 90, np.uint8)


BOX = np.float32([[0, 0, 50, 50]])


def drawn_joints(image: Image, points: list[tuple[float, float, float]], **options: Any) -> Image:
    return draw_joints(image, np.array([points], np.float32), SKELETON, **options)


def test_bones_have_the_colour_of_their_side() -> None:
    image = grey(240, 240)
    points = [(120, 40, 1), (200, 90, 1), (40, 90, 1), (120, 200, 1)]
    drawn = drawn_joints(image, points, least=0.5)
    assert (image == 90).all()
    expected = [((160, 65), "left"), ((80, 65), "right"), ((150, 90), "middle")]
    expected += [((120, 150), "middle"), ((200, 90), "left"), ((40, 90), "right")]
    for (x, y), side in expected:
        assert tuple(drawn[y, x]) == COLOURS[side]  # type: ignore[index]
    assert len(set(COLOURS.values())) == 3


def test_joints_below_the_score_and_their_bones_are_not_drawn() -> None:
    points = [(120.0, 60.0, 1.0), (200.0, 60.0, 0.1), (40.0, 60.0, 0.1), (120.0, 200.0, 0.1)]
    drawn = drawn_joints(grey(240, 240), points)
    assert (drawn[:, 150:] == 90).all()
    assert (drawn[100:] == 90).all()
    assert (drawn[60, 120] != 90).any()
    nothing = drawn_joints(grey(240, 240), points, least=1.5)
    assert (nothing == 90).all()


def test_a_joint_in_the_corner_is_drawn() -> None:
    drawn = drawn_joints(grey(100, 100), [(0, 0, 1), (50, 0, 0), (50, 50, 0), (0, 50, 0)])
    assert (drawn[0, 0] != 90).any()


@pytest.mark.parametrize("size", [(1, 1), (50, 20000), (3000, 7)])
def test_extreme_pictures_and_joints(size: tuple[int, int]) -> None:
    far = [(-1e9, 3.0, 1.0), (1e9, 1e9, 1.0), (float("nan"), 2.0, 1.0), (0.5, 0.5, 1.0)]
    drawn = drawn_joints(grey(*size), far)
    assert drawn.shape == (*size, 3)
    assert (drawn != 90).any()
    assert (Detections.empty(["mouse"], SKELETON).plot(grey(*size)) == 90).all()


def test_results_with_joints_are_drawn_as_skeletons() -> None:
    points = np.float32([[(120, 40, 1), (200, 90, 1), (40, 90, 1), (120, 200, 1)]])
    found = Detections(BOX, np.float32([0.6]), np.zeros(1, int), ("mouse",), points, SKELETON)
    drawn = found.plot(grey(240, 240))
    assert (drawn == draw_joints(grey(240, 240), points, SKELETON)).all()
    assert (found.plot(grey(240, 240), least=0.7) == 90).all()
    assert (found.plot(grey(240, 240)) == drawn).all()


def test_annotated_joints_are_drawn_where_they_are_labelled() -> None:
    keypoints = np.array([[[120.0, 40, 2], [200, 90, 1], [0, 0, 0], [120, 200, 2]]])
    record = ImageRecord(
        Path("a.jpg"), boxes=np.array([[0, 0, 9, 9]]), labels=np.zeros(1, int), keypoints=keypoints
    )
    drawn = draw_truth(grey(240, 240), record, ["mouse"], SKELETON)
    assert tuple(drawn[90, 200]) == COLOURS["left"]
    assert tuple(drawn[120, 120]) == COLOURS["middle"]
    assert (drawn[:20, :20] == 90).all()
    assert keypoints[0, 0, 2] == 2
    nobody = draw_truth(grey(40, 40), ImageRecord(Path("a.jpg")), ["mouse"], SKELETON)
    assert (nobody == 90).all()
