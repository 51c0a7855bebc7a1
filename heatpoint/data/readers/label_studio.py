"""Reads Label Studio: its JSON export, and the smaller JSON-MIN.

Coordinates are percents of the picture's width and height, and a rectangle is turned clockwise
about its upper left corner. What the server stores is called ``/data/upload/1/0a1b2c3d-photo.jpg``:
an upload of ``photo.jpg`` under a prefix that makes it unique.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from heatpoint.data import Annotations
from heatpoint.data.formats import is_picture
from heatpoint.data.readers import steps
from heatpoint.data.readers.drawn import Joint, Note, Picture, Thing, as_annotations, called
from heatpoint.data.readers.given import Given
from heatpoint.data.readers.outlines import Outline, around, ellipse_box, number, numbers

_UPLOAD = re.compile(r"^[0-9a-f]{8}-")
_KINDS = ("rectangle", "keypoint", "polygon", "ellipse", "brush", "bitmask", "vector")


def fits(given: Given) -> bool:
    """Returns whether a file is a list of Label Studio's tasks, or one task."""
    content = given.content
    first = content[0] if isinstance(content, list) and content else content
    if not isinstance(first, dict):
        return False
    if isinstance(first.get("data"), dict):
        return not {"annotations", "completions", "predictions"}.isdisjoint(first)
    return {"id", "annotator", "annotation_id"} <= first.keys() or any(
        isinstance(value, list) and any(map(_is_label, value)) for value in first.values()
    )


def _is_label(value: Any) -> bool:
    return isinstance(value, dict) and "original_width" in value


def read_label_studio(given: Given) -> Annotations:
    """Reads the tasks of an export.

    Of several people's annotations of a task the first that was not cancelled counts. A task that
    nobody annotated is left out, also if a model's predictions are there. Polygons, ellipses and
    turned rectangles count as the upright boxes around them; brush strokes are left out. A
    keypoint belongs to the shape that is its parent, else as ``as_annotations`` says; all are
    visible. Classes are the labels found, sorted.

    Pictures are looked for under the names of the server, without the server's folders, then
    without the prefix of uploads. Addresses (``https:``, ``s3:``) are never fetched.

    Raises:
        HeatpointError: A task is no object or names no picture, or nothing is labelled.
    """
    path, content, images = given.without_split(), given.content, given.images
    pictures: list[Picture] = []
    for place, task in enumerate(content if isinstance(content, list) else [content], start=1):
        where = f"task {task.get('id', place) if isinstance(task, dict) else place}"
        if not isinstance(task, dict):
            raise steps.unexpected(f"{path}: {where}", "an object", repr(task)[:60])
        name = _image_of(task)
        if not name:
            wanted = "the name of a picture in 'data'"
            raise steps.unexpected(f"{path}: {where}", wanted, str(task.get("data", task))[:60])
        pictures.append(_picture(name, task, where))
    names = [_plain(picture.name) for picture in pictures]
    short = [_UPLOAD.sub("", name) for name in names]
    forms = [names] if len(set(short)) < len(set(names)) else [names, short]
    plain = called(pictures, forms, path, images)
    annotations = as_annotations(plain, path, images)
    if [picture.name for picture in plain] != names:
        detail = "without the eight digits that Label Studio puts in front of uploads, such as "
        detail += repr(names[0])
        annotations.say("images under shorter names", "", detail)
    return annotations


def _picture(name: str, task: dict[str, Any], where: str) -> Picture:
    """Returns a task as a picture."""
    if not isinstance(task.get("data"), dict):  # JSON-MIN
        results = [
            {"type": kind, "value": value} | value
            for values in task.values()
            if isinstance(values, list)
            for value in values
            if _is_label(value)
            for kind in [next((key for key in value if key.endswith("labels")), "rectangle")]
        ]
        return _drawn(name, results, where, [], {})
    every = task.get("annotations", task.get("completions"))
    every = [each for each in every if isinstance(each, dict)] if isinstance(every, list) else []
    valid = [each for each in every if not each.get("was_cancelled")]
    if not valid:
        why = "its annotations were all cancelled" if every else "nobody annotated it"
        if not every and task.get("predictions"):
            why = "it has a model's predictions alone"
        return Picture(name, None, (), unlabelled=f"{where}: {why}")
    others = [
        f"{where}: annotation {each.get('id')} by {each.get('completed_by', 'another')}"
        for each in valid[1:]
    ]
    notes = [Note("second annotation of an image", other, lost=True) for other in others]
    result = valid[0].get("result")
    return _drawn(name, result if isinstance(result, list) else [], where, notes, task["data"])


def _image_of(task: dict[str, Any]) -> str:
    """Returns what a task calls its picture; ``""`` if it has none."""
    data = task["data"] if isinstance(task.get("data"), dict) else task
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    like = [value for value in texts.values() if is_picture(Path(_plain(value)))]
    return texts.get("image") or (like[0] if like else texts.get("img", ""))


def _plain(name: str) -> str:
    """Returns the name of a file here for what the server calls it, any other name as it is."""
    path, _, query = name.partition("?")
    if path.rstrip("/").endswith("/data/local-files"):
        return unquote(query.partition("d=")[2].partition("&")[0])
    return unquote(path.rsplit("/", 1)[-1]) if "/data/upload/" in path else name


def _elsewhere(item: dict[str, Any], name: str, data: dict[str, Any]) -> bool:
    """Returns whether a region is on another picture of its task than that of this name.

    With several pictures in a task, a region says on which it was drawn: by its place in a list, by
    the key of ``data`` (``source``), or by the name of the picture's tag, by custom that key.
    """
    source, tag = str(item.get("source") or "").removeprefix("$"), str(item.get("to_name"))
    on = data.get(source, data.get(tag))
    # A tag may be called as a column that is about something else.
    told = isinstance(on, str) and (source in data or is_picture(Path(_plain(on))))
    return bool(item.get("item_index")) or (told and on != name)


def _drawn(
    name: str, results: list[Any], where: str, notes: list[Note], data: dict[str, Any]
) -> Picture:
    """Returns the picture with what one annotation holds.

    Args:
        name: What the task calls the picture.
        results: The regions.
        where: What messages call the task.
        notes: What there is to say of it already.
        data: What the task is about, by keys; empty where it is not told.
    """
    things: list[Thing] = []
    joints: list[Joint] = []
    size: steps.Size | None = None
    for what, kind, labels, item, value in _regions(results, where):
        mine = steps.known_size(item.get("original_height"), item.get("original_width"))
        size = size or mine
        if len(labels) > 1:
            detail = f"{what}: {', '.join(map(repr, labels))}"
            notes.append(Note("object of several classes", detail))
        label, group = labels[0] if labels else "", str(item.get("id") or "") or None
        problem = "" if mine else "original_width and original_height are missing"
        if item.get("image_rotation"):
            problem = f"the picture was turned by {item['image_rotation']} degrees in the editor"
        if _elsewhere(item, name, data):
            problem = "it is on another picture of the task than the first"
        if problem or mine is None:
            things.append(Thing(label, Outline(None, problem), what))
            continue
        height, width = mine
        if kind == "keypoint":
            x, y = numbers(value, "x", "y")
            parent = str(item.get("parentID") or "") or None
            joints.append(Joint(label, x * width / 100, y * height / 100, what, parent))
            continue
        outline = _outline(kind, value, width / 100, height / 100)
        things.append(Thing(label, outline, what, group))
    return Picture(name, size, things, joints, notes=notes)


def _regions(
    results: list[Any], where: str
) -> Iterator[tuple[str, str, list[str], dict[str, Any], dict[str, Any]]]:
    """Yields what a region is called, its kind, its labels, and its result with the value.

    A region without labels of its own (``<Rectangle>`` beside ``<Labels>``) has them in another
    result of the same id.
    """
    labels_of: dict[Any, list[str]] = {}
    regions: dict[Any, tuple[int, str, dict[str, Any], dict[str, Any]]] = {}
    for place, item in enumerate(results, start=1):
        value = item.get("value") if isinstance(item, dict) else None
        if not isinstance(value, dict):
            continue
        key = str(item.get("id") or ("", place))
        for name, labels in value.items():
            if name.endswith("labels") and isinstance(labels, list):
                labels_of[key] = [str(label).strip() for label in labels]
        kind = str(item.get("type", "")).removesuffix("labels")
        if kind in _KINDS or kind.startswith("video") or (not kind and key not in regions):
            regions[key] = place, kind or "rectangle", item, value
    for key, (place, kind, item, value) in regions.items():
        yield f"region {place} of {where}", kind, labels_of.get(key, []), item, value


def _outline(kind: str, value: dict[str, Any], width: float, height: float) -> Outline:
    """Returns where a region is, in pixels.

    Args:
        kind: A kind of region.
        value: Its coordinates in percent.
        width: Pixels of the picture's width that a percent is.
        height: The same of its height.
    """
    x, y, w, h, rx, ry = numbers(value, "x", "y", "width", "height", "radiusX", "radiusY")
    x, y, turn = x * width, y * height, number(value.get("rotation", 0))
    if kind == "rectangle":
        return Outline.turned((x, y, x + w * width, y + h * height), turn, (x, y))
    if kind == "ellipse":
        return Outline(ellipse_box(x, y, rx * width, ry * height, turn), kind)
    points = value.get("points")
    if kind != "polygon" or around(points) is None:
        return Outline(None, f"{kind} region")
    scaled = [(number(each[0]) * width, number(each[1]) * height) for each in points or ()]
    return Outline.of(scaled, kind)
