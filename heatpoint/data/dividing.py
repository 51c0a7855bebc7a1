"""Divides a data set: by chance, by groups of pictures, with classes in equal shares."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations
from heatpoint.data.shards import inside
from heatpoint.errors import HeatpointError, suggest
from heatpoint.system.files import read_json, read_text

_FILE_COLUMNS = ("file_name", "filename", "file", "image", "path")
"""What columns with the names of pictures are called; else it is the first one."""


def split(
    annotations: Annotations,
    val: float,
    seed: int = 0,
    groups: Sequence[str] | None = None,
    stratify: bool = False,
) -> tuple[Annotations, Annotations]:
    """Divides a data set by chance; an image, with everything in it, is on one side.

    The choice depends on the order of the images and on ``seed`` alone. An image that is listed
    twice counts once. Both parts keep the order. Neighbouring frames of one film are almost the
    same picture: give them one group, or the validation tells too much good.

    Args:
        annotations: The data set.
        val: Images to validate on: a share below 1, or a number of them from 1 on. Whole groups,
            and classes that are to be even, are met as nearly as they allow.
        seed: Chooses the images, not negative.
        groups: A name for each image (``grouped`` makes them); images of one name stay together.
        stratify: Gives both parts the same share of the objects of each class, rare classes first
            (iterative stratification, Sechidis et al. 2011).

    Returns:
        The part to train on and the part to validate on.

    Raises:
        HeatpointError: A part would be empty, or ``val`` or ``seed`` means nothing.
    """
    if seed < 0:
        raise HeatpointError(f"seed must not be negative, got {seed}")
    if not val > 0 or (val >= 1 and not float(val).is_integer()):
        raise HeatpointError(f"val is a share below 1 or a whole number of images, got {val:g}")
    keys = [str(record.path) for record in annotations.images] if groups is None else groups
    units = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    unit_of = np.array([units[key] for key in keys], np.int64)
    # An image that is listed twice is one image, of the group of its first mention.
    first = {record.path: place for place, record in reversed([*enumerate(annotations.images)])}
    sizes = np.bincount(unit_of[sorted(first.values())], minlength=len(units))
    unit_of = unit_of[[first[record.path] for record in annotations.images]]
    count = round(val * len(first)) if val < 1 else int(val)
    order = np.random.default_rng(seed).permutation(len(units))
    if stratify:
        rows = np.zeros((len(units), len(annotations.names)))
        for unit, record in zip(unit_of.tolist(), annotations.images, strict=True):
            rows[unit] += np.bincount(record.labels[~record.crowd], minlength=rows.shape[1])
        chosen = _evenly(np.column_stack((rows, sizes)), count / max(1, len(first)), order)
    else:
        chosen = _filled(sizes, count, order)
    apart = np.isin(unit_of, chosen)
    if not 0 < count < len(first) or not 0 < apart.sum() < len(apart):
        raise HeatpointError(
            f"val {val:g} of the {len(first)} images of {annotations.source} are {count}, which "
            "leaves one part empty"
            + (f", for they come in {len(units)} groups" if groups is not None else "")
            + "; choose another number"
        )
    return annotations.subset(np.flatnonzero(~apart)), annotations.subset(np.flatnonzero(apart))


def _filled(sizes: NDArray[np.int64], count: int, order: NDArray[np.int64]) -> list[int]:
    """Returns units in their order, without those by which there would be more than ``count``."""
    chosen: list[int] = []
    total = 0
    for unit in order.tolist():
        if total + sizes[unit] <= count:
            chosen.append(unit)
            total += int(sizes[unit])
    return chosen


def _evenly(rows: NDArray[np.float64], share: float, order: NDArray[np.int64]) -> list[int]:
    """Returns the units of a part that has the same share of every column, rare columns first.

    Args:
        rows: (U, C + 1): of each unit the objects of each class, and its images.
        share: What the part shall have of each column.
        order: The units in the order in which equal ones are taken.
    """
    wanted = np.array([[1 - share], [share]]) * rows.sum(0)
    sides = np.full(len(rows), -1)
    while (sides < 0).any():
        left = np.where(sides[:, None] < 0, rows, 0).sum(0)
        column = int(np.where(left > 0, left, np.inf).argmin())
        open_units = order[(sides[order] < 0) & (rows[order, column] > 0)]
        # Units with many of them first: the others can still even out.
        for unit in open_units[np.argsort(-rows[open_units, column], kind="stable")].tolist():
            need = wanted[:, column] / (1 - share, share)
            images = wanted[:, -1] / (1 - share, share)
            sides[unit] = int((need[1], images[1]) > (need[0], images[0]))
            wanted[sides[unit]] -= rows[unit]
    return np.flatnonzero(sides).tolist()


def grouped(annotations: Annotations, pattern: str = "", table: str = "") -> list[str]:
    r"""Returns the group of each image.

    Args:
        annotations: The data set.
        pattern: A regular expression that is searched for in the name of the picture, which is
            its path below the folder that all have in common, with ``/``. What its parentheses
            hold is the group, or the whole match: ``(.+)_\d+`` for ``film1_0001.jpg``, ``(.*)/``
            for one group per folder.
        table: ``FILE:COLUMN``: a CSV file with a column of names of pictures, or a COCO JSON file
            whose images have the field; every picture must be in it, by its name or the last part
            of it.

    Raises:
        HeatpointError: Both or none is given, the pattern is none or fits a picture not, or the
            table lacks the column or a picture.
    """
    if bool(pattern) == bool(table):
        raise HeatpointError("give a pattern or a table of groups, one of the two")
    names = list(picture_names([record.path for record in annotations.images]))
    if table:
        groups = _of_table(table)
        found = [groups.get(name, groups.get(name.rpartition("/")[2])) for name in names]
        what = f"the column of {table}"
    else:
        try:
            search = re.compile(pattern).search
        except re.error as error:
            raise HeatpointError(f"{pattern!r} is no regular expression: {error}") from None
        fits = map(search, names)
        found = [each and ("/".join(map(str, each.groups())) or each[0]) for each in fits]
        what = f"{pattern!r}"
    if None in found:
        lost = [name for name, group in zip(names, found, strict=True) if group is None]
        raise HeatpointError(
            f"{what} gives {len(lost)} of the {len(names)} images of {annotations.source} no "
            f"group, such as {lost[0]}; every image needs one"
        )
    return [str(group) for group in found]


def picture_names(paths: Sequence[Path]) -> Iterable[str]:
    """Yields paths below the folder that all of them have in common, with ``/``.

    A .tar file is none: by its pictures' places in it, nothing is told of what they show.
    """
    held = [(path, inside(path)) for path in paths]
    whole = [
        os.path.abspath(Path(found[0]).parent / found[1] if found else path) for path, found in held
    ]
    try:
        common = Path(os.path.commonpath([os.path.dirname(path) for path in whole]))
    except ValueError:  # none at all, or several drives
        return (Path(path).name for path in whole)
    return (Path(path).relative_to(common).as_posix() for path in whole)


def _of_table(table: str) -> dict[str, str]:
    """Returns the group of each name of a table, and of the last part of names where it is one."""
    file, _, column = table.rpartition(":")
    if not file or not Path(file).expanduser().is_file():
        raise HeatpointError(f"{table!r}: expected FILE:COLUMN with a CSV or COCO file")
    path = Path(file).expanduser()
    rows: list[dict[str, Any]]
    if path.suffix.lower() == ".json":
        content = read_json(path)
        images = content.get("images") if isinstance(content, dict) else None
        rows = [row for row in images or () if isinstance(row, dict)]
    else:
        rows = list(csv.DictReader(io.StringIO(read_text(path))))
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if column not in columns:
        raise HeatpointError(
            f"{path} has no column {column!r}; it has {', '.join(map(str, columns)) or 'none'}"
            f"{suggest(column, map(str, columns))}"
        )
    named = next((name for name in _FILE_COLUMNS if name in columns), columns[0])
    said = [row for row in rows if str(row.get(column) or "").strip() or row.get(column) == 0]
    groups = {str(row[named]).replace("\\", "/"): str(row[column]) for row in said}
    last: dict[str, set[str]] = {}
    for name, group in groups.items():
        last.setdefault(name.rpartition("/")[2], set()).add(group)
    return {name: one.pop() for name, one in last.items() if len(one) == 1} | groups
