"""The objects of one image while a reader collects them, and boxes for joints that have none."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from heatpoint.data.annotations import ImageRecord, box_areas

Box = tuple[float, float, float, float]

MARGIN = 0.05
"""What ``joints_box`` adds on each side, in longer sides: joints lie inside of the body."""


@dataclass
class Objects:
    """The objects of one image while a reader collects them.

    Attributes:
        joints: J, the joints each object of the data set has; None if they have none.
    """

    joints: int | None = None
    boxes: list[Box] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    crowd: list[bool] = field(default_factory=list)
    difficult: list[bool] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)
    keypoints: list[NDArray[np.float64]] = field(default_factory=list)
    heads: list[float] = field(default_factory=list)

    def add(
        self,
        box: Box,
        label: int,
        crowd: bool = False,
        difficult: bool = False,
        area: float = math.nan,
        keypoints: NDArray[np.float64] | None = None,
        head: float = math.nan,
    ) -> None:
        """Adds one object.

        Args:
            box: xyxy in image pixels.
            label: Class index.
            crowd: A crowd region.
            difficult: Not counted by VOC evaluation.
            area: In square image pixels; NaN means the box's.
            keypoints: (J, 3) as in ``ImageRecord``; None means that no joint is labelled.
            head: Length that PCKh divides by; NaN if unknown.
        """
        self.boxes.append(box)
        self.labels.append(label)
        self.crowd.append(crowd)
        self.difficult.append(difficult)
        self.areas.append(area)
        self.keypoints.append(np.zeros((self.joints or 0, 3)) if keypoints is None else keypoints)
        self.heads.append(head)

    def record(self, path: Path, size: tuple[int, int] | None, image_id: int) -> ImageRecord:
        """Returns the finished record of the image at ``path``."""
        boxes = np.array(self.boxes, np.float64).reshape(-1, 4)
        areas = np.array(self.areas, np.float64)
        keypoints = None
        if self.joints is not None:
            keypoints = np.array(self.keypoints, np.float64).reshape(len(boxes), self.joints, 3)
        heads = np.array(self.heads, np.float64)
        return ImageRecord(
            path,
            size,
            boxes,
            np.array(self.labels, np.int64),
            np.array(self.crowd, np.bool_),
            np.array(self.difficult, np.bool_),
            np.where(np.isfinite(areas), areas, box_areas(boxes)),
            image_id,
            keypoints,
            heads if np.isfinite(heads).any() else None,
        )


def joints_box(keypoints: NDArray[np.float64]) -> Box | None:
    """Returns the box of a subject that was labelled without one: its joints and a margin.

    The extent of the labelled joints is grown on each side by ``MARGIN`` of its longer side, and
    by one pixel at least, so that joints on one line have a box as well.

    Args:
        keypoints: (J, 3) x, y in image pixels and visibility.

    Returns:
        xyxy in image pixels; it may reach beyond the image. None if no joint is labelled; of
        joints that are NaN the box is NaN.
    """
    points = keypoints[keypoints[:, 2] > 0, :2]
    if len(points) == 0:
        return None
    low, high = points.min(0), points.max(0)
    margin = max(1.0, MARGIN * float((high - low).max()))
    x1, y1 = (low - margin).tolist()
    x2, y2 = (high + margin).tolist()
    return x1, y1, x2, y2
