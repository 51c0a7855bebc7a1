"""Reads and writes COCO JSON: boxes, and joints where it has them."""

from __future__ import annotations

import itertools
import math
import os
from pathlib import Path
from typing import Any

from heatpoint.data.annotations import Annotations, ImageRecord, check_names
from heatpoint.data.readers.coco_joints import (
    category_joints,
    object_joints,
    read_joints,
    read_skeleton,
)
from heatpoint.data.readers.locate import image_folders, locate_images
from heatpoint.data.readers.objects import Objects
from heatpoint.errors import HeatpointError
from heatpoint.system.files import read_json, write_json


def read_coco(path: str | Path, images: str | Path | None = None) -> Annotations:
    """Reads a COCO JSON file.

    Class ``i`` is the category with the i-th smallest id; gaps between ids vanish here and
    nowhere else. Masks are passed over. Annotations with ``iscrowd`` or ``ignore`` are kept and
    marked as crowd (pycocotools knows only ``iscrowd`` and overwrites ``ignore``). Joints are read
    where a category names them; see ``coco_joints``.
    Images without annotations are kept. Boxes are kept as they are, ``x, y, w, h`` turned into
    corners, even NaN and negative ones: ``validate`` reports them.

    Images are looked for in ``images`` if given, else in the folders of ``image_folders``. When
    none is found there, the annotations are still read (scores can be computed without pixels)
    and ``searched`` lists the folders.

    Args:
        path: The JSON file.
        images: Folder of the images, against which each ``file_name`` is resolved.

    Raises:
        HeatpointError: The file is missing, cut off, or not COCO; a name or id stands for two
            things; ``images`` is no folder or holds none of the images.
    """
    path = Path(path)
    data = read_json(path)
    if not isinstance(data, dict):
        got = "a list (detections, perhaps)" if isinstance(data, list) else type(data).__name__
        raise HeatpointError(f"{path}: expected a COCO object with 'images', got {got}")
    sections = {key: _section(data, key, path) for key in ("images", "annotations", "categories")}
    names, category_ids = _categories(sections["categories"], path)
    skeleton = read_skeleton(sections["categories"], path)
    records, searched = _records(sections["images"], path, images)
    annotations = Annotations(
        names,
        list(records.values()),
        str(path),
        category_ids,
        searched=searched,
        skeleton=skeleton,
    )
    _add_objects(annotations, records, sections["annotations"])
    return annotations


def write_coco(annotations: Annotations, path: str | Path) -> None:
    """Writes a data set as COCO JSON; ``read_coco`` gives the same data set back.

    Image paths are stored relative to the folder of ``path`` where that is possible. Difficult
    objects carry ``"difficult": 1`` and head sizes ``"head_size"``, which COCO tools pass over.

    Raises:
        HeatpointError: The file cannot be written.
    """
    path = Path(path)
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for record in annotations.images:
        entry: dict[str, Any] = {
            "id": record.image_id,
            "file_name": _relative(record.path, path.parent),
        }
        if record.size is not None:
            entry |= {"height": record.size[0], "width": record.size[1]}
        images.append(entry)
        for i, (x1, y1, x2, y2) in enumerate(record.boxes.tolist()):
            item: dict[str, Any] = {
                "id": len(objects) + 1,
                "image_id": record.image_id,
                "category_id": annotations.category_ids[int(record.labels[i])],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": float(record.areas[i]),
                "iscrowd": int(record.crowd[i]),
            }
            if record.difficult[i]:
                item["difficult"] = 1
            objects.append(item | object_joints(record, i))
    skeleton = {} if annotations.skeleton is None else category_joints(annotations.skeleton)
    categories = [
        {"id": number, "name": name} | skeleton
        for number, name in zip(annotations.category_ids, annotations.names, strict=True)
    ]
    write_json(path, {"images": images, "annotations": objects, "categories": categories})


def _section(data: dict[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    value = data.get(key)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        got = f"keys {sorted(data)[:6]}" if key not in data else "something else"
        raise HeatpointError(f"{path}: expected {key!r} to be a list of objects, got {got}")
    return value


def _number(item: dict[str, Any], key: str, what: str, path: Path) -> int:
    """Returns an id as an integer; "7" and 7.0 are 7."""
    value = item.get(key)
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            if float(value) == int(value):
                return int(value)
        except (ValueError, OverflowError):
            pass
    raise HeatpointError(f"{path}: expected an integer as {key!r} of {what}, got {value!r}")


def _categories(
    section: list[dict[str, Any]], path: Path
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    pairs = sorted(
        (_number(item, "id", "a category", path), str(item.get("name") or "").strip())
        for item in section
    )
    ids = tuple(number for number, _ in pairs)
    for before, after in itertools.pairwise(pairs):
        if before[0] == after[0]:
            raise HeatpointError(
                f"{path}: categories {before[1]!r} and {after[1]!r} share the id {after[0]}"
            )
    return check_names([name for _, name in pairs], path), ids


def _records(
    section: list[dict[str, Any]], path: Path, images: str | Path | None
) -> tuple[dict[int, ImageRecord], tuple[str, ...]]:
    folders = image_folders(path)
    if images is not None:
        folders = [Path(images)]
        if not folders[0].is_dir():
            raise HeatpointError(f"{images} is not a folder; expected the images of {path}")
    names = [str(item.get("file_name") or "") for item in section]
    for item, name in zip(section, names, strict=True):
        if not name:
            raise HeatpointError(f"{path}: image {item.get('id')!r} has no 'file_name'")
    paths, searched = locate_images(names, folders)
    if images is not None and names and searched:
        raise HeatpointError(
            f"{images} holds none of the {len(names)} images of {path}; "
            f"expected {names[0]!r}, for one"
        )
    records: dict[int, ImageRecord] = {}
    for item, file in zip(section, paths, strict=True):
        number = _number(item, "id", f"image {file.name}", path)
        if number in records:
            raise HeatpointError(
                f"{path}: images {records[number].path.name} and {file.name} share the id {number}"
            )
        records[number] = ImageRecord(file, _size(item), image_id=number)
    return records, searched if names else ()


def _size(item: dict[str, Any]) -> tuple[int, int] | None:
    height, width = item.get("height"), item.get("width")
    if not isinstance(height, int | float) or not isinstance(width, int | float):
        return None
    if not (math.isfinite(height) and math.isfinite(width) and height >= 1 and width >= 1):
        return None
    return int(height), int(width)


def _add_objects(
    annotations: Annotations, records: dict[int, ImageRecord], section: list[dict[str, Any]]
) -> None:
    label_of = {number: label for label, number in enumerate(annotations.category_ids)}
    path = Path(annotations.source)
    joints = None if annotations.skeleton is None else len(annotations.skeleton)
    found = {number: Objects(joints) for number in records}
    fitting = 0
    for index, item in enumerate(section):
        what = f"annotation {item.get('id', f'number {index + 1}')}"
        image_id = _number(item, "image_id", what, path)
        if image_id not in records:
            detail = f"{what} is for image {image_id}, which the file does not list"
            annotations.leave_out("unknown image id", "", detail)
            continue
        image = str(records[image_id].path)
        category = _number(item, "category_id", what, path)
        if category not in label_of:
            detail = f"{what} has category {category}, which the file does not list"
            annotations.leave_out("unknown category id", image, detail)
            continue
        box = _corners(item.get("bbox"))
        if box is None:
            detail = f"{what}: expected 'bbox' to be x, y, width, height, got {item.get('bbox')!r}"
            annotations.leave_out("object without a box", image, detail)
            continue
        keypoints = None
        if joints is not None and item.get("keypoints") is not None:
            keypoints, why = read_joints(item["keypoints"], joints)
            fitting += keypoints is not None
            if keypoints is None:
                annotations.leave_out("malformed joints", image, f"{what}: {why}")
        area, head = item.get("area"), item.get("head_size")
        found[image_id].add(
            box,
            label_of[category],
            crowd=bool(item.get("iscrowd") or item.get("ignore")),
            difficult=bool(item.get("difficult")),
            area=float(area) if isinstance(area, int | float) and abs(area) < 1e300 else math.nan,
            keypoints=keypoints,
            head=float(head) if isinstance(head, int | float) and head > 0 else math.nan,
        )
    if not fitting and annotations.left_out.get("malformed joints"):
        one = next(item for item in annotations.findings if item.kind == "malformed joints")
        raise HeatpointError(
            f"{path}: no object has the {joints} joints that the category names; {one.detail}"
        )
    annotations.images = [
        found[number].record(record.path, record.size, number) for number, record in records.items()
    ]


def _corners(box: Any) -> tuple[float, float, float, float] | None:
    """Turns ``[x, y, width, height]`` into corners; None if it is anything else."""
    if not isinstance(box, list) or len(box) != 4:
        return None
    try:
        x, y, width, height = (float(value) for value in box)
    except (TypeError, ValueError, OverflowError):
        return None
    return x, y, x + width, y + height


def _relative(file: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(file, folder)).as_posix()
    except ValueError:  # another drive on Windows
        return Path(os.path.abspath(file)).as_posix()
