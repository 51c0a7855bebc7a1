"""Reads and writes COCO JSON: boxes, joints where it has them, and four corners as polygons.

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
from urllib.parse import urlsplit

import msgspec
import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, Id
from heatpoint.data.readers import steps, unread
from heatpoint.data.readers.coco_classes import as_id, id_order, read_classes
from heatpoint.data.readers.coco_objects import PIXEL, Columns, Item
from heatpoint.data.readers.given import Given
from heatpoint.data.readers.locate import locate_images
from heatpoint.errors import HeatpointError
from heatpoint.system.files import write_json


class _Picture(msgspec.Struct, gc=False):
    """An entry of ``images``, as it is."""

    id: Any = None
    file_name: Any = None
    coco_url: Any = None
    height: Any = None
    width: Any = None

    @property
    def name(self) -> str:
        """What the picture is called; LVIS says it in its address alone."""
        if self.file_name in (None, "") and isinstance(self.coco_url, str):
            return "/".join(urlsplit(self.coco_url).path.split("/")[-2:])
        return "" if self.file_name is None else str(self.file_name)


class _File(msgspec.Struct):
    """A COCO file; None for what it lacks."""

    images: list[_Picture] | None = None
    annotations: list[Item] | None = None
    categories: list[dict[str, Any]] | None = None


def read_coco(given: Given) -> Annotations:
    """Reads a COCO JSON file.

    Class ``i`` is the category with the i-th smallest id; gaps between ids vanish here and
    nowhere else. Annotations with ``iscrowd`` or ``ignore`` are kept and marked as crowd
    (pycocotools knows only ``iscrowd`` and overwrites ``ignore``). Joints are read where a category
    names them, or where no category does. Images without annotations are kept. Boxes are kept as
    they are, ``x, y, w, h`` turned into corners, even NaN and negative ones: ``validate`` reports
    them. An object without a box that has an area gets the one around its polygon, mask or joints,
    which findings say. Polygons of four points are corners; else masks are passed over.

    Images are looked for in ``images`` if given, else in the folders of ``locate.image_folders``.
    When none is found there, the annotations are still read (scores can be computed without
    pixels) and ``searched`` lists the folders.

    Raises:
        HeatpointError: The file is missing, cut off, or not COCO; a name or id stands for two
            things; ``images`` is no folder or holds none of the images.
    """
    path = given.without_split()
    with steps.without_collection():
        file = given.decoded(_File)
        if file is not None:
            with suppress(msgspec.DecodeError, UnicodeError):
                return _parse(file, path, given.images)
        # Python's JSON takes more, and says what is wrong and where.
        return _parse(_from_content(given.content, path), path, given.images)


def _parse(file: _File, path: Path, images: Path | None) -> Annotations:
    """Returns the data set of a file, which is empty afterwards.

    Args:
        file: What is in it.
        path: Where it is.
        images: Folder of the images, or None.

    Raises:
        msgspec.DecodeError: A part that is text still holds numbers that are none of JSON's.
    """
    if file.images is None:
        raise steps.unexpected(path, "'images' to be a list of objects", "no such key")
    items = file.annotations or []
    used = [item.category_id for item in items]
    annotations = read_classes(file.categories or (), used, path)
    listed = _by_id(file.images, annotations)
    names = [picture.name for picture in listed.values()]
    paths = locate_images(names, annotations, path, images)
    sizes = [steps.known_size(each.height, each.width) for each in listed.values()]
    if file.annotations is None:
        annotations.say("file without annotations", "", f"{path.name} has no 'annotations'")
    places = {number: place for place, number in enumerate(listed)}
    objects, counts = Columns(items, places, paths, annotations).read(sizes)
    # The file's own values take much memory, and are no longer needed.
    file.images = file.annotations = None
    del items
    rows = zip(paths, sizes, listed, counts.tolist(), strict=True)
    annotations.images = objects.divided(rows)
    return annotations


def fits(given: Given) -> bool:
    """Returns whether a file is of COCO."""
    with steps.without_collection():
        file = given.decoded(_File)
    if file is None:
        return looks_so(given.content)
    return file.images is not None or file.annotations is not None


def looks_so(content: Any) -> bool:
    """Tells whether what a JSON file holds is that of a COCO file."""
    return isinstance(content, dict) and not {"images", "annotations"}.isdisjoint(content)


def _from_content(content: Any, path: Path) -> _File:
    """Returns the file whose JSON is read already.

    Raises:
        HeatpointError: It is no COCO file.
    """
    if tool := unread.made_by(content):
        raise HeatpointError(f"{path} is {tool}")
    if not isinstance(content, dict):
        got = (
            "a list (detections, perhaps)" if isinstance(content, list) else type(content).__name__
        )
        raise steps.unexpected(path, "a COCO object with 'images'", got)
    file = _File()
    for key, kind in (("images", _Picture), ("annotations", Item), ("categories", None)):
        entries = content.get(key)
        if entries is None:
            continue
        wanted = f"{key!r} to be a list of objects"
        if not isinstance(entries, list):
            raise steps.unexpected(path, wanted, f"{entries!r:.60}")
        for place, item in enumerate(entries, start=1):
            if not isinstance(item, dict):
                raise steps.unexpected(path, wanted, f"{item!r:.60} as number {place}")
        if kind is not None:
            fields = kind.__struct_fields__
            entries = [kind(**{f: item[f] for f in fields if f in item}) for item in entries]
        setattr(file, key, entries)
    return file


def _by_id(pictures: Sequence[_Picture], annotations: Annotations) -> dict[Id, _Picture]:
    """Returns the pictures by their ids; what is listed again is counted.

    Raises:
        HeatpointError: One has no id or no name, or two share an id.
    """
    path = annotations.source
    listed: dict[Id, _Picture] = {}
    for picture in pictures:
        number, name = as_id(picture.id), picture.name
        if not name.strip():
            raise HeatpointError(f"{path}: image {picture.id!r} has no 'file_name'")
        if number is None:
            wanted = f"a number or text as 'id' of {name} in 'images'"
            raise steps.unexpected(path, wanted, repr(picture.id))
        first = listed.setdefault(number, picture)
        if first is picture:
            continue
        if first.name != name:
            both = f"{first.name} and {name}"
            raise HeatpointError(f"{path}: in 'images', {both} share the id {number}")
        annotations.leave_out("image listed twice", name, f"id {number} comes a second time")
    return listed


def as_coco(data: Annotations, folder: Path = Path(), shift: float = PIXEL) -> dict[str, Any]:
    """Returns a data set as the content of a COCO file.

    Four corners are polygons. Difficult objects carry ``"difficult": 1`` and head sizes
    ``"head_size"``, which COCO tools pass over. Classes are numbered from 1 where their ids are not
    in the order of the classes, which is that of ids to whoever reads the file.

    Args:
        data: The data set.
        folder: Image paths are stored relative to it where that is possible.
        shift: What is taken from joints in image pixels.
    """
    ids: Sequence[Id] = data.category_ids
    if list(ids) != sorted(ids, key=id_order):
        ids = range(1, len(ids) + 1)
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    ways = {
        above: Path(_way(above, folder)) for above in {each.path.parent for each in data.images}
    }
    for record in data.images:
        size = {} if record.size is None else {"height": record.size[0], "width": record.size[1]}
        images.append(
            {
                "id": record.image_id,
                "file_name": (ways[record.path.parent] / record.path.name).as_posix(),
            }
            | size
        )
        rows = zip(record.boxes.tolist(), record.labels.tolist(), strict=True)
        for i, ((x1, y1, x2, y2), label) in enumerate(rows):
            item: dict[str, Any] = {
                "id": len(objects) + 1,
                "image_id": record.image_id,
                "category_id": ids[label],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": float(record.areas[i]),
                "iscrowd": int(record.crowd[i]),
            }
            if record.difficult[i]:
                item["difficult"] = 1
            if record.quads is not None:
                item["segmentation"] = [record.quads[i].ravel().tolist()]
            if record.keypoints is not None:
                own = slice(None) if data.skeleton is None else data.skeleton.joints_of(label)
                item |= _object_joints(record.keypoints[i, own], shift)
            if record.heads is not None and math.isfinite(record.heads[i]):
                item["head_size"] = float(record.heads[i])
            objects.append(item)
    categories = []
    parts = data.skeleton.parts(data.names) if data.skeleton else [None] * len(data.names)
    for number, name, part in zip(ids, data.names, parts, strict=True):
        category: dict[str, Any] = {"id": number, "name": name}
        if part is not None:
            category["keypoints"] = list(part.joints)
            category["skeleton"] = [[one + 1, other + 1] for one, other in part.edges]
            category["flip_pairs"] = [list(pair) for pair in part.pairs]
        categories.append(category)
    return {"images": images, "annotations": objects, "categories": categories}


def write_coco(annotations: Annotations, path: str | Path) -> None:
    """Writes a data set as COCO JSON; ``read_coco`` gives the same data set back.

    Image paths are stored relative to the folder of ``path`` where that is possible. Difficult
    objects and head sizes are kept in fields that COCO tools pass over.

    Raises:
        HeatpointError: The file cannot be written.
    """
    write_json(path, as_coco(annotations, Path(path).parent))


def _way(to: Path, folder: Path) -> str:
    """Returns the way from one folder to another, as systems go it.

    Behind a link, ``..`` is not what the path says.
    """
    whole = os.path.realpath(to)
    try:
        way = os.path.relpath(to, folder)
        if os.path.realpath(os.path.join(os.path.realpath(folder), way)) == whole:
            return way
        return os.path.relpath(whole, os.path.realpath(folder))
    except ValueError:  # another drive on Windows
        return os.path.abspath(to)


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
