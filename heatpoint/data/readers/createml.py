"""Reads Create ML's JSON, which Roboflow writes as well: boxes by their middle, in pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from heatpoint.data import Annotations
from heatpoint.data.readers import steps
from heatpoint.data.readers.drawn import Picture, Thing, as_annotations
from heatpoint.data.readers.given import Format
from heatpoint.data.readers.outlines import number
from heatpoint.system.files import read_json

_FILE = "_annotations.createml.json"
"""What Roboflow calls the file of a split."""


def is_createml(content: Any) -> bool:
    """Returns whether parsed JSON is a list of pictures as Create ML has it."""
    first = content[0] if isinstance(content, list) and content else None
    named = isinstance(first, dict) and {"image", "imagefilename"} & first.keys()
    return bool(named) and isinstance(first, dict) and isinstance(first.get("annotations"), list)


def read_createml(path: Path, split: str | None = None, images: Path | None = None) -> Annotations:
    """Reads a file, or a folder of Roboflow's with a file in each split.

    Classes are the labels found in all splits, sorted.

    Args:
        path: The file or folder.
        split: Name of a folder in the folder; None for all.
        images: Folder of the pictures, if they are not beside the files.

    Raises:
        HeatpointError: A file is no JSON of Create ML, there is no such split, or nothing is
            labelled.
    """
    pictures: list[Picture] = []
    files = steps.split_files(path, _FILE) if path.is_dir() else {"": path}
    for folder, file in files.items():
        content = read_json(file)
        for place, item in enumerate(content if isinstance(content, list) else [content], start=1):
            item = item if isinstance(item, dict) else {}
            name, boxes = item.get("image") or item.get("imagefilename"), item.get("annotations")
            if not isinstance(name, str) or not isinstance(boxes, list):
                wanted = "'image' and a list of 'annotations'"
                raise steps.unexpected(f"{file}: picture {place}", wanted, repr(item)[:60])
            things = [_thing(box, f"box {i} of {name}") for i, box in enumerate(boxes, start=1)]
            pictures.append(
                Picture("/".join(filter(None, (folder, name))), None, things, (), folder)
            )
    file = path / _FILE if path.is_dir() else path
    return as_annotations(pictures, file, images, split)


def _thing(item: Any, where: str) -> Thing:
    at = item.get("coordinates") if isinstance(item, dict) else None
    if not isinstance(at, dict):
        return Thing("", None, f"{where} has no 'coordinates'")
    x, y, w, h = (number(at.get(key)) for key in ("x", "y", "width", "height"))
    label = str(item.get("label") or "").strip()
    return Thing(label, (x - w / 2, y - h / 2, x + w / 2, y + h / 2), where)


FORMATS = (
    Format(
        "Create ML",
        "a JSON file of Create ML",
        folder=False,
        fits=lambda given: is_createml(given.content),
        read=lambda given: read_createml(given.without_split(), None, given.images),
    ),
    Format(
        "Create ML",
        f"{_FILE}, or one in each split's folder",
        folder=True,
        fits=lambda given: bool(steps.split_files(given.path, _FILE)),
        read=lambda given: read_createml(given.path, given.split, given.images),
    ),
)
