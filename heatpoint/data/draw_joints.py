"""Draws skeletons on pictures, coloured by side; the pictures that come in are never changed."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from heatpoint.data.skeleton import Side, Skeleton
from heatpoint.geometry.affine import Image

SEEN = 0.2
"""Height of a peak above which a joint is drawn."""

COLOURS: dict[Side, tuple[int, int, int]] = {
    "left": (0, 158, 255),
    "right": (255, 106, 0),
    "middle": (64, 214, 88),
}
"""RGB of each side of the body: blue and orange are told apart by all kinds of colour vision."""

_SHIFT = 4
"""Binary digits of OpenCV's fixed-point coordinates behind the point."""


def draw_joints(
    image: Image,
    keypoints: NDArray[np.floating],
    boxes: NDArray[np.floating],
    skeleton: Skeleton,
    least: float = SEEN,
    outlines: bool = False,
) -> Image:
    """Returns a copy of the picture with the joints and bones of each subject.

    A bone takes the side of its joints; one that joins left and right is in the middle. Line
    widths follow the subject's size. The lines are our own, because supervision's annotators know
    one colour per call, round to whole pixels and leave out a joint at (0, 0).

    Args:
        image: (H, W, 3) uint8 RGB.
        keypoints: (N, J, 3) x and y in image pixels and how sure each joint is.
        boxes: (N, 4) xyxy in image pixels.
        skeleton: Names, bones and sides of the J joints.
        least: Joints that are less sure, and their bones, are not drawn.
        outlines: Draws a thin white box where each subject was looked for.
    """
    canvas = image.copy()
    columns = (keypoints.astype(np.float64), boxes.astype(np.float64))
    for joints, box in zip(*columns, strict=True):
        shown = (joints[:, 2] >= least) & np.isfinite(joints).all(1)
        if outlines and np.isfinite(box).all():
            first, last = _fixed(box[:2], image), _fixed(box[2:], image)
            cv2.rectangle(canvas, first, last, (255, 255, 255), 1, cv2.LINE_AA, _SHIFT)
        thickness = _thickness(joints[shown, :2], image)
        sides = skeleton.sides
        for one, other in skeleton.edges:
            if shown[one] and shown[other]:
                side = _bone_side(sides[one], sides[other])
                ends = _fixed(joints[one, :2], image), _fixed(joints[other, :2], image)
                cv2.line(canvas, *ends, COLOURS[side], thickness, cv2.LINE_AA, _SHIFT)
        for place in np.flatnonzero(shown):
            at, radius = _fixed(joints[place, :2], image), round(0.9 * thickness * 2**_SHIFT)
            if thickness > 1:
                rim = radius + 2**_SHIFT
                cv2.circle(canvas, at, rim, (255, 255, 255), -1, cv2.LINE_AA, _SHIFT)
            cv2.circle(canvas, at, radius, COLOURS[sides[place]], -1, cv2.LINE_AA, _SHIFT)
    return canvas


def _bone_side(one: Side, other: Side) -> Side:
    """Returns the side of a bone; one from left to right is in the middle."""
    outer = {one, other} - {"middle"}
    return outer.pop() if len(outer) == 1 else "middle"


def _thickness(points: NDArray[np.float64], image: Image) -> int:
    """Returns the width of bones: a fiftieth of the subject, within what the picture bears."""
    extent = float(np.ptp(points, axis=0).max()) if len(points) else 0.0
    most: int = round(min(image.shape[0], image.shape[1]) / 60)
    return max(1, min(most, round(extent / 50)))


def _fixed(point: NDArray[np.float64], image: Image) -> tuple[int, int]:
    """Returns OpenCV's fixed-point form of a point, whose pixels are counted by their middles.

    Far outside, OpenCV's coordinates overflow; clipped there, a line keeps nearly its direction.
    """
    reach = 2 * sum(image.shape[:2])
    x, y = np.clip(point - 0.5, -reach, reach + max(image.shape[:2]))
    return round(float(x) * 2**_SHIFT), round(float(y) * 2**_SHIFT)
