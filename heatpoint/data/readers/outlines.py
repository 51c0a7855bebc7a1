"""Where shapes are that tools let people draw: their upright boxes, and their four corners."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from heatpoint.data import Box

ROTATED = "rotated box"
"""What an outline is called that is a turned box."""

Corners = Sequence[tuple[float, float]]
"""x and y of four corners, one after the other."""


class Outline(NamedTuple):
    """Where a shape is.

    Attributes:
        box: The upright box around it; None if it has none.
        kind: As what it was drawn if not as an upright box, or why it has none; "" for one.
        corners: Its four corners; None if it has others, or is an upright box.
    """

    box: Box | None
    kind: str = ""
    corners: Corners | None = None

    @classmethod
    def of(cls, corners: object, kind: str) -> Outline:
        """Returns the outline of a list of x and y."""
        return cls(around(corners), kind, four(corners))

    @classmethod
    def turned(cls, box: Box, degrees: float, pivot: tuple[float, float]) -> Outline:
        """Returns the outline of a box that was turned clockwise about a point, if it was."""
        return cls.of(turned(box, degrees, pivot), ROTATED) if degrees else cls(box)


def number(value: object) -> float:
    """Returns a value of a file as a number, NaN if it is none."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan


def numbers(values: Any, *keys: str) -> list[float]:
    """Returns what stands under some keys of a mapping or element, NaN for what is no number."""
    return [number(values.get(key)) for key in keys]


def around(points: object) -> Box | None:
    """Returns the upright box around a list of x and y, None if it is no such list."""
    if not isinstance(points, list | tuple) or not points:
        return None
    if not all(isinstance(point, list | tuple) and len(point) >= 2 for point in points):
        return None
    xs, ys = [number(point[0]) for point in points], [number(point[1]) for point in points]
    if any(map(math.isnan, xs + ys)):
        return math.nan, math.nan, math.nan, math.nan
    return min(xs), min(ys), max(xs), max(ys)


def four(points: Any) -> Corners | None:
    """Returns a list of x and y as corners, None if it is no list of four; a fifth may close it."""
    if around(points) is None:
        return None
    if len(points) == 5 and points[0] == points[4]:
        points = points[:4]
    if len(points) != 4:
        return None
    return [(number(point[0]), number(point[1])) for point in points]


def turned(box: Box, degrees: float, pivot: tuple[float, float]) -> Corners:
    """Returns the corners of a box that was turned clockwise about a point."""
    sine, cosine = _sine_cosine(degrees)
    x1, y1, x2, y2 = box
    px, py = pivot
    return [
        (px + (x - px) * cosine - (y - py) * sine, py + (x - px) * sine + (y - py) * cosine)
        for x, y in ((x1, y1), (x2, y1), (x2, y2), (x1, y2))
    ]


def ellipse_box(cx: float, cy: float, rx: float, ry: float, degrees: float = 0.0) -> Box:
    """Returns the upright box around an ellipse that was turned about its middle."""
    sine, cosine = _sine_cosine(degrees)
    half_x, half_y = math.hypot(rx * cosine, ry * sine), math.hypot(rx * sine, ry * cosine)
    return cx - half_x, cy - half_y, cx + half_x, cy + half_y


def _sine_cosine(degrees: float) -> tuple[float, float]:
    """Returns both of an angle; NaN, which readers leave out and say, of one that is not finite."""
    if not math.isfinite(degrees):
        return math.nan, math.nan
    return math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
