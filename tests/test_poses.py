"""Poses: validated data, and the way from a crop back to the image."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from heatpoint.errors import HeatpointError
from heatpoint.geometry import Affine
from heatpoint.pose.results import Poses, finish_poses, subject_scores
from heatpoint.prepare import Frame
from heatpoint.skeleton import Skeleton
from heatpoint.types import JointCandidates

SKELETON = Skeleton(("nose", "left_eye", "right_eye"), ((0, 1), (0, 2)), ((1, 2),))


def some(count: int) -> Poses:
    rows = torch.arange(count * 9, dtype=torch.float32).reshape(count, 3, 3)
    boxes = torch.tensor([[1.0, 2, 3, 4]]).repeat(count, 1)
    return Poses(rows, boxes, torch.linspace(0, 1, count), SKELETON, "mouse")


def test_rows_are_selected_like_those_of_detections() -> None:
    poses = some(4)
    assert len(poses) == 4
    assert len(poses[:2]) == 2
    picked = poses[torch.tensor([False, True, False, True])]
    torch.testing.assert_close(picked.keypoints, poses.keypoints[[1, 3]])
    torch.testing.assert_close(poses[torch.tensor([3, 0])].scores, poses.scores[[3, 0]])
    assert picked.name == "mouse"
    for wrong in (0, [0], torch.tensor(0), torch.tensor([0.5])):
        with pytest.raises(TypeError):
            poses[wrong]  # type: ignore[index]
    assert poses.to("cpu").skeleton is SKELETON
    assert len(Poses.empty(SKELETON)) == 0


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("keypoints", torch.zeros(2, 4, 3), r"\(N, 3, 3\) for a skeleton of 3 joints"),
        ("keypoints", torch.zeros(2, 3, 2), r"\(N, 3, 3\)"),
        ("keypoints", torch.zeros(2, 3, 3, dtype=torch.long), "floating"),
        ("keypoints", np.zeros((2, 3, 3)), "torch.Tensor"),
        ("boxes", torch.zeros(1, 4), r"\(2, 4\)"),
        ("scores", torch.zeros(2, 1), r"\(2,\)"),
    ],
)
def test_what_does_not_fit_is_named(field: str, value: object, message: str) -> None:
    good = {"keypoints": torch.zeros(2, 3, 3), "boxes": torch.zeros(2, 4), "scores": torch.zeros(2)}
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


def test_supervision_gets_the_same_numbers() -> None:
    for count in (0, 2):
        poses = some(count)
        converted = poses.to_supervision()
        assert converted.xy.shape == (count, 3, 2)
        np.testing.assert_array_equal(converted.xy, poses.keypoints[..., :2].numpy())
        np.testing.assert_array_equal(
            converted.keypoint_confidence, poses.keypoints[..., 2].numpy()
        )
        assert converted.data["class_name"].tolist() == ["mouse"] * count


def test_each_crop_goes_back_by_its_own_frame() -> None:
    points = torch.tensor([[[0.0, 0], [64, 64], [10, 20]]]).repeat(2, 1, 1)
    heights = torch.tensor([[0.9, 0.5, 0.1], [1.5, 0.1, -2.0]])
    frames = [
        Frame("a.jpg", (100, 100), Affine.translate(5, 7) @ Affine.scale(0.5, 0.5)),
        Frame("b.jpg", (9, 9), Affine.flip(64)),
    ]
    poses = finish_poses(
        JointCandidates(points, heights),
        frames,
        torch.zeros(2, 4),
        torch.tensor([0.5, 1.0]),
        SKELETON,
    )
    assert poses.keypoints[0, :, :2].tolist() == [[5, 7], [37, 39], [10, 17]]
    assert poses.keypoints[1, :, :2].tolist() == [[64, 0], [0, 64], [54, 20]]
    torch.testing.assert_close(poses.keypoints[..., 2], heights)
    torch.testing.assert_close(poses.scores, torch.tensor([0.35, 1.0]))


def test_a_subject_without_a_joint_scores_nothing() -> None:
    scores = subject_scores(torch.tensor([[0.2, 0.1], [-3.0, 0.0]]), torch.ones(2))
    assert scores.tolist() == [0.0, 0.0]
    assert subject_scores(torch.zeros(0, 3), torch.zeros(0)).shape == (0,)


@pytest.mark.parametrize("place", [0, 1])
def test_a_broken_network_is_named(place: int) -> None:
    parts = [torch.zeros(1, 3, 2), torch.zeros(1, 3)]
    parts[place][0, 1] = float("nan")
    frame = Frame("a.jpg", (9, 9), Affine.identity())
    with pytest.raises(HeatpointError, match=r"a\.jpg is not a finite"):
        finish_poses(JointCandidates(*parts), [frame], torch.zeros(1, 4), torch.ones(1), SKELETON)
    with pytest.raises(ValueError, match="1 crops"):
        finish_poses(JointCandidates(*parts), [], torch.zeros(1, 4), torch.ones(1), SKELETON)
