"""Reads YOLO folders: one text file per image, ``class cx cy w h`` relative to the image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from heatpoint.data import Annotations, Box, check_names
from heatpoint.data.images import SUFFIXES, image_size
from heatpoint.data.readers import steps
from heatpoint.errors import HeatpointError
from heatpoint.system.files import read_text

YAML_FILES = ("data.yaml", "data.yml", "dataset.yaml")
NAMES_FILES = ("classes.txt", "obj.names", "labels/classes.txt")
_LAYOUT = "a list such as train.txt, or a folder images/train or train/images"


def is_yolo(folder: Path) -> bool:
    """Returns whether a folder has label files, or class names beside images."""
    if (folder / "labels").is_dir() or any(folder.glob("*/labels")):
        return True
    named = steps.first_file(folder / name for name in YAML_FILES + NAMES_FILES)
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
        boxes: list[tuple[Box, int, str]] = []
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
        steps.add_boxes(annotations, path, size, boxes)
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
    endings = ("", *SUFFIXES) if steps.is_image_name(Path(name)) else SUFFIXES
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
    settings = steps.first_file(folder / name for name in YAML_FILES)
    if settings is not None:
        return _yaml_classes(settings)
    listed = steps.first_file(folder / name for name in NAMES_FILES)
    if listed is not None:
        return steps.read_names(listed), False
    raise HeatpointError(
        f"{folder}: expected the class names, one per line, in classes.txt; looked for "
        f"{', '.join(YAML_FILES + NAMES_FILES)}"
    )


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
