"""Frames, the one map between them, and boxes.

One convention holds everywhere: coordinates are continuous, x to the right and y down, the upper
left corner of the image is (0, 0) and pixel ``i`` covers ``[i, i + 1)``, so its middle lies at
``i + 0.5``. A mirrored point is ``width - x``. OpenCV's own affine warp counts pixel middles as
integers instead; ``Affine.warp`` is the only place that converts between the two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


ArrayT = TypeVar("ArrayT", NDArray[Any], "Tensor")
"""A numpy array or a tensor; what comes in goes out."""

Image = NDArray[np.unsignedinteger[Any]]
"""(H, W, 3) uint8, RGB; of pictures with other bands (H, W, C) uint8 or uint16."""


@dataclass(frozen=True)
class Bands:
    """What the pictures of a data set or of a model have in common.

    Attributes:
        channels: Their number.
        dtype: "uint8" or "uint16"; values have its whole range and are not scaled.
    """

    channels: int = 3
    dtype: str = "uint8"

    def __str__(self) -> str:
        return f"{self.channels} channel{'s' * (self.channels > 1)} of {self.dtype}"

    @property
    def largest(self) -> int:
        """The largest value."""
        return int(np.iinfo(self.dtype).max)

    def like(self, image: Image) -> Image:
        """Returns an (H, W, 3) uint8 RGB picture as one of these bands, for trials."""
        if self == RGB:
            return image
        return image[..., np.arange(self.channels) % 3].astype(self.dtype) * (self.largest // 255)


RGB = Bands()
"""What pictures are where nothing else is said."""


def is_rgb(image: Image) -> bool:
    """Returns whether an (H, W, C) picture is 8-bit RGB."""
    return image.dtype == np.uint8 and image.shape[2] == 3


@dataclass(frozen=True)
class Affine:
    """A map of the plane: ``x' = a x + b y + c`` and ``y' = d x + e y + f``.

    ``p @ q`` applies ``q`` first. Every change of frame, of points, boxes and pixels alike, is one
    of these, so that an image is resampled once and its labels follow exactly.

    Example:
        >>> half = Affine.scale(0.5, 0.5) @ Affine.flip(width=640)
        >>> half.boxes(np.array([[0.0, 0.0, 64.0, 48.0]])).tolist()
        [[288.0, 0.0, 320.0, 24.0]]

    Attributes:
        matrix: (a, b, c, d, e, f), the rows of the 2 x 3 matrix one after the other.
    """

    matrix: tuple[float, float, float, float, float, float]

    @staticmethod
    def scale(sx: float, sy: float) -> Affine:
        """Returns the map that enlarges ``sx`` times in x and ``sy`` times in y about (0, 0)."""
        return Affine((float(sx), 0.0, 0.0, 0.0, float(sy), 0.0))

    @staticmethod
    def translate(dx: float, dy: float) -> Affine:
        """Returns the map that adds (dx, dy) pixels."""
        return Affine((1.0, 0.0, float(dx), 0.0, 1.0, float(dy)))

    @staticmethod
    def flip(width: float) -> Affine:
        """Returns the map that mirrors left and right in a frame ``width`` pixels wide."""
        return Affine((-1.0, 0.0, float(width), 0.0, 1.0, 0.0))

    @staticmethod
    def from_numpy(array: NDArray[Any]) -> Affine:
        """Returns the map of a (2, 3) matrix, or of a (3, 3) one whose last row is (0, 0, 1)."""
        if array.shape not in ((2, 3), (3, 3)):
            raise ValueError(f"an affine matrix is (2, 3) or (3, 3), got {array.shape}")
        a, b, c, d, e, f = (float(value) for value in array[:2].ravel())
        return Affine((a, b, c, d, e, f))

    def numpy(self) -> NDArray[np.float64]:
        """Returns the (2, 3) matrix in float64."""
        return np.array(self.matrix, dtype=np.float64).reshape(2, 3)

    def __matmul__(self, other: Affine) -> Affine:
        a, b, c, d, e, f = self.matrix
        p, q, r, s, t, u = other.matrix
        first = (a * p + b * s, a * q + b * t, a * r + b * u + c)
        return Affine((*first, d * p + e * s, d * q + e * t, d * r + e * u + f))

    def inverse(self) -> Affine:
        """Returns the reverse map.

        Raises:
            ValueError: The map flattens the plane and has no reverse.
        """
        a, b, c, d, e, f = self.matrix
        determinant = a * e - b * d
        if determinant == 0 or not math.isfinite(determinant):
            raise ValueError(f"{self.matrix} has no inverse")
        a, b, d, e = e / determinant, -b / determinant, -d / determinant, a / determinant
        return Affine((a, b, -(a * c + b * f), d, e, -(d * c + e * f)))

    def points(self, points: ArrayT) -> ArrayT:
        """Maps points, x and y along the last axis; what follows these, and the type, is kept."""
        a, b, c, d, e, f = self.matrix
        x, y, *rest = (points[..., n] for n in range(points.shape[-1]))
        return _stack(points, a * x + b * y + c, d * x + e * y + f, *rest)

    def boxes(self, boxes: ArrayT) -> ArrayT:
        """Maps boxes, (..., 4) xyxy, to the upright boxes around their four mapped corners."""
        corners = self.points(boxes[..., [[0, 1], [2, 1], [2, 3], [0, 3]]])
        if isinstance(corners, np.ndarray):
            return np.concatenate((corners.min(-2), corners.max(-2)), -1)
        import torch

        return torch.cat((corners.amin(-2), corners.amax(-2)), -1)

    def warp(self, image: Image, size: tuple[int, int], border: int = 0) -> Image:
        """Draws the image in the frame this map leads to.

        Enlarging and shrinking up to twice is one bilinear resampling. Bilinear reads 2 x 2
        pixels, so beyond that it would skip pixels and turn fine texture into noise: the image is
        first averaged by the largest whole factor that leaves it at least as fine as the result
        (``cv2.INTER_AREA``), and that step is part of the same map. A map that only moves by whole
        pixels copies them unchanged.

        Args:
            image: (H, W, C) or (H, W), uint8 or uint16, in the frame the map starts from.
            size: (height, width) of the result.
            border: Value of everything outside the image.

        Returns:
            (height, width, C) or (height, width) of the same type, contiguous.
        """
        a, b, c, d, e, f = self.matrix
        if (a, b, d, e) == (1.0, 0.0, 0.0, 1.0) and c == round(c) and f == round(f):
            return _paste(image, round(f), round(c), size, border)
        if image.ndim == 3 and image.shape[2] != 3:  # OpenCV moves four channels at most
            moved = [self.warp(image[..., n], size, border) for n in range(image.shape[2])]
            return np.stack(moved, -1)
        source, onward = image, self
        height, width = image.shape[:2]
        # How many pixels of the image become one of the result, along y and along x.
        shrinks = 1.0 / max(math.hypot(b, e), 1e-9), 1.0 / max(math.hypot(a, d), 1e-9)
        fewer = [
            max(1, round(side / max(1, math.floor(factor))))
            for side, factor in zip((height, width), shrinks, strict=True)
        ]
        if fewer != [height, width]:
            source = cv2.resize(image, (fewer[1], fewer[0]), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
            onward = self @ Affine.scale(width / fewer[1], height / fewer[0])
        middles = Affine.translate(-0.5, -0.5) @ onward @ Affine.translate(0.5, 0.5)
        # OpenCV's four-channel kernel is nearly three times as fast as its three-channel one, and
        # bit-equal to it; the detour there and back costs 0.1 ms at 512 x 512.
        colour = image.ndim == 3
        drawn = cv2.warpAffine(
            cv2.cvtColor(source, cv2.COLOR_RGB2RGBA) if colour else source,
            middles.numpy(),
            (size[1], size[0]),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(border, border, border, border),
        )
        return cv2.cvtColor(drawn, cv2.COLOR_RGBA2RGB) if colour else drawn  # type: ignore[return-value]


def _paste(image: Image, down: int, right: int, size: tuple[int, int], border: int) -> Image:
    """Returns the image so many pixels further down and to the right on a canvas of ``size``."""
    canvas = np.full((*size, *image.shape[2:]), border, dtype=image.dtype)
    part = image[max(0, -down) : max(0, size[0] - down), max(0, -right) : max(0, size[1] - right)]
    top, left = max(0, down), max(0, right)
    canvas[top : top + part.shape[0], left : left + part.shape[1]] = part
    return canvas


def letterbox(
    image_size: tuple[int, int], input_size: tuple[int, int], margin: float = 0.0
) -> Affine:
    """Returns the map that fits the whole image into the input: aspect kept, centred.

    Args:
        image_size: (height, width) of the image.
        input_size: (height, width) of the network's input.
        margin: Input pixels that stay free on every side at least, less than half of any side.
    """
    (height, width), (down, across) = image_size, input_size
    filling = min(down / height, across / width)
    fitting = min((down - 2 * margin) / height, (across - 2 * margin) / width)
    return crop_affine((0, 0, width, height), input_size, padding=1.0, zoom=fitting / filling)


def clip_boxes(boxes: ArrayT, size: tuple[int, int]) -> ArrayT:
    """Clips (..., 4) xyxy boxes to [0, width] and [0, height] of a frame ``size`` (H, W)."""
    x, y = boxes[..., 0::2].clip(0, size[1]), boxes[..., 1::2].clip(0, size[0])
    return _stack(boxes, x[..., 0], y[..., 0], x[..., 1], y[..., 1])


def _stack(like: ArrayT, *columns: Any) -> ArrayT:
    if isinstance(like, np.ndarray):
        return np.stack(columns, -1)
    import torch  # here, because exported detectors run without it

    return torch.stack(columns, -1)


def box_area(boxes: ArrayT) -> ArrayT:
    """Returns (...) areas of (..., 4) xyxy boxes in square pixels; 0 for reversed corners."""
    width, height = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    area: ArrayT = width.clip(0) * height.clip(0)
    return area


def box_iou(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Returns the (N, M) overlaps of (N, 4) and (M, 4) xyxy boxes: intersection over union.

    Two boxes without area overlap 0, not NaN.
    """
    # Axis by axis, for a product along an axis of two takes several times as long; and in place,
    # for fresh arrays cost more than the arithmetic on them.
    sides = list[NDArray[Any]]()
    for axis in (0, 1):
        side = np.minimum(a[:, None, axis + 2], b[:, axis + 2])
        side -= np.maximum(a[:, None, axis], b[:, axis])
        sides.append(np.maximum(side, 0, out=side))
    common, union = sides
    common *= union
    np.subtract(box_area(a)[:, None] + box_area(b), common, out=union)
    common /= np.maximum(union, np.finfo(union.dtype).tiny, out=union)
    return common


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


def next_multiple(side: int, multiple: int, trim: int = 0) -> int:
    """Returns the smallest multiple less ``trim`` that is not below ``side``, of at least one."""
    return max(1, -(-(side + trim) // multiple)) * multiple - trim


def less(trim: int) -> str:
    """Returns what to say behind "multiples of 128" where sides must fall short of them."""
    return f" less {trim}" if trim else ""
