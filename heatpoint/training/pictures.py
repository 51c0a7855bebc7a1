"""Puts the truth of a few validation images beside what the model says about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from heatpoint.data.annotations import Annotations, ImageRecord
from heatpoint.geometry.affine import Image
from heatpoint.inference.draw import side_by_side, write_picture

COUNT = 4
ROW_WIDTH = 1000


def spread(
    annotations: Annotations, objects: Callable[[ImageRecord], int], count: int = COUNT
) -> list[ImageRecord]:
    """Returns some images that hold objects, spread over the data.

    Args:
        annotations: Images to choose from.
        objects: Returns how many things to be drawn an image holds.
        count: Number of images at most.
    """
    step = max(1, len(annotations) // count)
    return [record for record in annotations.images[::step] if objects(record)][:count]


def write_rows(path: Path, pairs: Sequence[tuple[Image, Image]]) -> None:
    """Writes rows of truth and prediction, each 1000 pixels wide; nothing if there is no row.

    Args:
        path: PNG file to write, atomically.
        pairs: (H, W, 3) uint8 RGB pictures, truth first.

    Raises:
        HeatpointError: The file cannot be written.
    """
    rows = [_fit(side_by_side(pair, ["truth", "predicted"]), ROW_WIDTH) for pair in pairs]
    if rows:
        write_picture(path, np.concatenate(rows))


def _fit(image: Image, width: int) -> Image:
    """Returns the picture scaled to a width in pixels."""
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
