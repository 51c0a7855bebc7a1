"""Reads DOTA: a text file of objects by four corners for every picture, in ``labelTxt``."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, Objects, check_names
from heatpoint.data.formats import is_picture, matching
from heatpoint.data.quads import around
from heatpoint.data.readers import steps
from heatpoint.data.readers.given import Given

_LABELS = "labeltxt"
"""How the folders of label files begin, in lower case; ``labelTxt-v1.0`` is one."""

_HEADS = ("imagesource:", "gsd:")


class _Row(NamedTuple):
    """An object: its corners (4, 2) in pixels, its class, and whether it is hard to see."""

    corners: NDArray[np.float64]
    name: str
    difficult: bool


def fits(given: Given) -> bool:
    """Returns whether a folder holds label files of DOTA."""
    return bool(_folders(given.path))


def read_dota(given: Given) -> Annotations:
    """Reads a folder of DOTA: ``images`` and ``labelTxt``, or folders of splits that hold these.

    A line is ``x1 y1 x2 y2 x3 y3 x4 y4 class difficult`` in pixels, continuous, clockwise from any
    corner on; ``difficult`` may be missing. Lines ``imagesource:`` and ``gsd:`` are passed over.
    Classes are those of all splits, sorted. Pictures and label files that lack the other are left
    out and counted.

    Raises:
        HeatpointError: There is no such split, a line is malformed (names file:line), or no object
            is there to say what the classes are.
    """
    path, split, images = given.path, given.split, given.images
    folders = _folders(path)
    splits = {each.parent.name: each for each in folders if each.parent != path}
    if split is not None and split not in splits:
        raise steps.no_such_split(path, split, splits, "a folder with labelTxt")
    rows = {folder: {file: _rows(file) for file in matching(folder, "*.txt")} for folder in folders}
    used = {row.name for files in rows.values() for each in files.values() for row in each}
    names = check_names(sorted(used), path)
    annotations = Annotations(names, [], str(path))
    for folder in folders if split is None else [splits[split]]:
        pictures = _pictures(images or folder.parent / "images")
        for file, objects in rows[folder].items():
            if (picture := pictures.pop(file.stem, None)) is None:
                annotations.leave_out("unused label file", str(file), "no picture of its name")
            else:
                _add(annotations, picture, objects)
        for picture in pictures.values() if images is None else ():
            detail = f"expected {picture.stem}.txt"
            annotations.leave_out("image without annotation file", str(picture), detail)
    return annotations


def _folders(path: Path) -> list[Path]:
    """Returns the folders of label files in a folder, or in folders of it."""
    there = matching(path, "*/", "*/*/")
    found = [each for each in there if each.name.lower().startswith(_LABELS) and each.is_dir()]
    # DOTA comes with upright boxes of the same objects beside the turned ones.
    turned = [each for each in found if "hbb" not in each.name.lower()]
    once = {each.parent: each for each in sorted(turned or found, reverse=True)}
    return sorted(once.values())


def _pictures(folder: Path) -> dict[str, Path]:
    """Returns the pictures of a folder by their names without endings."""
    there = sorted(folder.iterdir()) if folder.is_dir() else []
    return {each.stem: each for each in there if is_picture(each)}


def _rows(file: Path) -> list[_Row]:
    found = []
    for number, line in steps.read_lines(file):
        if line.lower().startswith(_HEADS):
            continue
        words = line.replace(",", " ").split()
        try:
            corners = np.array(words[:8], np.float64).reshape(4, 2)
            last = int(words[9]) if len(words) > 9 else 0
        except ValueError:
            words = []
        if len(words) not in (9, 10):
            wanted = "x1 y1 x2 y2 x3 y3 x4 y4 class difficult"
            raise steps.unexpected(f"{file}:{number}", wanted, repr(line[:80]))
        found.append(_Row(corners, words[8], last != 0))
    return found


def _add(annotations: Annotations, picture: Path, rows: list[_Row]) -> None:
    objects = Objects()
    for corners, name, difficult in rows:
        x1, y1, x2, y2 = around(corners[None])[0].tolist()
        label = annotations.names.index(name)
        objects.add((x1, y1, x2, y2), label, difficult=difficult, corners=corners)
    annotations.images.append(objects.record(picture, None, len(annotations.images) + 1))
