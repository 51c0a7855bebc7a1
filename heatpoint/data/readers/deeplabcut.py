"""Reads labels of DeepLabCut: ``CollectedData*.csv`` with the pictures of ``labeled-data``.

A project is a folder with ``config.yaml`` and ``labeled-data``, in which each video has a folder
with its pictures and its ``CollectedData_<scorer>.csv``. Three rows of headings stand above single
animals (scorer, bodyparts, coords) and a fourth one, individuals, above several. Coordinates are
indices of pixels, so 0.5 is added. A joint without coordinates is not labelled; all others count as
visible, as DeepLabCut does not tell.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations
from heatpoint.data.formats import matching
from heatpoint.data.readers import arrays, locate, steps
from heatpoint.data.readers.given import Given
from heatpoint.data.skeleton import Skeleton, pairs_by_name
from heatpoint.errors import HeatpointError
from heatpoint.system.files import read_text, read_yaml

_HEADINGS = ("scorer", "individuals", "bodyparts", "coords")
_MOST = 100_000
"""Body parts of all animals: more than any file has."""

_CELL = re.compile(r"[,;\t]")

PATTERN = "CollectedData*.csv"
TABLE = "CollectedData*.h5"
LABELED, CONFIG = "labeled-data", "config.yaml"
_HIGHEST = 6
"""Folders above a file of labels in which its project is looked for."""


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


class _Row(NamedTuple):
    """The labels of one picture.

    Attributes:
        name: The picture.
        parts: Body parts.
        points: (animals, parts, 2) x and y in indices of pixels, NaN where there are none.
    """

    name: str
    parts: tuple[str, ...]
    points: NDArray[np.float64]


def fits(given: Given) -> bool:
    """Returns whether a file is labels, their table or ``config.yaml``, or a folder holds some."""
    if given.is_folder:
        return is_project(given.path)
    if given.suffix != ".csv":
        return is_config(given.path) or arrays.kind(given.path) == "DeepLabCut"
    rows = read_text(given.path).splitlines()[: len(_HEADINGS)]
    first = [_CELL.split(row, maxsplit=1)[0].strip() for row in rows]
    return first[:1] == ["scorer"] or "bodyparts" in first


def read_deeplabcut(given: Given) -> Annotations:
    """Reads the labels of a .csv file, of a video's folder, or of a whole project.

    A project is its folder, its ``labeled-data`` or its ``config.yaml``. A split is a list
    ``<split>.txt`` of pictures beside the file, or the name of a video.

    Joints carry the names of the body parts, in the order of the project's ``config.yaml`` where
    there is one, which also tells the edges; pairs are those that the names tell
    (``skeleton.pairs_by_name``). Nobody drew boxes: ``joints_box`` gives them. A picture on which
    no part is labelled is kept without an animal; one without a row is left out and counted.

    Raises:
        HeatpointError: A folder holds several files; a file is a table for pandas; a row of
            headings or a column is missing or a value is no number (names the line); there is no
            such split, or ``images`` holds none of the pictures.
    """
    path, split = given.path, given.split
    if given.suffix in arrays.SUFFIXES:
        raise table_alone(path)
    labels = find_labels(path)
    beside = path if given.is_folder else path.parent
    files, wanted = _choose(labels, split, beside)
    rows = {file: list(_rows(file)) for file in labels.files}
    chosen = [
        row for file in files for row in rows[file] if not wanted or wanted & _called(row.name)
    ]
    if wanted is not None and not (wanted and chosen):
        raise HeatpointError(f"{path}:{split}: no labelled picture is in {split}.txt")
    skeleton = _skeleton(labels, [row.parts for found in rows.values() for row in found])
    annotations = Annotations(("animal",), [], str(path), skeleton=skeleton)
    # Names start from the project's folder.
    only = labels.files[0] if len(labels.files) == 1 else labels.folder / PATTERN
    names = [row.name for row in chosen]
    pictures = locate.locate_images(names, annotations, only, given.images, [labels.folder])
    place_of = {part: place for place, part in enumerate(skeleton.joints)}
    animals = []
    for row in chosen:
        points = np.full((len(row.points), len(skeleton), 2), np.nan)
        points[:, [place_of[part] for part in row.parts]] = row.points + 0.5
        animals.append(steps.as_joints(points, 2.0 * ~np.isnan(points).any(-1)))
    told = [f"{name} in {path}" for name in names]
    steps.add_subjects(annotations, zip(pictures, animals, told, strict=True))
    if wanted is None:
        there = {path.resolve().parent for path in pictures}
        folders = {file.parent for file in files if file.parent.resolve() in there}
        locate.leave_out_unlabelled(
            folders, annotations, lambda _: f"no row of a {PATTERN} names it"
        )
    return annotations


def _choose(labels: Labels, split: str | None, folder: Path) -> tuple[list[Path], set[str] | None]:
    """Returns the files of a split, and the pictures that its list names; None for all."""
    videos = {file.parent.name: file for file in labels.files if len(labels.files) > 1}
    lists = steps.split_lists(folder)
    if split is None or (split in videos and split not in lists):
        return (labels.files if split is None else [videos[split]]), None
    layout = "a list of pictures such as train.txt, or a video"
    if split not in lists:
        raise steps.no_such_split(folder, split, [*lists, *videos], layout)
    return labels.files, set(steps.read_split(folder, split, lists, layout))


def _called(name: str) -> set[str]:
    return {name, locate.image_stem(name), Path(name).name}


def _skeleton(labels: Labels, parts: Sequence[tuple[str, ...]]) -> Skeleton:
    """Returns the skeleton of all files: one order of joints, with the project's edges."""
    found = (part for each in dict.fromkeys(parts) for part in each)
    joints = tuple(dict.fromkeys((*labels.project.parts, *found)))
    place_of = {part: place for place, part in enumerate(joints)}
    edges = [
        (place_of[one], place_of[other])
        for one, other in labels.project.edges
        if one in place_of and other in place_of and one != other
    ]
    return Skeleton(joints, tuple(edges), pairs_by_name(joints))


def _rows(path: Path) -> Iterator[_Row]:
    """Yields the labels of the pictures of a file."""
    separator, table = steps.separated(path)
    if separator != ",":
        raise HeatpointError(
            f"{path}: columns are parted by {'tabs' if separator == chr(9) else 'semicolons'}, "
            "expected commas (and points in numbers), as DeepLabCut writes them; spreadsheets "
            "save so as 'comma delimited' under English settings"
        )
    rows = list(table)
    heading = _heading([cells for _, cells in rows], path)
    width, count = len(rows[0][1]), len(heading.parts)
    for number, cells in rows[heading.rows :]:
        where = f"{path}:{number}"
        if len(cells) != width:
            remedy = "; the file may be cut off"
            raise steps.unexpected(where, f"{width} columns as in the headings", len(cells), remedy)
        name = "/".join(filter(None, cells[: heading.first])).replace("\\", "/")
        cells.append("")  # column -1
        values = [_number(cells[column], where) for pair in heading.columns for column in pair]
        yield _Row(name, heading.parts, np.array(values).reshape(-1, count, 2))


def _heading(rows: list[list[str]], path: Path) -> _Heading:
    """Finds the columns by the rows of headings."""
    several = len(rows) > 1 and rows[1][:1] == ["individuals"]
    wanted = _HEADINGS if several else tuple(name for name in _HEADINGS if name != "individuals")
    head = rows[: len(wanted)]
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
    if "likelihood" in head[-1]:
        raise HeatpointError(
            f"{path} holds predictions, with a likelihood each; expected labels, which DeepLabCut "
            f"writes as {PATTERN}"
        )
    parts = tuple(dict.fromkeys(key[-2] for key in places))
    animals = tuple(dict.fromkeys(key[:-2] for key in places))
    if len(animals) * len(parts) > _MOST:
        raise HeatpointError(f"{path}: expected at most {_MOST:,} parts of all animals")
    columns: list[tuple[int, int]] = []
    for animal, part in itertools.product(animals, parts):
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
        raise steps.unexpected(where, "a number", repr(cell)[:80]) from None


class Project(NamedTuple):
    """What a ``config.yaml`` says.

    Attributes:
        scorer: Who labelled; "" if it is not said.
        parts: Body parts in their order, those of single animals last.
        edges: Names of two body parts each.
    """

    scorer: str = ""
    parts: tuple[str, ...] = ()
    edges: tuple[tuple[str, str], ...] = ()


class Labels(NamedTuple):
    """Files of labels that are one data set.

    Attributes:
        folder: The folder that names of pictures start from, or the one of the only file.
        files: The .csv files.
        project: What the project says of them.
    """

    folder: Path
    files: list[Path]
    project: Project


def find_labels(path: Path) -> Labels:
    """Returns the files of labels that a file, a video's folder or a project's folder means.

    Args:
        path: A .csv file, a ``config.yaml``, a project, its ``labeled-data`` or a folder of it.

    Raises:
        HeatpointError: A folder holds none or several, or ``config.yaml`` is no mapping.
    """
    folder = path.parent if path.is_file() else path
    root = _root(folder)
    project = Project() if root is None else _project(root / CONFIG)
    if path.is_file() and path.name != CONFIG:
        return Labels(root or folder, [path], project)
    if any(matching(folder, PATTERN)):
        return Labels(root or folder, [_only_file(folder, project)], project)
    videos = folder / LABELED if (folder / LABELED).is_dir() else folder
    below = sorted(each for each in videos.iterdir() if each.is_dir())
    files = [_only_file(each, project) for each in below if any(matching(each, PATTERN))]
    if not files:
        raise _none(folder, [folder, *below])
    return Labels(root or folder, files, project)


def is_project(folder: Path) -> bool:
    """Returns whether a folder holds labels itself, or in the folders of its videos."""
    videos = folder / LABELED if (folder / LABELED).is_dir() else folder
    kinds = PATTERN, TABLE
    return any(
        matching(each, f"{start}{kind}")
        for each, start in ((folder, ""), (videos, "*/"))
        for kind in kinds
    )


def is_config(path: Path) -> bool:
    """Returns whether a file is the configuration of a project."""
    return path.name == CONFIG and (path.parent / LABELED).is_dir()


def _root(folder: Path) -> Path | None:
    """Returns the folder of the project that a folder belongs to."""
    above = [folder, *Path(os.path.abspath(folder)).parents][: _HIGHEST + 1]
    return next((each for each in above if (each / LABELED).is_dir()), None)


def _only_file(folder: Path, project: Project) -> Path:
    there = matching(folder, PATTERN)
    mine = [path for path in there if path.stem == f"CollectedData_{project.scorer}"]
    chosen = mine if len(there) > 1 and mine else there
    if len(chosen) != 1:
        names = ", ".join(path.name for path in there)
        raise HeatpointError(f"{folder} holds {names}; give the file of the labels you mean")
    return chosen[0]


def _none(folder: Path, places: list[Path]) -> HeatpointError:
    tables = [path for place in places for path in matching(place, TABLE)]
    return table_alone(tables[0]) if tables else HeatpointError(f"{folder} holds no {PATTERN}")


def table_alone(path: Path) -> HeatpointError:
    """Returns the error for the table that DeepLabCut keeps beside its .csv file."""
    beside = path.with_suffix(".csv")
    if beside.is_file():
        return HeatpointError(f"{path} is DeepLabCut's table for pandas; give {beside} instead")
    return HeatpointError(
        f"{path} is DeepLabCut's table for pandas, and {beside.name} is not beside it; write it by "
        f"pandas.read_hdf({path.name!r}).to_csv({beside.name!r})"
    )


def _project(path: Path) -> Project:
    if not path.is_file():
        return Project()
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise steps.unexpected(
            path, "keys such as 'scorer' and 'bodyparts'", type(content).__name__
        )
    keys = ("bodyparts", "multianimalbodyparts", "uniquebodyparts")
    parts = [part for key in keys for part in _texts(content.get(key))]
    edges = content.get("skeleton")
    pairs = [_texts(edge) for edge in edges] if isinstance(edges, list) else []
    return Project(
        str(content.get("scorer") or ""),
        tuple(dict.fromkeys(parts)),
        tuple((pair[0], pair[1]) for pair in pairs if len(pair) == 2),
    )


def _texts(value: Any) -> list[str]:
    """Returns a list of names; nothing for ``MULTI!``, which stands for another key."""
    return [str(each) for each in value] if isinstance(value, list) else []
