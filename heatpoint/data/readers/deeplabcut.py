"""Reads labels of DeepLabCut: ``CollectedData*.csv`` with the pictures of ``labeled-data``.

Three rows of headings stand above single animals (scorer, bodyparts, coords) and a fourth one,
individuals, above several. Coordinates are indices of pixels, so 0.5 is added. A joint without
coordinates is not labelled; all others count as visible, as DeepLabCut does not tell.
"""

from __future__ import annotations

import csv
import io
import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from heatpoint.data import Annotations, Objects, joints_box
from heatpoint.data.readers import locate, steps
from heatpoint.data.readers.given import Format
from heatpoint.data.skeleton import Skeleton, pairs_by_name
from heatpoint.errors import HeatpointError
from heatpoint.system.files import read_text

PATTERN = "CollectedData*.csv"
_HEADINGS = ("scorer", "individuals", "bodyparts", "coords")


class _Heading(NamedTuple):
    """Where the columns of a file are.

    Attributes:
        parts: Body parts.
        columns: Columns of x and y of each part of the first animal, then of the next one, and so
            on; -1 where the file has none.
        first: Number of columns that name the picture.
        rows: Number of rows of headings.
    """

    parts: tuple[str, ...]
    columns: list[tuple[int, int]]
    first: int
    rows: int


def is_deeplabcut(path: Path) -> bool:
    """Returns whether a file is a .csv file that begins as DeepLabCut's do."""
    if path.suffix.lower() != ".csv":
        return False
    rows = read_text(path).splitlines()[: len(_HEADINGS)]
    first = [row.split(",")[0].strip() for row in rows]
    return first[:1] == ["scorer"] or "bodyparts" in first


def read_deeplabcut(path: str | Path, split: str | None = None) -> Annotations:
    """Reads a labels file.

    Joints carry the names of the body parts; edges are unknown; pairs are those that the names
    tell (``skeleton.pairs_by_name``). Nobody drew boxes: ``joints_box`` gives them. A picture on
    which no part is labelled is kept without an animal. A picture is looked for beside the file,
    and above it for labels inside of ``labeled-data/video``.

    Args:
        path: The .csv file, or a folder with one.
        split: A list ``<split>.txt`` of pictures beside the file; None for all.

    Raises:
        HeatpointError: A folder holds several files; a row of headings or a column is missing or a
            value is no number (names the line); there is no such split.
    """
    path = Path(path)
    if path.is_dir():
        path = _only_file(path)
    folder = path.parent
    rows = list(csv.reader(io.StringIO(read_text(path))))
    heading = _heading(rows, path)
    wanted: set[str] | None = None
    if split is not None:
        layout = "a list of pictures such as train.txt"
        wanted = set(steps.read_split(folder, split, steps.split_lists(folder), layout))
    skeleton = Skeleton(heading.parts, pairs=pairs_by_name(heading.parts))
    annotations = Annotations(("animal",), [], str(path), skeleton=skeleton)
    width = len(rows[0])
    for number, row in enumerate(rows[heading.rows :], start=heading.rows + 1):
        where, cells = f"{path}:{number}", [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) != width:
            remedy = "; the file may be cut off"
            raise steps.unexpected(where, f"{width} columns as in the headings", len(cells), remedy)
        name = "/".join(filter(None, cells[: heading.first])).replace("\\", "/")
        if wanted is not None and not {name, locate.image_stem(name), Path(name).name} & wanted:
            continue
        cells.append("")  # column -1
        values = [_number(cells[column], where) for pair in heading.columns for column in pair]
        points = np.array(values).reshape(-1, len(skeleton), 2) + 0.5
        objects = Objects(len(skeleton))
        for joints in steps.as_joints(points, 2.0 * ~np.isnan(points).any(-1)):
            box = joints_box(joints)
            if box is not None:
                objects.add(box, 0, keypoints=joints)
        places = [base / name for base in (folder, folder.parent, folder.parent.parent)]
        file = locate.first_file([*places, folder / Path(name).name]) or places[0]
        annotations.images.append(objects.record(file, None, len(annotations.images) + 1))
    if wanted is not None and not annotations.images:
        raise HeatpointError(f"{path}:{split}: no labelled picture is in {split}.txt")
    return annotations


def _only_file(folder: Path) -> Path:
    there = sorted(folder.glob(PATTERN))
    if len(there) != 1:
        names = ", ".join(path.name for path in there) or f"no {PATTERN}"
        raise HeatpointError(f"{folder} holds {names}; give the file of the labels you mean")
    return there[0]


def _heading(rows: list[list[str]], path: Path) -> _Heading:
    """Finds the columns by the rows of headings."""
    several = len(rows) > 1 and rows[1][:1] == ["individuals"]
    wanted = _HEADINGS if several else tuple(name for name in _HEADINGS if name != "individuals")
    head = [[cell.strip() for cell in row] for row in rows[: len(wanted)]]
    begun = [row[0] if row else "" for row in head]
    if tuple(begun) != wanted:
        got = ", ".join(repr(name[:24]) for name in begun)
        headings = f"rows of headings that begin with {', '.join(wanted)}"
        raise steps.unexpected(path, headings, got, "; DeepLabCut writes them all")
    if len(head[-1]) > min(map(len, head)):
        raise HeatpointError(f"{path}: the rows of headings are of different lengths")
    keys = [tuple(column[1:]) for column in zip(*head, strict=False)]
    # Newer versions spread the picture's path over three columns, whose headings are empty.
    first = next((i for i, key in enumerate(keys) if i and key[-1]), len(keys))
    places: dict[tuple[str, ...], int] = {}
    for i, key in enumerate(keys[first:], start=first):
        if places.setdefault(key, i) != i:
            raise HeatpointError(f"{path}: columns {places[key] + 1} and {i + 1} are both {key}")
    parts = tuple(dict.fromkeys(key[-2] for key in places))
    columns: list[tuple[int, int]] = []
    for animal, part in itertools.product(dict.fromkeys(key[:-2] for key in places), parts):
        x, y = (places.get((*animal, part, axis), -1) for axis in "xy")
        if (x < 0) != (y < 0):
            lost = "x" if x < 0 else "y"
            raise HeatpointError(f"{path}: {part} has no column {lost!r} beside its other one")
        columns.append((x, y))
    if all(x < 0 for x, _ in columns):
        raise HeatpointError(f"{path}: expected columns x and y of at least one body part")
    return _Heading(parts, columns, first, len(wanted))


def _number(cell: str, where: str) -> float:
    """Returns the number in a cell, NaN for an empty one."""
    try:
        return float(cell or "nan")
    except ValueError:
        raise steps.unexpected(where, "a number", repr(cell)) from None


FORMATS = (
    Format(
        "DeepLabCut",
        "a CollectedData*.csv file",
        folder=False,
        fits=lambda given: is_deeplabcut(given.path),
        read=lambda given: read_deeplabcut(given.without_images(), given.split),
    ),
    Format(
        "DeepLabCut",
        PATTERN,
        folder=True,
        fits=lambda given: any(given.path.glob(PATTERN)),
        read=lambda given: read_deeplabcut(given.without_images(), given.split),
    ),
)
