"""Reads the text format with one image per line: ``path x1,y1,x2,y2,c x1,y1,x2,y2,c ...``."""

from __future__ import annotations

import math
import re
from pathlib import Path

from heatpoint.data import Annotations, Box, Objects, check_names
from heatpoint.data.images import SUFFIXES
from heatpoint.data.readers.files import is_image_name, locate_images, read_lines, read_names
from heatpoint.errors import HeatpointError

_NUMBER = r"[-+]?(?:nan|inf|(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)"
_NUMBERS = re.compile(rf"{_NUMBER}(?:,{_NUMBER})+", re.IGNORECASE)
_PATH_AND_MORE = re.compile(
    rf"(.*?(?:{'|'.join(map(re.escape, SUFFIXES))}))\s+(\S.*)", re.IGNORECASE
)


def read_text_lines(
    path: str | Path, images: str | Path | None = None, names: str | Path | None = None
) -> Annotations:
    """Reads a text file of one image per line, its boxes behind its path.

    A box is ``x1,y1,x2,y2,c``: corners in image pixels and the class index from 0. Paths may
    contain spaces. A line of a path alone is an image without objects; empty lines are passed
    over. Relative paths are looked for in ``images`` if given, else in the folders of
    ``files.image_folders``, then in the current folder.

    Class names stand one per line in ``names`` if given, else in the first of
    ``<stem>_classes.txt``, ``classes.txt`` and ``voc_classes.txt`` beside the file. Without any of
    them the indices become the names, "0" up to the largest in this file: give a names file when
    two splits must agree.

    Raises:
        HeatpointError: The file or folder is missing, or a line is malformed (names file:line).
    """
    path = Path(path)
    parsed: list[tuple[str, list[tuple[Box, int]], int]] = []
    for number, line in enumerate(read_lines(path), start=1):
        if line:
            name, boxes = _parse(line, f"{path}:{number}")
            parsed.append((name, boxes, number))

    paths, searched = locate_images([name for name, _, _ in parsed], path, images, [Path()])
    largest = max((label for _, boxes, _ in parsed for _, label in boxes), default=0)
    classes = _names(path, names, largest)
    ids = tuple(range(len(classes)))
    annotations = Annotations(classes, [], str(path), ids, searched=searched)
    for file, (_, boxes, number) in zip(paths, parsed, strict=True):
        objects = Objects()
        for box, label in boxes:
            if 0 <= label < len(classes):
                objects.add(box, label)
            else:
                detail = f"line {number}: class {label}, expected 0 to {len(classes) - 1}"
                annotations.leave_out("unknown category id", str(file), detail)
        annotations.images.append(objects.record(file, None, len(annotations.images) + 1))
    return annotations


def _parse(line: str, where: str) -> tuple[str, list[tuple[Box, int]]]:
    """Splits a line into the path and its boxes, taken off the end one at a time."""
    boxes: list[tuple[Box, int]] = []
    while " " in line or "\t" in line:
        head, tail = line.rsplit(maxsplit=1)
        if not _NUMBERS.fullmatch(tail):
            break
        values = [float(value) for value in tail.split(",")]
        if len(values) != 5:
            raise HeatpointError(
                f"{where}: expected x1,y1,x2,y2,class, got {len(values)} values in {tail!r}"
            )
        if not math.isfinite(values[4]) or values[4] != int(values[4]):
            raise HeatpointError(f"{where}: expected a whole number as class, got {tail!r}")
        boxes.append(((values[0], values[1], values[2], values[3]), int(values[4])))
        line = head
    rest = _PATH_AND_MORE.fullmatch(line)
    if rest and not is_image_name(Path(line)):
        raise HeatpointError(
            f"{where}: expected boxes x1,y1,x2,y2,class behind {rest[1]!r}, got {rest[2]!r}"
        )
    return line, boxes[::-1]


def _names(path: Path, names: str | Path | None, largest: int) -> tuple[str, ...]:
    if names is not None:
        return check_names(read_names(Path(names)), names)
    for candidate in (f"{path.stem}_classes.txt", "classes.txt", "voc_classes.txt"):
        beside = path.with_name(candidate)
        if beside.is_file():
            return check_names(read_names(beside), beside)
    return tuple(str(label) for label in range(largest + 1))
