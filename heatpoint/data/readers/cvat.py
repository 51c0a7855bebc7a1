"""Reads CVAT's own XML, version 1.1, for images and for videos.

Coordinates are continuous pixels. A box may be turned clockwise about its middle. A skeleton's
points are joints by their labels. An export for videos has tracks, whose shapes are written for
every frame; the frame of a video is the picture ``frame_000000.png``.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from defusedxml import DefusedXmlException, ElementTree

from heatpoint.data import Annotations
from heatpoint.data.readers import locate, steps
from heatpoint.data.readers.drawn import Joint, Picture, Thing, as_annotations, called
from heatpoint.data.readers.given import Given, begins
from heatpoint.data.readers.outlines import Outline, around, ellipse_box, number, numbers
from heatpoint.errors import HeatpointError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_FRAME_SUFFIXES = (".PNG", ".png", ".jpg", ".jpeg", ".JPG")
_MOST_FRAMES = 1_000_000
"""Frames of a video: nine hours at thirty a second."""

_EDGE = re.compile(r"data-node-from=\"(\w+)\"[^>]*?data-node-to=\"(\w+)\"")
_NODE = re.compile(r"<circle[^>]*>")
_SHAPES = ("box", "polygon", "ellipse", "mask", "points", "skeleton", "polyline", "cuboid")


class _Meta(NamedTuple):
    """What is said of all pictures.

    Attributes:
        classes: Labels that are no part of a skeleton, in order.
        edges: Names of joints that a skeleton joins.
        step: Frames from one of the task to the next.
        frames: First and last frame of a video's task; None if it is not said.
        size: (height, width) of a video.
    """

    classes: list[str]
    edges: list[tuple[str, str]]
    step: int
    frames: tuple[int, int] | None
    size: steps.Size | None


def fits(given: Given) -> bool:
    """Returns whether a file, or that of a folder, begins as CVAT's XML does."""
    path = _file(given)
    return path.suffix.lower() == ".xml" and begins(path, rb"<annotations[\s>]")


def _file(given: Given) -> Path:
    """Returns the file, which FiftyOne calls ``labels.xml``."""
    if not given.is_folder:
        return given.path
    own = given.path / "annotations.xml"
    return own if own.exists() else given.path / "labels.xml"


def read_cvat(given: Given) -> Annotations:
    """Reads ``annotations.xml``; a split is a subset of a project, as pictures name it.

    Polygons, ellipses, cuboids and turned boxes count as the upright boxes around them, masks as
    their own boxes; polylines and tags are left out. A skeleton is an object of its own, or gives
    its joints to the box of its group; so do points, which are joints by their label. Several
    points of one shape are the joints "1", "2" and so on of an object of that label. Joints that
    are occluded count as hidden, those outside as not labelled.

    Raises:
        HeatpointError: It is no whole XML of CVAT; a track lacks frames; there is no such split;
            there are several videos, or the frames of one are not there as pictures.
    """
    path, images = _file(given), given.images
    meta = _Meta([], [], 1, None, None)
    pictures: list[Picture] = []
    frames: dict[int, list[tuple[Element, str, str]]] = defaultdict(list)
    films = set[str | None]()
    for element in _elements(path):
        if element.tag == "meta":
            meta = _meta(element)
        elif element.tag == "image":
            name = element.get("name", "")
            if not name:
                raise steps.unexpected(path, "a name of every image", f"{dict(element.attrib)}")
            size = steps.known_size(*numbers(element, "height", "width"))
            shapes = [(item, item.get("label", ""), f"of {name}") for item in element]
            pictures.append(_picture(name, size, shapes, element.get("subset", "")))
        elif element.tag == "track":
            _add_track(element, frames, meta.step, path)
            films.add(element.get("task_id"))
    if len(films) > 1:
        raise HeatpointError(
            f"{path} holds the videos of {len(films)} tasks, which count their frames each from "
            "their own start; export each task instead of the project"
        )
    if frames and not pictures:
        pictures = _framed(_film(frames, meta, path), path, images)
    # The pictures of a project lie in folders of its subsets.
    plain = [each.name for each in pictures]
    forms = [plain, ["/".join(filter(None, (each.split, each.name))) for each in pictures]]
    pictures = called(pictures, forms, path, images)
    return as_annotations(pictures, path, images, given.split, meta.classes, meta.edges)


def _elements(path: Path) -> Iterator[Element]:
    """Yields the elements right below the root, one at a time, so that large files need little."""
    root: Element | None = None
    depth = 0
    try:
        for event, element in ElementTree.iterparse(path, events=("start", "end")):
            depth += 1 if event == "start" else -1
            if root is None:
                root = element
            elif event == "end" and depth == 1:
                yield element
                root.clear()
    except DefusedXmlException:
        raise HeatpointError(
            f"{path} declares entities, which are not taken; write them out"
        ) from None
    # Besides broken XML: encodings that are unknown.
    except (ElementTree.ParseError, ValueError, LookupError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise HeatpointError(
            f"{path} is not valid XML: {reason}; the file may be cut off"
        ) from None


def _meta(element: Element) -> _Meta:
    classes: list[str] = []
    edges: list[tuple[str, str]] = []
    for label in element.iter("label"):
        if not label.findtext("parent"):
            classes.append((label.findtext("name") or "").strip())
        svg = label.findtext("svg") or ""
        called = {
            node[1]: name[1]
            for circle in _NODE.findall(svg)
            if (node := re.search(r"data-node-id=\"(\w+)\"", circle))
            and (name := re.search(r"data-label-name=\"([^\"]+)\"", circle))
        }
        edges += [(called[a], called[b]) for a, b in _EDGE.findall(svg) if {a, b} <= called.keys()]
    filtered = re.search(r"step\s*=\s*(\d+)", next(_texts(element, "frame_filter"), ""))
    first, last = (number(next(_texts(element, key), "")) for key in ("start_frame", "stop_frame"))
    frames = (int(first), int(last)) if 0 <= first <= last < math.inf else None
    sides = (number(next(_texts(element, key), "")) for key in ("height", "width"))
    step = int(filtered[1]) if filtered else 1
    return _Meta(classes, edges, max(1, step), frames, steps.known_size(*sides))


def _texts(element: Element, tag: str) -> Iterator[str]:
    return (found.text or "" for found in element.iter(tag))


def _add_track(
    track: Element, frames: dict[int, list[tuple[Element, str, str]]], step: int, path: Path
) -> None:
    """Adds a track's shapes to the frames they are on, those of frames it is outside of not."""
    where, label = f"track {track.get('id')}", track.get("label", "")
    before: int | None = None
    for item in track:
        frame = number(item.get("frame"))
        if not 0 <= frame < _MOST_FRAMES:
            raise steps.unexpected(f"{path}: {where}", "a frame's number", repr(item.get("frame")))
        if before is not None and frame > before + step:
            raise HeatpointError(
                f"{path}: {where} has frames {before} and {frame:g} and none between; expected "
                "every frame: export 'CVAT for images' there, which has them all"
            )
        outside = item.get("outside") == "1"
        before = None if outside else int(frame)
        if not outside:
            frames[int(frame)].append((item, label, f"of {where}, frame {frame:g}"))


def _film(
    frames: dict[int, list[tuple[Element, str, str]]], meta: _Meta, path: Path
) -> list[Picture]:
    """Returns the frames of a video as pictures without file endings."""
    first, last = meta.frames or (min(frames), max(frames))
    if last - first >= _MOST_FRAMES:
        raise steps.unexpected(path, f"at most {_MOST_FRAMES:,} frames", f"{first} to {last}")
    numbers = sorted({*range(first, last + 1, meta.step), *frames})
    return [_picture(f"frame_{n:06d}", meta.size, frames.get(n, []), "") for n in numbers]


def _framed(pictures: list[Picture], path: Path, images: Path | None) -> list[Picture]:
    """Returns the frames under the names of their files."""
    forms = [[each.name + suffix for each in pictures] for suffix in _FRAME_SUFFIXES]
    pictures = called(pictures, forms, path, images)
    folders = locate.image_folders(path) if images is None else [images]
    if not any((folder / each.name).is_file() for folder in folders for each in pictures):
        first = pictures[0].name
        raise HeatpointError(
            f"{path} is about a video, and none of its frames is here as a picture ({first} in "
            "images, say); export it from CVAT with 'Save images', or take the frames out of the "
            "video: ffmpeg -i film.mp4 -start_number 0 images/frame_%06d.png"
        )
    return pictures


def _picture(
    name: str, size: steps.Size | None, shapes: list[tuple[Element, str, str]], subset: str
) -> Picture:
    things: list[Thing] = []
    joints: list[Joint] = []
    boxes = {item.get("group_id") for item, _, _ in shapes if item.tag == "box"} - {None, "0"}
    for place, (item, label, of) in enumerate(shapes, start=1):
        where = f"shape {place} {of}"
        group = item.get("group_id") or "0"
        key = group if group != "0" else None
        if item.tag in ("points", "skeleton"):
            own = key if key in boxes else f"shape {place}"
            joints += _joints(item, label, where, key, own)
        elif item.tag in _SHAPES:
            things.append(Thing(label, _outline(item), where, key))
        elif item.tag == "tag":
            things.append(Thing(label, Outline(None, "a tag of the whole picture"), where))
    return Picture(name, size, things, joints, subset)


def _joints(
    item: Element, label: str, where: str, group: str | None, own: str | None
) -> Iterator[Joint]:
    """Yields the joints of a skeleton or of points.

    Args:
        item: The element.
        label: Its label.
        where: What messages call it.
        group: The group it is in.
        own: What its joints have in common if it is a subject of its own.
    """
    if item.tag == "skeleton":
        for part in item.iter("points"):
            (x, y), *_ = _points(part) or [(number(None), number(None))]
            yield Joint(part.get("label", ""), x, y, where, own, _visibility(part), label)
        return
    points = _points(item)
    if len(points) == 1:
        x, y = points[0]
        yield Joint(label, x, y, where, group, _visibility(item))
        return
    for index, (x, y) in enumerate(points, start=1):
        yield Joint(str(index), x, y, where, own, _visibility(item), label)


def _visibility(item: Element) -> int:
    return 0 if item.get("outside") == "1" else 1 if item.get("occluded") == "1" else 2


def _points(item: Element) -> list[tuple[float, float]]:
    pairs = [pair.split(",") for pair in item.get("points", "").split(";") if pair]
    return [(number(pair[0]), number(pair[-1])) for pair in pairs]


def _outline(item: Element) -> Outline:
    """Returns where a shape is."""
    turn = number(item.get("rotation", 0))
    if item.tag == "box":
        x1, y1, x2, y2 = numbers(item, "xtl", "ytl", "xbr", "ybr")
        box = x1, y1, x2, y2
        return Outline.turned(box, turn, ((x1 + x2) / 2, (y1 + y2) / 2))
    if item.tag == "ellipse":
        cx, cy, rx, ry = numbers(item, "cx", "cy", "rx", "ry")
        return Outline(ellipse_box(cx, cy, rx, ry, turn), item.tag)
    if item.tag == "mask":
        left, top, width, height = numbers(item, "left", "top", "width", "height")
        return Outline((left, top, left + width, top + height))
    if item.tag == "cuboid":
        keys = [key[1:] for key in item.attrib if key.startswith(("xt", "xb"))]
        return Outline(around([numbers(item, f"x{key}", f"y{key}") for key in keys]), item.tag)
    return Outline.of(_points(item) if item.tag == "polygon" else None, item.tag)
