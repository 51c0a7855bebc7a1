"""Reads text files of boxes: an image a line, and DOTA's files of an object a line.

The lines of the former are ``path x1,y1,x2,y2,c x1,y1,x2,y2,c ...``. DOTA has a file of objects by
four corners for every picture, in ``labelTxt``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, Box, Objects, check_names
from heatpoint.data.formats import SUFFIXES, UNREAD, is_picture, matching
from heatpoint.data.quads import around
from heatpoint.data.readers import locate, steps
from heatpoint.data.readers.given import Given
from heatpoint.errors import HeatpointError

Boxes = list[tuple[Box, int, str]]
"""Boxes of an image, xyxy in pixels, with the class index from 0 and the line that says so."""

ROBOFLOW = "_annotations.txt"
"""What Roboflow calls such a file, one in the folder of each split; its names beside it."""

LARGEST = 9_999
"""Class index up to which indices become names."""

_NUMBER = r"[-+]?(?:nan|inf|(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?)"
_NUMBERS = re.compile(rf"{_NUMBER}(?:,{_NUMBER})+", re.IGNORECASE)
_PATH_AND_MORE = re.compile(
    rf"(.*?(?:{'|'.join(map(re.escape, SUFFIXES))}))\s+(\S.*)", re.IGNORECASE
)

_LABELS = "labeltxt"
"""How the folders of label files begin, in lower case; ``labelTxt-v1.0`` is one."""

_HEADS = ("imagesource:", "gsd:")


def fits(given: Given) -> bool:
    """Returns whether a file may be one of lines of boxes, or a folder holds Roboflow's."""
    return (
        bool(steps.split_files(given.path, ROBOFLOW)) if given.is_folder else given.suffix == ".txt"
    )


def read_text_lines(given: Given) -> Annotations:
    """Reads a text file of one image per line, its boxes behind its path.

    A box is ``x1,y1,x2,y2,c``: corners in image pixels and the class index from 0. Paths may
    contain spaces. A line of a path alone is an image without objects; empty lines are passed
    over. Relative paths are looked for in ``images`` if given, else in the folders of
    ``locate.image_folders``, then in the current folder.

    Class names stand one per line in the first of ``<stem>_classes.txt``, ``_classes.txt``,
    ``classes.txt`` and ``voc_classes.txt`` beside the file. Without any of them the indices become
    the names, "0" up to the largest in this file: write one where two splits must agree.

    Raises:
        HeatpointError: The file or folder is missing, or a line is malformed (names file:line).
    """
    if given.is_folder:
        return _read_folder(given)
    path = given.without_split()
    parsed = [_parse_line(line, f"{path}:{number}") for number, line in steps.read_lines(path)]
    largest = max((label for _, boxes in parsed for _, label, _ in boxes), default=0)
    classes = _names(path, largest)
    annotations = Annotations(classes, [], str(path), tuple(range(len(classes))))
    listed = [name for name, _ in parsed]
    paths = locate.locate_images(listed, annotations, path, given.images, [Path()])
    for file, (_, boxes) in zip(paths, parsed, strict=True):
        objects = Objects()
        for box, label, where in boxes:
            if 0 <= label < len(classes):
                objects.add(box, label)
            else:
                detail = f"{where}: class {label:.6g}, expected 0 to {len(classes) - 1}"
                annotations.leave_out("unknown category id", str(file), detail)
        annotations.images.append(objects.record(file, None, len(annotations.images) + 1))
    folder = path.parent
    if annotations.objects == 0 and (
        (folder / "labels").is_dir() or (folder / "obj.names").exists()
    ):
        raise HeatpointError(
            f"{path} has no boxes and is part of a YOLO folder; give the folder, with a split if "
            f"only one is meant, such as {folder}:{path.stem}"
        )
    return annotations


def _parse_line(line: str, where: str) -> tuple[str, Boxes]:
    """Splits a line into the path and its boxes, which are the last words that are numbers."""
    words = line.split()
    count = 0
    while count < len(words) - 1 and _NUMBERS.fullmatch(words[-1 - count]):
        count += 1
    boxes: Boxes = []
    for word in words[len(words) - count :]:
        values = [float(value) for value in word.split(",")]
        if len(values) != 5:
            raise steps.unexpected(where, "x1,y1,x2,y2,class", f"{len(values)} values in {word!r}")
        x1, y1, x2, y2, label = values
        if not label.is_integer():
            raise steps.unexpected(where, "a whole number as class", repr(word))
        boxes.append(((x1, y1, x2, y2), int(label), where))
    line = line.rsplit(maxsplit=count)[0] if count else line
    named = re.search(r"[^\d\s,.-]", line) and Path(line).suffix.lower() in ("", *SUFFIXES, *UNREAD)
    if not count and not named:
        wanted = "the path of a picture, and x1,y1,x2,y2,class of each box behind it"
        remedy = "; lines of WIDER FACE, MOT, KITTI and VisDrone are not read: convert them to COCO"
        raise steps.unexpected(where, wanted, f"{line!r:.80}", remedy)
    rest = _PATH_AND_MORE.fullmatch(line)
    if rest and not is_picture(Path(line)):
        raise steps.unexpected(
            where, f"boxes x1,y1,x2,y2,class behind {rest[1]!r}", f"{rest[2]!r:.80}"
        )
    return line, boxes


def _names(path: Path, largest: int) -> tuple[str, ...]:
    beside = (f"{path.stem}_classes.txt", "_classes.txt", "classes.txt", "voc_classes.txt")
    names = locate.first_file(path.with_name(name) for name in beside)
    if names is not None:
        return steps.read_names(names)
    if largest > LARGEST:
        raise steps.unexpected(
            path,
            f"classes up to {LARGEST:,}",
            f"class {largest:.6g}",
            "; mend the line, or name the classes, one per line, in classes.txt beside the file",
        )
    return tuple(map(str, range(largest + 1)))


def _read_folder(given: Given) -> Annotations:
    """Reads the file of a split, or of the only split there is."""
    files = steps.split_files(given.path, ROBOFLOW)
    splits = {file.parent.name: file for file in files.values()}
    split = next(iter(splits)) if given.split is None and len(splits) == 1 else given.split
    if split is None:
        raise HeatpointError(
            f"{given.path} has the splits {', '.join(splits)}, each with its own {ROBOFLOW}; name "
            f"one, such as {given.path}:{next(iter(splits))}"
        )
    if split not in splits:
        raise steps.no_such_split(given.path, split, splits, f"a folder with {ROBOFLOW}")
    return read_text_lines(Given(splits[split], images=given.images))


class _Row(NamedTuple):
    """An object: its corners (4, 2) in pixels, its class, and whether it is hard to see."""

    corners: NDArray[np.float64]
    name: str
    difficult: bool


def is_dota(given: Given) -> bool:
    """Returns whether a folder holds label files of DOTA."""
    return bool(_folders(given.path))


def read_dota(given: Given) -> Annotations:
    """Reads a folder of DOTA: ``images`` and ``labelTxt``, or folders of splits that hold these.

    A line is ``x1 y1 x2 y2 x3 y3 x4 y4 class difficult`` in pixels, continuous, clockwise from any
    corner on; ``difficult`` may be missing. Lines ``imagesource:`` and ``gsd:`` are passed over.
    Classes are those of all splits, sorted. Pictures and label files that lack the other are left
    out and counted.

    Raises:
        HeatpointError: There is no such split, a line is malformed (names file:line), or no object
            is there to say what the classes are.
    """
    path, split, images = given.path, given.split, given.images
    folders = _folders(path)
    splits = {each[0].parent.name: each for each in folders if each[0].parent != path}
    if split is not None and split not in splits:
        raise steps.no_such_split(path, split, splits, "a folder with labelTxt")
    rows = {
        folder: {file: _rows(file) for file in matching(folder, "*.txt")} for folder, *_ in folders
    }
    used = {row.name for files in rows.values() for each in files.values() for row in each}
    names = check_names(sorted(used), path)
    annotations = Annotations(names, [], str(path))
    for folder, *others in folders if split is None else [splits[split]]:
        for other in others:
            detail = f"{folder} is read, the last by name; move it away if {other} is meant"
            annotations.say("annotations in a second format", "", detail)
        pictures = _pictures(images or folder.parent / "images", annotations)
        for file, objects in rows[folder].items():
            if (picture := pictures.pop(file.stem, None)) is None:
                annotations.leave_out("unused label file", str(file), "no picture of its name")
            else:
                _add(annotations, picture, objects)
        for picture in pictures.values() if images is None else ():
            detail = f"expected {picture.stem}.txt"
            annotations.leave_out("image without annotation file", str(picture), detail)
    return annotations


def _folders(path: Path) -> list[list[Path]]:
    """Returns the folders of label files in a folder or in folders of it, together where they are.

    The first of several is read: ``labelTxt-v1.5``, say, which mends ``labelTxt-v1.0``.
    """
    there = matching(path, "*/", "*/*/")
    found = [each for each in there if each.name.lower().startswith(_LABELS) and each.is_dir()]
    # DOTA comes with upright boxes of the same objects beside the turned ones.
    turned = [each for each in found if "hbb" not in each.name.lower()]
    together: dict[Path, list[Path]] = {}
    for each in sorted(turned or found, reverse=True):
        together.setdefault(each.parent, []).append(each)
    return sorted(together.values())


def _pictures(folder: Path, annotations: Annotations) -> dict[str, Path]:
    """Returns the pictures of a folder by their names without endings; says what is none of them.

    Args:
        folder: Theirs.
        annotations: Receives what is left out.
    """
    found: dict[str, Path] = {}
    locate.leave_out_unread([folder], annotations)
    for each in sorted(folder.iterdir()) if folder.is_dir() else []:
        if is_picture(each) and found.setdefault(each.stem, each) != each:
            detail = f"{found[each.stem].name} has its name"
            annotations.leave_out("image without annotation file", str(each), detail)
    return found


def _rows(file: Path) -> list[_Row]:
    found = []
    for number, line in steps.read_lines(file):
        if line.lower().startswith(_HEADS):
            continue
        words = line.replace(",", " ").split()
        try:
            corners = np.array(words[:8], np.float64).reshape(4, 2)
            last = int(words[9]) if len(words) > 9 else 0
        except ValueError:
            words = []
        if len(words) not in (9, 10):
            wanted = "x1 y1 x2 y2 x3 y3 x4 y4 class difficult"
            raise steps.unexpected(f"{file}:{number}", wanted, repr(line[:80]))
        found.append(_Row(corners, words[8], last != 0))
    return found


def _add(annotations: Annotations, picture: Path, rows: list[_Row]) -> None:
    objects = Objects()
    for corners, name, difficult in rows:
        x1, y1, x2, y2 = around(corners[None])[0].tolist()
        label = annotations.names.index(name)
        objects.add((x1, y1, x2, y2), label, difficult=difficult, corners=corners)
    annotations.images.append(objects.record(picture, None, len(annotations.images) + 1))
