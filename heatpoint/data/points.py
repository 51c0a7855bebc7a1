"""Points instead of boxes: where objects are, where nobody said or asks how large they are."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.quads import as_quads, without_corners
from heatpoint.data.scene import with_skeleton
from heatpoint.errors import HeatpointError
from heatpoint.views.fields import Part


def as_points(annotations: Annotations) -> Annotations:
    """Returns a data set with one point for each object.

    That is the middle of the points it has, or of the box that it has instead. Of an object with
    one joint it is this joint, where it is labelled. Crowd regions stay what they are.

    Args:
        annotations: The data set; it is not changed.
    """
    images = [_pointed(record) for record in annotations.images]
    return replace(annotations, images=images, skeleton=None)


def as_learnt(
    annotations: Annotations, learns: Collection[Part], skeleton: str = ""
) -> Annotations:
    """Returns a data set with what is learnt: joints that have names, points, or four corners.

    Args:
        annotations: The data set; it is not changed.
        learns: Parts of targets that are learnt.
        skeleton: Name or file of a skeleton; "" for the data's own.

    Raises:
        HeatpointError: The data lacks what is learnt.
    """
    if "points" in learns:
        return as_points(annotations)
    if "quads" in learns:
        return as_quads(annotations)
    if annotations.pointed:
        raise HeatpointError(
            f"{annotations.source} holds points, of which no size can be learnt; choose a model "
            "that finds points, such as points_mobilenetv2 (heatpoint models lists them)"
        )
    boxed = without_corners(annotations)
    return with_skeleton(boxed, skeleton) if "keypoints" in learns else boxed


def are_points(annotations: Annotations) -> bool:
    """Tells whether all objects of a data set, and there are some, are boxes without extent.

    Labelling tools and readers write points so where a format knows boxes only.
    """
    if any(record.keypoints is not None for record in annotations.images):
        return False
    boxes = np.concatenate([record.boxes for record in annotations.images])
    crowd = np.concatenate([record.crowd for record in annotations.images])
    boxes = boxes[np.isfinite(boxes).all(1) & ~crowd]
    return len(boxes) > 0 and bool((boxes[:, :2] == boxes[:, 2:]).all())


def _pointed(record: ImageRecord) -> ImageRecord:
    points: NDArray[np.float64] = record.boxes.reshape(-1, 2, 2).mean(1)
    if record.points is not None:
        points = record.points.mean(1)
    elif record.keypoints is not None and record.keypoints.shape[1] == 1:
        joint = record.keypoints[:, 0]
        points = np.where(joint[:, 2:] > 0, joint[:, :2], points)
    boxes = np.where(record.crowd[:, None], record.boxes, np.tile(points, 2))
    areas = np.where(record.crowd, record.areas, 0.0)
    return replace(record, boxes=boxes, areas=areas, points=points[:, None], keypoints=None)
