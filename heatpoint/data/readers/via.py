"""Reads the VGG Image Annotator: projects and exports of VIA 1 and 2, JSON or CSV, and VIA 3.

Regions carry attributes that the user named. The class is in the first of ``CLASS`` that regions
have, else in the first by name; where they have several, it is said which one counts.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from heatpoint.data import Annotations
from heatpoint.data.readers import steps
from heatpoint.data.readers.drawn import Joint, Note, Picture, Thing, as_annotations, called
from heatpoint.data.readers.given import Given
from heatpoint.data.readers.outlines import Outline, ellipse_box, number, numbers
from heatpoint.errors import HeatpointError

CLASS = ("class", "label", "name", "type", "category", "object")
"""Attributes that hold the class, the first one first; capitals do not matter."""

_SHAPES_3 = {
    1: ("point", ("cx", "cy")),
    2: ("rect", ("x", "y", "width", "height")),
    3: ("circle", ("cx", "cy", "r")),
    4: ("ellipse", ("cx", "cy", "rx", "ry")),
    5: ("line", ()),
    6: ("polyline", ()),
    7: ("polygon", ()),
    8: ("extreme rectangle", ()),
    9: ("extreme circle", ()),
}
"""Shapes of VIA 3 by number, and VIA 2's names of the numbers behind it."""

_IMAGE_3 = 2
"""Type of a file of VIA 3 that is a picture."""


class _Region(NamedTuple):
    """A shape with its numbers, the values of attributes, and what messages call it."""

    shape: dict[str, Any]
    values: dict[str, Any]
    where: str


Regions = list[tuple[str, list[_Region]]]
"""Pictures and their regions, in the order of the file; of VIA 2, a name may be there twice."""


def fits(given: Given) -> bool:
    """Returns whether a file is a project or export of VIA, or a table that begins as those do."""
    content = given.content
    if given.suffix in (".csv", ".tsv"):
        return "region_shape_attributes" in given.start.partition("\n")[0]
    if not isinstance(content, dict):
        return False
    if "_via_img_metadata" in content or {"file", "view", "metadata"} <= content.keys():
        return True
    first = next(iter(content.values()), None)
    return isinstance(first, dict) and {"filename", "regions"} <= first.keys()


def read_via(given: Given) -> Annotations:
    """Reads a file of VIA, JSON or CSV.

    Polygons, circles and ellipses count as the upright boxes around them; lines are left out.
    Points are joints by their class (``as_annotations`` says of which object). Classes are in the
    order of the attribute's options, if the file has them; the others follow, sorted. VIA does not
    tell pictures without objects from those that nobody has annotated yet: both are kept.

    Raises:
        HeatpointError: The file is damaged, is about videos, or no region has a class.
    """
    path, content, images = given.without_split(), given.content, given.images
    options: Mapping[str, dict[str, str]] = {}
    prefix, films = "", set[str]()
    if content is None:
        regions = _of_csv(path)
    elif "metadata" in content and "view" in content:
        regions, options, films = _of_project_3(content, path)
    else:
        regions, options, prefix = _of_json(content, path)
    every = [region for _, each in regions for region in each]
    count = Counter(key for region in every for key, value in region.values.items() if value)
    attribute = min(count, key=_rank, default="")
    names = [name for name, _ in regions]
    forms = [names, [f"{prefix}/{name}" for name in names]] if prefix else [names]
    drawn = [_picture(*each, attribute, options.get(attribute, {})) for each in regions]
    pictures = called(drawn, forms, path, images)
    pictures += [Picture(name, None, (), unlabelled="it is a video") for name in sorted(films)]
    classes = [text or key for key, text in options.get(attribute, {}).items()]
    annotations = as_annotations(pictures, path, images, None, classes)
    if len(count) > 1:
        others = ", ".join(repr(key) for key in sorted(count) if key != attribute)
        detail = f"{attribute!r} is taken as the class; regions have {others} as well"
        annotations.say("object of several classes", "", detail)
    return annotations


def _rank(attribute: str) -> tuple[int, str]:
    plain = attribute.strip().lower()
    return (CLASS.index(plain) if plain in CLASS else len(CLASS)), attribute


def _of_json(content: dict[str, Any], path: Path) -> tuple[Regions, dict[str, dict[str, str]], str]:
    """Returns the regions of VIA 1 and 2, the options of attributes, and where pictures were."""
    files = content.get("_via_img_metadata", content)
    if not isinstance(files, dict):
        raise steps.unexpected(path, "'_via_img_metadata' to be an object", type(files).__name__)
    found: Regions = []
    for key, item in files.items():
        if not isinstance(item, dict) or not isinstance(item.get("filename"), str):
            raise steps.unexpected(f"{path}: {key!r}", "an object with 'filename'", repr(item)[:60])
        listed, name = item.get("regions") or [], item["filename"]
        listed = list(listed.values()) if isinstance(listed, dict) else listed  # VIA 1
        each: list[_Region] = []
        found.append((name, each))
        for place, region in enumerate(listed if isinstance(listed, list) else [], start=1):
            region = region if isinstance(region, dict) else {}
            shape, values = region.get("shape_attributes"), region.get("region_attributes")
            each.append(_region(shape, values, f"region {place} of {name}"))
    attributes = _part(content, "_via_attributes", "region")
    options = {key: dict.fromkeys(_part(attributes, key, "options"), "") for key in attributes}
    core = _part(content, "_via_settings", "core")
    return found, options, str(core.get("default_filepath") or "").rstrip("/\\")


def _of_project_3(
    content: dict[str, Any], path: Path
) -> tuple[Regions, dict[str, dict[str, str]], set[str]]:
    """Returns the regions of VIA 3, the options of attributes, and names of videos."""
    files, views, attributes = (_part(content, key) for key in ("file", "view", "attribute"))
    names: dict[str, str] = {}
    films: set[str] = set()
    for vid in views:
        listed = _part(views, vid).get("fid_list")
        file = _part(files, str(listed[0])) if isinstance(listed, list) and listed else {}
        name = str(file.get("fname") or file.get("src"))
        if file.get("type", _IMAGE_3) == _IMAGE_3:
            names[vid] = name
        else:
            films.add(name)
    if not names:
        raise HeatpointError(f"{path} is a project of VIA 3 without pictures; videos are not read")
    named = {key: str(_part(attributes, key).get("aname") or key) for key in attributes}
    found: dict[str, list[_Region]] = {name: [] for name in names.values()}
    for key in _part(content, "metadata"):
        item = _part(content, "metadata", key)
        on, xy = names.get(str(item.get("vid"))), item.get("xy")
        if on is None or not isinstance(xy, list) or not xy:
            continue  # of a video, or of the whole picture
        kind, keys = (
            _SHAPES_3.get(xy[0], (f"shape {xy[0]}", ())) if isinstance(xy[0], int) else ("", ())
        )
        shape: dict[str, Any] = {"name": kind} | dict(zip(keys, xy[1:], strict=False))
        if kind in ("polygon", "extreme rectangle"):
            shape |= {"all_points_x": xy[1::2], "all_points_y": xy[2::2]}
        values = {named.get(each, each): value for each, value in _part(item, "av").items()}
        found[on].append(_region(shape, values, f"region {key} of {on}"))
    options = {
        name: {k: str(v) for k, v in _part(attributes, key, "options").items()}
        for key, name in named.items()
    }
    return list(found.items()), options, films


def _part(content: Any, *keys: str) -> dict[str, Any]:
    """Returns the object under a key of an object, and so on; an empty one for what is none."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else {}


def _of_csv(path: Path) -> Regions:
    (_, first), *rows = steps.read_table(path)
    heading = [cell.lstrip("#") for cell in first]
    wanted = ("filename", "region_shape_attributes", "region_attributes")
    missing = [key for key in wanted if key not in heading]
    if missing:
        raise steps.unexpected(path, f"a column {missing[0]!r}", ", ".join(heading))
    name_at, shape_at, values_at = (heading.index(key) for key in wanted)
    found: dict[str, list[_Region]] = {}
    for line, cells in rows:
        where = f"{path}:{line}"
        if len(cells) < len(heading):
            raise steps.unexpected(where, f"{len(heading)} columns", len(cells))
        each = found.setdefault(cells[name_at], [])
        shape, values = (_cell(cells[at], where) for at in (shape_at, values_at))
        if shape:
            each.append(_region(shape, values, where))
    return list(found.items())


def _cell(cell: str, where: str) -> Any:
    try:
        return json.loads(cell or "{}")
    except (ValueError, RecursionError):
        raise steps.unexpected(where, "JSON in a cell", repr(cell)[:60]) from None


def _region(shape: Any, values: Any, where: str) -> _Region:
    shape, values = (each if isinstance(each, dict) else {} for each in (shape, values))
    return _Region(shape, values, where)


def _picture(
    name: str, regions: list[_Region], attribute: str, options: Mapping[str, str]
) -> Picture:
    things: list[Thing] = []
    joints: list[Joint] = []
    notes: list[Note] = []
    for shape, values, where in regions:
        labels = [options.get(each) or each for each in _labels(values.get(attribute))]
        if len(labels) > 1:
            detail = f"{where}: {', '.join(map(repr, labels))}"
            notes.append(Note("object of several classes", detail))
        label, kind = labels[0] if labels else "", str(shape.get("name"))
        if kind == "point":
            x, y = numbers(shape, "cx", "cy")
            joints.append(Joint(label, x, y, where))
        else:
            things.append(Thing(label, _outline(kind, shape), where))
    return Picture(name, None, things, joints, notes=notes)


def _labels(value: Any) -> Iterator[str]:
    """Yields the classes in the value of an attribute; a set of check boxes may have several."""
    chosen = [key for key, on in value.items() if on] if isinstance(value, dict) else [value]
    return (str(each).strip() for each in chosen if each is not None and str(each).strip())


def _outline(kind: str, shape: dict[str, Any]) -> Outline:
    """Returns where a region is."""
    if kind == "rect":
        x, y, width, height = numbers(shape, "x", "y", "width", "height")
        return Outline((x, y, x + width, y + height))
    cx, cy, r, rx, ry = numbers(shape, "cx", "cy", "r", "rx", "ry")
    if kind == "circle":
        return Outline(ellipse_box(cx, cy, r, r), kind)
    if kind == "ellipse":
        turn = math.degrees(number(shape.get("theta", 0)))
        return Outline(ellipse_box(cx, cy, rx, ry, turn), kind)
    xs, ys = shape.get("all_points_x"), shape.get("all_points_y")
    if kind not in ("polygon", "extreme rectangle") or not isinstance(xs, list):
        return Outline(None, kind)
    outline = Outline.of(list(zip(xs, ys, strict=False)) if isinstance(ys, list) else None, kind)
    return outline if kind == "polygon" or not outline.box else Outline(outline.box)
