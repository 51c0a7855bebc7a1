"""Reads LabelMe: one JSON file per picture, as labelme and its kin (AnyLabeling) write it.

Coordinates are continuous pixels of the upright picture. ``group_id`` says which points belong to
which box, and which polygons are parts of one object.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path, PureWindowsPath
from typing import Any

from heatpoint.data import Annotations
from heatpoint.data.formats import SUFFIXES, matching
from heatpoint.data.readers import locate, steps
from heatpoint.data.readers.drawn import Joint, Note, Picture, Thing, as_annotations
from heatpoint.data.readers.given import Given
from heatpoint.data.readers.outlines import ROTATED, Outline, around, number
from heatpoint.system.files import read_json

_SIGNS = (b'"imagePath"', b'"imageData"', b'"lineColor"')
_PART = 1 << 16
_TRIED = 5
"""JSON files of a folder that are looked at to recognise it."""

_NO_CLASSES = ("__ignore__", "_background_", "__background__")
"""What ``labels.txt`` may list besides classes."""


def fits(given: Given) -> bool:
    """Returns whether a file is LabelMe's, or one of the first of a folder, or of those in it."""
    if given.is_folder:
        return any(map(_begins_so, _files(given.path)[:_TRIED]))
    return _is_labelme(given.content)


def _is_labelme(content: Any) -> bool:
    return isinstance(content, dict) and "shapes" in content and "imagePath" in content


def _files(folder: Path) -> list[Path]:
    return matching(folder, "*.json", "*/*.json")


def _deeper(folder: Path) -> list[Path]:
    """Returns the files of LabelMe further down; others there have nothing to do with it."""
    return list(filter(_begins_so, matching(folder, "*/*/**/*.json")))


def _begins_so(path: Path) -> bool:
    """Returns whether a file has the keys near its ends; a picture may lie between them."""
    try:
        with open(path, "rb") as file:
            begin = file.read(_PART)
            file.seek(max(0, path.stat().st_size - _PART))
            both = begin + file.read(_PART)
    except OSError:
        return False
    return b'"shapes"' in both and any(sign in both for sign in _SIGNS)


def read_labelme(given: Given) -> Annotations:
    """Reads a folder of LabelMe files, those of the folders below it included, or one file.

    The folders in it are splits.

    Polygons, circles and turned boxes count as the upright boxes around them, polygons of one
    label and group as one object, masks as their boxes; lines are left out. Points are joints by
    their label (``as_annotations`` says of which object); ``difficult`` ones count as hidden.

    Classes stand in ``labels.txt`` of the folder, else they are the labels found in all of the
    folder, sorted. A picture is looked for by ``imagePath``, else by the name of its JSON file;
    the copy inside of the file (``imageData``) is not used. A picture without a JSON file is left
    out and counted.

    Raises:
        HeatpointError: There is no such folder, file or split, or files are not whole JSON.
    """
    path, images = given.path, given.images
    folder = path if given.is_folder else path.parent
    files = [*_files(path), *_deeper(path)] if given.is_folder else [given.without_split()]
    contents = steps.read_all(files, read_json, "JSON")
    pictures, beside = [], []
    others: list[Path] = []
    for file, content in contents.items():
        if not _is_labelme(content):
            others.append(file)
            continue
        above = file.relative_to(folder).parent
        name = str(content["imagePath"] or "").replace("\\", "/")
        if name and not PureWindowsPath(name).drive and not Path(name).is_absolute():
            name = (above / name).as_posix()
        picture = _picture(name or f"{file.stem}.jpg", content, file)
        pictures.append(picture._replace(split=above.parts[0] if above.parts else ""))
        beside.append(_beside(file, folder) or picture.name)
    named, at = [each.name for each in pictures], folder / "labels.txt"
    all_beside, often = locate.most_found([named, beside], at, images), Counter(named)
    for place, (each, name) in enumerate(zip(pictures, beside, strict=True)):
        # Several files name one picture where they were copied: then their own names count.
        if name != each.name and (all_beside or often[each.name] > 1):
            note = Note("image under a near name", f"the annotations call it {each.name!r}")
            pictures[place] = each._replace(name=name, notes=[note])
    lines = steps.read_lines(at) if at.is_file() else []
    classes = [line for _, line in lines if line not in _NO_CLASSES]
    annotations = as_annotations(
        pictures, at if given.is_folder else path, images, given.split, classes
    )
    for file in others:
        detail = "no LabelMe file: 'shapes' or 'imagePath' is missing"
        annotations.leave_out("annotations in a second format", str(file), detail)
    if given.is_folder:
        folders = {record.path.parent for record in annotations.images}
        locate.leave_out_unlabelled(
            folders, annotations, lambda path: f"expected {path.with_suffix('.json').name}"
        )
    return annotations


def _beside(file: Path, folder: Path) -> str | None:
    """Returns the picture of the name of its JSON file, relative to the folder of all files."""
    places = (file.with_name(file.stem + suffix) for suffix in SUFFIXES)
    there = locate.first_file(places)
    return None if there is None else there.relative_to(folder).as_posix()


def _picture(name: str, content: dict[str, Any], file: Path) -> Picture:
    """Returns a file's shapes."""
    shapes = content["shapes"]
    if not isinstance(shapes, list):
        raise steps.unexpected(file, "'shapes' to be a list", type(shapes).__name__)
    things: list[Thing] = []
    joints: list[Joint] = []
    parts: dict[tuple[str, object], int] = {}
    for place, shape in enumerate(shapes, start=1):
        where = f"shape {place} of {file.name}"
        if not isinstance(shape, dict):
            things.append(Thing("", Outline(None, "no object"), where))
            continue
        kind, points = str(shape.get("shape_type") or "polygon"), shape.get("points")
        label, group = str(shape.get("label") or "").strip(), shape.get("group_id")
        group = group if isinstance(group, int | str) else None
        flags = shape.get("flags")
        difficult = bool(
            shape.get("difficult") or (isinstance(flags, dict) and flags.get("difficult"))
        )
        if kind == "point":
            x, y, *_ = around(points) or (math.nan,) * 4
            joints.append(Joint(label, x, y, where, group, 1 if difficult else 2))
            continue
        outline = _outline(kind, points)
        whole = outline.box and outline.kind
        first = parts.setdefault((label, group), len(things)) if whole else None
        if group is None or first is None or first == len(things):
            things.append(Thing(label, outline, where, group, difficult=difficult))
        elif (begun := things[first].outline.box) and (box := outline.box):
            both = around([begun[:2], begun[2:], box[:2], box[2:]])
            several = Outline(both, f"{kind} of several parts")
            things[first] = things[first]._replace(outline=several)
    size = steps.known_size(content.get("imageHeight"), content.get("imageWidth"))
    return Picture(name, size, things, joints)


def _outline(kind: str, points: Any) -> Outline:
    """Returns where a shape is."""
    box = around(points)
    if box is None or kind in ("line", "linestrip", "points"):
        return Outline(None, kind)
    if kind == "circle" and len(points) == 2:
        (cx, cy), (x, y) = ((number(p[0]), number(p[1])) for p in points)
        radius = math.hypot(x - cx, y - cy)
        return Outline((cx - radius, cy - radius, cx + radius, cy + radius), kind)
    if kind == "mask":  # its points are the indices of its first and last pixels
        return Outline((box[0], box[1], box[2] + 1, box[3] + 1))
    if kind == "rectangle":
        return Outline(box)
    return Outline.of(points, ROTATED if kind == "rotation" else kind)
