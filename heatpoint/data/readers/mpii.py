"""Reads MPII Human Pose as the ports of Stacked Hourglass publish it: JSON, or the original's HDF5.

MPII counts pixels from 1, so 0.5 is taken away. A person's box is the square of side
``200 * scale`` about the centre moved down by ``15 * scale``: padded by 1.25, it is the published
crop (Newell et al. 2016 and every port).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, Box
from heatpoint.data.readers import hdf5, locate, steps
from heatpoint.data.readers.given import Given
from heatpoint.data.skeleton import SKELETONS
from heatpoint.errors import HeatpointError

SKELETON = SKELETONS["mpii16"]

SIDE = 200.0
"""Image pixels that a person of scale 1 is high."""

DOWN = 15.0
"""Pixels at scale 1 that the published crop lies below the annotated centre."""

ENLARGED = 1.25
"""What the original's HDF5 files have multiplied the scale by already."""

_KEYS = (
    ("img_paths", "objpos", "scale_provided", "joint_self"),
    ("image", "center", "scale", "joints", "joints_vis"),
)
"""What the published JSON files call image, centre, scale, joints, and visibility if apart."""

_H5_KEYS = ("imgname", "center", "scale", "part", "visible")

_H5_SHAPES: dict[str, tuple[int, ...]] = {
    **{"center": (2,), "scale": (), "part": (len(SKELETON), 2), "visible": (len(SKELETON),)},
    **{"istrain": (), "normalize": ()},
}
"""Shapes of the HDF5 files' numbers, of one person."""

LARGEST = 256 << 20
"""Bytes of an array of the HDF5 files: a hundred times what the published ones have."""


def fits(given: Given) -> bool:
    """Returns whether a file is one of the published MPII files."""
    data = given.content
    first = data[0] if isinstance(data, list) and data else None
    json = isinstance(first, dict) and any(first.keys() >= {*keys[2:4]} for keys in _KEYS)
    return json or hdf5.kind(given.path) == "MPII"


def read_mpii(given: Given) -> Annotations:
    """Reads a file of MPII; see ``_read_json`` and ``_read_h5``."""
    people = _read_json(given) if given.suffix == ".json" else _read_h5(given)
    annotations = Annotations(("person",), [], str(given.path), skeleton=SKELETON)
    placed = locate.place_people(people, annotations, given.path, given.images)
    return steps.add_people(annotations, placed)


def _read_json(given: Given) -> list[steps.Person]:
    """Reads ``mpii_annotations.json`` of bearpaw/pytorch-pose, or a file of the MSRA ports.

    Splits are ``train`` and ``val`` by ``isValidation``.

    A joint at (0, 0) or with a negative coordinate is not labelled; 1 means visible and 0 hidden
    (bearpaw's training gives hidden joints no weight; here they have some). These files have no
    head sizes, which PCKh needs: the HDF5 files have them.

    Raises:
        HeatpointError: A row lacks a field or holds something else (names the row), or there is no
            such split.
    """
    data, path = given.content, given.path
    keys = next(keys for keys in _KEYS if keys[3] in data[0])
    people = [_json_person(row, keys, f"{path}: person {i}") for i, row in enumerate(data, start=1)]
    flags: dict[str, list[bool]] = {}
    if all("isValidation" in row for row in data):
        held = [bool(row["isValidation"]) for row in data]
        flags = {"train": [not each for each in held], "val": held}
    return steps.flagged(people, given.split, flags, path, "'isValidation' in every row")


def _read_h5(given: Given) -> list[steps.Person]:
    """Reads an HDF5 file of the original (princeton-vl) or of its PyTorch version.

    ``train.h5`` and ``valid.h5`` hold centres and scales to which the published rule was applied
    already; that is taken back. ``annot.h5`` holds them as annotated, joints that count from 0,
    and ``istrain``, the split ``train`` or ``test``. ``normalize`` becomes the head size.

    Raises:
        HeatpointError: h5py is not installed, the file is no HDF5 or lacks a field, or there is no
            such split.
    """
    path = given.path
    with hdf5.open_hdf5(path, "the JSON files of the PyTorch ports need nothing") as file:
        known = set(file)
        table = {
            key: np.asarray(hdf5.values(file, key), np.float64) for key in known & {*_H5_SHAPES}
        }
        count = len(table.get("scale", ()))
        names = [_text(name) for name in file["imgname"][:count]] if "imgname" in known else []
    missing = [key for key in _H5_KEYS if key not in known]
    if missing:
        raise HeatpointError(
            f"{path}: expected the fields {', '.join(_H5_KEYS)} of MPII, found no "
            f"{missing[0]!r} among {', '.join(sorted(known))}"
        )
    for key, array in table.items():
        if array.shape != (len(names), *_H5_SHAPES[key]):
            wanted = f"{key!r} of shape {(len(names), *_H5_SHAPES[key])}"
            raise steps.unexpected(path, wanted, array.shape)
    center, scale, part, visible = (table[key] for key in _H5_KEYS[1:])
    flags = {}
    if "istrain" in table:
        part = np.where(part > 0, part + 1, part)
        flags = {"train": table["istrain"] == 1, "test": table["istrain"] == 0}
    else:
        scale = scale / ENLARGED
        center[:, 1] -= np.where(center[:, 0] == -1, 0.0, DOWN * scale)
    heads = table.get("normalize", np.zeros(len(part)))
    heads = np.where(heads > 0, heads, math.nan)
    joints = np.concatenate((part, visible[..., None]), -1)
    columns = names, center.tolist(), scale.tolist(), joints, heads.tolist()
    people = [
        _person(name, (x, y), size, each)._replace(head=head)
        for name, (x, y), size, each, head in zip(*columns, strict=True)
    ]
    return steps.flagged(people, given.split, flags, path, "'istrain' of annot.h5")


def _text(name: Any) -> str:
    """Returns a file name stored as bytes or as an array of character codes."""
    if isinstance(name, bytes):
        return name.decode()
    return "".join(chr(int(code)) for code in np.ravel(name) if int(code) > 0)


def _json_person(row: Any, keys: tuple[str, ...], where: str) -> steps.Person:
    lacking = [key for key in keys if not isinstance(row, dict) or key not in row]
    if lacking:
        raise HeatpointError(
            f"{where} has no {lacking[0]!r}; expected an object with {', '.join(keys)}, got "
            f"{str(row)[:60]}"
        )
    image, center, scale, joints, *visible = (row[key] for key in keys)
    try:
        table = np.array(joints, np.float64)
        if visible:
            apart = np.array(visible[0], np.float64).reshape(-1, 1)
            table = np.concatenate((table, apart), 1)
        x, y = (float(value) for value in center)
        scale = float(scale)
    except (TypeError, ValueError, OverflowError) as error:
        raise HeatpointError(f"{where}: expected numbers: {error}") from None
    if table.shape != (len(SKELETON), 3):
        wanted = f"{len(SKELETON)} joints of x, y and visibility"
        raise steps.unexpected(where, wanted, f"an array of shape {table.shape}")
    size = steps.known_size(row.get("img_height"), row.get("img_width"))
    return _person(str(image), (x, y), scale, table)._replace(size=size)


def _person(
    image: str, center: tuple[float, float], scale: float, joints: NDArray[np.float64]
) -> steps.Person:
    """Returns a person whose joints, (J, 3), count from pixel 1 and are 0 hidden or 1 visible.

    A joint at (0, 0) or with a negative coordinate is not labelled.
    """
    points = joints[:, :2]
    absent = (points == 0).all(1) | (points < 0).any(1)
    visibility = np.where(absent, 0, np.where(joints[:, 2] > 0, 2, 1))
    detail = f"centre {center} and scale {scale:g} say nothing of a person"
    box = person_box(center, scale)
    return steps.Person(Path(image), steps.as_joints(points - 0.5, visibility), box, detail)


def person_box(center: tuple[float, float], scale: float) -> Box | None:
    """Returns the box of a person by MPII's centre (from pixel 1) and scale, before padding.

    Returns:
        xyxy in image pixels; None where MPII marks the centre or the scale as missing, by -1.
    """
    if center[0] == -1 or scale <= 0:
        return None
    x, y, half = center[0] - 0.5, center[1] + DOWN * scale - 0.5, SIDE / 2 * scale
    return x - half, y - half, x + half, y + half
