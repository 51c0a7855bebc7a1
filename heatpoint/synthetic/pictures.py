"""Draws pictures of shapes whose boxes are known exactly: for the demo, the tests and first trials.

A picture holds discs, rings, triangles, stars and crosses of many sizes, aspects and angles, which
overlap each other and are cut by the border. They are vivid; what lies under them is dull: uneven
grey, lines, and blobs that belong to no class, all under noise. So colour says where something is,
but neither colour nor size says what it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, Objects
from heatpoint.errors import HeatpointError
from heatpoint.geometry import Image
from heatpoint.synthetic import Points, add_noise, background, fill, write_set

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


def draw_scene(size: tuple[int, int], rng: np.random.Generator, clutter: bool = True) -> Scene:
    """Draws one picture and returns the whole truth about it; arguments as for ``draw_shapes``.

    Raises:
        HeatpointError: The picture is too small to hold a shape.
    """
    height, width = size
    if min(size) < 32:
        raise HeatpointError(
            f"shapes are drawn on pictures of 32x32 pixels or more, not {height}x{width}"
        )
    image = background(size, rng, clutter)
    owner = np.full(size, -1, dtype=np.int16)
    whole: list[int] = []
    labels: list[int] = []
    # Many, because a network learns sizes from objects, however few pictures they are in.
    wanted = 0 if rng.random() < _EMPTY_SHARE else 1 + int(min(rng.poisson(4.0), 10))
    for _ in range(wanted):
        label = int(rng.integers(len(NAMES)))
        for _ in range(8):
            share = float(np.exp(rng.uniform(np.log(_SMALLEST), np.log(_LARGEST))))
            x, y, mask = _place(_outline(label, rng), share * min(size), size, rng)
            if _fits(mask, x, y, owner, whole):
                break
        else:
            continue  # the picture is full: this shape is left out of image and labels alike
        solid, inside, at = _crop(mask, x, y, size)
        _paint(image, inside, at, _colour_against(image, solid, at, rng), rng, clutter)
        owner[at][solid] = len(labels)
        whole.append(int(np.count_nonzero(mask >= 128)))
        labels.append(label)
    if clutter:
        add_noise(image, rng)
    boxes, areas = _extents(owner, len(labels))
    return Scene(image, boxes, np.array(labels, dtype=np.int64), areas, owner)


def write_shapes(
    folder: str | Path, count: int, size: tuple[int, int] = (192, 192), seed: int = 0
) -> Path:
    """Writes a data set of drawn shapes and returns the path of its COCO JSON file.

    The folder receives ``annotations.json`` and ``images/000000.jpg`` onwards. Picture ``i`` is a
    pure function of ``(seed, i, size)``; data sets of different seeds share no picture.

    Args:
        folder: Where to write; made if missing.
        count: Number of pictures.
        size: Height and width of every picture in pixels.
        seed: Chooses the pictures.

    Raises:
        HeatpointError: ``count`` is below 1, ``size`` is too small, or the folder is not writable.
    """

    def draw(rng: np.random.Generator) -> tuple[Image, Objects]:
        scene = draw_scene(size, rng)
        objects = Objects()
        for box, label, area in zip(scene.boxes, scene.labels, scene.areas, strict=True):
            objects.add(tuple(box.tolist()), int(label), area=float(area))
        return scene.image, objects

    return write_set(folder, count, size, seed, Annotations(NAMES, []), draw)


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


def _place(
    contours: list[Points],
    diameter: float,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[int, int, Image]:
    """Puts a shape somewhere: returns left, top and coverage (h, w) uint8 of its own window."""
    axis, angle = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
    squeeze = np.diag((1.0, rng.uniform(0.7, 1.0)))
    matrix = _rotation(axis) @ squeeze @ _rotation(angle) * (diameter / 2)
    centre = rng.random(2) * (size[1], size[0])
    contours = [contour @ matrix.T + centre for contour in contours]
    corner = np.floor(contours[0].min(0)).astype(int) - 2
    extent = np.ceil(contours[0].max(0)).astype(int) + 2 - corner
    mask = np.zeros((extent[1], extent[0]), dtype=np.uint8)
    fill(mask, [contour - corner for contour in contours], 255)
    return int(corner[0]), int(corner[1]), mask


def _rotation(angle: float) -> Points:
    """Returns the (2, 2) matrix that turns column vectors by ``angle`` radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([(c, -s), (s, c)])


def _crop(
    mask: Image, x: int, y: int, size: tuple[int, int]
) -> tuple[NDArray[np.bool_], Image, tuple[slice, slice]]:
    """Returns the part of a window inside the picture: own pixels, coverage, and where it lies."""
    rows = slice(max(y, 0), min(y + mask.shape[0], size[0]))
    columns = slice(max(x, 0), min(x + mask.shape[1], size[1]))
    inside = mask[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
    return inside >= 128, inside, (rows, columns)


def _fits(mask: Image, x: int, y: int, owner: NDArray[np.int16], whole: list[int]) -> bool:
    """Tells whether a shape, and every shape it covers, would keep enough pixels in view."""
    solid, _, at = _crop(mask, x, y, (owner.shape[0], owner.shape[1]))
    if np.count_nonzero(solid) < _VISIBLE * np.count_nonzero(mask >= 128):
        return False
    hidden = np.bincount(owner[at][solid] + 1, minlength=len(whole) + 1)[1:]
    if not hidden.any():
        return True
    shown = np.bincount(owner.ravel() + 1, minlength=len(whole) + 1)[1:]
    return bool(np.all(shown - hidden >= _VISIBLE * np.array(whole)))


def _colour_against(
    image: Image, solid: NDArray[np.bool_], at: tuple[slice, slice], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Returns a vivid colour far enough from the mean of the pixels it will cover."""
    under = image[at][solid].mean(0)
    while True:
        strong, weak, any_ = rng.integers(170, 256), rng.integers(80), rng.integers(256)
        colour = rng.permutation(np.array([strong, weak, any_], dtype=np.float64))
        if float(np.linalg.norm(colour - under)) > _CONTRAST:
            return colour


def _paint(
    image: Image,
    coverage: Image,
    at: tuple[slice, slice],
    colour: NDArray[np.float64],
    rng: np.random.Generator,
    clutter: bool,
) -> None:
    """Blends a shape into the picture by its coverage; clutter shades it along one direction."""
    height, width = coverage.shape
    fill = np.broadcast_to(colour.astype(np.float32), (height, width, 3))
    if clutter:
        slope = rng.uniform(-25, 25, size=2).astype(np.float32)
        shade = (
            np.linspace(-1, 1, height, dtype=np.float32)[:, None] * slope[0]
            + np.linspace(-1, 1, width, dtype=np.float32) * slope[1]
        )
        fill = fill + shade[:, :, None]
    weight = coverage.astype(np.float32)[:, :, None] / 255
    mixed = image[at] * (1 - weight) + fill * weight
    image[at] = np.clip(np.round(mixed), 0, 255).astype(np.uint8)


def _extents(
    owner: NDArray[np.int16], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns boxes (N, 4) and areas (N,) of the pixels that show each shape."""
    boxes = np.zeros((count, 4))
    areas = np.zeros(count)
    for number in range(count):
        mask = (owner == number).view(np.uint8)
        left, top, width, height = cv2.boundingRect(mask)
        boxes[number] = left, top, left + width, top + height
        areas[number] = cv2.countNonZero(mask)
    return boxes, areas
