"""Reads Pascal VOC: one XML file per image, in whatever folders."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, Box, Objects, check_names
from heatpoint.data.formats import is_picture
from heatpoint.data.quads import NONE
from heatpoint.data.readers import steps
from heatpoint.data.readers.given import Given, begins
from heatpoint.data.readers.outlines import Corners, around, turned
from heatpoint.data.readers.voc_files import ANNOTATIONS, Pictures, choose, find_files, is_xml, walk
from heatpoint.system.plain_xml import read_xml

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_ROOT = "annotation"
_SIGN = rb"<annotation[\s/>]"
_TRIED = 20
"""XML files that are looked into to see whether they are of this format."""

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_MASKS = "segmentation"
"""What folders of masks are called in the beginning; they are no pictures to be labelled."""

_YES = {"1", "true", "yes"}
_AXIS = re.compile(r"[xy]\d*")

SWAPPED, POLYGON = "corners swapped", "polygon read as its box"
ROTATED = "rotated box read as upright"


class _Object(NamedTuple):
    """What an XML file says of one object.

    Attributes:
        name: Its class, "" if absent.
        box: Its corners, None if absent.
        difficult: Whether VOC's evaluation leaves it out.
        parts: Number of its parts, such as a person's hands, its keypoints or a second box.
        told: What was done to its shape, a kind of ``TREATMENT``; "" for nothing.
        corners: Its four corners; ``quads.NONE`` of another outline; None of a box.
        deleted: Whether somebody took it out in the older LabelMe, which keeps it in the file.
    """

    name: str
    box: Box | None
    difficult: bool
    parts: int
    told: str
    corners: NDArray[np.float64] | None
    deleted: bool


class _Image(NamedTuple):
    """What one XML file says."""

    filename: str
    size: tuple[int, int] | None
    objects: list[_Object]


def read_voc(given: Given) -> Annotations:
    """Reads a Pascal VOC data set: a folder with XML files at any depth, or one XML file.

    ``Annotations`` with ``JPEGImages`` and ``ImageSets/Main``, XML files beside their pictures,
    folders ``train`` and ``valid`` of both, several years in one folder: ``voc_files`` says how
    they are told apart, ``voc_pictures`` how pictures are found.

    The classes are the sorted names found in all XML files, whatever the split, so that train and
    val agree on them. Corners stay as they are written, but for those in the wrong order. The VOC
    challenge itself counts pixels from 1 and includes the last one, which would make ``xmin - 1``
    the continuous corner; nearly all other files in this format (LabelImg, CVAT, most published
    sets) write plain pixel corners, nothing in a file tells the two apart, and the difference is
    at most one pixel. Of polygons and rotated boxes the upright box around them is taken, and
    counted.

    An image that has no XML file is left out and counted: unlike an XML file without objects, it
    may simply not be labelled yet.

    A split is the name of a list in ``ImageSets/Main``, or of folders.

    Raises:
        HeatpointError: The folder or split does not exist, there is no XML file, an XML file is
            broken, no object has a class, or ``images`` holds none of the pictures.
    """
    path = given.path if given.is_folder else given.without_split()
    files = find_files(path, given.images)
    if not files.annotations:
        raise steps.unexpected(path, "XML files in it", "none")
    parsed, others = _parse_all([file for _, file in files.paths])
    found = {item.name for image in parsed.values() for item in image.objects if item.name}
    annotations = Annotations(check_names(sorted(found), path), [], str(path))
    for file, tag in others.items():
        detail = f"its element is <{tag}>, expected <{_ROOT}>"
        annotations.leave_out("not an annotation file", str(file), detail)
    chosen = choose(files, given.split)
    listed = [each for each in chosen.annotations if each[1] not in others]
    filenames = {file: image.filename for file, image in parsed.items()}
    paths = Pictures(files, filenames, annotations).find(listed)
    label_of = {name: label for label, name in enumerate(annotations.names)}
    seen: dict[Path, Path] = {}
    for (_, file), picture in zip(listed, paths, strict=True):
        if picture in seen:
            detail = f"by {seen[picture].name} and {file.name}"
            annotations.leave_out("image listed twice", str(picture), detail)
            continue
        seen[picture] = file
        if (image := parsed.get(file)) is None:
            _leave_out(picture, str(file), annotations)
            continue
        objects = _objects(image, file.name, str(picture), annotations, label_of)
        number = len(annotations.images) + 1
        annotations.images.append(objects.record(picture, image.size, number))
    for place in files.places:
        if place.key in chosen.keys and not place.folder.name.lower().startswith(_MASKS):
            for picture in place.paths():
                if picture not in seen:
                    _leave_out(picture, f"{picture.stem}.xml", annotations)
    return annotations


def _leave_out(picture: Path, file: str, annotations: Annotations) -> None:
    kind, detail = "image without annotation file", f"expected {file}"
    annotations.leave_out(kind, str(picture), detail)


def _objects(
    image: _Image, file: str, picture: str, annotations: Annotations, label_of: dict[str, int]
) -> Objects:
    """Returns the objects of an image that have a class and a box; the others are counted."""
    objects = Objects()
    for number, item in enumerate(image.objects, start=1):
        what = f"object {number} of {file}"
        for _ in range(item.parts):
            annotations.leave_out("part of an object", picture, f"{what}, a {item.name}")
        if item.deleted:
            annotations.leave_out("deleted object", picture, f"{what}, a {item.name}")
        elif not item.name:
            annotations.leave_out("object without a class", picture, f"{what} has no <name>")
        elif item.box is None:
            detail = f"{what}: expected numbers {', '.join(_CORNERS)} in <bndbox>"
            annotations.leave_out("object without a box", picture, detail)
        else:
            marks: dict[str, Any] = {"difficult": item.difficult, "corners": item.corners}
            objects.add(item.box, label_of[item.name], **marks)
            if item.told:
                annotations.say(item.told, picture, f"{what}, a {item.name}")
    return objects


def _parse_all(files: Sequence[Path]) -> tuple[dict[Path, _Image], dict[Path, str]]:
    """Returns what the annotations say, and what the root of each other XML file is called."""
    found = steps.read_all(files, _read, "XML")
    parsed = {path: image for path, image in found.items() if isinstance(image, _Image)}
    others = {path: tag for path, tag in found.items() if isinstance(tag, str)}
    if others and not parsed:
        path, tag = next(iter(others.items()))
        raise steps.unexpected(path, f"an element <{_ROOT}>, as of Pascal VOC", f"<{tag}>")
    return parsed, others


def _read(file: Path) -> _Image | str:
    """Returns what an annotation says, or what the root of another file is called."""
    root = read_xml(file)
    if root.tag != _ROOT:
        return root.tag[:60]
    height, width = _values(root.find("size"), ("height", "width"))
    size = steps.known_size(height, width)
    objects = [_object(item) for item in root.findall("object")]
    path = _text(root, "path").replace("\\", "/")
    return _Image(_text(root, "filename") or path.rpartition("/")[2], size, objects)


def _object(item: Element) -> _Object:
    box, told = _bounds(_values(item.find("bndbox"), _CORNERS))
    polygon, rotated = item.find("polygon"), item.find("robndbox")
    points: Corners | None = None
    if polygon is not None:
        points, told = _polygon(polygon), POLYGON
    elif rotated is not None and box is None:
        points, told = _rotated(rotated), ROTATED
    elif box is not None and (turn := _turn(item)):
        points, told = turned(box, turn, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)), ROTATED
        box = None
    corners = None
    if points is not None:
        box = box or around(points)
        corners = np.array(points) if len(points) == 4 else NONE
    difficult = _text(item, "difficult").lower() in _YES
    parts = len([*item.findall("part"), *item.findall("keypoints"), *item.findall("bndbox")[1:]])
    deleted = _text(item, "deleted").lower() in _YES
    return _Object(_text(item, "name"), box, difficult, parts, told, corners, deleted)


def _bounds(corners: Sequence[float | None]) -> tuple[Box | None, str]:
    """Returns corners as a box, those in the wrong order put right, and whether any was."""
    x1, y1, x2, y2 = corners
    if x1 is None or y1 is None or x2 is None or y2 is None:
        return None, ""
    if x1 > x2 or y1 > y2:
        return (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)), SWAPPED
    return (x1, y1, x2, y2), ""


def _polygon(polygon: Element) -> Corners:
    """Returns the points of a polygon, which are called x1, y1, x2, ... or x and y."""
    values: dict[str, list[float]] = {"x": [], "y": []}
    for one in polygon.iter():
        if _AXIS.fullmatch(one.tag) and (value := _number(one.text)) is not None:
            values[one.tag[0]].append(value)
    return list(zip(values["x"], values["y"], strict=False))


def _rotated(rotated: Element) -> Corners:
    """Returns the corners of a box that is turned about its centre by an angle in radians."""
    found = _values(rotated, ("cx", "cy", "w", "h", "angle"))
    numbers = [value for value in found if value is not None and math.isfinite(value)]
    if len(numbers) < len(found):
        return []
    x, y, width, height, angle = numbers
    box = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    return turned(box, math.degrees(angle), (x, y))


def _turn(item: Element) -> float:
    """Returns by how many degrees CVAT says that a box is turned clockwise about its middle."""
    said = item.iterfind("attributes/attribute")
    values = [_number(_text(each, "value")) for each in said if _text(each, "name") == "rotation"]
    return values[0] or 0.0 if values else 0.0


def _text(element: Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()


def _values(element: Element | None, tags: Sequence[str]) -> list[float | None]:
    """Returns the numbers in some tags; None for what is no number."""
    return [_number(None if element is None else element.findtext(tag)) for tag in tags]


def _number(text: str | None) -> float | None:
    """Returns the number in a text, which may be NaN or infinite; None if there is none."""
    try:
        return float(text or "")
    except ValueError:
        return None


def _in_folder(given: Given) -> bool:
    """Returns whether a folder holds annotations: in one that is called so, or anywhere.

    Label files of YOLO decide by their number: one of the two was left behind.
    """
    tried = loose = 0
    found = False
    others: list[tuple[bool, list[str]]] = []
    for parts, names in walk(given.path):
        xmls = [name for name in names if is_xml(name)]
        if not found and tried < _TRIED:
            some = xmls[: _TRIED - tried]
            tried += len(some)
            found = any(begins(given.path.joinpath(*parts, name), _SIGN) for name in some)
        if found and xmls and any(part.lower() in ANNOTATIONS for part in parts):
            return True
        loose += len(xmls)
        others.append((bool(parts) and parts[-1].lower() == "labels", names))
    return found and loose >= sum(len(_labels_of_yolo(*each)) for each in others)


def _labels_of_yolo(of_labels: bool, names: Iterable[str]) -> set[str]:
    """Returns the stems of texts in a folder that may be labels of YOLO's.

    Args:
        of_labels: The folder is called so; else texts without a picture beside are something else.
        names: What is in it.
    """
    texts = {Path(name).stem for name in names if name.lower().endswith(".txt")}
    return texts if of_labels else texts & {Path(n).stem for n in names if is_picture(Path(n))}


def fits(given: Given) -> bool:
    """Returns whether a file is the XML of one picture, or a folder holds some."""
    if given.is_folder:
        return _in_folder(given)
    return given.suffix == ".xml" and begins(given.path, _SIGN)
