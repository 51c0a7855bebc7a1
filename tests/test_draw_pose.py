"""Drawn skeletons: the right colours in the right places, and pictures that are left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from heatpoint.data.annotations import ImageRecord
from heatpoint.data.skeleton import Skeleton
from heatpoint.geometry.affine import Image
from heatpoint.inference.draw_poses import COLOURS, annotated_poses, draw_poses
from heatpoint.inference.poses import Poses

SKELETON = Skeleton(
    ("neck", "left_hand", "right_hand", "tail"), ((0, 1), (0, 2), (0, 3), (1, 2)), ((1, 2),)
)


def grey(height: int, width: int) -> Image:
    return np.full((height, width, 3), 90, np.uint8)


def pose(points: list[tuple[float, float, float]]) -> Poses:
    box = np.float32([[0, 0, 50, 50]])
    return Poses(np.array([points], np.float32), box, np.ones(1), SKELETON)


def test_bones_have_the_colour_of_their_side() -> None:
    image = grey(240, 240)
    points = [(120, 40, 1), (200, 90, 1), (40, 90, 1), (120, 200, 1)]
    drawn = draw_poses(image, pose(points), min_score=0.5)
    assert (image == 90).all()
    expected = [((160, 65), "left"), ((80, 65), "right"), ((150, 90), "middle")]
    expected += [((120, 150), "middle"), ((200, 90), "left"), ((40, 90), "right")]
    for (x, y), side in expected:
        assert tuple(drawn[y, x]) == COLOURS[side]  # type: ignore[index]
    assert len(set(COLOURS.values())) == 3


def test_joints_below_the_score_and_their_bones_are_not_drawn() -> None:
    points = [(120.0, 60.0, 1.0), (200.0, 60.0, 0.1), (40.0, 60.0, 0.1), (120.0, 200.0, 0.1)]
    drawn = draw_poses(grey(240, 240), pose(points))
    assert (drawn[:, 150:] == 90).all()
    assert (drawn[100:] == 90).all()
    assert (drawn[60, 120] != 90).any()
    nothing = draw_poses(grey(240, 240), pose(points), min_score=1.5)
    assert (nothing == 90).all()


def test_a_joint_in_the_corner_is_drawn() -> None:
    drawn = draw_poses(grey(100, 100), pose([(0, 0, 1), (50, 0, 0), (50, 50, 0), (0, 50, 0)]))
    assert (drawn[0, 0] != 90).any()


@pytest.mark.parametrize("size", [(1, 1), (50, 20000), (3000, 7)])
def test_extreme_pictures_and_joints(size: tuple[int, int]) -> None:
    far = [(-1e9, 3.0, 1.0), (1e9, 1e9, 1.0), (float("nan"), 2.0, 1.0), (0.5, 0.5, 1.0)]
    drawn = draw_poses(grey(*size), pose(far), boxes=True)
    assert drawn.shape == (*size, 3)
    assert (drawn != 90).any()
    assert (draw_poses(grey(*size), Poses.empty(SKELETON)) == 90).all()


def test_annotated_joints_become_poses() -> None:
    keypoints = np.array([[[1.0, 2, 2], [3, 4, 1], [0, 0, 0], [7, 8, 2]]])
    record = ImageRecord(
        Path("a.jpg"), boxes=np.array([[0, 0, 9, 9]]), labels=np.zeros(1), keypoints=keypoints
    )
    poses = annotated_poses(record, SKELETON, "mouse")
    assert poses.keypoints[0, :, 2].tolist() == [1, 1, 0, 1]
    assert poses.name == "mouse"
    assert record.keypoints is not None
    assert record.keypoints[0, 0, 2] == 2
    assert len(annotated_poses(ImageRecord(Path("a.jpg")), SKELETON)) == 0
