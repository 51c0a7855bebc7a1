"""What drawn pictures share: filled outlines, what lies under and over them, how sets are saved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.readers.coco import write_coco
from heatpoint.errors import HeatpointError
from heatpoint.geometry import Image
from heatpoint.system.outputs import check_outputs
from heatpoint.system.signs import sign

_SHIFT = 4  # OpenCV reads polygon corners in 1/16 pixel

Points = NDArray[np.float64]


def fill(
    image: NDArray[np.uint8] | NDArray[np.int16],
    outlines: list[Points],
    colour: float | list[int] | list[float],
    smooth: bool = True,
) -> None:
    """Fills what lies within an odd number of outlines, in place.

    Args:
        image: (H, W, 3) or (H, W).
        outlines: (n, 2) each, continuous.
        colour: The value to fill with.
        smooth: Blend at the rim; otherwise a pixel has the colour or has not.
    """
    # In OpenCV's fixed point whole numbers are the middles of pixels.
    corners = [np.round((o - 0.5) * (1 << _SHIFT)).astype(np.int32) for o in outlines]
    line = cv2.LINE_AA if smooth else cv2.LINE_8
    cv2.fillPoly(image, corners, colour, line, _SHIFT)


def background(
    what: str, least: int, size: tuple[int, int], rng: np.random.Generator, clutter: bool
) -> Image:
    """Returns a picture of nothing: uneven grey with lines and shapeless blobs, or one flat colour.

    Args:
        what: What is to be drawn on it, for the message.
        least: Pixels that a side must have for that.
        size: Height and width in pixels.
        rng: Source of every random choice.
        clutter: False gives the flat colour.

    Raises:
        HeatpointError: The picture is too small.
    """
    height, width = size
    if min(size) < least:
        raise HeatpointError(
            f"{what} are drawn on pictures of {least}x{least} pixels or more, not {height}x{width}"
        )
    if not clutter:
        return np.full((height, width, 3), rng.integers(256, size=3), dtype=np.uint8)
    coarse = rng.integers(40, 216, size=(2, 2, 1)) + rng.integers(-20, 21, size=(2, 2, 3))
    patches = rng.integers(-12, 13, size=(6, 6, 3))
    grey = cv2.resize(coarse.astype(np.float64), (width, height), interpolation=cv2.INTER_LINEAR)
    spots = cv2.resize(patches.astype(np.float64), (width, height), interpolation=cv2.INTER_CUBIC)
    image: Image = np.clip(grey + spots, 0, 255).astype(np.uint8)
    for _ in range(int(rng.integers(4))):
        start, end = (rng.random((2, 2)) * (width, height) * (1 << _SHIFT)).astype(int).tolist()
        thickness = int(rng.integers(1, 3))
        cv2.line(image, start, end, dull(rng), thickness, cv2.LINE_AA, _SHIFT)
    for _ in range(int(rng.integers(3))):
        extent, centre = rng.uniform(1 / 32, 1 / 8) * min(size), rng.random(2) * (width, height)
        fill(image, [_blob(rng) * extent + centre], dull(rng))
    return image


def _blob(rng: np.random.Generator) -> Points:
    """Returns a wobbly closed outline, (40, 2), about as large as the unit disc."""
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radius = np.ones_like(angle)
    for wave in (1, 2, 3):
        radius += rng.uniform(0.2, 0.4) * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def dull(rng: np.random.Generator) -> list[int]:
    """Returns a colour near grey, for what is not to be found."""
    return [int(v) for v in np.clip(rng.integers(256) + rng.integers(-30, 31, size=3), 0, 255)]


def between(low: float, high: float, rng: np.random.Generator) -> float:
    """Returns a random number between two, even in its logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def add_noise(image: Image, rng: np.random.Generator) -> None:
    """Adds grey noise of random strength to a picture, in place."""
    strength = rng.uniform(0, 8)
    noise = rng.standard_normal(image.shape[:2], dtype=np.float32) * strength
    image[:] = np.clip(image + noise[:, :, None], 0, 255).astype(np.uint8)


def write_set(
    folder: str | Path,
    count: int,
    size: tuple[int, int],
    seed: int,
    annotations: Annotations,
    draw: Callable[[np.random.Generator], tuple[Image, ImageRecord]],
) -> Path:
    """Writes a data set of drawn pictures and returns the path of its COCO JSON file.

    The folder receives ``annotations.json`` and ``images/000000.jpg`` onwards. Annotations of an
    earlier set are removed first: they come last, so where they are, the pictures are complete.

    Args:
        folder: Where to write; made if missing.
        count: Number of pictures.
        size: Height and width of every picture in pixels.
        seed: Together with its number it decides all chance in a picture.
        annotations: The data set without images.
        draw: Draws a picture, (H, W, 3) uint8 RGB, and returns it and the record of its objects.

    Raises:
        HeatpointError: ``count`` is below 1, or the folder is not writable.
    """
    if count < 1:
        raise HeatpointError(f"count is the number of pictures to draw: at least 1, not {count}")
    path = Path(folder) / "annotations.json"
    files = [path.parent / f"images/{number:06d}.jpg" for number in range(count)]
    check_outputs({"annotations": [path], "pictures": files})
    try:
        path.unlink(missing_ok=True)
        (path.parent / "images").mkdir(parents=True, exist_ok=True)
        for number, file in enumerate(files):
            image, record = draw(np.random.default_rng((seed, number)))
            bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
            _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 95])
            file.write_bytes(data.tobytes())
            sign(file)
            record = replace(record, path=file, size=size, image_id=number + 1)
            annotations.images.append(record)
    except OSError as error:
        raise HeatpointError(
            f"cannot write to {path.parent}: {error.strerror or error}; free space or choose "
            "another folder"
        ) from error
    write_coco(annotations, path)
    return path
