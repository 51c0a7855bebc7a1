"""Reads Frames Labeled In Cinema: ``examples.mat`` beside ``images`` (Sapp and Taskar 2013).

Of the 29 places that every example has room for, 11 are labelled: shoulders, elbows, wrists, hips,
eyes and nose. Sides are as labelled. Pixels count from 1, so 0.5 is taken away.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.data.annotations import Annotations, Objects, joints_box
from heatpoint.data.readers.files import no_such_split, read_matlab
from heatpoint.data.skeleton import SKELETONS
from heatpoint.errors import HeatpointError

SKELETON = SKELETONS["flic11"]

FILE = "examples.mat"
PLACES = (0, 1, 2, 3, 4, 5, 6, 9, 12, 13, 16)
"""Column of each joint of the skeleton in ``coords``."""

_FIELDS = ("coords", "filepath")
_FLAGS = {"train": "istrain", "test": "istest"}


def read_flic(folder: str | Path, split: str | None = None) -> Annotations:
    """Reads a folder with ``examples.mat`` and ``images``.

    Every example is one person; several of one frame belong to one image. Coordinates that are
    NaN are not labelled; all others count as visible, as FLIC does not tell. The torso's box is
    no person's box: ``joints_box`` gives those.

    Args:
        folder: The folder.
        split: ``train`` or ``test`` by ``istrain`` and ``istest``; None for all.

    Raises:
        HeatpointError: ``examples.mat`` has another layout, or there is no such split.
    """
    folder = Path(folder)
    path = folder / FILE
    table = np.ravel(read_matlab(path, "examples"))
    fields, examples = table.dtype.names or (), list(table)
    missing = [name for name in _FIELDS if name not in fields]
    if missing:
        raise HeatpointError(
            f"{path}: expected examples with {', '.join(_FIELDS)}, got "
            f"{', '.join(fields) or 'no fields'}"
        )
    if split is not None:
        if split not in _FLAGS or _FLAGS[split] not in fields:
            known = [name for name, field in _FLAGS.items() if field in fields]
            raise no_such_split(folder, split, known, "by istrain and istest")
        examples = [item for item in examples if bool(np.ravel(item[_FLAGS[split]]).any())]
    annotations = Annotations(("person",), [], str(folder), skeleton=SKELETON)
    found: dict[Path, Objects] = {}
    for number, item in enumerate(examples, start=1):
        file = folder / "images" / _text(item["filepath"])
        objects = found.setdefault(file, Objects(len(SKELETON)))
        joints = _joints(item["coords"], f"{path}: example {number}")
        box = joints_box(joints)
        if box is None:
            detail = f"example {number} has no labelled joint, so nothing says where it is"
            annotations.leave_out("object without a box", str(file), detail)
        else:
            objects.add(box, 0, keypoints=joints)
    annotations.images = [
        objects.record(file, None, number)
        for number, (file, objects) in enumerate(found.items(), start=1)
    ]
    return annotations


def _joints(coords: Any, where: str) -> NDArray[np.float64]:
    values = np.asarray(coords)
    if values.ndim != 2 or values.shape[0] != 2 or values.shape[1] <= max(PLACES):
        raise HeatpointError(f"{where}: expected coords of shape (2, 29), got {values.shape}")
    points = values[:, PLACES].T.astype(np.float64) - 0.5
    labelled = np.asarray(np.isfinite(points).all(1))
    return np.where(labelled[:, None], np.concatenate((points, np.full((11, 1), 2.0)), 1), 0.0)


def _text(value: Any) -> str:
    return str(np.ravel(value)[0]) if np.size(value) else ""
