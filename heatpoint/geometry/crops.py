"""The maps from an image to the crop of one subject.

``crop_affine`` is what training, evaluation and prediction share. ``published_crop`` and its two
ways of moving points are what the released pose code computes, for its numbers to the digit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from heatpoint.geometry.affine import Affine

Convention = Literal["one-based", "zero-based"]

PADDING = 1.25
"""Side of a crop over the side of its box, as published for MPII and COCO."""

_SMALLEST = 1e-3  # image pixels: the crop of a box without extent is that of one this small


def crop_affine(
    box: Sequence[float] | NDArray[np.floating],
    size: tuple[int, int],
    padding: float = PADDING,
    rotation: float = 0.0,
    zoom: float = 1.0,
) -> Affine:
    """Returns the map from image pixels to input pixels that shows a box in the middle.

    The aspect is kept: the side of the box that is short for the input grows about the centre.
    The box may reach beyond the image, and be of any size; 20 px and 4,000 px fill the input alike.

    Args:
        box: x1, y1, x2, y2 in image pixels.
        size: (H, W) of the input.
        padding: Side of the crop over side of the box.
        rotation: Degrees by which the picture turns clockwise about the middle of the box.
        zoom: Enlarges the subject this many times more.

    Example:
        >>> crop_affine((10, 20, 50, 40), (100, 100), padding=1.25).points(np.array([[30.0, 30]]))
        array([[50., 50.]])
    """
    x1, y1, x2, y2 = (float(value) for value in box)
    sides = max(x2 - x1, _SMALLEST), max(y2 - y1, _SMALLEST)
    factor = zoom * min(size[1] / sides[0], size[0] / sides[1]) / padding
    turn = math.radians(rotation)
    cos, sin = factor * math.cos(turn), factor * math.sin(turn)
    return (
        Affine.translate(size[1] / 2, size[0] / 2)
        @ Affine((cos, -sin, 0.0, sin, cos, 0.0))
        @ Affine.translate(-(x1 + x2) / 2, -(y1 + y2) / 2)
    )


def published_crop(
    center: tuple[float, float], scale: float, size: tuple[int, int], rotation: float = 0.0
) -> Affine:
    """Returns the crop map of Stacked Hourglass (Newell et al. 2016) and its ports.

    ``x' = W (x - cx) / (200 s) + W / 2``, the same for y with H, then a turn by ``-rotation``
    about the middle. What x counts from differs: see ``published_points``.

    Args:
        center: (x, y) as the annotation has it, after MPII's rule (``mpii.person_box``).
        scale: Side of the person's square over 200 image pixels, after MPII's rule.
        size: (H, W) of the crop.
        rotation: Degrees.
    """
    height, width = size
    side = 200.0 * scale
    onto = Affine(
        (
            width / side,
            0.0,
            width * (0.5 - center[0] / side),
            0.0,
            height / side,
            height * (0.5 - center[1] / side),
        )
    )
    if rotation == 0:
        return onto
    turn = math.radians(-rotation)
    about = Affine.translate(width / 2, height / 2)
    back = Affine.translate(-width / 2, -height / 2)
    cos, sin = math.cos(turn), math.sin(turn)
    return about @ Affine((cos, -sin, 0.0, sin, cos, 0.0)) @ back @ onto


def published_points(
    points: NDArray[np.float64], to_crop: Affine, convention: Convention, invert: bool = False
) -> NDArray[np.int64]:
    """Moves points, (..., 2), as the released code does: to whole pixels, cut towards zero.

    Args:
        points: x and y in the convention's count of pixels.
        to_crop: ``published_crop``.
        convention: "one-based" (the Torch code and bearpaw's port: 1 is taken away before and
            added after) or "zero-based" (Princeton's port).
        invert: From the crop to the image.
    """
    first = 1.0 if convention == "one-based" else 0.0
    through = to_crop.inverse() if invert else to_crop
    whole: NDArray[np.int64] = np.trunc(through.points(points - first)).astype(np.int64)
    return whole + int(first)


def published_mirror(
    joints: NDArray[np.float64], width: int, flip: Sequence[int]
) -> NDArray[np.float64]:
    """Mirrors joints, (J, 3), as the released code does: x becomes ``width - x``, not one less.

    Args:
        joints: x, y and a third column that travels along; all rows are mirrored, labelled or not.
        width: Of the image in pixels.
        flip: ``Skeleton.flip``.
    """
    mirrored = joints.copy()
    mirrored[:, 0] = width - mirrored[:, 0]
    return mirrored[list(flip)]
