"""Reads and writes COCO JSON: boxes, and joints where it has them.

COCO's joints are indices of pixels, ours are continuous: 0.5 is added on reading and taken away on
writing. Its edges count joints from 1. It has no left-right pairs; a category may carry ours as
``"flip_pairs"``, which other tools pass over.
"""

from __future__ import annotations

import itertools
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, Box, ImageRecord, Objects, check_names
from heatpoint.data.readers.files import locate_images
from heatpoint.data.skeleton import SKELETONS, Skeleton, pairs_by_name
from heatpoint.errors import HeatpointError
from heatpoint.system.files import read_json, write_json

PIXEL = 0.5
"""From the index of a pixel to the continuous coordinate of its middle."""


def read_coco(path: str | Path, images: str | Path | None = None) -> Annotations:
    """Reads a COCO JSON file.

    Class ``i`` is the category with the i-th smallest id; gaps between ids vanish here and
    nowhere else. Masks are passed over. Annotations with ``iscrowd`` or ``ignore`` are kept and
    marked as crowd (pycocotools knows only ``iscrowd`` and overwrites ``ignore``). Joints are read
    where a category names them. Images without annotations are kept. Boxes are kept as they are,
    ``x, y, w, h`` turned into corners, even NaN and negative ones: ``validate`` reports them.

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
    skeleton = _skeleton(sections["categories"], path)
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
            objects.append(item | _object_joints(record, i))
    skeleton = {} if annotations.skeleton is None else _category_joints(annotations.skeleton)
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
    names = [str(item.get("file_name") or "") for item in section]
    for item, name in zip(section, names, strict=True):
        if not name:
            raise HeatpointError(f"{path}: image {item.get('id')!r} has no 'file_name'")
    paths, searched = locate_images(names, path, images)
    records: dict[int, ImageRecord] = {}
    for item, file in zip(section, paths, strict=True):
        number = _number(item, "id", f"image {file.name}", path)
        if number in records:
            raise HeatpointError(
                f"{path}: images {records[number].path.name} and {file.name} share the id {number}"
            )
        records[number] = ImageRecord(file, _size(item), image_id=number)
    return records, searched


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
            keypoints, why = _joints(item["keypoints"], joints)
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


def _corners(box: Any) -> Box | None:
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


def _skeleton(categories: list[dict[str, Any]], path: Path) -> Skeleton | None:
    """Returns the skeleton that the categories share, or None if none names joints.

    Pairs come from ``flip_pairs`` (indices from 0) where it is there, from the shipped skeleton of
    the same joints, or from names that differ in their side only (``skeleton.pairs_by_name``).

    Raises:
        HeatpointError: Two categories name different joints, or an edge or pair is wrong.
    """
    found: Skeleton | None = None
    for item in categories:
        names = item.get("keypoints")
        if not names:
            continue
        where = f"{path}: category {item.get('name')!r}"
        if not isinstance(names, list):
            raise HeatpointError(f"{where}: expected 'keypoints' to list names, got {names!r}")
        joints = tuple(str(name) for name in names)
        shipped = next((s for s in SKELETONS.values() if s.joints == joints), None)
        pairs = pairs_by_name(joints) if shipped is None else shipped.pairs
        skeleton = Skeleton.from_dict(
            {
                "joints": names,
                "edges": _from_zero(item.get("skeleton") or [], len(names), where),
                "pairs": item.get("flip_pairs", [list(pair) for pair in pairs]),
            },
            where,
        )
        if found is not None and found != skeleton:
            raise HeatpointError(
                f"{where} names other joints than the category before; one data set has one "
                "skeleton, so split it"
            )
        found = skeleton
    return found


def _joints(value: Any, joints: int) -> tuple[NDArray[np.float64] | None, str]:
    """Returns ``keypoints`` of an object as (J, 3) in image pixels, or None and what is wrong."""
    if not isinstance(value, list):
        return None, f"expected 'keypoints' to be a list, got {type(value).__name__}"
    if len(value) != 3 * joints:
        return None, f"{len(value)} numbers, expected {3 * joints} for {joints} joints"
    try:
        table = np.array(value, np.float64).reshape(joints, 3)
    except (TypeError, ValueError):
        return None, "'keypoints' are not all numbers"
    if not np.isin(table[:, 2], (0, 1, 2)).all():
        return None, "expected 0, 1 or 2 as visibility"
    table[:, :2] += PIXEL
    table[table[:, 2] == 0] = 0.0
    return table, ""


def _object_joints(record: ImageRecord, index: int) -> dict[str, Any]:
    """Returns what object ``index`` of a record adds to its COCO annotation."""
    item: dict[str, Any] = {}
    if record.keypoints is not None:
        table = record.keypoints[index].copy()
        labelled = table[:, 2] > 0
        table[labelled, :2] -= PIXEL
        # 2.0 as visibility is refused by tools that index with it.
        item["keypoints"] = [
            value if place % 3 < 2 else int(value)
            for place, value in enumerate(table.ravel().tolist())
        ]
        item["num_keypoints"] = int(labelled.sum())
    if record.heads is not None and math.isfinite(record.heads[index]):
        item["head_size"] = float(record.heads[index])
    return item


def _category_joints(skeleton: Skeleton) -> dict[str, Any]:
    """Returns what a skeleton adds to a COCO category."""
    return {
        "keypoints": list(skeleton.joints),
        "skeleton": [[one + 1, other + 1] for one, other in skeleton.edges],
        "flip_pairs": [list(pair) for pair in skeleton.pairs],
    }


def _from_zero(edges: Any, joints: int, where: str) -> list[list[int]]:
    if not isinstance(edges, list):
        raise HeatpointError(f"{where}: expected 'skeleton' to list edges, got {edges!r}")
    shifted = []
    for edge in edges:
        sound = isinstance(edge, list) and len(edge) == 2
        if not sound or not all(isinstance(end, int) and 1 <= end <= joints for end in edge):
            raise HeatpointError(
                f"{where}: expected edges of 'skeleton' to be two numbers from 1 to {joints}, "
                f"got {edge!r}"
            )
        shifted.append([edge[0] - 1, edge[1] - 1])
    return shifted
