"""Draws pictures of very many objects, classes or tiny things, or puts photographs together.

    python benchmarks/crowds.py aerial work/aerial
    python benchmarks/crowds.py ../shared/data/bccd:train work/cells/train --side 3

No folder of real data has pictures with hundreds of objects, or enough of them for 100 classes. The
first command draws a set to learn from and one to score; the second makes one picture of each 3 x 3
of a data set's, in their order, with all of their labels: 9 of bccd's hold some 110 cells in
1440x1920 pixels.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from colorsys import hsv_to_rgb
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.images import load_image
from heatpoint.data.readers import read
from heatpoint.geometry import Image
from heatpoint.synthetic import add_noise, background, between, fill, write_set

NAMES = ("disc", "square", "triangle")
"""Classes of the drawn sets, in all colours; of those with hues, in each hue."""


class Kind(NamedTuple):
    """What a drawn set is like.

    Attributes:
        pictures: To learn from, and to score.
        size: Height and width in pixels.
        objects: Fewest and most in a picture.
        sides: Least and greatest side of an object in pixels, the root of its box's area.
        aspect: Greatest ratio of the sides of a box.
        hues: Colours that tell classes apart, none if 0.
    """

    pictures: tuple[int, int]
    size: tuple[int, int]
    objects: tuple[int, int]
    sides: tuple[float, float]
    aspect: float = 1.3
    hues: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Classes in label order."""
        return tuple(f"{name} {hue}" for hue in range(self.hues) for name in NAMES) or NAMES


KINDS = {
    "aerial": Kind((60, 30), (1500, 2000), (60, 200), (9, 16)),
    "dense": Kind((60, 20), (700, 1000), (150, 300), (16, 30)),
    "medium": Kind((150, 50), (480, 640), (30, 45), (24, 44)),
    "crowd": Kind((40, 12), (1100, 1600), (500, 900), (12, 22)),
    "mixed": Kind((150, 50), (900, 1200), (5, 20), (10, 500), 1.5),
    "classes": Kind((300, 60), (480, 640), (4, 9), (40, 120), hues=34),
}
TRIES = 40
"""Places that are tried for an object before it is left out."""

OUTLINES = {
    "disc": np.stack([f(np.linspace(0, 2 * np.pi, 32)) for f in (np.cos, np.sin)], 1),
    "square": np.array(((-1, -1), (1, -1), (1, 1), (-1, 1)), np.float64),
    "triangle": np.array(((0, -1), (1, 1), (-1, 1)), np.float64),
}


def draw(kind: Kind, rng: np.random.Generator) -> tuple[Image, ImageRecord]:
    """Returns a picture and its boxes, which lie within it and do not touch."""
    image = background("shapes", 32, kind.size, rng, clutter=True)
    boxes, labels = np.zeros((0, 4)), list[int]()
    for _ in range(int(rng.integers(kind.objects[0], kind.objects[1] + 1))):
        box = _placed(kind, boxes, rng)
        if box is None:
            continue
        label = int(rng.integers(len(kind.names)))
        outline = (
            OUTLINES[NAMES[label % len(NAMES)]] * (box[2:] - box[:2]) / 2 + (box[:2] + box[2:]) / 2
        )
        if kind.hues:
            vivid = hsv_to_rgb(label // len(NAMES) / kind.hues, 0.8, between(0.6, 1, rng))
            colour = np.round(np.multiply(vivid, 255))
        else:
            colour = rng.permutation([rng.integers(170, 256), rng.integers(80), rng.integers(256)])
        fill(image, [outline], colour.tolist())
        boxes = np.vstack((boxes, box))
        labels.append(label)
    add_noise(image, rng)
    return image, ImageRecord(Path(), kind.size, boxes, np.array(labels, np.int64))


def _placed(
    kind: Kind, others: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64] | None:
    """Returns a box that is a pixel or more away from the others, or None if there is no room."""
    for _ in range(TRIES):
        side, stretch = between(*kind.sides, rng), between(1 / kind.aspect, kind.aspect, rng) ** 0.5
        extent = np.array((side * stretch, side / stretch))
        room = kind.size[::-1] - extent - 2
        if (room <= 0).any():
            continue
        start = 1 + rng.random(2) * room
        apart = (start > others[:, 2:] + 1) | (start + extent < others[:, :2] - 1)
        if apart.any(1).all():
            return np.concatenate((start, start + extent))
    return None


def together(data: Annotations, side: int) -> Iterator[tuple[Image, ImageRecord]]:
    """Yields pictures of ``side`` x ``side`` of a data set's, which have one size; no rest."""
    height, width = load_image(data.images[0].path).shape[:2]
    for start in range(0, len(data) - side**2 + 1, side**2):
        image = np.zeros((side * height, side * width, 3), np.uint8)
        boxes, labels = [], []
        for place, record in enumerate(data.images[start : start + side**2]):
            y, x = np.array(divmod(place, side)) * (height, width)
            picture = load_image(record.path)
            if picture.shape != (height, width, 3):
                raise SystemExit(f"{record.path} has another size than the first: give one size")
            image[y : y + height, x : x + width] = picture
            boxes.append(record.boxes + np.tile((x, y), 2))
            labels.append(record.labels)
        size = side * height, side * width
        yield image, ImageRecord(Path(), size, np.concatenate(boxes), np.concatenate(labels))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", help=f"{', '.join(KINDS)}, or a data set with pictures of one size")
    parser.add_argument("folder", type=Path, help="folder to write to: train and val, or one set")
    parser.add_argument("--side", type=int, default=3, help="pictures of a data set in a row")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    if kind := KINDS.get(chosen.what):
        for part, (name, count) in enumerate(zip(("train", "val"), kind.pictures, strict=True)):
            folder, empty = chosen.folder / name, Annotations(kind.names, [])
            seed = 2 * chosen.seed + part
            print(write_set(folder, count, kind.size, seed, empty, lambda rng: draw(kind, rng)))
        return
    data = read(chosen.what)
    done = list(together(data, chosen.side))
    if not done:
        parser.error(f"{chosen.what} has {len(data)} pictures; lower --side ({chosen.side})")
    given = iter(done)
    size = done[0][0].shape[:2]
    empty = Annotations(data.names, [])
    print(write_set(chosen.folder, len(done), size, 0, empty, lambda _: next(given)))


if __name__ == "__main__":
    main()
