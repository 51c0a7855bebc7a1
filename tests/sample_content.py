"""What every sample of a format holds: three pictures with five boxes of two classes, and joints.

Splits, where a format has them in one set, are ``train`` (a, b) and ``val`` (c).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Box = tuple[int, int, int, int]

SIZES = {"a.jpg": (40, 50), "b.jpg": (40, 50), "c.jpg": (50, 40)}
"""(height, width) of each picture."""

OBJECTS: dict[str, list[tuple[str, Box]]] = {
    "a.jpg": [("cat", (2, 4, 12, 20)), ("dog", (20, 6, 44, 30))],
    "b.jpg": [("dog", (5, 5, 25, 35)), ("cat", (30, 10, 46, 22))],
    "c.jpg": [("cat", (8, 10, 28, 40))],
}
"""Class and box, xyxy in pixels, of each object of each picture."""

NAMES = ("cat", "dog")
JOINTS = ("left_eye", "right_eye", "nose")
PARTS = (("a.jpg", "train"), ("b.jpg", "train"), ("c.jpg", "val"))
"""Split of each picture."""


def joints_of(box: Box) -> list[tuple[int, int]]:
    """Returns x and y, in continuous pixels, of the ``JOINTS`` of the object in a box."""
    x, y = box[:2]
    return [(x + 2, y + 3), (x + 8, y + 3), (x + 5, y + 9)]


def draw(folder: Path) -> Path:
    """Draws the three pictures into a folder, which it makes, and returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, (height, width)) in enumerate(SIZES.items(), start=1):
        pixels = np.full((height, width, 3), 40 * number, np.uint8)
        for label, (x1, y1, x2, y2) in OBJECTS[name]:
            pixels[y1:y2, x1:x2, NAMES.index(label)] = 255
        Image.fromarray(pixels).save(folder / name, quality=95)
    return folder


def draw_split(folder: Path, split: str) -> Path:
    """Draws the pictures of one split into a folder and returns it."""
    for picture in draw(folder).iterdir():
        if (picture.name, split) not in PARTS:
            picture.unlink()
    return folder


def write(path: Path, content: Any) -> Path:
    """Writes a text, or JSON of anything else, and returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path
