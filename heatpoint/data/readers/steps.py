"""What readers share: reading lists and splits, joints, and what to say of mistakes."""

from __future__ import annotations

import csv
import gc
import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heatpoint.data import Annotations, Box, Objects, check_names, joints_box
from heatpoint.data.formats import matching
from heatpoint.errors import HeatpointError, suggest
from heatpoint.system.files import read_text

_SHOWN = 12
_NOT_SPLITS = {"classes", "label_list", "license", "predefined_classes", "readme", "requirements"}

_SIDE = 1e6  # pixels; of a larger side nothing is believed

Row = TypeVar("Row")

Size = tuple[int, int]
"""(height, width) in pixels."""


class Person(NamedTuple):
    """A labelled subject of a data set of joints.

    Attributes:
        image: The picture it is on.
        joints: (J, 3) as in ``ImageRecord``.
        box: xyxy in image pixels; None where nothing says where the subject is.
        detail: What to say where there is no box.
        size: (height, width) of the picture in pixels, or None.
        head: Length that PCKh divides by; NaN if unknown.
    """

    image: Path
    joints: NDArray[np.float64]
    box: Box | None
    detail: str
    size: Size | None = None
    head: float = math.nan


def around(image: Path, joints: NDArray[np.float64], detail: str) -> Person:
    """Returns a person that was labelled without a box; ``joints_box`` gives it."""
    return Person(image, joints, joints_box(joints), detail)


def add_people(annotations: Annotations, people: Iterable[Person]) -> Annotations:
    """Adds people to a data set without images and returns it; those of one image are together."""
    found: dict[Path, Objects] = {}
    sizes: dict[Path, Size | None] = {}
    for image, joints, box, detail, size, head in people:
        sizes[image] = size
        objects = found.setdefault(image, Objects(len(joints)))
        if box is None:
            annotations.leave_out("object without a box", str(image), detail)
        else:
            objects.add(box, 0, keypoints=joints, head=head)
    annotations.images = [
        objects.record(image, sizes[image], number)
        for number, (image, objects) in enumerate(found.items(), start=1)
    ]
    return annotations


def add_subjects(
    annotations: Annotations, pictures: Iterable[tuple[Path, Iterable[NDArray[np.float64]], str]]
) -> None:
    """Adds pictures and the labelled subjects on each, in boxes around their joints.

    Args:
        annotations: The data set.
        pictures: Pictures, the joints (J, 3) of each subject, and what to say of a picture that
            comes a second time: it is left out and counted.
    """
    listed: set[Path] = set()
    for picture, subjects, detail in pictures:
        if picture in listed:
            annotations.leave_out("image listed twice", str(picture), detail)
            continue
        listed.add(picture)
        objects = Objects(len(annotations.skeleton or ()))
        for joints in subjects:
            if (box := joints_box(joints)) is not None:
                objects.add(box, 0, keypoints=joints)
        annotations.images.append(objects.record(picture, None, len(annotations.images) + 1))


def as_joints(points: NDArray[np.float64], visibility: ArrayLike) -> NDArray[np.float64]:
    """Returns joints (..., 3) of points (..., 2) and visibility (...); zeros where that is 0."""
    seen = np.asarray(visibility, np.float64)[..., None]
    return np.where(seen == 0, 0.0, np.concatenate((points, seen), -1))


def unexpected(where: object, expected: str, got: object, remedy: str = "") -> HeatpointError:
    """Returns the error for content that is not what it should be.

    Args:
        where: The file, with the line or row if it is one of many.
        expected: What should be there.
        got: What is there.
        remedy: What to do, from a semicolon on, where it is not plain.
    """
    return HeatpointError(f"{where}: expected {expected}, got {got}{remedy}")


def known_size(height: Any, width: Any) -> Size | None:
    """Returns the size of an image if both sides are numbers from 1 on, else None; "480" is one."""
    try:
        sides = int(height), int(width)
    except (TypeError, ValueError, OverflowError):
        return None
    return sides if min(sides) >= 1 and max(sides) < _SIDE else None


def once(images: Iterable[Path], annotations: Annotations, split: str | None) -> Iterator[Path]:
    """Yields the images of a split without those listed before, which are left out and counted."""
    seen: set[Path] = set()
    for image in images:
        if image in seen:
            annotations.leave_out("image listed twice", str(image), f"split {split}")
        else:
            seen.add(image)
            yield image


def read_all(files: Sequence[Path], read: Callable[[Path], Row], kind: str) -> dict[Path, Row]:
    """Returns what each of many files holds.

    Args:
        files: The files.
        read: Reads one.
        kind: What they are called in messages, such as "XML".

    Raises:
        HeatpointError: Some cannot be read; says what is wrong with the first of them.
    """
    found: dict[Path, Row] = {}
    broken: list[str] = []
    for file in files:
        try:
            found[file] = read(file)
        except HeatpointError as error:
            broken.append(str(error))
    if broken:
        more = f"; and {len(broken) - 5} more" if len(broken) > 5 else ""
        raise HeatpointError(
            f"{len(broken)} of {len(files)} {kind} files cannot be read: {'; '.join(broken[:5])}"
            f"{more}. Write them again, or move them away"
        )
    return found


def read_lines(path: str | Path) -> list[tuple[int, str]]:
    """Returns the lines of a text file that are not empty, with their numbers from 1.

    They are stripped of white space at both ends.

    Raises:
        HeatpointError: The file is missing, unreadable, or not UTF-8 text.
    """
    lines = enumerate((line.strip() for line in read_text(path).split("\n")), start=1)
    return [(number, line) for number, line in lines if line]


def read_table(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yields the rows of a file of cells, with their lines; see ``separated``."""
    return separated(path)[1]


def separated(path: Path) -> tuple[str, Iterator[tuple[int, list[str]]]]:
    """Returns what separates the cells of a table, and its rows with their lines.

    Cells are stripped; rows of empty cells are passed over. The separator is a comma, semicolon or
    tab: what the line ``sep=`` says, with which Excel lets a file begin, or else the one that the
    first line has most of.

    Raises:
        HeatpointError: The file cannot be read, or (row by row) a cell is not closed or far too
            long.
    """
    text, skipped = read_text(path), 0
    said = re.match(r'"?sep=([,;\t])"?\r?\n', text, re.IGNORECASE)
    if said:
        separator, text, skipped = said[1], text[said.end() :], 1
    else:
        separator = max(",;\t", key=text.partition("\n")[0].count)
    return separator, _cells(path, text, separator, skipped)


def _cells(path: Path, text: str, separator: str, skipped: int) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text), delimiter=separator)
    try:
        for row in reader:
            cells = list(map(str.strip, row))
            if any(cells):
                yield reader.line_num + skipped, cells
    except csv.Error as error:
        raise HeatpointError(
            f"{path}:{reader.line_num + skipped}: {error}; the file may be damaged"
        ) from None


@contextmanager
def without_collection() -> Iterator[None]:
    """Spares Python the search for circles among millions of new objects: a third of the time."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def read_names(path: Path) -> tuple[str, ...]:
    """Returns class names, one per line; empty lines at the end are not classes.

    Raises:
        HeatpointError: The file cannot be read, names no class, or a name is empty or not unique.
    """
    text = read_text(path).rstrip()
    return check_names([line.strip() for line in text.split("\n")] if text else [], path)


def split_lists(folder: Path) -> dict[str, Path]:
    """Returns the text files in a folder that may list the images of a split, by its name."""
    files = matching(folder, "*.txt")
    return {path.stem: path for path in files if _plain(path.stem) not in _NOT_SPLITS}


def _plain(stem: str) -> str:
    """Returns the first word of a name such as ``README.dataset`` or ``readme-upstream``."""
    return re.split(r"[.-]", stem.lower(), maxsplit=1)[0]


def split_files(folder: Path, name: str) -> dict[str, Path]:
    """Returns the files of that name in a folder (``""``) and in the folders of its splits."""
    own = {"": folder / name} if (folder / name).is_file() else {}
    return own | {path.parent.name: path for path in matching(folder, f"*/{name}")}


def files_together(folder: Path, name: str, split: str | None) -> dict[str, Path]:
    """Returns the files of that name that are one data set: those of all splits, or the folder's.

    Raises:
        HeatpointError: The folder has one, its splits have others, and no split is asked for.
    """
    files = split_files(folder, name)
    own = files.pop("", None)
    if own is None or not files:
        return files or {"": folder / name}
    if split is None:
        raise HeatpointError(
            f"{folder} has {name}, and so have {', '.join(files)} in it; name the one that is "
            f"meant: {own}, or {folder}:{next(iter(files))}"
        )
    return files


def read_split(folder: Path, split: str, lists: Mapping[str, Path], layout: str) -> list[str]:
    r"""Returns the lines of a split's list that are not empty, with ``/`` in place of ``\``.

    Args:
        folder: What the split is one of, for the message.
        split: Its name.
        lists: The lists there are, by name.
        layout: What a split looks like here, for the message.

    Raises:
        HeatpointError: There is no such split, or its list cannot be read.
    """
    if split not in lists:
        raise no_such_split(folder, split, lists, layout)
    return [line.replace("\\", "/") for _, line in read_lines(lists[split])]


def flagged(
    rows: Sequence[Row], split: str | None, flags: Mapping[str, Iterable[Any]], path: Path, key: str
) -> list[Row]:
    """Returns the rows of a split in a file whose rows say which split they belong to.

    Args:
        rows: The rows.
        split: Its name; None for all rows.
        flags: For each split that the file knows, whether each row belongs to it.
        path: The file, for the message.
        key: What the flags are called, for the message.

    Raises:
        HeatpointError: There is no such split.
    """
    if split is None:
        return list(rows)
    if split not in flags:
        raise no_such_split(path, split, flags, key)
    return [row for row, flag in zip(rows, flags[split], strict=True) if flag]


def no_such_split(folder: Path, split: str, known: Iterable[str], layout: str) -> HeatpointError:
    """Returns the error for a split that ``folder`` does not have; lists those it has."""
    names = sorted(known)
    more = ", ..." if len(names) > _SHOWN else ""
    there = ", ".join(names[:_SHOWN]) or "none at all: leave the split off to read everything"
    return HeatpointError(
        f"{folder} has no split {split!r} (expected {layout}); it has {there}{more}"
        f"{suggest(split, names)}"
    )
