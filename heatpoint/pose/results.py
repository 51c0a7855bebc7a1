"""The poses found in one image, as validated data without pixels, paths or drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from heatpoint.errors import HeatpointError
from heatpoint.prepare import Frame
from heatpoint.skeleton import Skeleton
from heatpoint.types import JointCandidates

if TYPE_CHECKING:
    import supervision

SEEN = 0.2
"""Peak height above which a joint counts towards the score of its subject."""


@dataclass(eq=False)
class Poses:
    """The subjects of one image, in the order of the boxes they were looked for in.

    Attributes:
        keypoints: (N, J, 3) float32, x and y in image pixels (continuous, pixel ``i`` covers
            ``[i, i + 1)``, not clipped to the image) and the height of the joint's peak: 1 where
            the network is sure, about 0 where it sees nothing, not strictly within [0, 1].
        boxes: (N, 4) float32, xyxy in image pixels: where each subject was looked for.
        scores: (N,) float32 in [0, 1]; see ``subject_scores``.
        skeleton: Names, edges and mirrored pairs of the J joints.
        name: What the subjects are.

    Raises:
        HeatpointError: Shapes or dtypes do not fit together.
    """

    keypoints: Tensor
    boxes: Tensor
    scores: Tensor
    skeleton: Skeleton
    name: str = "person"

    def __post_init__(self) -> None:
        for field in ("keypoints", "boxes", "scores"):
            value = getattr(self, field)
            if not isinstance(value, Tensor):
                raise HeatpointError(
                    f"Poses.{field} must be a torch.Tensor, not {type(value).__name__}; wrap it in "
                    "torch.as_tensor"
                )
            if not value.is_floating_point():
                raise HeatpointError(f"Poses.{field} must be of a floating type, not {value.dtype}")
        joints, shape = len(self.skeleton.joints), tuple(self.keypoints.shape)
        if len(shape) != 3 or shape[1:] != (joints, 3):
            raise HeatpointError(
                f"Poses.keypoints must have shape (N, {joints}, 3) for a skeleton of {joints} "
                f"joints, not {shape}"
            )
        for field, expected in (("boxes", (shape[0], 4)), ("scores", (shape[0],))):
            found = tuple(getattr(self, field).shape)
            if found != expected:
                raise HeatpointError(
                    f"Poses.{field} must have shape {expected} to match the keypoints, not {found}"
                )
        self.keypoints, self.boxes = self.keypoints.float(), self.boxes.float()
        self.scores = self.scores.float()

    @classmethod
    def empty(cls, skeleton: Skeleton, name: str = "person") -> Poses:
        """Returns the result of an image without a subject."""
        joints = len(skeleton.joints)
        return cls(torch.zeros(0, joints, 3), torch.zeros(0, 4), torch.zeros(0), skeleton, name)

    def __len__(self) -> int:
        return len(self.keypoints)

    def __getitem__(self, index: slice | Tensor) -> Poses:
        """Returns the rows that a slice, a (N,) bool mask or an integer index tensor selects."""
        if not isinstance(index, (slice, Tensor)):
            raise TypeError(
                "Poses are indexed by a slice, a bool mask or an integer tensor, not by "
                f"{type(index).__name__}; for row i write poses[i : i + 1]"
            )
        if isinstance(index, Tensor) and (index.ndim != 1 or index.is_floating_point()):
            raise TypeError(
                "an index tensor of Poses must be one-dimensional and bool or integer, not "
                f"{index.dtype} of shape {tuple(index.shape)}"
            )
        return Poses(
            self.keypoints[index], self.boxes[index], self.scores[index], self.skeleton, self.name
        )

    def to(self, device: str | torch.device) -> Poses:
        """Returns the poses with every tensor on ``device``."""
        return Poses(
            self.keypoints.to(device),
            self.boxes.to(device),
            self.scores.to(device),
            self.skeleton,
            self.name,
        )

    def as_dict(self) -> dict[str, Any]:
        """Returns lists of plain numbers and strings, ready for JSON."""
        return {
            "keypoints": self.keypoints.tolist(),
            "boxes": self.boxes.tolist(),
            "scores": self.scores.tolist(),
            "name": self.name,
            "skeleton": self.skeleton.as_dict(),
        }

    def to_coco(self, image_id: int, category_id: int = 1) -> list[dict[str, Any]]:
        """Returns COCO keypoint result rows: image_id, category_id, keypoints, score.

        COCO counts pixels, so that its integers are the middles of pixels: 0.5 less than here.
        The third number of each joint is its score. There is no ``bbox``: COCO's evaluator takes
        rows that have one for boxes.

        Args:
            image_id: The id of the image in the annotation file.
            category_id: The id of the subjects' category there; COCO's person is 1.
        """
        shifted = self.keypoints - torch.tensor([0.5, 0.5, 0.0], device=self.keypoints.device)
        return [
            {
                "image_id": int(image_id),
                "category_id": int(category_id),
                "keypoints": row,
                "score": score,
            }
            for row, score in zip(shifted.flatten(1).tolist(), self.scores.tolist(), strict=True)
        ]

    def to_supervision(self) -> supervision.KeyPoints:
        """Returns ``supervision.KeyPoints`` with the subjects' name in ``data["class_name"]``."""
        import numpy as np
        import supervision

        keypoints = self.keypoints.cpu().numpy()
        return supervision.KeyPoints(
            xy=keypoints[..., :2].copy(),
            class_id=np.zeros(len(self), dtype=int),
            keypoint_confidence=keypoints[..., 2].copy(),
            detection_confidence=self.scores.cpu().numpy(),
            data={"class_name": np.array([self.name] * len(self), dtype=str)},
        )


def finish_poses(
    candidates: JointCandidates,
    frames: Sequence[Frame],
    boxes: Tensor,
    box_scores: Tensor,
    skeleton: Skeleton,
    name: str = "person",
) -> Poses:
    """Turns the candidates of a batch of crops into poses in image pixels, one row per crop.

    Args:
        candidates: Of B crops, in input pixels.
        frames: One per crop; they may belong to different images.
        boxes: (B, 4) xyxy in image pixels, the box of each crop.
        box_scores: (B,) in [0, 1], how sure it is that there is a subject in the box.
        skeleton: Of the detector.
        name: What the subjects are.

    Returns:
        B rows on the CPU.

    Raises:
        HeatpointError: A candidate is not a finite number.
    """
    if len(candidates.points) != len(frames):
        raise ValueError(f"{len(candidates.points)} crops of candidates, {len(frames)} frames")
    points, heights = candidates.points.cpu().double(), candidates.scores.cpu().double()
    keypoints = torch.empty((*points.shape[:2], 3), dtype=torch.float64)
    for row, frame in enumerate(frames):
        if not (torch.isfinite(points[row]).all() and torch.isfinite(heights[row]).all()):
            raise HeatpointError(
                f"the network's answer for {frame.path or 'an image'} is not a finite number; "
                "its weights are damaged or its training diverged, or try precision='fp32'"
            )
        keypoints[row, :, :2] = frame.to_image.points(points[row])
    keypoints[..., 2] = heights
    return Poses(
        keypoints.float(),
        boxes.float(),
        subject_scores(keypoints[..., 2], box_scores).float(),
        skeleton,
        name,
    )


def subject_scores(heights: Tensor, box_scores: Tensor) -> Tensor:
    """Returns the score of each subject: the box's times the mean of the joints that are seen.

    The rescoring of Simple Baselines (Xiao et al. 2018, released code): only joints above 0.2
    count, and a subject without one scores 0. Heights are clipped to 1 first, because those of an
    untrained or overconfident network may pass it.

    Args:
        heights: (N, J) peak heights.
        box_scores: (N,) in [0, 1].
    """
    seen = heights > SEEN
    total = (heights.clamp(0, 1) * seen).sum(1)
    return total / seen.sum(1).clamp(min=1) * box_scores.to(heights)
