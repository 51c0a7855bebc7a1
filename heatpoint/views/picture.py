"""From pixels to network input: the one path that training, evaluation and prediction share.

Everything outside the image is (0, 0, 0), black *before* the network normalises, as in all
released systems of this family.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from heatpoint.errors import HeatpointError
from heatpoint.geometry.affine import Affine, Image, center_scale, letterbox
from heatpoint.geometry.crops import crop_affine
from heatpoint.geometry.sizes import next_multiple


@dataclass(frozen=True)
class Frame:
    """Where an input came from, and the way back.

    Attributes:
        path: The image's file, or "".
        image_size: (height, width) of the original image.
        to_image: Map from input pixels to image pixels.
    """

    path: str
    image_size: tuple[int, int]
    to_image: Affine


def prepare(
    image: Image, size: tuple[int, int], path: str = "", scale: float = 1.0
) -> tuple[NDArray[np.uint8], Frame]:
    """Letterboxes an image: aspect kept, centred, the rest black.

    Args:
        image: (h, w, 3) uint8 RGB.
        size: (H, W) of the input.
        path: Name of the image for messages and results.
        scale: Zoom about the centre for multi-scale testing; above 1 the rim is cut off.

    Returns:
        (3, H, W) uint8 RGB input, and its frame.
    """
    zoom = (
        Affine.translate(size[1] / 2, size[0] / 2)
        @ Affine.scale(scale, scale)
        @ Affine.translate(-size[1] / 2, -size[0] / 2)
    )
    to_input = zoom @ letterbox((image.shape[0], image.shape[1]), size)
    return _draw(image, to_input, size, path)


def prepare_crop(
    image: Image,
    box: Sequence[float],
    size: tuple[int, int],
    padding: float,
    path: str = "",
) -> tuple[NDArray[np.uint8], Frame]:
    """Cuts out one subject: the box with a margin, aspect kept, centred, black outside the image.

    Args:
        image: (h, w, 3) uint8 RGB.
        box: x1, y1, x2, y2 in image pixels; it may reach beyond the image.
        size: (H, W) of the input.
        padding: Side of the crop over side of the box; see ``crop_affine``.
        path: Name of the image for messages and results.

    Returns:
        (3, H, W) uint8 RGB input, and its frame.
    """
    return _draw(image, crop_affine(box, size, padding), size, path)


def prepare_original(
    image: Image,
    multiple: int,
    path: str = "",
    scale: float = 1.0,
    published: bool = False,
    trim: int = 0,
) -> tuple[NDArray[np.uint8], Frame]:
    """Keeps the image's own resolution and pads to a size the network accepts, image centred.

    At scale 1 the pixels are copied, not resampled.

    Args:
        image: (h, w, 3) uint8 RGB.
        multiple: The input's sides are multiples of this many pixels (``Network.multiple``).
        path: Name of the image for messages and results.
        scale: Resizes the image first, for multi-scale testing.
        published: Follows CenterNet's test rule to the pixel: a side that already is a multiple
            grows by a whole step, because the released code pads to ``(side | pad) + 1``.
        trim: The input's sides fall short of multiples by this many pixels (``Network.trim``); 1
            with a multiple of 128 is CornerNet's rule ``side | 127``.

    Returns:
        (3, H, W) uint8 RGB input, and its frame.

    Raises:
        HeatpointError: ``published`` with a multiple that is not a power of two.
    """
    height, width = image.shape[:2]
    if published:
        if multiple & (multiple - 1):
            raise HeatpointError(
                f"the published padding needs a multiple that is a power of two, got {multiple}; "
                "use published=False"
            )
        rule = published_test_input((height, width), multiple - 1, None, scale)
        return _draw(image, rule.to_input, rule.size, path)
    resized = _scaled((height, width), scale)
    size = (
        next_multiple(resized[0], multiple, trim),
        next_multiple(resized[1], multiple, trim),
    )
    # Whole pixels, so that a centred image of odd size is not blurred by half a pixel.
    to_input = Affine.translate(
        (size[1] - resized[1]) // 2, (size[0] - resized[0]) // 2
    ) @ Affine.scale(resized[1] / width, resized[0] / height)
    return _draw(image, to_input, size, path)


class PublishedInput(NamedTuple):
    """CenterNet's choice of test input for one image.

    Attributes:
        size: (H, W) of the input.
        center: (x, y) in the resized image that lands in the input's middle.
        extent: (width, height) of the resized image's window that fills the input.
        to_input: Map from the original image's pixels to input pixels.
    """

    size: tuple[int, int]
    center: tuple[float, float]
    extent: tuple[float, float]
    to_input: Affine


def published_test_input(
    image_size: tuple[int, int],
    pad: int,
    fixed: tuple[int, int] | None = None,
    scale: float = 1.0,
) -> PublishedInput:
    """Returns the test-time geometry of the released CenterNet (Objects as Points, section 5).

    Keep-resolution (``fixed`` is None): the image, resized by ``scale``, is padded to
    ``(side | pad) + 1`` about its centre rounded down. Fixed resolution: the longer side of the
    *unscaled* image fills the input's width, so that ``scale`` zooms.

    Args:
        image_size: (height, width) of the image.
        pad: 31, or 127 for the hourglass.
        fixed: (H, W) of a fixed input, or None to keep the resolution.
        scale: Test scale.
    """
    height, width = _scaled(image_size, scale)
    center: tuple[float, float]
    if fixed is None:
        size = ((height | pad) + 1, (width | pad) + 1)
        center = (float(width // 2), float(height // 2))
        extent = (float(size[1]), float(size[0]))
    else:
        size = fixed
        center = (width / 2, height / 2)
        extent = (float(max(image_size)), float(max(image_size)))
    resize = Affine.scale(width / image_size[1], height / image_size[0])
    return PublishedInput(size, center, extent, center_scale(center, extent[0], size) @ resize)


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(1, int(size[0] * scale)), max(1, int(size[1] * scale))


def _draw(
    image: Image, to_input: Affine, size: tuple[int, int], path: str
) -> tuple[NDArray[np.uint8], Frame]:
    pixels = channels_first(to_input.warp(image, size))
    return pixels, Frame(path, (image.shape[0], image.shape[1]), to_input.inverse())


def channels_first(image: Image) -> NDArray[np.uint8]:
    """Returns the contiguous (3, H, W) uint8 array of an (H, W, 3) image.

    OpenCV's split takes under half the time of a transposed copy.
    """
    planes = np.empty((3, *image.shape[:2]), np.uint8)
    cv2.split(image, list(planes))
    return planes
