"""Poses: validated data, and the way from a crop back to the image."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.geometry.affine import Affine
from heatpoint.inference.poses import Poses, finish_poses, subject_scores
from heatpoint.views.picture import Frame

SKELETON = Skeleton(("nose", "left_eye", "right_eye"), ((0, 1), (0, 2)), ((1, 2),))


def some(count: int) -> Poses:
    rows = np.arange(count * 9, dtype=np.float32).reshape(count, 3, 3)
    boxes = np.tile(np.float32([1, 2, 3, 4]), (count, 1))
    return Poses(rows, boxes, np.linspace(0, 1, count), SKELETON, "mouse")


def test_rows_are_selected_like_those_of_detections() -> None:
    poses = some(4)
    assert len(poses) == 4
    assert len(poses[:2]) == 2
    picked = poses[np.array([False, True, False, True])]
    np.testing.assert_array_equal(picked.keypoints, poses.keypoints[[1, 3]])
    np.testing.assert_array_equal(poses[np.array([3, 0])].scores, poses.scores[[3, 0]])
    assert picked.name == "mouse"
    for wrong in (0, [0], np.array(0), np.array([0.5]), torch.tensor([0])):
        with pytest.raises(TypeError):
            poses[wrong]  # type: ignore[index]
    assert picked.skeleton is SKELETON
    assert len(Poses.empty(SKELETON)) == 0


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("keypoints", np.zeros((2, 4, 3)), r"\(N, 3, 3\) for a skeleton of 3 joints"),
        ("keypoints", np.zeros((2, 3, 2)), r"\(N, 3, 3\)"),
        ("keypoints", np.zeros((2, 3, 3), np.int64), "floating"),
        ("keypoints", torch.zeros(2, 3, 3), "must be a numpy array, not Tensor"),
        ("boxes", np.zeros((1, 4)), r"\(2, 4\)"),
        ("scores", np.zeros((2, 1)), r"\(2,\)"),
    ],
)
def test_what_does_not_fit_is_named(field: str, value: object, message: str) -> None:
    good = {"keypoints": np.zeros((2, 3, 3)), "boxes": np.zeros((2, 4)), "scores": np.zeros(2)}
    with pytest.raises(HeatpointError, match=message):
        Poses(**(good | {field: value}), skeleton=SKELETON)  # type: ignore[arg-type]


def test_plain_numbers_and_cocos_pixels() -> None:
    poses = some(2)
    plain = json.loads(json.dumps(poses.as_dict()))
    assert plain["keypoints"][1][2] == [15.0, 16.0, 17.0]
    assert plain["skeleton"]["joints"] == ["nose", "left_eye", "right_eye"]
    assert plain["name"] == "mouse"
    rows = poses.to_coco(7)
    assert [row["image_id"] for row in rows] == [7, 7]
    # x and y lose half a pixel, the score does not.
    assert rows[0]["keypoints"] == [-0.5, 0.5, 2.0, 2.5, 3.5, 5.0, 5.5, 6.5, 8.0]
    assert rows[1]["score"] == 1.0
    assert set(rows[0]) == {"image_id", "category_id", "keypoints", "score"}
    assert poses.to_coco(7, category_id=3)[0]["category_id"] == 3
    assert Poses.empty(SKELETON).to_coco(7) == []


def test_supervision_gets_the_same_numbers() -> None:
    for count in (0, 2):
        poses = some(count)
        converted = poses.to_supervision()
        assert converted.xy.shape == (count, 3, 2)
        np.testing.assert_array_equal(converted.xy, poses.keypoints[..., :2])
        np.testing.assert_array_equal(converted.keypoint_confidence, poses.keypoints[..., 2])
        assert converted.data["class_name"].tolist() == ["mouse"] * count


def test_each_crop_goes_back_by_its_own_frame() -> None:
    points = np.float32([[[0, 0], [64, 64], [10, 20]]] * 2)
    heights = np.float32([[0.9, 0.5, 0.1], [1.5, 0.1, -2.0]])
    frames = [
        Frame("a.jpg", (100, 100), Affine.translate(5, 7) @ Affine.scale(0.5, 0.5)),
        Frame("b.jpg", (9, 9), Affine.flip(64)),
    ]
    poses = finish_poses(
        {"points": points, "scores": heights},
        frames,
        np.zeros((2, 4), np.float32),
        np.float32([0.5, 1.0]),
        SKELETON,
    )
    assert poses.keypoints[0, :, :2].tolist() == [[5, 7], [37, 39], [10, 17]]
    assert poses.keypoints[1, :, :2].tolist() == [[64, 0], [0, 64], [54, 20]]
    np.testing.assert_array_equal(poses.keypoints[..., 2], heights)
    np.testing.assert_allclose(poses.scores, [0.35, 1.0], rtol=1.3e-6, atol=1e-5)


def test_a_subject_without_a_joint_scores_nothing() -> None:
    scores = subject_scores(np.array([[0.2, 0.1], [-3.0, 0.0]]), np.ones(2))
    assert scores.tolist() == [0.0, 0.0]
    assert subject_scores(np.zeros((0, 3)), np.zeros(0)).shape == (0,)


@pytest.mark.parametrize("field", ["points", "scores"])
def test_a_broken_network_is_named(field: str) -> None:
    answer = {"points": np.zeros((1, 3, 2), np.float32), "scores": np.zeros((1, 3), np.float32)}
    answer[field][0, 1] = float("nan")
    box, score = np.zeros((1, 4), np.float32), np.ones(1, np.float32)
    frame = Frame("a.jpg", (9, 9), Affine.identity())
    with pytest.raises(HeatpointError, match=r"a\.jpg is not a finite"):
        finish_poses(answer, [frame], box, score, SKELETON)
    with pytest.raises(ValueError, match="1 crops"):
        finish_poses(answer, [], box, score, SKELETON)
