"""What readers share: finding and reading files, splits, joints, and what to say of mistakes."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heatpoint.data import Annotations, Box, Objects, joints_box
from heatpoint.data.images import SUFFIXES
from heatpoint.errors import HeatpointError, suggest
from heatpoint.system.files import read_text

_SHOWN = 12
_SIDE = 1e6  # pixels; of a larger side nothing is believed
_NOT_SPLITS = {"classes", "license", "readme", "readme-upstream", "requirements"}

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
    """Returns the size of an image if both sides are numbers that can be meant, else None."""
    sides = height, width
    if all(isinstance(side, int | float) and 1 <= side < _SIDE for side in sides):
        return int(height), int(width)
    return None


def first_file(places: Iterable[Path]) -> Path | None:
    """Returns the first of some places at which there is a file, None if there is none.

    A name that no system takes, of 300 letters say, is no file's.
    """
    return next((path for path in places if os.path.isfile(path)), None)


def is_image_name(path: Path) -> bool:
    """Returns whether a file is called like an image."""
    return path.suffix.lower() in SUFFIXES


def image_stem(name: str) -> str:
    """Returns a file name without folders and image suffix; ``scan.v2`` keeps its ``.v2``."""
    path = Path(name.replace("\\", "/"))
    return path.stem if is_image_name(path) else path.name


def list_images(folder: Path) -> list[Path]:
    """Returns the image files below ``folder``, sorted by path; none if it does not exist."""
    return sorted(path for path in folder.rglob("*") if is_image_name(path) and path.is_file())


def index_images(folder: Path) -> dict[str, Path]:
    """Returns the image files below ``folder`` by stem; of two with one stem the first."""
    return {path.stem: path for path in reversed(list_images(folder))}


def image_folders(annotation: Path) -> list[Path]:
    """Returns where the images of an annotation file are looked for, in order.

    Beside the file, in ``images``, in ``../images``, in ``..``; and, for a file such as
    ``instances_val2017.json``, in the folder ``val2017`` beside, above, or inside ``images``.
    """
    split = annotation.stem.rsplit("_", 1)[-1]
    places = [".", "images", "../images", ".."]
    places += [split, f"../{split}", f"images/{split}", f"../images/{split}"]
    return [Path(os.path.normpath(annotation.parent / place)) for place in places]


def locate_images(
    names: Sequence[str], annotation: Path, images: str | Path | None, at_last: Sequence[Path] = ()
) -> tuple[list[Path], tuple[str, ...]]:
    """Resolves file names against the first folder that holds any of them.

    All images come from one folder, so that a name never means two files. A name may carry
    folders of its own; if that path does not exist, its last part is tried. Absolute names are
    taken as they are where they exist.

    Args:
        names: What the annotation calls its images.
        annotation: The file that names them.
        images: The one folder to look in; None means ``image_folders``.
        at_last: Folders to look in after those.

    Returns:
        One path per name, existing or not, and the folders searched if not one image was found.

    Raises:
        HeatpointError: ``images`` is no folder or holds none of the images.
    """
    folders = [*image_folders(annotation), *at_last] if images is None else [Path(images)]
    if images is not None and not folders[0].is_dir():
        raise HeatpointError(f"{images} is not a folder; expected the images of {annotation}")
    plain = [Path(name.replace("\\", "/")) for name in names]
    for folder in filter(Path.is_dir, folders):
        found = [first_file((folder / name, folder / name.name)) for name in plain]
        if any(found):
            return [path or folder / name for path, name in zip(found, plain, strict=True)], ()
    if images is not None and names:
        raise HeatpointError(
            f"{images} holds none of the {len(names)} images of {annotation}; "
            f"expected {names[0]!r}, for one"
        )
    searched = tuple(str(folder) for folder in folders) if names else ()
    return [folders[0] / name for name in plain], searched


def once(images: Iterable[Path], annotations: Annotations, split: str | None) -> Iterator[Path]:
    """Yields the images of a split without those listed before, which are left out and counted."""
    seen: set[Path] = set()
    for image in images:
        if image in seen:
            annotations.leave_out("image listed twice", str(image), f"split {split}")
        else:
            seen.add(image)
            yield image


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Returns the lines of a text file that are not empty, with their numbers from 1.

    They are stripped of white space at both ends.

    Raises:
        HeatpointError: The file is missing, unreadable, or not UTF-8 text.
    """
    lines = enumerate((line.strip() for line in read_text(path).split("\n")), start=1)
    return [(number, line) for number, line in lines if line]


def split_lists(folder: Path) -> dict[str, Path]:
    """Returns the text files in a folder that may list the images of a split, by its name."""
    files = sorted(folder.glob("*.txt"))
    return {path.stem: path for path in files if path.stem.lower() not in _NOT_SPLITS}


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
