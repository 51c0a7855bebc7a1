"""Draws pictures of shapes whose boxes are known exactly: for the demo, the tests and first trials.

A picture holds discs, rings, triangles, stars and crosses of many sizes, aspects and angles, which
overlap each other and are cut by the border. They are vivid; what lies under them is dull: uneven
grey, lines, and blobs that belong to no class, all under noise. So colour says where something is,
but neither colour nor size says what it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, ImageRecord
from heatpoint.geometry import Image
from heatpoint.synthetic import Points, add_noise, background, between, fill, write_set

NAMES = ("disc", "ring", "triangle", "star", "cross")
"""Classes of the drawn shapes, in label order."""

_EMPTY_SHARE = 0.08
_SMALLEST, _LARGEST = 1 / 6, 5 / 12  # diameters, as shares of the picture's shorter side
_VISIBLE = 0.75  # a shape keeps at least this share of its pixels in view
_CONTRAST = 100.0  # least distance in RGB between a shape and what lies under it


@dataclass(frozen=True)
class Scene:
    """One drawn picture and the truth about it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        boxes: (N, 4) float64, xyxy in image pixels: the extent of the pixels in ``owner`` that
            show the shape, so of its visible part, as people label photographs.
        labels: (N,) int64, index into ``NAMES``.
        areas: (N,) float64, number of pixels that show the shape.
        owner: (H, W) int16, number of the shape that a pixel shows, -1 for the background. A pixel
            belongs to a shape that covers half of it or more.
    """

    image: Image
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    areas: NDArray[np.float64]
    owner: NDArray[np.int16]


def draw_shapes(
    size: tuple[int, int], rng: np.random.Generator, clutter: bool = True
) -> tuple[Image, NDArray[np.float64], NDArray[np.int64]]:
    """Draws one picture and returns its image, boxes and labels, as ``Scene`` describes them.

    Args:
        size: Height and width of the picture in pixels, each at least 32.
        rng: Source of every random choice.
        clutter: False leaves out lines, blobs, noise and shading: flat shapes on one colour.
    """
    scene = draw_scene(size, rng, clutter)
    return scene.image, scene.boxes, scene.labels


def draw_scene(
    size: tuple[int, int],
    rng: np.random.Generator,
    clutter: bool = True,
    diameters: tuple[float, float] | None = None,
) -> Scene:
    """Draws one picture and returns the whole truth about it.

    Args:
        size: As for ``draw_shapes``.
        rng: As for ``draw_shapes``.
        clutter: As for ``draw_shapes``.
        diameters: From and to how many pixels the shapes measure; by default they are large.

    Raises:
        HeatpointError: The picture is too small to hold a shape.
    """
    image = background("shapes", 32, size, rng, clutter)
    owner = np.full(size, -1, dtype=np.int16)
    whole: list[int] = []
    labels: list[int] = []
    low, high, unit = (*diameters, 1) if diameters else (_SMALLEST, _LARGEST, min(size))
    # Many, because a network learns sizes from objects, however few pictures they are in.
    wanted = 0 if rng.random() < _EMPTY_SHARE else 1 + int(min(rng.poisson(4.0), 10))
    for _ in range(wanted):
        label = int(rng.integers(len(NAMES)))
        for _ in range(8):
            diameter = between(low, high, rng) * unit
            shape = _placed(_outline(label, rng), diameter, size, rng)
            if _fits(shape, owner, whole):
                break
        else:
            continue  # the picture is full: this shape is left out of image and labels alike
        _paint(image, shape, rng, clutter)
        owner[shape.at][shape.solid] = len(labels)
        whole.append(shape.whole)
        labels.append(label)
    if clutter:
        add_noise(image, rng)
    extents = [cv2.boundingRect((owner == n).view(np.uint8)) for n in range(len(labels))]
    boxes = np.array(extents, np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    areas = _pixels(owner, len(labels)).astype(np.float64)
    return Scene(image, boxes, np.array(labels, dtype=np.int64), areas, owner)


def write_shapes(
    folder: str | Path,
    count: int,
    size: tuple[int, int] = (192, 192),
    seed: int = 0,
    diameters: tuple[float, float] | None = None,
) -> Path:
    """Writes a data set of drawn shapes and returns the path of its COCO JSON file.

    The folder receives ``annotations.json`` and ``images/000000.jpg`` onwards. Picture ``i`` is a
    pure function of ``(seed, i)``, size and diameters; sets of different seeds share no picture.

    Args:
        folder: Where to write; made if missing.
        count: Number of pictures.
        size: Height and width of every picture in pixels.
        seed: Chooses the pictures.
        diameters: From and to how many pixels the shapes measure; by default they are large.

    Raises:
        HeatpointError: ``count`` is below 1, ``size`` is too small, or the folder is not writable.
    """

    def draw(rng: np.random.Generator) -> tuple[Image, ImageRecord]:
        scene = draw_scene(size, rng, diameters=diameters)
        return scene.image, ImageRecord(Path(), size, scene.boxes, scene.labels, areas=scene.areas)

    return write_set(folder, count, size, seed, Annotations(NAMES, []), draw)


class _Shape(NamedTuple):
    """A shape that was put somewhere.

    Attributes:
        at: Rows and columns of its window, as far as it is in the picture.
        coverage: (h, w) uint8, how much of each pixel there the shape covers, of 255.
        whole: Number of pixels that show the shape, in the picture and beyond it.
    """

    at: tuple[slice, slice]
    coverage: Image
    whole: int

    @property
    def solid(self) -> NDArray[np.bool_]:
        """(h, w), which pixels show the shape: those it covers half of or more."""
        return self.coverage >= 128


def _outline(label: int, rng: np.random.Generator) -> list[Points]:
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


def _polygon(corners: int) -> Points:
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _placed(
    contours: list[Points], diameter: float, size: tuple[int, int], rng: np.random.Generator
) -> _Shape:
    """Turns and squeezes a shape, and puts it somewhere."""
    axis, angle = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
    squeeze = np.diag((1.0, rng.uniform(0.7, 1.0)))
    matrix = _rotation(axis) @ squeeze @ _rotation(angle) * (diameter / 2)
    centre = rng.random(2) * (size[1], size[0])
    contours = [contour @ matrix.T + centre for contour in contours]
    corner = np.floor(contours[0].min(0)).astype(int) - 2
    x, y = corner.tolist()
    width, height = (np.ceil(contours[0].max(0)).astype(int) + 2 - corner).tolist()
    mask = np.zeros((height, width), dtype=np.uint8)
    fill(mask, [contour - corner for contour in contours], 255)
    rows = slice(max(y, 0), min(y + height, size[0]))
    columns = slice(max(x, 0), min(x + width, size[1]))
    inside = mask[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
    return _Shape((rows, columns), inside, int(np.count_nonzero(mask >= 128)))


def _rotation(angle: float) -> Points:
    """Returns the (2, 2) matrix that turns column vectors by ``angle`` radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([(c, -s), (s, c)])


def _pixels(owner: NDArray[np.int16], count: int) -> NDArray[np.int64]:
    """Returns how many pixels show each of so many shapes, (count,)."""
    return np.bincount(owner.ravel() + 1, minlength=count + 1)[1:]


def _fits(shape: _Shape, owner: NDArray[np.int16], whole: list[int]) -> bool:
    """Tells whether a shape, and every shape it covers, would keep enough pixels in view."""
    if np.count_nonzero(shape.solid) < _VISIBLE * shape.whole:
        return False
    hidden = _pixels(owner[shape.at][shape.solid], len(whole))
    if not hidden.any():
        return True
    left = _pixels(owner, len(whole)) - hidden
    return bool(np.all(left >= _VISIBLE * np.array(whole)))


def _paint(image: Image, shape: _Shape, rng: np.random.Generator, clutter: bool) -> None:
    """Blends a shape into the picture by its coverage; clutter shades it along one direction.

    Its colour is vivid and far enough from the mean of the pixels it covers.
    """
    at, under = shape.at, image[shape.at][shape.solid].mean(0)
    while True:
        values = rng.integers(170, 256), rng.integers(80), rng.integers(256)
        colour = rng.permutation(np.array(values, np.float64))
        if float(np.linalg.norm(colour - under)) > _CONTRAST:
            break
    paint = colour.astype(np.float32)
    if clutter:
        slope = rng.uniform(-25, 25, size=2).astype(np.float32)
        down, along = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape.coverage.shape)
        paint = paint + (down[:, None] * slope[0] + along * slope[1])[:, :, None]
    weight = shape.coverage.astype(np.float32)[:, :, None] / 255
    mixed = image[at] * (1 - weight) + paint * weight
    image[at] = np.clip(np.round(mixed), 0, 255).astype(np.uint8)
