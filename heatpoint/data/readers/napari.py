"""Reads napari's points: a CSV file for each picture, called as the picture is.

A row is a point: ``axis-0`` counts rows and ``axis-1`` columns of pixels, whose middles are whole
numbers. A property of the points is a column of its own; one called ``label``, ``class`` or the
like says what each point is.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from heatpoint.data import Annotations
from heatpoint.data.formats import SUFFIXES, matching
from heatpoint.data.readers import locate, steps
from heatpoint.data.readers.drawn import SUBJECT, Picture, Thing, as_annotations
from heatpoint.data.readers.given import Format
from heatpoint.data.readers.outlines import number

_MIDDLE = 0.5
"""From the number of a pixel to the coordinate of its middle."""

_START = 256
_TRIED = 5
"""CSV files of a folder that are looked at to recognise it."""


def is_napari(path: Path) -> bool:
    """Returns whether a file is a CSV of napari's points."""
    if path.suffix.lower() != ".csv":
        return False
    try:
        with open(path, "rb") as file:
            line = file.read(_START).partition(b"\n")[0]
    except OSError:
        return False
    return re.search(rb"(^|,)\"?axis-0\"?,\"?axis-1", line) is not None


def is_napari_folder(folder: Path) -> bool:
    """Returns whether one of the first CSV files of a folder is napari's."""
    return any(map(is_napari, matching(folder, "*.csv")[:_TRIED]))


def read_napari(path: Path, images: Path | None = None) -> Annotations:
    """Reads one file, or those of a folder.

    A picture without a file is left out, for nobody said that it holds nothing.

    Args:
        path: The file or folder.
        images: Folder of the pictures, if not one of ``locate.image_folders``.

    Raises:
        HeatpointError: A file has points of more than two axes, or a cell is no number.
    """
    files = [each for each in matching(path, "*.csv") if is_napari(each)] or [path]
    pictures = [_picture(file) for file in files]
    first = path / files[0].name if path.is_dir() else path
    forms = [[f"{each.name}{end}" for each in pictures] for end in SUFFIXES]
    chosen = forms[locate.most_found(forms, first, images)]
    named = [each._replace(name=name) for each, name in zip(pictures, chosen, strict=True)]
    return as_annotations(named, first, images)


def _picture(file: Path) -> Picture:
    """Returns the points of a file; its picture lacks its ending."""
    (_, headings), *rows = steps.read_table(file)
    plain = [re.sub(r"\W", "", heading).lower() for heading in headings]
    if "axis2" in plain:
        wanted = "points of two axes, rows and columns of a picture"
        raise steps.unexpected(file, wanted, ", ".join(headings[:6]))
    row, column = plain.index("axis0"), plain.index("axis1")
    named = [plain.index(word) for word in ("label", "class", "name", "type") if word in plain]
    things = []
    for line, cells in rows:
        where = f"{file}:{line}"
        y, x = (number(cells[at]) if at < len(cells) else math.nan for at in (row, column))
        if math.isnan(x + y):
            raise steps.unexpected(where, "numbers axis-0 and axis-1", ", ".join(cells[:6]))
        x, y = x + _MIDDLE, y + _MIDDLE
        label = cells[named[0]] if named and named[0] < len(cells) else ""
        things.append(Thing(label or SUBJECT, (x, y, x, y), where))
    return Picture(file.stem, None, things)


FORMATS = (
    Format(
        "napari points",
        "a CSV file with the columns axis-0 and axis-1",
        folder=False,
        fits=lambda given: is_napari(given.path),
        read=lambda given: read_napari(given.without_split(), given.images),
    ),
    Format(
        "napari points",
        "CSV files with the columns axis-0 and axis-1 beside pictures",
        folder=True,
        fits=lambda given: is_napari_folder(given.path),
        read=lambda given: read_napari(given.without_split(), given.images),
    ),
)
