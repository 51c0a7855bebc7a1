"""Reads text formats: YOLO folders, and files of one image per line.

In a YOLO folder there is one text file per image, ``class cx cy w h`` relative to the image. The
other format is ``path x1,y1,x2,y2,c x1,y1,x2,y2,c ...``, one image per line.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from heatpoint.data import Annotations, Box, Objects, check_names
from heatpoint.data.formats import SUFFIXES, is_picture
from heatpoint.data.images import image_size
from heatpoint.data.readers import steps
from heatpoint.data.readers.steps import Size
from heatpoint.errors import HeatpointError
from heatpoint.system.files import read_text

YOLO_NAMES = (
    *("data.yaml", "data.yml", "dataset.yaml"),
    *("classes.txt", "obj.names", "labels/classes.txt"),
)
"""Files of a YOLO folder that may hold the names of its classes, the first one first."""

Boxes = list[tuple[Box, int, str]]
"""Boxes of an image, xyxy in pixels, with the class index from 0 and the line that says so."""

_LAYOUT = "a list such as train.txt, or a folder images/train or train/images"

_NUMBER = r"[-+]?(?:nan|inf|(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)"
_NUMBERS = re.compile(rf"{_NUMBER}(?:,{_NUMBER})+", re.IGNORECASE)
_PATH_AND_MORE = re.compile(
    rf"(.*?(?:{'|'.join(map(re.escape, SUFFIXES))}))\s+(\S.*)", re.IGNORECASE
)


def is_yolo(folder: Path) -> bool:
    """Returns whether a folder has label files, or class names beside images."""
    if (folder / "labels").is_dir() or any(folder.glob("*/labels")):
        return True
    named = steps.first_file(folder / name for name in YOLO_NAMES)
    return named is not None and bool(steps.list_images(folder))


def read_yolo(folder: str | Path, split: str | None = None) -> Annotations:
    """Reads a YOLO folder.

    Images are below ``images`` or ``<split>/images``, or anywhere if there is neither; the labels
    of ``images/a/b.jpg`` are in ``labels/a/b.txt``, or in ``b.txt`` beside the image. An image
    without a label file is an image without objects, as in YOLO. A split is a list of images
    ``<split>.txt`` (names or paths, with or without suffix) or a sub-folder ``images/<split>`` or
    ``<split>/images``. Class names come from ``names`` of a ``data.yaml`` or from
    ``classes.txt``, ``obj.names`` or ``labels/classes.txt``, in this order.

    A line of a class and at least three points is a polygon, of which the bounding box is taken,
    unless ``data.yaml`` has ``kpt_shape``: then keypoints stand behind the box and are passed
    over. Boxes become image pixels by the size in the image's header; where that cannot be read,
    its objects are left out and counted.

    Args:
        folder: The folder that holds ``images`` and ``labels``.
        split: Name of the split; None reads every image.

    Raises:
        HeatpointError: No class names, no such split, or a malformed line (names file:line).
    """
    folder = Path(folder)
    names, keypoints = _classes(folder)
    annotations = Annotations(names, [], str(folder), tuple(range(len(names))))
    for path in steps.once(_images(folder, split), annotations, split):
        try:
            size = image_size(path)
        except HeatpointError:
            size = None
        boxes: Boxes = []
        label_file = _label_file(path)
        for number, line in steps.read_lines(label_file) if label_file else ():
            where = f"{label_file}:{number}"
            label, (x1, y1, x2, y2) = _parse(line, where, keypoints)
            if size is None:
                detail = f"{where}: without the image's size the box has no pixels"
                annotations.leave_out("object of an unreadable image", str(path), detail)
            else:
                height, width = size
                boxes.append(((x1 * width, y1 * height, x2 * width, y2 * height), label, where))
        _add_boxes(annotations, path, size, boxes)
    root = folder if split is None else _splits(folder)[split]
    steps.leave_out_unread([root], annotations)
    return annotations


def _splits(folder: Path) -> dict[str, Path]:
    """Returns the splits of a YOLO folder: name to list file or image folder."""
    inner = {path.name: path for path in sorted(folder.glob("images/*")) if path.is_dir()}
    outer = {path.parent.name: path for path in sorted(folder.glob("*/images")) if path.is_dir()}
    return inner | outer | steps.split_lists(folder)


def _images(folder: Path, split: str | None) -> list[Path]:
    known = _splits(folder)
    if split is None:
        roots = [folder / "images", *(path for path in known.values() if path.is_dir())]
        everything = dict.fromkeys(path for root in roots for path in steps.list_images(root))
        return list(everything) or steps.list_images(folder)
    if split in known and known[split].is_dir():
        return steps.list_images(known[split])
    index = steps.index_images(folder / "images")
    names = steps.read_split(folder, split, known, _LAYOUT)
    return [_listed(folder, name, index) for name in names]


def _listed(folder: Path, name: str, index: dict[str, Path]) -> Path:
    """Returns the image a line of a list means; a path that does not exist if there is none."""
    endings = ("", *SUFFIXES) if is_picture(Path(name)) else SUFFIXES
    bases = folder, folder / "images"
    there = steps.first_file(base / f"{name}{ending}" for base in bases for ending in endings)
    missing = folder / "images" / Path(name + endings[0]).name
    return there or index.get(steps.image_stem(name), missing)


def _label_file(image: Path) -> Path | None:
    """Returns the label file of an image, or None if there is none."""
    parts = image.parent.parts
    places = [image.with_suffix(".txt")]
    if "images" in parts:
        i = len(parts) - 1 - parts[::-1].index("images")
        places.insert(0, Path(*parts[:i], "labels", *parts[i + 1 :], f"{image.stem}.txt"))
    return steps.first_file(places)


def _parse(line: str, where: str, keypoints: bool) -> tuple[int, Box]:
    """Returns the class index and the relative xyxy box of a line of a label file."""
    try:
        label, *values = (float(value) for value in line.split())
    except ValueError:
        raise steps.unexpected(where, "numbers", repr(line)) from None
    if not label.is_integer():
        raise steps.unexpected(where, "a class index first", repr(line))
    if len(values) == 4 or (keypoints and len(values) > 4):
        x, y, w, h = values[:4]
        return int(label), (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
    if len(values) < 6 or len(values) % 2:
        wanted = "'class cx cy w h' or a class and at least three points"
        raise steps.unexpected(where, wanted, f"{len(values) + 1} values: {line[:60]!r}")
    points = np.array(values).reshape(-1, 2)
    (x1, y1), (x2, y2) = points.min(0).tolist(), points.max(0).tolist()
    return int(label), (x1, y1, x2, y2)


def _classes(folder: Path) -> tuple[tuple[str, ...], bool]:
    """Returns the class names, and whether label lines carry keypoints behind the box."""
    file = steps.first_file(folder / name for name in YOLO_NAMES)
    if file is None:
        raise HeatpointError(
            f"{folder}: expected the class names, one per line, in classes.txt; looked for "
            f"{', '.join(YOLO_NAMES)}"
        )
    return _yaml_classes(file) if file.suffix in (".yaml", ".yml") else (_read_names(file), False)


def _yaml_classes(path: Path) -> tuple[tuple[str, ...], bool]:
    import yaml

    try:
        data: Any = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise HeatpointError(f"{path} is not valid YAML: {error}") from None
    names = data.get("names") if isinstance(data, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or set(names) != set(range(len(names))):
        raise steps.unexpected(path, "'names' to list the classes, or numbered from 0", repr(names))
    return check_names([str(names[i]) for i in range(len(names))], path), "kpt_shape" in data


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
    parsed = [_parse_line(line, f"{path}:{number}") for number, line in steps.read_lines(path)]
    paths, searched = steps.locate_images([name for name, _ in parsed], path, images, [Path()])
    largest = max((label for _, boxes in parsed for _, label, _ in boxes), default=0)
    classes = _line_names(path, names, largest)
    ids = tuple(range(len(classes)))
    annotations = Annotations(classes, [], str(path), ids, searched=searched)
    for file, (_, boxes) in zip(paths, parsed, strict=True):
        _add_boxes(annotations, file, None, boxes)
    return annotations


def _parse_line(line: str, where: str) -> tuple[str, Boxes]:
    """Splits a line into the path and its boxes, taken off the end one at a time."""
    boxes: Boxes = []
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
    if rest and not is_picture(Path(line)):
        raise steps.unexpected(where, f"boxes x1,y1,x2,y2,class behind {rest[1]!r}", repr(rest[2]))
    return line, boxes[::-1]


def _line_names(path: Path, names: str | Path | None, largest: int) -> tuple[str, ...]:
    beside = (f"{path.stem}_classes.txt", "classes.txt", "voc_classes.txt")
    if names is None:
        names = steps.first_file(path.with_name(name) for name in beside)
    return _read_names(Path(names)) if names else tuple(map(str, range(largest + 1)))


def _add_boxes(annotations: Annotations, image: Path, size: Size | None, boxes: Boxes) -> None:
    """Adds an image to a data set; boxes of a class without a name are left out and counted."""
    objects, last = Objects(), len(annotations.names) - 1
    for box, label, where in boxes:
        if 0 <= label <= last:
            objects.add(box, label)
        else:
            detail = f"{where}: class {label}, expected 0 to {last}"
            annotations.leave_out("unknown category id", str(image), detail)
    annotations.images.append(objects.record(image, size, len(annotations.images) + 1))


def _read_names(path: Path) -> tuple[str, ...]:
    """Returns class names, one per line; empty lines at the end are not classes.

    Raises:
        HeatpointError: The file cannot be read, names no class, or a name is empty or not unique.
    """
    text = read_text(path).rstrip()
    return check_names([line.strip() for line in text.split("\n")] if text else [], path)
