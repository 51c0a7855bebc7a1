"""Draws pictures of what lies turned: number plates, pages in perspective, ships from above.

    python benchmarks/turned.py plates work/plates --seed 7

draws a set to learn from and one to score. Plates are thin, and their overlap suffers from a pixel;
banded ones have a first corner, and are for ``--order own``; a page fills the picture, its corners
far from the middle; ships are small and many. None of it is like the slips of the demo.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.quads import around
from heatpoint.geometry import Image
from heatpoint.synthetic import Points, add_noise, background, between, fill, write_set

UNIT = np.array(((0.0, 0.0), (1, 0), (1, 1), (0, 1)))
"""Corners of a thing that lies upright."""

TRIES = 20
"""Places that are tried for a thing before it is left out."""

INK = (30.0, 30.0, 40.0)
"""Colour of what is written on plates and pages."""


class Kind(NamedTuple):
    """What a drawn set is like.

    Attributes:
        pictures: To learn from, and to score.
        size: Height and width in pixels.
        objects: Fewest and most in a picture.
        names: Classes in label order.
        corners: Returns the corners (4, 2) of a thing, in a picture of a size.
        marks: Returns the rectangles (n, 4, 2) that are painted on a thing of a label, in ``UNIT``.
        colours: Of the things, by label; drawn anew for each where there are none.
    """

    pictures: tuple[int, int]
    size: tuple[int, int]
    objects: tuple[int, int]
    names: tuple[str, ...]
    corners: Callable[[tuple[int, int], np.random.Generator], Points]
    marks: Callable[[int, np.random.Generator], NDArray[np.float64]]
    colours: tuple[tuple[float, float, float], ...] = ()


def bar(lengths: tuple[float, float], aspects: tuple[float, float]) -> Callable[..., Points]:
    """Returns what draws rectangles of some lengths in pixels, so many times as long as wide."""

    def corners(size: tuple[int, int], rng: np.random.Generator) -> Points:
        length, angle = between(*lengths, rng), rng.uniform(0, 2 * np.pi)
        sides = np.array((length, length / between(*aspects, rng)))
        c, s = np.cos(angle), np.sin(angle)
        placed: Points = (UNIT - 0.5) * sides @ np.array(((c, s), (-s, c)))
        room = np.array(size[::-1]) - np.ptp(placed, 0) - 4
        return placed - placed.min(0) + 2 + rng.random(2) * room

    return corners


def sheet(size: tuple[int, int], rng: np.random.Generator) -> Points:
    """Returns the corners of a page that fills most of a picture, seen from one side or another."""
    whole, angle = np.array(size[::-1]), np.radians(rng.uniform(-20, 20))
    c, s = np.cos(angle), np.sin(angle)
    flat = (UNIT - 0.5) * whole * between(0.5, 0.8, rng) @ np.array(((c, s), (-s, c)))
    leaning = flat + rng.normal(0, 0.03, (4, 2)) * whole
    return np.clip(leaning + whole / 2 + rng.normal(0, 0.02, 2) * whole, 2, whole - 2)


def rectangles(starts: Points, ends: Points) -> NDArray[np.float64]:
    """Returns rectangles (n, 4, 2) from and to corners (n, 2)."""
    return starts[:, None] + UNIT * (ends - starts)[:, None]


def letters(label: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns four to eight signs in a row."""
    count = int(rng.integers(4, 9))
    left = (np.arange(count) + 0.25) / count
    high = np.full(count, 0.2)
    return rectangles(np.stack((left, high), 1), np.stack((left + 0.5 / count, 1 - high), 1))


def band(label: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns signs in a row behind a band, which tells one end from the other."""
    behind = letters(label, rng) * (0.85, 1) + (0.14, 0)
    return np.concatenate((rectangles(np.zeros((1, 2)), np.array(((0.1, 1.0),))), behind))


def words(label: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns lines of words of any length."""
    starts = list[tuple[float, float, float]]()
    for y in np.arange(0.08, 0.92, between(0.03, 0.06, rng)):
        x = 0.08
        while x < 0.85:
            end = min(x + rng.uniform(0.03, 0.14), 0.92)
            starts.append((x, float(y), end))
            x = end + 0.03
    x, y, end = np.array(starts).T
    return rectangles(np.stack((x, y), 1), np.stack((end, y + 0.01), 1))


def stripes(label: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns as many stripes across as the label says."""
    left = (np.arange(label) + 0.3) / max(1, label)
    low, high = np.zeros(label), np.ones(label)
    return rectangles(np.stack((left, low), 1), np.stack((left + 0.4 / max(1, label), high), 1))


KINDS = {
    "plates": Kind(
        (150, 50), (600, 900), (2, 8), ("white", "yellow"), bar((60, 260), (4, 9)), letters,
        ((230, 230, 230), (235, 200, 40)),
    ),
    "banded": Kind(
        (150, 50), (600, 900), (2, 8), ("white", "yellow"), bar((60, 260), (4, 9)), band,
        ((230, 230, 230), (235, 200, 40)),
    ),
    "pages": Kind((200, 50), (800, 600), (1, 1), ("page",), sheet, words, ((235, 235, 225),)),
    "ships": Kind(
        (60, 20), (1200, 1600), (30, 80), ("plain", "one", "three"), bar((30, 80), (1.5, 4)),
        lambda label, rng: stripes((0, 1, 3)[label], rng),
    ),
}  # fmt: skip


def draw(kind: Kind, rng: np.random.Generator) -> tuple[Image, ImageRecord]:
    """Returns a picture and its corners; things do not touch."""
    image, taken = background("turned", 32, kind.size, rng, True), np.zeros(kind.size, np.uint8)
    quads, labels = list[Points](), list[int]()
    for _ in range(int(rng.integers(kind.objects[0], kind.objects[1] + 1))):
        for _ in range(TRIES):
            corners, mask = kind.corners(kind.size, rng), np.zeros_like(taken)
            fill(mask, [corners], 1, smooth=False)
            if not (mask & taken).any():
                break
        else:
            continue
        taken |= mask
        label = int(rng.integers(len(kind.names)))
        colour = kind.colours[label] if kind.colours else rng.permutation((230.0, 150, 40)).tolist()
        fill(image, [corners], list(colour))
        turn = cv2.getPerspectiveTransform(UNIT.astype(np.float32), corners.astype(np.float32))
        for mark in kind.marks(label, rng):
            fill(image, [cv2.perspectiveTransform(mark[None], turn)[0]], list(INK))
        quads.append(corners)
        labels.append(label)
    shade = cv2.resize(
        rng.uniform(0.6, 1.1, (3, 3)), kind.size[::-1], interpolation=cv2.INTER_CUBIC
    )
    image = np.clip(image * shade[..., None], 0, 255).astype(np.uint8)
    add_noise(image, rng)
    points = np.array(quads).reshape(-1, 4, 2)
    named = np.array(labels, np.int64)
    return image, ImageRecord(Path(), kind.size, around(points), named, points=points)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=KINDS)
    parser.add_argument("folder", type=Path, help="folder to write to: train and val")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    kind = KINDS[chosen.what]
    for part, (name, count) in enumerate(zip(("train", "val"), kind.pictures, strict=True)):
        seed, empty = 2 * chosen.seed + part, Annotations(kind.names, [])
        folder = chosen.folder / name
        print(write_set(folder, count, kind.size, seed, empty, lambda rng: draw(kind, rng)))


if __name__ == "__main__":
    main()
