"""Reads the text format with one image per line: ``path x1,y1,x2,y2,c x1,y1,x2,y2,c ...``."""

from __future__ import annotations

import re
from pathlib import Path

from heatpoint.data import Annotations, Box
from heatpoint.data.images import SUFFIXES
from heatpoint.data.readers import steps

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
    ``steps.image_folders``, then in the current folder.

    Class names stand one per line in ``names`` if given, else in the first of
    ``<stem>_classes.txt``, ``classes.txt`` and ``voc_classes.txt`` beside the file. Without any of
    them the indices become the names, "0" up to the largest in this file: give a names file when
    two splits must agree.

    Raises:
        HeatpointError: The file or folder is missing, or a line is malformed (names file:line).
    """
    path = Path(path)
    parsed = [_parse(line, f"{path}:{number}") for number, line in steps.read_lines(path)]
    paths, searched = steps.locate_images([name for name, _ in parsed], path, images, [Path()])
    largest = max((label for _, boxes in parsed for _, label, _ in boxes), default=0)
    classes = _names(path, names, largest)
    ids = tuple(range(len(classes)))
    annotations = Annotations(classes, [], str(path), ids, searched=searched)
    for file, (_, boxes) in zip(paths, parsed, strict=True):
        steps.add_boxes(annotations, file, None, boxes)
    return annotations


def _parse(line: str, where: str) -> tuple[str, list[tuple[Box, int, str]]]:
    """Splits a line into the path and its boxes, taken off the end one at a time."""
    boxes: list[tuple[Box, int, str]] = []
    while " " in line or "\t" in line:
        head, tail = line.rsplit(maxsplit=1)
        if not _NUMBERS.fullmatch(tail):
            break
        values = [float(value) for value in tail.split(",")]
        if len(values) != 5:
            raise steps.unexpected(where, "x1,y1,x2,y2,class", f"{len(values)} values in {tail!r}")
        x1, y1, x2, y2, label = values
        if not label.is_integer():
            raise steps.unexpected(where, "a whole number as class", repr(tail))
        boxes.append(((x1, y1, x2, y2), int(label), where))
        line = head
    rest = _PATH_AND_MORE.fullmatch(line)
    if rest and not steps.is_image_name(Path(line)):
        raise steps.unexpected(where, f"boxes x1,y1,x2,y2,class behind {rest[1]!r}", repr(rest[2]))
    return line, boxes[::-1]


def _names(path: Path, names: str | Path | None, largest: int) -> tuple[str, ...]:
    beside = (f"{path.stem}_classes.txt", "classes.txt", "voc_classes.txt")
    if names is None:
        names = steps.first_file(path.with_name(name) for name in beside)
    return steps.read_names(Path(names)) if names else tuple(map(str, range(largest + 1)))
