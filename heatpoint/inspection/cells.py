"""Which cells of the maps hold an object: that of its centre, or those of its two corners."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from heatpoint.codecs.corners import CornerCodec
from heatpoint.detector.file import BoxCodec

Cells = NDArray[np.int64]
"""(M, N, 2): column and row, for each of N objects, of each of its M places."""


def place_of(codec: BoxCodec) -> str:
    """Returns what an object is found by: its "centre" or its "corner"s."""
    return "corner" if isinstance(codec, CornerCodec) else "centre"


def most_objects(codec: BoxCodec) -> int:
    """Returns how many objects of an image can be found at most."""
    if isinstance(codec, CornerCodec):
        return min(codec.max_detections, codec.corners)
    return codec.max_detections


def cells_of(boxes: NDArray[np.float64], codec: BoxCodec, size: tuple[int, int]) -> Cells:
    """Returns the cells of (N, 4) boxes.

    Args:
        boxes: xyxy in input pixels.
        codec: Centres have one place, corners two.
        size: (H, W) of the input in pixels.
    """
    trim = codec.trim if isinstance(codec, CornerCodec) else 0
    height, width = ((side + trim) // codec.stride / side for side in size)
    corners = boxes.reshape(-1, 2, 2).swapaxes(0, 1) * (width, height)
    places = corners if isinstance(codec, CornerCodec) else corners.mean(0, keepdims=True)
    return np.floor(places).astype(np.int64)


def distances(cells: Cells) -> NDArray[np.int64]:
    """Returns (N, N): how far two objects are apart in cells, by the nearest of their places."""
    apart: NDArray[np.int64] = np.abs(cells[:, :, None] - cells[:, None]).max(-1).min(0)
    return apart


def earlier_in_cell(cells: Cells) -> NDArray[np.bool_]:
    """Returns (N,): whether an earlier object has a place in the same cell."""
    count = cells.shape[1]
    shared: NDArray[np.bool_] = ((distances(cells) == 0) & np.tri(count, k=-1, dtype=bool)).any(1)
    return shared
