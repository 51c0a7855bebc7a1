"""What lies under drawn things and over them, and where and how the pictures are written."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from heatpoint.errors import HeatpointError
from heatpoint.geometry.affine import Image
from heatpoint.synthetic.outlines import SHIFT, blob, fixed_point


def background(size: tuple[int, int], rng: np.random.Generator, clutter: bool) -> Image:
    """Returns a picture of nothing: uneven grey with lines and shapeless blobs, or one flat colour.

    Args:
        size: Height and width in pixels.
        rng: Source of every random choice.
        clutter: False gives the flat colour.
    """
    height, width = size
    if not clutter:
        return np.full((height, width, 3), rng.integers(256, size=3), dtype=np.uint8)
    coarse = rng.integers(40, 216, size=(2, 2, 1)) + rng.integers(-20, 21, size=(2, 2, 3))
    patches = rng.integers(-12, 13, size=(6, 6, 3))
    image: Image = np.clip(
        cv2.resize(coarse.astype(np.float64), (width, height), interpolation=cv2.INTER_LINEAR)
        + cv2.resize(patches.astype(np.float64), (width, height), interpolation=cv2.INTER_CUBIC),
        0,
        255,
    ).astype(np.uint8)
    for _ in range(int(rng.integers(4))):
        start, end = (rng.random((2, 2)) * (width, height) * (1 << SHIFT)).astype(int).tolist()
        thickness = int(rng.integers(1, 3))
        cv2.line(image, start, end, dull(rng), thickness, cv2.LINE_AA, SHIFT)
    for _ in range(int(rng.integers(3))):
        extent, centre = rng.uniform(1 / 32, 1 / 8) * min(size), rng.random(2) * (width, height)
        corners = fixed_point(blob(rng) * extent + centre)
        cv2.fillPoly(image, [corners], dull(rng), cv2.LINE_AA, SHIFT)
    return image


def dull(rng: np.random.Generator) -> list[int]:
    """Returns a colour near grey, for what is not to be found."""
    return [int(v) for v in np.clip(rng.integers(256) + rng.integers(-30, 31, size=3), 0, 255)]


def add_noise(image: Image, rng: np.random.Generator) -> None:
    """Adds grey noise of random strength to a picture, in place."""
    strength = rng.uniform(0, 8)
    noise = rng.standard_normal(image.shape[:2], dtype=np.float32) * strength
    image[:] = np.clip(image + noise[:, :, None], 0, 255).astype(np.uint8)


def open_folder(folder: str | Path, count: int) -> Path:
    """Prepares a folder for ``count`` drawn pictures and returns where their annotations belong.

    Annotations of an earlier set are removed: they come last, so where they are, the pictures are
    complete.

    Raises:
        HeatpointError: ``count`` is below 1, or the folder is not writable.
    """
    if count < 1:
        raise HeatpointError(f"count is the number of pictures to draw: at least 1, not {count}")
    path = Path(folder) / "annotations.json"
    try:
        path.unlink(missing_ok=True)
        (path.parent / "images").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HeatpointError(
            f"cannot write to {path.parent}: {error.strerror or error}; choose another folder"
        ) from error
    return path


def write_jpeg(path: Path, image: Image) -> None:
    """Writes a picture, (H, W, 3) uint8 RGB, as JPEG.

    Raises:
        HeatpointError: The file cannot be written.
    """
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95]
    )
    assert done, "OpenCV encodes every uint8 picture as JPEG"
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise HeatpointError(
            f"cannot write {path}: {error.strerror or error}; free space or choose another folder"
        ) from error
