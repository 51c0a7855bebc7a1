"""What four corners cover of each other, written down once more, to judge the library by.

All pairs are compared, in float64: the corners of the common part of two convex polygons are those
of either that lie in the other one, and the places where sides cross.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.geometry.polygons import polygon_area


def reference_iou(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Returns the (N, M) overlaps of corners (N, 4, 2) and (M, 4, 2); see ``quad_iou``."""
    a, b = _convex(a), _convex(b)
    i, j = (each.ravel() for each in np.indices((len(a), len(b))))
    common = np.zeros((len(a), len(b)))
    for start in range(0, len(i), _PAIRS):
        part = slice(start, start + _PAIRS)
        common[i[part], j[part]] = polygon_area(_shared(a[i[part]], b[j[part]]))
    whole: NDArray[np.float64] = polygon_area(a)[:, None] + polygon_area(b) - common
    return common / whole


_PAIRS = 1 << 12
"""Pairs that are looked at together."""

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
