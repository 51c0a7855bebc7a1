"""The map from an image to the crop of one subject."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from heatpoint.geometry.affine import Affine

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
