"""Outlines of the drawn shapes, as polygons around the origin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NAMES = ("disc", "ring", "triangle", "star", "cross")
"""Classes of the drawn shapes, in label order."""

SHIFT = 4  # OpenCV reads polygon corners in 1/16 pixel

Points = NDArray[np.float64]


def outline(label: int, rng: np.random.Generator) -> list[Points]:
    """Returns the contours of a shape, each (n, 2), in the unit disc before rotation and aspect."""
    name = NAMES[label]
    if name in ("disc", "ring"):
        disc = _polygon(48)
        return [disc] if name == "disc" else [disc, disc * rng.uniform(0.5, 0.7)]
    if name == "star":
        tips = _polygon(10)
        tips[1::2] *= rng.uniform(0.32, 0.42)
        return [tips]
    if name == "cross":
        arm = rng.uniform(0.14, 0.24)
        quarter = np.array([(arm, 1.0), (arm, arm), (1.0, arm)])
        turns = [np.array([(c, s), (-s, c)]) for c, s in ((1, 0), (0, -1), (-1, 0), (0, 1))]
        return [np.concatenate([quarter @ turn for turn in turns]) / np.hypot(arm, 1.0)]
    return [_polygon(3)]


def blob(rng: np.random.Generator) -> Points:
    """Returns a wobbly closed outline, (40, 2), about as large as the unit disc."""
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radius = np.ones_like(angle)
    for wave in (1, 2, 3):
        radius += rng.uniform(0.2, 0.4) * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def rotation(angle: float) -> Points:
    """Returns the (2, 2) matrix that turns column vectors by ``angle`` radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([(c, -s), (s, c)])


def fixed_point(points: Points) -> NDArray[np.int32]:
    """Turns continuous points into OpenCV's fixed point, where whole numbers are pixel centres."""
    return np.round((points - 0.5) * (1 << SHIFT)).astype(np.int32)


def _polygon(corners: int) -> Points:
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)
