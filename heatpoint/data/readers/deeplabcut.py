"""Reads labels of DeepLabCut: ``CollectedData*.csv`` with the pictures of ``labeled-data``.

Three rows of headings stand above single animals (scorer, bodyparts, coords) and a fourth one,
individuals, above several. Coordinates are indices of pixels, so 0.5 is added. A joint without
coordinates is not labelled; all others count as visible, as DeepLabCut does not tell.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from heatpoint.data import Annotations, Objects, joints_box
from heatpoint.data.readers.files import image_stem, read_split, read_text
from heatpoint.data.skeleton import Skeleton, pairs_by_name
from heatpoint.errors import HeatpointError

PATTERN = "CollectedData*.csv"
_HEADINGS = ("scorer", "individuals", "bodyparts", "coords")


@dataclass(frozen=True)
class _Heading:
    """Where the columns of a file are.

    Attributes:
        parts: Body parts.
        animals: Per animal, per part, the columns of x and y; None where the file has none.
        first: Number of columns that name the picture.
        rows: Number of rows of headings.
    """

    parts: tuple[str, ...]
    animals: list[list[tuple[int, int] | None]]
    first: int
    rows: int


def find_csv(folder: Path) -> Path | None:
    """Returns the one labels file of a folder, or None if there is none.

    Raises:
        HeatpointError: There are several.
    """
    there = sorted(folder.glob(PATTERN))
    if len(there) > 1:
        names = ", ".join(path.name for path in there)
        raise HeatpointError(f"{folder} holds {names}; give the file of the labels you mean")
    return there[0] if there else None


def is_deeplabcut(path: Path) -> bool:
    """Returns whether a .csv file begins as DeepLabCut's do."""
    rows = read_text(path).splitlines()[: len(_HEADINGS)]
    first = [row.split(",")[0].strip() for row in rows]
    return bool(first) and (first[0] == "scorer" or "bodyparts" in first)


def read_deeplabcut(path: str | Path, split: str | None = None) -> Annotations:
    """Reads a labels file.

    Joints carry the names of the body parts; edges are unknown; pairs are those that the names
    tell (``skeleton.pairs_by_name``). Nobody drew boxes: ``joints_box`` gives them. A picture on
    which no part is labelled is kept without an animal. A picture is looked for beside the file,
    and above it for labels inside of ``labeled-data/video``.

    Args:
        path: The .csv file.
        split: A list ``<split>.txt`` of pictures beside the file; None for all.

    Raises:
        HeatpointError: A row of headings or a column is missing or a value is no number (names
            the line); there is no such split.
    """
    path = Path(path)
    rows = list(csv.reader(io.StringIO(read_text(path))))
    heading = _heading(rows, path)
    lists = {file.stem: file for file in path.parent.glob("*.txt") if file.stem != "README"}
    wanted: set[str] | None = None
    if split is not None:
        lines = read_split(path.parent, split, lists, "a list of pictures such as train.txt")
        wanted = {line.replace("\\", "/") for line in lines}
    skeleton = Skeleton(heading.parts, pairs=pairs_by_name(heading.parts))
    annotations = Annotations(("animal",), [], str(path), skeleton=skeleton)
    width = len(rows[0])
    for number, row in enumerate(rows[heading.rows :], start=heading.rows + 1):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != width:
            raise HeatpointError(
                f"{path}:{number}: expected {width} columns as in the headings, got {len(row)}; "
                "the file may be cut off"
            )
        name = "/".join(cell.strip() for cell in row[: heading.first] if cell.strip())
        name = name.replace("\\", "/")
        if wanted is not None and not {name, image_stem(name), Path(name).name} & wanted:
            continue
        objects = Objects(len(skeleton))
        for columns in heading.animals:
            joints = np.zeros((len(skeleton), 3))
            for j, place in enumerate(columns):
                if place is not None:
                    joints[j] = _joint(row[place[0]], row[place[1]], f"{path}:{number}")
            box = joints_box(joints)
            if box is not None:
                objects.add(box, 0, keypoints=joints)
        file = _picture(path.parent, name)
        annotations.images.append(objects.record(file, None, len(annotations.images) + 1))
    if wanted is not None and not annotations.images:
        raise HeatpointError(f"{path}:{split}: no labelled picture is in {split}.txt")
    return annotations


def _heading(rows: list[list[str]], path: Path) -> _Heading:
    """Finds the columns by the rows of headings."""
    several = len(rows) > 1 and rows[1][:1] == ["individuals"]
    wanted = _HEADINGS if several else tuple(name for name in _HEADINGS if name != "individuals")
    found = [row[0].strip() if row else "" for row in rows[: len(wanted)]]
    if tuple(found) != wanted:
        raise HeatpointError(
            f"{path}: expected rows of headings that begin with {', '.join(wanted)}, got "
            f"{', '.join(repr(name[:24]) for name in found)}; DeepLabCut writes them all"
        )
    parts, coords = ([cell.strip() for cell in rows[len(wanted) - k]] for k in (2, 1))
    animals = [cell.strip() for cell in rows[1]] if several else ["animal"] * len(parts)
    # Newer versions spread the picture's path over three columns, whose headings are empty.
    first = next((i for i in range(1, len(coords)) if coords[i]), len(coords))
    places: dict[tuple[str, str, str], int] = {}
    for i in range(first, len(coords)):
        if i >= len(parts) or i >= len(animals):
            raise HeatpointError(f"{path}: the rows of headings are of different lengths")
        key = (animals[i], parts[i], coords[i])
        if key in places:
            raise HeatpointError(f"{path}: columns {places[key] + 1} and {i + 1} are both {key}")
        places[key] = i
    names = tuple(dict.fromkeys(parts[first:]))
    columns: list[list[tuple[int, int] | None]] = []
    for animal in dict.fromkeys(animals[first:]):
        columns.append([])
        for name in names:
            x, y = (places.get((animal, name, axis)) for axis in ("x", "y"))
            if (x is None) != (y is None):
                lost = "x" if x is None else "y"
                raise HeatpointError(f"{path}: {name} has no column {lost!r} beside its other one")
            columns[-1].append(None if x is None or y is None else (x, y))
    if not names or all(place is None for row in columns for place in row):
        raise HeatpointError(f"{path}: expected columns x and y of at least one body part")
    return _Heading(names, columns, first, len(wanted))


def _joint(x: str, y: str, where: str) -> tuple[float, float, float]:
    """Returns x, y in image pixels and visibility of two cells."""
    values = []
    for cell in (x.strip(), y.strip()):
        try:
            values.append(float(cell or "nan"))
        except ValueError:
            raise HeatpointError(f"{where}: expected a number, got {cell!r}") from None
    if any(map(math.isnan, values)):
        return 0.0, 0.0, 0.0
    return values[0] + 0.5, values[1] + 0.5, 2.0


def _picture(folder: Path, name: str) -> Path:
    """Returns the picture a row means; a path that does not exist if it is not there."""
    places = [base / name for base in (folder, folder.parent, folder.parent.parent)]
    places.append(folder / Path(name).name)
    return next((place for place in places if place.is_file()), places[0])
