"""Reads labels of SLEAP: ``.slp`` files that name pictures, ``.pkg.slp`` files that hold them.

From format 1.1 on a coordinate is the index of a pixel, so 0.5 is added; before, it counted from
the corner of the picture, as ours do. Points that are not visible have places nobody vouches for,
and SLEAP itself does not train on them: they are not labelled. What a model predicted is left out
until somebody has accepted it.
"""

from __future__ import annotations

import io
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from heatpoint.data import Annotations
from heatpoint.data.readers import arrays, steps
from heatpoint.data.readers.given import Given
from heatpoint.data.readers.locate import locate_images
from heatpoint.data.skeleton import Skeleton, pairs_by_name
from heatpoint.errors import HeatpointError
from heatpoint.system.files import atomic_write

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

_NUMBERED = re.compile(r"video(\d+)(?:/video)?")
_TOLD = 1.4
"""First format that says in which order the colours are; before, blue came first."""


class Frame(NamedTuple):
    """A frame of a video: the number of the video in the file, and of the frame in the video."""

    video: int
    number: int


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
    return arrays.kind(given.path) == "SLEAP"


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
    with arrays.open_hdf5(path, "or export the labels as COCO or CSV") as file:
        content = _content(file, path)
        annotations = Annotations(("animal",), [], str(path), skeleton=content.skeleton)
        frames, animals = _labelled(content, annotations, path)
        pictures = _pictures(file, frames, content.videos, annotations, path, given.images)
    where = [f"frame {frame.number} of video {frame.video}" for frame in frames]
    steps.add_subjects(annotations, zip(pictures, animals, where, strict=True))
    return annotations


def _content(file: Any, path: Path) -> _Content:
    if arrays.is_analysis(file):
        raise HeatpointError(
            f"{path} holds tracks that SLEAP predicted; expected labels, a .slp or .pkg.slp file"
        )
    tables = {}
    for name, fields in _FIELDS.items():
        tables[name] = arrays.values(file, name)
        lacking = [field for field in fields if field not in (tables[name].dtype.names or ())]
        if lacking:
            raise HeatpointError(f"{path}: {name!r} has no column {lacking[0]!r}")
    attributes = file["metadata"].attrs
    shift = 0.5 if float(attributes.get("format_id", 0.0)) >= _CENTRED else 0.0
    try:
        said = json.loads(attributes["json"])
        videos = [json.loads(video) for video in arrays.values(file, "videos_json")]
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
) -> tuple[list[Frame], list[list[NDArray[np.float64]]]]:
    """Returns the labelled frames, and the joints of each animal on each; others are counted."""
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
        frames.append(frame)
        animals.append([_joints(animal, content, f"{path}: {where}") for animal in users])
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
            annotations.say("pictures unpacked", "", detail)
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


def embedded(
    file: Any, videos: Sequence[Mapping[str, Any]], frames: Sequence[Frame], path: Path
) -> dict[int, str]:
    """Returns the dataset of the pictures of each video; nothing if the file holds none.

    Args:
        file: The open ``h5py.File``.
        videos: What it says of its videos.
        frames: The frames that are wanted.
        path: The file, for messages.

    Raises:
        HeatpointError: It holds the pictures of some videos only.
    """
    found: dict[int, str] = {}
    numbers: dict[int, str] = {}
    for place, video in enumerate(videos):
        name = str(video.get("backend", {}).get("dataset") or "")
        name = name if name.endswith("/video") or not name else f"{name}/video"
        if name in file:
            found[place] = name
            if match := _NUMBERED.fullmatch(name):
                numbers[int(match[1])] = name
    wanted = {frame.video for frame in frames}
    # Packages of chosen videos number them as the whole project did.
    found = found if wanted <= found.keys() else numbers
    lost = wanted - found.keys()
    if found and lost:
        raise HeatpointError(
            f"{path} holds the pictures of {len(found)} videos, but not of video {min(lost)}; "
            "export all labelled frames in one package"
        )
    return found


def unpack(
    file: Any, frames: Sequence[Frame], inside: Mapping[int, str], folder: Path, path: Path
) -> tuple[int, list[Path]]:
    """Writes the pictures that are not there yet as PNG files.

    A checksum in their names makes sure that a file is that very picture; nothing is replaced.

    Args:
        file: The open ``h5py.File``.
        frames: The frames.
        inside: Dataset of the pictures of each video.
        folder: Where to write to; made if missing.
        path: The file, for messages.

    Returns:
        How many were written, and the picture of each frame.

    Raises:
        HeatpointError: A frame or its picture is missing or damaged, or the folder is no folder.
    """
    if folder.exists() and not folder.is_dir():
        raise HeatpointError(f"{folder} is not a folder; expected one for the pictures of {path}")
    places = {video: _places(file, name) for video, name in inside.items()}
    written, pictures = 0, []
    for frame in frames:
        dataset = file[inside[frame.video]]
        where = f"{path}: frame {frame.number} of video {frame.video}"
        place = places[frame.video].get(frame.number)
        if place is None or place >= len(dataset):
            raise HeatpointError(f"{where} is not among its pictures; export the package again")
        raw = np.asarray(dataset[place])
        name = f"video{frame.video}-{frame.number:06d}-{zlib.crc32(raw.tobytes()):08x}.png"
        pictures.append(folder / name)
        if not pictures[-1].is_file():
            image = Image.fromarray(_decoded(raw, dataset, file, where))
            with atomic_write(pictures[-1]) as temporary:
                image.save(temporary)
            written += 1
    return written, pictures


def _places(file: Any, name: str) -> dict[int, int]:
    """Returns where each frame of a video is in its dataset."""
    group = file[name].parent
    if "frame_numbers" not in group:
        return {number: number for number in range(len(file[name]))}
    numbers = arrays.values(group, "frame_numbers").astype(np.int64).tolist()
    return {number: place for place, number in enumerate(numbers)}


def _decoded(raw: NDArray[Any], dataset: Any, file: Any, where: str) -> NDArray[np.uint8]:
    """Returns a picture (H, W) or (H, W, 3), in the order red, green, blue."""
    if raw.ndim > 1:
        return np.asarray(raw.squeeze(-1) if raw.shape[-1] == 1 else raw, np.uint8)
    try:
        with Image.open(io.BytesIO(raw.tobytes()), formats=("PNG", "JPEG")) as image:
            grey = image.mode in ("1", "L", "I;16", "I")
            pixels = np.asarray(image.convert("L" if grey else "RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise HeatpointError(f"{where} holds no whole picture: {error}") from None
    known = float(file["metadata"].attrs.get("format_id", 0.0)) >= _TOLD
    order = dataset.attrs.get("channel_order", "RGB" if known else "BGR")
    order = order.decode() if isinstance(order, bytes) else order
    return pixels[..., ::-1].copy() if order == "BGR" and pixels.ndim == 3 else pixels
