"""Lays pictures of equal size out on one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from heatpoint.geometry.affine import Image

SHOWN = 12
"""Pictures on a sheet."""

_TILE = 256  # least height of a picture on it, in pixels
_COLUMNS, _GAP = 3, 24


def enlarge(image: Image) -> tuple[Image, int]:
    """Returns an (H, W, 3) picture large enough for a sheet, and by how much it was enlarged."""
    zoom = max(1, -(-_TILE // image.shape[0]))
    return np.ascontiguousarray(image.repeat(zoom, 0).repeat(zoom, 1)), zoom


def write_sheet(path: str | Path, pictures: Sequence[Image]) -> None:
    """Writes pictures of equal size in rows of three on white.

    Args:
        path: A file that ends in .png or .jpg.
        pictures: (H, W, 3) uint8 RGB, at least one.
    """
    from heatpoint.inference.draw import write_picture

    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // _COLUMNS)
    columns = min(_COLUMNS, len(pictures))
    sheet = np.full(
        (rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3), 255, dtype=np.uint8
    )
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        top, left = _GAP + row * (height + _GAP), _GAP + column * (width + _GAP)
        sheet[top : top + height, left : left + width] = picture
    write_picture(path, sheet)
