"""Draws cells as under a microscope, whose middles are known exactly: for the demo and the tests.

There are pale cells and spotted ones, alone and in clumps in which they touch and cover each other
a little. Light is uneven, and the picture is blurred and noisy.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, ImageRecord
from heatpoint.errors import HeatpointError
from heatpoint.geometry import Image
from heatpoint.synthetic import add_noise, fill, write_set

NAMES = ("pale", "spotted")
"""Classes of the drawn cells, in label order."""

_RADII = 5.0, 8.0  # pixels
_APART = 0.85  # middles are at least so many sums of both radii apart
_CLUMPED = 0.6  # share of the cells that are put beside another one
_TRIES = 20
_LEAST = 32  # pixels of a side


@dataclass(frozen=True)
class Cells:
    """One drawn picture and the truth about it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        points: (N, 2) float64, the middles, x and y in image pixels.
        labels: (N,) int64, index into ``NAMES``.
    """

    image: Image
    points: NDArray[np.float64]
    labels: NDArray[np.int64]


def draw_cells(size: tuple[int, int], rng: np.random.Generator, density: float = 1.0) -> Cells:
    """Draws one picture.

    Args:
        size: Height and width in pixels, each at least 32.
        rng: Source of every random choice.
        density: Cells for every square of 32 pixels, on average.

    Raises:
        HeatpointError: The picture is too small.
    """
    height, width = size
    if min(size) < _LEAST:
        raise HeatpointError(
            f"cells are drawn on pictures of {_LEAST}x{_LEAST} pixels or more, not {height}x{width}"
        )
    wanted = rng.poisson(rng.uniform(0.2, 1.8) * density * height * width / _LEAST**2)
    radii = rng.uniform(*_RADII, wanted)
    points = np.zeros((0, 2))
    kept: list[float] = []
    for radius in radii.tolist():
        place = _place(points, np.array(kept), radius, size, rng)
        if place is not None:
            points, kept = np.concatenate((points, place[None])), [*kept, radius]
    labels = (rng.random(len(points)) < rng.uniform(0.2, 0.6)).astype(np.int64)
    ground = rng.uniform(190, 235, 3) * rng.uniform(0.9, 1.0, 3)
    tint = ground * rng.uniform((0.72, 0.5, 0.6), (0.9, 0.7, 0.85))
    image = np.tile(np.round(ground).astype(np.uint8), (height, width, 1))
    for point, radius, label in zip(points, kept, labels.tolist(), strict=True):
        _paint(image, point, radius, label, tint * rng.uniform(0.93, 1.07), rng)
    image[:] = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 1.1))
    light = cv2.resize(
        rng.uniform(0.55, 1.1, (3, 3)), (width, height), interpolation=cv2.INTER_CUBIC
    )
    image = np.clip(np.round(image * light[..., None]), 0, 255).astype(np.uint8)
    add_noise(image, rng)
    return Cells(image, points, labels)


def _place(
    points: NDArray[np.float64],
    radii: NDArray[np.float64],
    radius: float,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> NDArray[np.float64] | None:
    """Returns where there is room for one more cell, None where none was found."""
    end = np.array(size[::-1], np.float64)
    for _ in range(_TRIES):
        place = rng.uniform(2, end - 2)
        if len(points) and rng.random() < _CLUMPED:
            other, angle = int(rng.integers(len(points))), rng.uniform(0, 2 * np.pi)
            away = (radius + radii[other]) * rng.uniform(_APART, 1.05)
            place = points[other] + away * np.array((np.cos(angle), np.sin(angle)))
        inside = bool(((place > 1) & (place < end - 1)).all())
        apart = np.linalg.norm(points - place, axis=1) >= _APART * (radii + radius)
        if inside and apart.all():
            return place
    return None


def _paint(
    image: Image,
    point: NDArray[np.float64],
    radius: float,
    label: int,
    colour: NDArray[np.float64],
    rng: np.random.Generator,
) -> None:
    """Paints a cell; a spotted one has dark grains, a pale one a lighter middle."""
    fill(image, [_oval(rng, 0.85) * radius + point], colour.tolist())
    if NAMES[label] == "pale":
        lighter = colour + (255 - colour) * rng.uniform(0.2, 0.4)
        fill(image, [_oval(rng, 0.9) * radius * rng.uniform(0.4, 0.55) + point], lighter.tolist())
        return
    darker = colour * rng.uniform(0.35, 0.6)
    for _ in range(int(rng.integers(2, 5))):
        grain = point + rng.uniform(-0.45, 0.45, 2) * radius
        fill(image, [_oval(rng, 0.7) * radius * rng.uniform(0.2, 0.35) + grain], darker.tolist())


def _oval(rng: np.random.Generator, least: float) -> NDArray[np.float64]:
    """Returns an ellipse around (0, 0), (24, 2), of radius 1 and from ``least`` on."""
    turn = rng.uniform(0, np.pi)
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    oval = np.stack((np.cos(angle), rng.uniform(least, 1) * np.sin(angle)), 1)
    return oval @ np.array(((np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))))


def write_cells(
    folder: str | Path, count: int, size: tuple[int, int] = (128, 128), seed: int = 0
) -> Path:
    """Writes a data set of drawn cells and returns the path of its COCO JSON file.

    Its boxes have no extent, so that it is read as points. Picture ``i`` is a pure function of
    ``(seed, i)`` and size; sets of different seeds share no picture.

    Args:
        folder: Where to write; made if missing.
        count: Number of pictures.
        size: Height and width of every picture in pixels.
        seed: Chooses the pictures.

    Raises:
        HeatpointError: ``count`` is below 1, ``size`` is too small, or the folder is not writable.
    """

    def draw(rng: np.random.Generator) -> tuple[Image, ImageRecord]:
        cells = draw_cells(size, rng)
        boxes = np.tile(cells.points, 2)
        return cells.image, ImageRecord(Path(), size, boxes, cells.labels)

    return write_set(folder, count, size, seed, Annotations(NAMES, []), draw)
