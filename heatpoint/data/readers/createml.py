"""Reads Create ML's JSON, which Roboflow writes as well: boxes by their middle, in pixels."""

from __future__ import annotations

from typing import Any

from heatpoint.data import Annotations
from heatpoint.data.readers import steps
from heatpoint.data.readers.drawn import Picture, Thing, as_annotations
from heatpoint.data.readers.given import Given
from heatpoint.data.readers.outlines import Outline, numbers
from heatpoint.system.files import read_json

FILE = "_annotations.createml.json"
"""What Roboflow calls the file of a split."""


def fits(given: Given) -> bool:
    """Returns whether a file is a list of pictures as Create ML has it, or a folder holds some."""
    if given.is_folder:
        return bool(steps.split_files(given.path, FILE))
    content = given.content
    first = content[0] if isinstance(content, list) and content else None
    named = isinstance(first, dict) and {"image", "imagefilename"} & first.keys()
    return bool(named) and isinstance(first, dict) and isinstance(first.get("annotations"), list)


def read_createml(given: Given) -> Annotations:
    """Reads a file, or a folder of Roboflow's with a file in each split.

    Classes are the labels found in all splits, sorted.

    Raises:
        HeatpointError: A file is no JSON of Create ML, there is no such split, or nothing is
            labelled.
    """
    pictures: list[Picture] = []
    if given.is_folder:
        files = steps.files_together(given.path, FILE, given.split)
    else:
        files = {"": given.without_split()}
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
    file = given.path / FILE if given.is_folder else given.path
    return as_annotations(pictures, file, given.images, given.split)


def _thing(item: Any, where: str) -> Thing:
    at = item.get("coordinates") if isinstance(item, dict) else None
    if not isinstance(at, dict):
        return Thing("", Outline(None, "it has no 'coordinates'"), where)
    x, y, w, h = numbers(at, "x", "y", "width", "height")
    label = str(item.get("label") or "").strip()
    return Thing(label, Outline((x - w / 2, y - h / 2, x + w / 2, y + h / 2)), where)
