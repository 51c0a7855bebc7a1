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
from heatpoint.data.readers import steps
from heatpoint.data.readers.drawn import SUBJECT, Picture, Thing, as_annotations, called
from heatpoint.data.readers.given import Given, begins
from heatpoint.data.readers.outlines import Outline, number

_MIDDLE = 0.5
"""From the number of a pixel to the coordinate of its middle."""

_TRIED = 5
"""CSV files of a folder that are looked at to recognise it."""


def fits(given: Given) -> bool:
    """Returns whether a file is a CSV of napari's points, or one of the first of a folder is."""
    folder = given.is_folder
    return any(map(_is_napari, matching(given.path, "*.csv")[:_TRIED] if folder else [given.path]))


def _is_napari(path: Path) -> bool:
    return path.suffix.lower() == ".csv" and begins(path, rb'^([^\n]*,)?"?axis-0"?,"?axis-1', 256)


def read_napari(given: Given) -> Annotations:
    """Reads one file, or those of a folder.

    A picture without a file is left out, for nobody said that it holds nothing.

    Raises:
        HeatpointError: A file has points of more than two axes, or a cell is no number.
    """
    path, images = given.without_split(), given.images
    files = [each for each in matching(path, "*.csv") if _is_napari(each)] or [path]
    pictures = [_picture(file) for file in files]
    first = path / files[0].name if given.is_folder else path
    forms = [[f"{each.name}{end}" for each in pictures] for end in SUFFIXES]
    return as_annotations(called(pictures, forms, first, images), first, images)


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
        things.append(Thing(label or SUBJECT, Outline((x, y, x, y)), where))
    return Picture(file.stem, None, things)
