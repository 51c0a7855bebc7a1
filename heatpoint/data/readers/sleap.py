"""Reads labels of SLEAP: ``.slp`` files that name pictures, ``.pkg.slp`` files that hold them.

From format 1.1 on a coordinate is the index of a pixel, so 0.5 is added; before, it counted from
the corner of the picture, as ours do. Points that are not visible have places nobody vouches for,
and SLEAP itself does not train on them: they are not labelled. What a model predicted is left out
until somebody has accepted it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, Objects, joints_box
from heatpoint.data.findings import Finding
from heatpoint.data.readers import hdf5, steps
from heatpoint.data.readers.given import Given
from heatpoint.data.readers.locate import locate_images
from heatpoint.data.readers.sleap_pictures import Frame, embedded, unpack
from heatpoint.data.skeleton import Skeleton, pairs_by_name
from heatpoint.errors import HeatpointError

_FIELDS = {
    "frames": ("video", "frame_idx", "instance_id_start", "instance_id_end"),
    "instances": ("instance_type", "skeleton", "point_id_start", "point_id_end"),
    "points": ("x", "y", "visible"),
}
_USER = 0
_CENTRED = 1.1
"""First format whose coordinates are indices of pixels."""

_BONE, _SYMMETRY = 1, 2

PREDICTED = "predicted, not labelled"


class _Content(NamedTuple):
    """What a file says.

    Attributes:
        tables: Its structured arrays, by the names of ``_FIELDS``.
        skeleton: The skeleton of all animals.
        shift: What is added to coordinates.
        videos: What it says of each video.
    """

    tables: dict[str, Any]
    skeleton: Skeleton
    shift: float
    videos: list[dict[str, Any]]


def fits(given: Given) -> bool:
    """Returns whether a file is SLEAP's."""
    return hdf5.kind(given.path) == "SLEAP"


def read_sleap(given: Given) -> Annotations:
    """Reads a SLEAP file.

    Joints are the nodes of its skeleton, with its edges; pairs are its symmetries or, without any,
    those that the names tell (``skeleton.pairs_by_name``). Nobody drew boxes: ``joints_box`` gives
    them. Frames with predictions only are left out and counted.

    The pictures of a ``.pkg.slp`` are unpacked to the folder that is named for them, once; it is
    made if it is missing, and nothing in it is replaced.

    Raises:
        HeatpointError: h5py is not installed; the file is damaged or has animals of several
            skeletons; its pictures are in a video, or inside of it and ``images`` is not given.
    """
    path = given.without_split()
    with hdf5.open_hdf5(path, "or export the labels as COCO or CSV") as file:
        content = _content(file, path)
        annotations = Annotations(("animal",), [], str(path), skeleton=content.skeleton)
        frames, animals = _labelled(content, annotations, path)
        pictures = _pictures(file, frames, content.videos, annotations, path, given.images)
    listed: set[Path] = set()
    for frame, picture, objects in zip(frames, pictures, animals, strict=True):
        if picture in listed:
            detail = f"frame {frame.number} of video {frame.video}"
            annotations.leave_out("image listed twice", str(picture), detail)
            continue
        listed.add(picture)
        annotations.images.append(objects.record(picture, None, len(annotations.images) + 1))
    return annotations


def _content(file: Any, path: Path) -> _Content:
    if hdf5.is_analysis(file):
        raise HeatpointError(
            f"{path} holds tracks that SLEAP predicted; expected labels, a .slp or .pkg.slp file"
        )
    tables = {}
    for name, fields in _FIELDS.items():
        tables[name] = hdf5.values(file, name)
        lacking = [field for field in fields if field not in (tables[name].dtype.names or ())]
        if lacking:
            raise HeatpointError(f"{path}: {name!r} has no column {lacking[0]!r}")
    attributes = file["metadata"].attrs
    shift = 0.5 if float(attributes.get("format_id", 0.0)) >= _CENTRED else 0.0
    try:
        said = json.loads(attributes["json"])
        videos = [json.loads(video) for video in hdf5.values(file, "videos_json")]
        skeleton = _skeleton(said, tables["instances"], path)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise HeatpointError(f"{path}: its skeleton or videos cannot be read: {error!r}") from None
    return _Content(tables, skeleton, shift, videos)


def _skeleton(said: dict[str, Any], instances: NDArray[Any], path: Path) -> Skeleton:
    """Returns the skeleton of the labelled animals.

    Raises:
        HeatpointError: There are several.
    """
    users = instances[instances["instance_type"] == _USER]
    used = np.unique(users["skeleton"]).tolist() or [0]
    names = [node["name"] for node in said["nodes"]]
    found = {_as_skeleton(said["skeletons"][int(number)], names) for number in used}
    if len(found) > 1:
        joints = " and ".join(str(len(each)) for each in found)
        raise HeatpointError(
            f"{path} has animals of {len(found)} skeletons (of {joints} joints); one data set has "
            "one, so save those of each apart in SLEAP"
        )
    return found.pop()


def _as_skeleton(said: dict[str, Any], names: list[str]) -> Skeleton:
    graph = said.get("nx_graph", said)
    order = [int(node["id"]) for node in graph["nodes"]]
    kinds: dict[int, int] = {}
    links: dict[int, dict[tuple[int, int], None]] = {_BONE: {}, _SYMMETRY: {}}
    for link in graph["links"]:
        how = link["type"]
        # A kind is written out the first time; from then on its number is repeated.
        if "py/reduce" in how:
            kinds[len(kinds) + 1] = kind = int(how["py/reduce"][1]["py/tuple"][0])
        else:
            kind = kinds.get(how["py/id"], how["py/id"])
        ends = order.index(link["source"]), order.index(link["target"])
        links[kind][ends if kind == _BONE else (min(ends), max(ends))] = None
    joints = tuple(str(names[number]) for number in order)
    pairs = tuple(links[_SYMMETRY]) or pairs_by_name(joints)
    return Skeleton(joints, tuple(links[_BONE]), pairs)


def _labelled(
    content: _Content, annotations: Annotations, path: Path
) -> tuple[list[Frame], list[Objects]]:
    """Returns the labelled frames and the animals on each; what is predicted is counted."""
    frames, animals = [], []
    instances = content.tables["instances"]
    for row in content.tables["frames"]:
        frame = Frame(int(row["video"]), int(row["frame_idx"]))
        where = f"frame {frame.number} of video {frame.video}"
        inside = instances[int(row["instance_id_start"]) : int(row["instance_id_end"])]
        users = inside[inside["instance_type"] == _USER]
        for _ in range(len(inside) - len(users)):
            annotations.leave_out(PREDICTED, "", f"{where} of {path.name}")
        if len(inside) and not len(users):
            continue
        objects = Objects(len(content.skeleton))
        for animal in users:
            joints = _joints(animal, content, f"{path}: {where}")
            box = joints_box(joints)
            if box is not None:
                objects.add(box, 0, keypoints=joints)
        frames.append(frame)
        animals.append(objects)
    return frames, animals


def _joints(animal: Any, content: _Content, where: str) -> NDArray[np.float64]:
    points = content.tables["points"][int(animal["point_id_start"]) : int(animal["point_id_end"])]
    if len(points) != len(content.skeleton):
        raise steps.unexpected(where, f"{len(content.skeleton)} points of an animal", len(points))
    places = np.stack((points["x"], points["y"]), -1).astype(np.float64) + content.shift
    return steps.as_joints(places, 2.0 * (points["visible"] & np.isfinite(places).all(-1)))


def _pictures(
    file: Any,
    frames: list[Frame],
    videos: list[dict[str, Any]],
    annotations: Annotations,
    path: Path,
    folder: Path | None,
) -> list[Path]:
    """Returns the picture of each frame.

    Raises:
        HeatpointError: It is in a video; or inside of the file, and no folder is named for it.
    """
    inside = embedded(file, videos, frames, path)
    if inside:
        if folder is None:
            raise HeatpointError(
                f"{path} holds its {len(frames)} pictures inside; name a folder for them by "
                "--images DIR, to which they are unpacked once"
            )
        written, pictures = unpack(file, frames, inside, folder, path)
        if written:
            detail = f"{written} of {path.name} to {folder}"
            annotations.findings.append(Finding("pictures unpacked", "", detail))
        return pictures
    names = []
    for frame in frames:
        said = videos[frame.video].get("backend", {}) if frame.video < len(videos) else {}
        listed = said.get("filenames")
        if not isinstance(listed, list):
            raise HeatpointError(
                f"{path}: its pictures are in the video {said.get('filename', '?')!r}; export a "
                "labels package (.pkg.slp) in SLEAP, which holds them, and give that"
            )
        if not frame.number < len(listed):
            raise steps.unexpected(path, f"{frame.number + 1} pictures in a video", len(listed))
        names.append(str(listed[frame.number]))
    return locate_images(names, annotations, path, folder)
