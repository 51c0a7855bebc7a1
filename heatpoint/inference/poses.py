"""The poses found in one image, as validated data without pixels, paths or drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.data.skeleton import Skeleton
from heatpoint.engines.engine import Answer
from heatpoint.errors import HeatpointError
from heatpoint.inference.results import check_rows
from heatpoint.views.picture import Frame

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

    keypoints: NDArray[Any]
    boxes: NDArray[Any]
    scores: NDArray[Any]
    skeleton: Skeleton
    name: str = "person"

    def __post_init__(self) -> None:
        for field in ("keypoints", "boxes", "scores"):
            value = getattr(self, field)
            if not isinstance(value, np.ndarray):
                raise HeatpointError(
                    f"Poses.{field} must be a numpy array, not {type(value).__name__}; wrap it in "
                    "numpy.asarray"
                )
            if value.dtype.kind != "f":
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
        for field in ("keypoints", "boxes", "scores"):
            setattr(self, field, getattr(self, field).astype(np.float32, copy=False))

    @classmethod
    def empty(cls, skeleton: Skeleton, name: str = "person") -> Poses:
        """Returns the result of an image without a subject."""
        shapes = ((0, len(skeleton.joints), 3), (0, 4), (0,))
        keypoints, boxes, scores = (np.zeros(shape, np.float32) for shape in shapes)
        return cls(keypoints, boxes, scores, skeleton, name)

    def __len__(self) -> int:
        return len(self.keypoints)

    def __getitem__(self, index: slice | NDArray[Any]) -> Poses:
        """Returns the rows that a slice, a (N,) bool mask or an array of row numbers selects."""
        check_rows(index, "Poses")
        return Poses(
            self.keypoints[index], self.boxes[index], self.scores[index], self.skeleton, self.name
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
        shifted = self.keypoints - np.array([0.5, 0.5, 0.0], np.float32)
        rows = shifted.reshape(len(self), 3 * len(self.skeleton.joints))
        return [
            {
                "image_id": int(image_id),
                "category_id": int(category_id),
                "keypoints": row,
                "score": score,
            }
            for row, score in zip(rows.tolist(), self.scores.tolist(), strict=True)
        ]

    def to_supervision(self) -> supervision.KeyPoints:
        """Returns ``supervision.KeyPoints`` with the subjects' name in ``data["class_name"]``."""
        import supervision

        return supervision.KeyPoints(
            xy=self.keypoints[..., :2].copy(),
            class_id=np.zeros(len(self), dtype=int),
            keypoint_confidence=self.keypoints[..., 2].copy(),
            detection_confidence=self.scores.copy(),
            data={"class_name": np.array([self.name] * len(self), dtype=str)},
        )


def finish_poses(
    answer: Answer,
    frames: Sequence[Frame],
    boxes: NDArray[np.float32],
    box_scores: NDArray[np.float32],
    skeleton: Skeleton,
    name: str = "person",
) -> Poses:
    """Turns a network's answer to a batch of crops into poses in image pixels, one row per crop.

    Args:
        answer: About B crops, in input pixels.
        frames: One per crop; they may belong to different images.
        boxes: (B, 4) xyxy in image pixels, the box of each crop.
        box_scores: (B,) in [0, 1], how sure it is that there is a subject in the box.
        skeleton: Of the detector.
        name: What the subjects are.

    Returns:
        B rows.

    Raises:
        HeatpointError: The answer holds something that is no finite number.
    """
    points, heights = answer["points"].astype(np.float64), answer["scores"].astype(np.float64)
    if len(points) != len(frames):
        raise ValueError(f"an answer about {len(points)} crops, {len(frames)} frames")
    keypoints = np.empty((*points.shape[:2], 3))
    for row, frame in enumerate(frames):
        if not (np.isfinite(points[row]).all() and np.isfinite(heights[row]).all()):
            raise HeatpointError(
                f"the network's answer for {frame.path or 'an image'} is not a finite number; "
                "its weights are damaged or its training diverged, or try precision='fp32'"
            )
        keypoints[row, :, :2] = frame.to_image.points(points[row])
    keypoints[..., 2] = heights
    return Poses(keypoints, boxes, subject_scores(heights, box_scores), skeleton, name)


def subject_scores(
    heights: NDArray[np.float64], box_scores: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """Returns the score of each subject: the box's times the mean of the joints that are seen.

    The rescoring of Simple Baselines (Xiao et al. 2018, released code): only joints above 0.2
    count, and a subject without one scores 0. Heights are clipped to 1 first, because those of an
    untrained or overconfident network may pass it.

    Args:
        heights: (N, J) peak heights.
        box_scores: (N,) in [0, 1].
    """
    seen = heights > SEEN
    total = (heights.clip(0, 1) * seen).sum(1)
    scores: NDArray[np.float64] = total / seen.sum(1).clip(1) * box_scores
    return scores
