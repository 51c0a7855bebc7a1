"""Draws slips of paper that lie about, turned and over each other: four corners, for the demo.

There are plain, striped and framed ones, of all lengths and colours. Pattern alone says what a slip
is; none has a first corner, for it looks the same from both ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.quads import around
from heatpoint.geometry import Image
from heatpoint.synthetic import Points, add_noise, background, between, fill, write_set

NAMES = ("plain", "striped", "framed")
"""Classes of the drawn slips, in label order."""

_LEAST = 32  # pixels of a side of the picture
_LENGTHS = 1 / 5, 2 / 5  # of the longer side, as shares of the picture's shorter side
_ASPECTS = 1.0, 2.5
_VISIBLE = 0.6  # a slip keeps at least this share of its pixels in view
_TRIES = 8
_CORNERS = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]) / 2


@dataclass(frozen=True)
class Slips:
    """One drawn picture and the truth about it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        quads: (N, 4, 2) float64, corners in image pixels, clockwise, covered ones too.
        labels: (N,) int64, index into ``NAMES``.
    """

    image: Image
    quads: NDArray[np.float64]
    labels: NDArray[np.int64]


def draw_slips(size: tuple[int, int], rng: np.random.Generator) -> Slips:
    """Draws one picture; later slips lie over earlier ones.

    Args:
        size: Height and width in pixels, each at least 32.
        rng: Source of every random choice.

    Raises:
        HeatpointError: The picture is too small.
    """
    image = background("slips", _LEAST, size, rng, clutter=True)
    owner, kept = np.full(size, -1, np.int16), list[Points]()
    labels, whole = list[int](), list[int]()
    for _ in range(int(rng.integers(1, 9))):
        for _ in range(_TRIES):
            slip = _placed(size, rng)
            if _fits(slip, owner, whole):
                break
        else:
            continue  # the picture is full
        label = int(rng.integers(len(NAMES)))
        _paint(image, slip, label, rng)
        kept.append(slip)
        labels.append(label)
    add_noise(image, rng)
    return Slips(image, np.array(kept).reshape(-1, 4, 2), np.array(labels, np.int64))


def _placed(size: tuple[int, int], rng: np.random.Generator) -> Points:
    """Returns the corners of a slip anywhere, (4, 2), turned by any angle."""
    length = between(*_LENGTHS, rng) * min(size)
    sides = np.array((length, length / between(*_ASPECTS, rng)))
    angle = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(angle), np.sin(angle)
    turned: Points = _CORNERS * sides @ np.array(((c, s), (-s, c)))
    return turned + rng.random(2) * size[::-1]


def _fits(slip: Points, owner: NDArray[np.int16], whole: list[int]) -> bool:
    """Puts a slip over the others if all keep enough in view, and tells whether it did.

    Args:
        slip: Its corners.
        owner: (H, W), number of the slip that a pixel shows; written to.
        whole: Pixels of each slip; appended to.
    """
    mask = np.zeros(owner.shape, np.uint8)
    fill(mask, [slip], 1, smooth=False)
    covered, (one, other) = mask > 0, (slip[1] - slip[0], slip[3] - slip[0])
    own = round(abs(float(one[0] * other[1] - one[1] * other[0])))
    left = np.bincount(owner[~covered] + 1, minlength=len(whole) + 1)[1:]
    if covered.sum() < _VISIBLE * own or (left < _VISIBLE * np.array(whole)).any():
        return False
    owner[covered] = len(whole)
    whole.append(own)
    return True


def _paint(image: Image, slip: Points, label: int, rng: np.random.Generator) -> None:
    """Paints a slip in a vivid colour, with stripes across it or a frame in a darker one."""
    colour = rng.permutation(rng.uniform((170, 0, 0), (255, 80, 255)))
    darker = (colour * rng.uniform(0.25, 0.5)).tolist()
    fill(image, [slip], colour.tolist())
    middle = slip.mean(0)
    if NAMES[label] == "framed":
        fill(image, [slip, (slip - middle) * rng.uniform(0.6, 0.7) + middle], darker)
    if NAMES[label] == "striped":
        for start in (0.14, 0.44, 0.74):
            ends = np.array((start, start + 0.12))[:, None]
            upper, lower = (a + ends * (b - a) for a, b in (slip[:2], slip[:1:-1]))
            fill(image, [np.concatenate((upper, lower[::-1]))], darker)


def write_slips(
    folder: str | Path, count: int, size: tuple[int, int] = (128, 128), seed: int = 0
) -> Path:
    """Writes a data set of drawn slips and returns the path of its COCO JSON file.

    Picture ``i`` is a pure function of ``(seed, i)`` and size; sets of different seeds share no
    picture.

    Args:
        folder: Where to write; made if missing.
        count: Number of pictures.
        size: Height and width of every picture in pixels.
        seed: Chooses the pictures.

    Raises:
        HeatpointError: ``count`` is below 1, ``size`` is too small, or the folder is not writable.
    """

    def draw(rng: np.random.Generator) -> tuple[Image, ImageRecord]:
        slips = draw_slips(size, rng)
        boxes = around(slips.quads)
        return slips.image, ImageRecord(Path(), size, boxes, slips.labels, points=slips.quads)

    return write_set(folder, count, size, seed, Annotations(NAMES, []), draw)
