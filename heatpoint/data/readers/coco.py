"""Reads and writes COCO JSON: boxes, and joints where it has them.

COCO's joints are indices of pixels, ours are continuous: 0.5 is added on reading and taken away on
writing. Its edges count joints from 1. It has no left-right pairs; a category may carry ours as
``"flip_pairs"``, which other tools pass over.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, Box, Objects, check_names
from heatpoint.data.readers import steps
from heatpoint.data.readers.given import Format
from heatpoint.data.readers.locate import locate_images
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.system.files import fits, read_json, write_json

PIXEL = 0.5
"""From the index of a pixel to the continuous coordinate of its middle."""


def read_coco(path: str | Path, images: str | Path | None = None) -> Annotations:
    """Reads a COCO JSON file.

    Class ``i`` is the category with the i-th smallest id; gaps between ids vanish here and
    nowhere else. Masks are passed over. Annotations with ``iscrowd`` or ``ignore`` are kept and
    marked as crowd (pycocotools knows only ``iscrowd`` and overwrites ``ignore``). Joints are read
    where a category names them. Images without annotations are kept. Boxes are kept as they are,
    ``x, y, w, h`` turned into corners, even NaN and negative ones: ``validate`` reports them.

    Images are looked for in ``images`` if given, else in the folders of ``locate.image_folders``.
    When none is found there, the annotations are still read (scores can be computed without
    pixels) and ``searched`` lists the folders.

    Args:
        path: The JSON file.
        images: Folder of the images, against which each ``file_name`` is resolved.

    Raises:
        HeatpointError: The file is missing, cut off, or not COCO; a name or id stands for two
            things; ``images`` is no folder or holds none of the images.
    """
    return parse_coco(read_json(path), Path(path), images)


def parse_coco(data: Any, path: Path, images: str | Path | None) -> Annotations:
    """Returns the data set of a COCO file whose JSON is read already; see ``read_coco``."""
    if not isinstance(data, dict):
        got = "a list (detections, perhaps)" if isinstance(data, list) else type(data).__name__
        raise steps.unexpected(path, "a COCO object with 'images'", got)
    listed, objects, categories = (
        _section(data, key, path) for key in ("images", "annotations", "categories")
    )
    called = [str(item.get("name") or "").strip() for item in categories]
    classes = _by_id(categories, "categories", [repr(name) for name in called], path)
    category_ids = tuple(sorted(classes))
    names = check_names([called[classes[number]] for number in category_ids], path)
    skeleton = _skeleton(categories, path)
    annotations = Annotations(names, [], str(path), category_ids, skeleton=skeleton)
    files = [str(item.get("file_name") or "") for item in listed]
    if "" in files:
        nameless = listed[files.index("")].get("id")
        raise HeatpointError(f"{path}: image {nameless!r} has no 'file_name'")
    paths = locate_images(files, annotations, path, None if images is None else Path(images))
    places = _by_id(listed, "images", [file.name for file in paths], path)
    image_of = {number: paths[place] for number, place in places.items()}
    found = _objects(objects, image_of, annotations)
    for number, place in places.items():
        size = steps.known_size(listed[place].get("height"), listed[place].get("width"))
        annotations.images.append(found[number].record(paths[place], size, number))
    return annotations


def _is_coco(content: Any) -> bool:
    return isinstance(content, dict) and not {"images", "annotations"}.isdisjoint(content)


def _section(data: dict[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    value = data.get(key)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        got = f"keys {sorted(data)[:6]}" if key not in data else "something else"
        raise steps.unexpected(path, f"{key!r} to be a list of objects", got)
    return value


def _by_id(
    section: list[dict[str, Any]], kind: str, names: Sequence[str], path: Path
) -> dict[int, int]:
    """Returns the place in a section of each id."""
    places: dict[int, int] = {}
    for place, (item, name) in enumerate(zip(section, names, strict=True)):
        number = _number(item, "id", f"{name} in {kind!r}", path)
        if number in places:
            both = f"{names[places[number]]} and {name}"
            raise HeatpointError(f"{path}: in {kind!r}, {both} share the id {number}")
        places[number] = place
    return places


def _number(item: dict[str, Any], key: str, what: str, path: Path) -> int:
    """Returns an id as an integer; "7" and 7.0 are 7."""
    value = item.get(key)
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        with suppress(ValueError, OverflowError):
            if float(value) == int(value):
                return int(value)
    raise steps.unexpected(path, f"an integer as {key!r} of {what}", repr(value))


def _objects(
    section: list[dict[str, Any]], image_of: dict[int, Path], annotations: Annotations
) -> dict[int, Objects]:
    """Returns the objects of each image by its id."""
    label_of = {number: label for label, number in enumerate(annotations.category_ids)}
    path = Path(annotations.source)
    joints = None if annotations.skeleton is None else len(annotations.skeleton)
    found = {number: Objects(joints) for number in image_of}
    fitting = 0
    for place, item in enumerate(section, start=1):
        what = f"annotation {item.get('id', f'number {place}')}"
        image_id = _number(item, "image_id", what, path)
        if image_id not in image_of:
            detail = f"{what} is for image {image_id}, which the file does not list"
            annotations.leave_out("unknown image id", "", detail)
            continue
        image = str(image_of[image_id])
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
        keypoints, given = None, item.get("keypoints")
        if joints is not None and given is not None:
            keypoints = _joints(given, joints)
            fitting += keypoints is not None
            if keypoints is None:
                got = f"{len(given)} numbers" if isinstance(given, list) else type(given).__name__
                rule = f"{3 * joints}: x, y and 0, 1 or 2 as visibility of each joint"
                annotations.leave_out("malformed joints", image, f"{what}: {got}, expected {rule}")
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
    return found


def _corners(box: Any) -> Box | None:
    """Turns ``[x, y, width, height]`` into corners; None if it is anything else."""
    try:
        x, y, width, height = map(float, box if isinstance(box, list) else ())
    except (TypeError, ValueError, OverflowError):
        return None
    return x, y, x + width, y + height


def _joints(value: Any, joints: int) -> NDArray[np.float64] | None:
    """Turns ``keypoints`` into joints (J, 3) in image pixels; None if they are anything else."""
    if not isinstance(value, list) or len(value) != 3 * joints:
        return None
    try:
        table = np.array(value, np.float64).reshape(joints, 3)
    except (TypeError, ValueError):
        return None
    sound = np.isin(table[:, 2], (0, 1, 2)).all()
    return steps.as_joints(table[:, :2] + PIXEL, table[:, 2]) if sound else None


def _skeleton(categories: list[dict[str, Any]], path: Path) -> Skeleton | None:
    """Returns the skeleton that the categories share, or None if none names joints.

    Pairs come from ``flip_pairs`` (indices from 0) where it is there, else from names that differ
    in their side only (``skeleton.pairs_by_name``).

    Raises:
        HeatpointError: Two categories name different joints, or an edge or pair is wrong.
    """
    found: Skeleton | None = None
    for item in (category for category in categories if category.get("keypoints")):
        names, where = item["keypoints"], f"{path}: category {item.get('name')!r}"
        if not isinstance(names, list):
            raise steps.unexpected(where, "'keypoints' to list names", repr(names))
        plain = {"joints": names, "edges": _from_zero(item.get("skeleton"), len(names), where)}
        if "flip_pairs" in item:
            plain["pairs"] = item["flip_pairs"]
        skeleton = Skeleton.from_dict(plain, where)
        if found is not None and found != skeleton:
            raise HeatpointError(
                f"{where} names other joints than the category before; one data set has one "
                "skeleton, so split it"
            )
        found = skeleton
    return found


def _from_zero(edges: Any, joints: int, where: str) -> list[list[int]]:
    edges = edges or []
    for edge in edges if isinstance(edges, list) else [edges]:
        sound = fits(edge, list[int]) and len(edge) == 2
        if not sound or not all(1 <= end <= joints for end in edge):
            wanted = f"edges of 'skeleton' to be two numbers from 1 to {joints}"
            raise steps.unexpected(where, wanted, repr(edge))
    return [[one - 1, other - 1] for one, other in edges]


def as_coco(data: Annotations, folder: Path = Path(), shift: float = PIXEL) -> dict[str, Any]:
    """Returns a data set as the content of a COCO file.

    Difficult objects carry ``"difficult": 1`` and head sizes ``"head_size"``, which COCO tools pass
    over.

    Args:
        data: The data set.
        folder: Image paths are stored relative to it where that is possible.
        shift: What is taken from joints in image pixels.
    """
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for record in data.images:
        size = {} if record.size is None else {"height": record.size[0], "width": record.size[1]}
        images.append({"id": record.image_id, "file_name": _relative(record.path, folder)} | size)
        for i, (x1, y1, x2, y2) in enumerate(record.boxes.tolist()):
            item: dict[str, Any] = {
                "id": len(objects) + 1,
                "image_id": record.image_id,
                "category_id": data.category_ids[int(record.labels[i])],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": float(record.areas[i]),
                "iscrowd": int(record.crowd[i]),
            }
            if record.difficult[i]:
                item["difficult"] = 1
            if record.keypoints is not None:
                item |= _object_joints(record.keypoints[i], shift)
            if record.heads is not None and math.isfinite(record.heads[i]):
                item["head_size"] = float(record.heads[i])
            objects.append(item)
    joints: dict[str, Any] = {}
    if data.skeleton is not None:
        joints["keypoints"] = list(data.skeleton.joints)
        joints["skeleton"] = [[one + 1, other + 1] for one, other in data.skeleton.edges]
        joints["flip_pairs"] = [list(pair) for pair in data.skeleton.pairs]
    named = zip(data.category_ids, data.names, strict=True)
    categories = [{"id": number, "name": name} | joints for number, name in named]
    return {"images": images, "annotations": objects, "categories": categories}


def write_coco(annotations: Annotations, path: str | Path) -> None:
    """Writes a data set as COCO JSON; ``read_coco`` gives the same data set back.

    Image paths are stored relative to the folder of ``path`` where that is possible. Difficult
    objects and head sizes are kept in fields that COCO tools pass over.

    Raises:
        HeatpointError: The file cannot be written.
    """
    write_json(path, as_coco(annotations, Path(path).parent))


def _relative(file: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(file, folder)).as_posix()
    except ValueError:  # another drive on Windows
        return Path(os.path.abspath(file)).as_posix()


def _object_joints(joints: NDArray[np.float64], shift: float) -> dict[str, Any]:
    """Returns what joints (J, 3) add to the COCO annotation of an object."""
    labelled = joints[:, 2] > 0
    points = np.where(labelled[:, None], joints[:, :2] - shift, joints[:, :2])
    # 2.0 as visibility is refused by tools that index with it.
    rows = zip(points.tolist(), joints[:, 2].astype(np.int64).tolist(), strict=True)
    return {
        "keypoints": [value for (x, y), seen in rows for value in (x, y, seen)],
        "num_keypoints": int(labelled.sum()),
    }


FORMATS = (
    Format(
        "COCO",
        "a COCO JSON file",
        folder=False,
        fits=lambda given: _is_coco(given.content),
        read=lambda given: parse_coco(given.content, given.without_split(), given.images),
    ),
)
