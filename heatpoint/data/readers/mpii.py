"""Reads MPII Human Pose as the ports of Stacked Hourglass publish it: JSON, or the original's HDF5.

MPII counts pixels from 1, so 0.5 is taken away. A person's box is the square of side
``200 * scale`` about the centre moved down by ``15 * scale``: padded by 1.25, it is the published
crop (Newell et al. 2016 and every port).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, Box, Objects
from heatpoint.data.readers.files import locate_images, no_such_split
from heatpoint.data.skeleton import SKELETONS
from heatpoint.errors import HeatpointError

SKELETON = SKELETONS["mpii16"]

SIDE = 200.0
"""Image pixels that a person of scale 1 is high."""

DOWN = 15.0
"""Pixels at scale 1 that the published crop lies below the annotated centre."""

ENLARGED = 1.25
"""What the original's HDF5 files have multiplied the scale by already."""


class _Keys(NamedTuple):
    """What one of the published JSON files calls its fields."""

    image: str
    center: str
    scale: str
    joints: str
    visible: str


_KEYS = (
    _Keys("img_paths", "objpos", "scale_provided", "joint_self", ""),
    _Keys("image", "center", "scale", "joints", "joints_vis"),
)
_H5_KEYS = ("imgname", "center", "scale", "part", "visible")


@dataclass
class _Person:
    """One row of a file: where, and (16, 3) x, y and 0 or 1 as the file has them, from pixel 1."""

    image: str
    center: tuple[float, float]
    scale: float
    joints: NDArray[np.float64]
    size: tuple[int, int] | None = None
    head: float = math.nan


def is_mpii(data: Any) -> bool:
    """Returns whether parsed JSON looks like one of the published MPII files."""
    if not isinstance(data, list) or not data or not isinstance(data[0], dict):
        return False
    return any(keys.joints in data[0] and keys.scale in data[0] for keys in _KEYS)


def read_mpii_json(
    data: list[Any], path: Path, split: str | None = None, images: str | Path | None = None
) -> Annotations:
    """Reads ``mpii_annotations.json`` of bearpaw/pytorch-pose, or a file of the MSRA ports.

    A joint at (0, 0) or with a negative coordinate is not labelled; 1 means visible and 0 hidden
    (bearpaw's training gives hidden joints no weight; here they have some). These files have no
    head sizes, which PCKh needs: the HDF5 files have them.

    Args:
        data: The parsed file, for which ``is_mpii`` holds.
        path: The file.
        split: ``train`` or ``val`` by ``isValidation``; None for all.
        images: Folder of the images, if not one of ``image_folders``.

    Raises:
        HeatpointError: A row lacks a field or holds something else (names the row); there is no
            such split; ``images`` holds none of the images.
    """
    keys = next(keys for keys in _KEYS if keys.joints in data[0])
    people = []
    for number, row in enumerate(data):
        where = f"{path}: person {number + 1}"
        if not isinstance(row, dict):
            raise HeatpointError(f"{where}: expected an object, got {type(row).__name__}")
        person = _json_person(row, keys, where)
        if split is None:
            people.append(person)
            continue
        if "isValidation" not in row:
            raise no_such_split(path, split, (), "'isValidation' in every row")
        if split not in ("train", "val"):
            raise no_such_split(path, split, ("train", "val"), "by 'isValidation'")
        if bool(row["isValidation"]) == (split == "val"):
            people.append(person)
    return _collect(people, path, images)


def read_mpii_h5(
    path: Path, split: str | None = None, images: str | Path | None = None
) -> Annotations:
    """Reads an HDF5 file of the original (princeton-vl) or of its PyTorch version.

    ``train.h5`` and ``valid.h5`` hold centres and scales to which the published rule was applied
    already; that is taken back. ``annot.h5`` holds them as annotated, joints that count from 0,
    and ``istrain``, the split ``train`` or ``test``. ``normalize`` becomes the head size.

    Args:
        path: The file.
        split: ``train`` or ``test`` of an ``annot.h5``; None for all.
        images: Folder of the images, if not one of ``image_folders``.

    Raises:
        HeatpointError: h5py is not installed, the file is no HDF5 or lacks a field, there is no
            such split, or ``images`` holds none of the images.
    """
    try:
        import h5py
    except ImportError:
        raise HeatpointError(
            f"{path} is an HDF5 file, which needs h5py: install heatpoint[hdf5]; the JSON files "
            "of the PyTorch ports need nothing"
        ) from None
    try:
        with h5py.File(path, "r") as file:
            table = {key: file[key][()] for key in file if hasattr(file[key], "shape")}
    except OSError as error:
        raise HeatpointError(f"{path} is no whole HDF5 file: {error}") from None
    missing = [key for key in _H5_KEYS if key not in table]
    if missing:
        raise HeatpointError(
            f"{path}: expected the fields {', '.join(_H5_KEYS)} of MPII, found no "
            f"{missing[0]!r} among {', '.join(sorted(table))}"
        )
    part = np.asarray(table["part"], np.float64)
    if part.ndim != 3 or part.shape[1:] != (len(SKELETON), 2):
        raise HeatpointError(
            f"{path}: expected 'part' of shape (N, {len(SKELETON)}, 2), got {part.shape}"
        )
    return _collect(_h5_people(table, part, path, split), path, images)


def _h5_people(
    table: dict[str, Any], part: NDArray[np.float64], path: Path, split: str | None
) -> list[_Person]:
    center, scale = (np.asarray(table[key], np.float64) for key in ("center", "scale"))
    raw = "istrain" in table
    if raw:
        part = np.where(part > 0, part + 1, part)
    else:
        known = center[:, 0] != -1
        scale = scale / ENLARGED
        center[known, 1] -= DOWN * scale[known]
    kept = np.ones(len(part), np.bool_)
    if split is not None:
        known_splits = ("train", "test") if raw else ()
        if split not in known_splits:
            raise no_such_split(path, split, known_splits, "'istrain' of annot.h5")
        kept = np.asarray(table["istrain"], np.int64).reshape(-1) == int(split == "train")
    visible = np.asarray(table["visible"], np.float64)
    heads = np.asarray(table.get("normalize", np.full(len(part), np.nan)), np.float64)
    return [
        _Person(
            _text(table["imgname"][i]),
            (float(center[i, 0]), float(center[i, 1])),
            float(scale[i]),
            np.concatenate((part[i], visible[i][:, None]), 1),
            head=float(heads[i]) if heads[i] > 0 else math.nan,
        )
        for i in np.flatnonzero(kept).tolist()
    ]


def _text(name: Any) -> str:
    """Returns a file name stored as bytes or as an array of character codes."""
    if isinstance(name, bytes):
        return name.decode()
    if isinstance(name, str):
        return name
    return "".join(chr(int(code)) for code in np.ravel(name) if int(code) > 0)


def _json_person(row: dict[str, Any], keys: _Keys, where: str) -> _Person:
    for key in keys:
        if key and key not in row:
            raise HeatpointError(
                f"{where} has no {key!r}; expected {', '.join(filter(None, keys))}"
            )
    try:
        joints = np.array(row[keys.joints], np.float64)
        if keys.visible:
            visible = np.array(row[keys.visible], np.float64).reshape(-1, 1)
            joints = np.concatenate((joints, visible), 1)
        x, y = (float(value) for value in row[keys.center])
        scale = float(row[keys.scale])
    except (TypeError, ValueError) as error:
        raise HeatpointError(f"{where}: expected numbers: {error}") from None
    if joints.shape != (len(SKELETON), 3):
        raise HeatpointError(
            f"{where}: expected {len(SKELETON)} joints of x, y and visibility, got an array of "
            f"shape {joints.shape}"
        )
    sides = row.get("img_height"), row.get("img_width")
    known = all(isinstance(side, int | float) and side >= 1 for side in sides)
    size = (int(sides[0]), int(sides[1])) if known else None  # type: ignore[arg-type]
    return _Person(str(row[keys.image]), (x, y), scale, joints, size)


def _collect(people: list[_Person], path: Path, images: str | Path | None) -> Annotations:
    """Returns the data set of people, those of one image together."""
    annotations = Annotations(("person",), [], str(path), skeleton=SKELETON)
    names = list(dict.fromkeys(person.image for person in people))
    files, annotations.searched = locate_images(names, path, images)
    found = {name: Objects(len(SKELETON)) for name in names}
    sizes = {person.image: person.size for person in people}
    file_of = dict(zip(names, files, strict=True))
    for person in people:
        box = person_box(person.center, person.scale)
        if box is None:
            detail = f"centre {person.center} and scale {person.scale:g} say nothing of a person"
            annotations.leave_out("object without a box", str(file_of[person.image]), detail)
        else:
            keypoints = _from_one(person.joints)
            found[person.image].add(box, 0, keypoints=keypoints, head=person.head)
    annotations.images = [
        found[name].record(file_of[name], sizes[name], number)
        for number, name in enumerate(names, start=1)
    ]
    return annotations


def person_box(center: tuple[float, float], scale: float) -> Box | None:
    """Returns the box of a person by MPII's centre (from pixel 1) and scale, before padding.

    Returns:
        xyxy in image pixels; None where MPII marks the centre or the scale as missing, by -1.
    """
    if center[0] == -1 or scale <= 0:
        return None
    x, y, half = center[0] - 0.5, center[1] + DOWN * scale - 0.5, SIDE / 2 * scale
    return x - half, y - half, x + half, y + half


def _from_one(joints: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turns joints counted from pixel 1, (J, 3) with 0 hidden and 1 visible, into ours.

    A joint at (0, 0) or with a negative coordinate is not labelled.
    """
    absent = (joints[:, :2] == 0).all(1) | (joints[:, :2] < 0).any(1)
    table = np.concatenate((joints[:, :2] - 0.5, np.where(joints[:, 2:] > 0, 2.0, 1.0)), 1)
    table[absent] = 0.0
    return table
