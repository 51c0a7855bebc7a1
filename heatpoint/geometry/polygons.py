"""Polygons: their areas, and exactly how much of each other they cover."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.geometry import box_iou


def polygon_area(polygons: NDArray[Any]) -> NDArray[np.float64]:
    """Returns (...) areas of (..., P, 2) polygons, above 0 where they go clockwise as seen."""
    if polygons.shape[-2] == 4:  # by its diagonals, which is quick
        first, second = np.moveaxis(polygons[..., 2:, :] - polygons[..., :2, :], -2, 0)
        half: NDArray[np.float64] = _cross(first, second) / 2
        return half
    away = polygons - polygons[..., :1, :]
    area: NDArray[np.float64] = _cross(away, np.roll(away, -1, -2)).sum(-1) / 2
    return area


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
    a, b = _convex(a), _convex(b)
    seen = [np.concatenate((each.min(1), each.max(1)), 1) for each in (a, b)]
    rows, columns = np.nonzero(box_iou(*seen))
    frame = None if within is None else within[[[0, 1], [2, 1], [2, 3], [0, 3]]].astype(np.float64)
    common = np.zeros((len(a), len(b)))
    for start in range(0, len(rows), _PAIRS):
        i, j = rows[start : start + _PAIRS], columns[start : start + _PAIRS]
        common[i, j] = _areas(_shared(a[i], b[j]), frame)
    return common, _areas(a, frame), _areas(b, frame)


_PAIRS = 1 << 12
"""Pairs of corners that are looked at together: more do not fit a core's cache."""

_NOTHING = 1e-9
"""Square pixels that are none but for rounding."""

_ROUNDING = 1e-12
"""Share of a pair's extent by which a corner may lie beside the other's side and yet on it."""


def _convex(quads: NDArray[Any]) -> NDArray[np.float64]:
    """Returns the hulls of (N, 4, 2) corners, clockwise as seen; of three, one is there twice."""
    quads = _around(quads.astype(np.float64))
    before = np.roll(quads, 1, 1)
    inward = _cross(quads - before, np.roll(quads, -1, 1) - quads) < 0
    return np.where(inward[..., None], before, quads)


def _around(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns (N, P, 2) points in the order in which they lie around their middle."""
    away = points - points.mean(1, keepdims=True)
    order = np.argsort(np.arctan2(away[..., 1], away[..., 0]), axis=1)
    return np.take_along_axis(points, order[..., None], 1)


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the (...) areas that pairs of (..., 2) vectors span."""
    span: NDArray[np.float64] = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return span


def _areas(
    polygons: NDArray[np.float64], frame: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Returns the (N,) areas of convex (N, P, 2) polygons, of what lies in a (4, 2) frame."""
    if frame is not None:
        polygons = _shared(polygons, np.broadcast_to(frame, (len(polygons), 4, 2)))
    return polygon_area(polygons)


def _shared(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns what pairs of convex polygons, (N, P, 2) and (N, Q, 2), share: (N, P + Q + PQ, 2).

    All are clockwise as seen. The corners of the common part are those of either that lie in the
    other one, and where sides cross; places that are none are a corner again.
    """
    origin = a[:, :1]
    a, b = a - origin, b - origin
    along, other = np.roll(a, -1, 1) - a, np.roll(b, -1, 1) - b
    away = b[:, None] - a[:, :, None]  # (N, P, Q, 2), from each corner of a to each of b
    spread = _cross(along[:, :, None], other[:, None])
    of_b, of_a = _cross(along[:, :, None], away), _cross(other[:, None], -away)
    least = -_ROUNDING * np.square(away).sum(-1).max((1, 2))[:, None, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        share, share_of_other = of_a / spread, -of_b / spread
        crossings = a[:, :, None] + share[..., None] * along[:, :, None]
    crossed = (np.abs(share - 0.5) <= 0.5) & (np.abs(share_of_other - 0.5) <= 0.5)
    crossed &= np.abs(spread) > -least
    points = np.concatenate((a, b, crossings.reshape(len(a), -1, 2)), 1)
    real = ((of_a >= least).all(2), (of_b >= least).all(1), crossed.reshape(len(a), -1))
    known = np.concatenate(real, 1)
    corner = np.take_along_axis(points, known.argmax(1)[:, None, None], 1)
    return _around(np.where(known[..., None], points, corner)) + origin
