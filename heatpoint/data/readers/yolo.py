"""Reads YOLO folders: one text file per image, ``class cx cy w h`` relative to the image."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from heatpoint.data import Annotations, Box, Objects, check_names
from heatpoint.data.images import SUFFIXES, image_size
from heatpoint.data.readers.files import (
    image_stem,
    index_images,
    is_image_name,
    list_images,
    read_lines,
    read_names,
    read_split,
    read_text,
)
from heatpoint.errors import HeatpointError

YAML_FILES = ("data.yaml", "data.yml", "dataset.yaml")
NAMES_FILES = ("classes.txt", "obj.names", "labels/classes.txt")
_NOT_SPLITS = {"classes", "requirements", "readme"}
_LAYOUT = "a list such as train.txt, or a folder images/train or train/images"


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
    seen: set[Path] = set()
    for path in _images(folder, split):
        if path in seen:
            annotations.leave_out("image listed twice", str(path), f"split {split}")
            continue
        seen.add(path)
        label_file = _label_file(path)
        try:
            size = image_size(path)
        except HeatpointError:
            size = None
        objects = Objects()
        for label, box, number in _boxes(label_file, keypoints) if label_file else ():
            where = f"{label_file}:{number}"
            if not 0 <= label < len(names):
                detail = f"{where}: class {label}, expected 0 to {len(names) - 1}"
                annotations.leave_out("unknown category id", str(path), detail)
            elif size is None:
                detail = f"{where}: without the image's size the box has no pixels"
                annotations.leave_out("object of an unreadable image", str(path), detail)
            else:
                height, width = size
                x1, y1, x2, y2 = box
                objects.add((x1 * width, y1 * height, x2 * width, y2 * height), label)
        annotations.images.append(objects.record(path, size, len(annotations.images) + 1))
    return annotations


def _splits(folder: Path) -> dict[str, Path]:
    """Returns the splits of a YOLO folder: name to list file or image folder."""
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*")):
        if path.suffix == ".txt" and path.stem.lower() not in _NOT_SPLITS:
            found[path.stem] = path
        elif (path / "images").is_dir():
            found.setdefault(path.name, path / "images")
    for path in sorted(folder.glob("images/*")):
        if path.is_dir():
            found.setdefault(path.name, path)
    return found


def _images(folder: Path, split: str | None) -> list[Path]:
    known = _splits(folder)
    if split is None:
        roots = [folder / "images", *(path for path in known.values() if path.is_dir())]
        everything = dict.fromkeys(path for root in roots for path in list_images(root))
        return list(everything) or list_images(folder)
    if split in known and known[split].is_dir():
        return list_images(known[split])
    index = index_images(folder / "images")
    return [_listed(folder, line, index) for line in read_split(folder, split, known, _LAYOUT)]


def _listed(folder: Path, line: str, index: dict[str, Path]) -> Path:
    """Returns the image a line of a list means; a path that does not exist if there is none."""
    name = line.replace("\\", "/")
    for base in (folder, folder / "images"):
        path = base / name
        if is_image_name(path) and path.is_file():
            return path
        for suffix in SUFFIXES:
            with_suffix = path.with_name(path.name + suffix)
            if with_suffix.is_file():
                return with_suffix
    fallback = name if is_image_name(Path(name)) else f"{name}.jpg"
    return index.get(image_stem(name), folder / "images" / Path(fallback).name)


def _label_file(image: Path) -> Path | None:
    """Returns the label file of an image, or None if there is none."""
    parts = image.parent.parts
    places = [image.with_suffix(".txt")]
    if "images" in parts:
        i = len(parts) - 1 - parts[::-1].index("images")
        places.insert(0, Path(*parts[:i], "labels", *parts[i + 1 :], f"{image.stem}.txt"))
    return next((path for path in places if path.is_file()), None)


def _boxes(path: Path, keypoints: bool) -> Iterator[tuple[int, Box, int]]:
    """Yields label, relative xyxy box and line number of every line of a label file."""
    for number, line in enumerate(read_lines(path), start=1):
        if not line:
            continue
        try:
            first, *values = (float(value) for value in line.split())
        except ValueError:
            raise HeatpointError(f"{path}:{number}: expected numbers, got {line!r}") from None
        if not math.isfinite(first) or first != int(first):
            raise HeatpointError(f"{path}:{number}: expected a class index first, got {line!r}")
        polygon = len(values) >= 6 and len(values) % 2 == 0
        if len(values) == 4 or (keypoints and len(values) > 4):
            x, y, w, h = values[:4]
            yield int(first), (x - w / 2, y - h / 2, x + w / 2, y + h / 2), number
        elif polygon:
            # min() and max() may pass over a NaN; the box of a broken polygon is broken.
            broken = math.nan if any(map(math.isnan, values)) else 0.0
            xs, ys = [x + broken for x in values[0::2]], [y + broken for y in values[1::2]]
            yield int(first), (min(xs), min(ys), max(xs), max(ys)), number
        else:
            raise HeatpointError(
                f"{path}:{number}: expected 'class cx cy w h' or a class and at least three "
                f"points, got {len(values) + 1} values: {line[:60]!r}"
            )


def _classes(folder: Path) -> tuple[tuple[str, ...], bool]:
    """Returns the class names, and whether label lines carry keypoints behind the box."""
    for path in (folder / name for name in YAML_FILES):
        if path.is_file():
            return _yaml_classes(path)
    for path in (folder / name for name in NAMES_FILES):
        if path.is_file():
            return check_names(read_names(path), path), False
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
    if isinstance(names, dict):
        if set(names) != set(range(len(names))):
            raise HeatpointError(f"{path}: expected 'names' numbered from 0, got {list(names)}")
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list):
        raise HeatpointError(f"{path}: expected 'names' to list the classes, got {names!r}")
    return check_names([str(name) for name in names], path), "kpt_shape" in data
