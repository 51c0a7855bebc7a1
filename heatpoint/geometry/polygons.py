"""Polygons by their corners: how large they are, and how much of each other they cover."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def polygon_area(polygons: NDArray[Any]) -> NDArray[np.float64]:
    """Returns (...) areas of (..., P, 2) polygons, above 0 where they go clockwise as seen."""
    if polygons.shape[-2] == 4:  # by its diagonals, which is quick
        a, b = np.moveaxis(polygons[..., 2:, :] - polygons[..., :2, :], -2, 0)
    else:
        a = polygons - polygons[..., :1, :]
        b = np.roll(a, -1, -2)
    spans: NDArray[np.float64] = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return spans / 2 if polygons.shape[-2] == 4 else spans.sum(-1) / 2


def quad_iou(
    a: NDArray[Any], b: NDArray[Any], within: NDArray[Any] | None = None
) -> NDArray[np.float64]:
    """Returns the (N, M) overlaps of corners: intersection over union; see ``quad_overlaps``."""
    common, first, second = quad_overlaps(a, b, within)
    union = first[:, None] + second - common
    overlaps: NDArray[np.float64] = np.where(union > _NOTHING, common / union.clip(_NOTHING), 0.0)
    return overlaps


def quad_overlaps(
    a: NDArray[Any], b: NDArray[Any], within: NDArray[Any] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Returns the areas that pairs of quads share, (N, M), and those of all, (N,) and (M,).

    They are exact but for the rounding of float64. Corners that cross, or of which one lies between
    the others, stand for the hull around them.

    Args:
        a: (N, 4, 2) corners, in either direction.
        b: (M, 4, 2), in the same frame.
        within: (4,) xyxy, the part of the frame that counts; None for all of it.
    """
    import shapely  # most commands compare no corners, and need not wait for it

    first, second = (shapely.convex_hull(shapely.multipoints(each)) for each in (a, b))
    if within is not None:
        first, second = (shapely.clip_by_rect(each, *within.tolist()) for each in (first, second))
    common = np.zeros((len(a), len(b)))
    j, i = shapely.STRtree(first).query(second, predicate="intersects")
    common[i, j] = shapely.area(shapely.intersection(first[i], second[j]))
    return common, shapely.area(first), shapely.area(second)


_NOTHING = 1e-9
"""Square pixels that are none but for rounding."""
