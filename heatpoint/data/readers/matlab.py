"""Reads Leeds Sports Pose and its extension: ``joints.mat`` beside ``images``.

The two are told apart by their layout, and their third value means different things. In the
original, (3, 14, N), every joint has a place and 1 says that it is *hidden* (the ports turn it
round; the README calls it visibility). In the extended set, (14, 3, N), 1 says that it was
labelled, and x and y of a 0 mean nothing. Both count pixels from 1, so 0.5 is taken away.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, Objects, joints_box
from heatpoint.data.readers.files import (
    image_stem,
    list_images,
    no_such_split,
    read_lines,
    read_matlab,
    read_split,
)
from heatpoint.data.skeleton import SKELETONS
from heatpoint.errors import HeatpointError

LSP_SKELETON = SKELETONS["lsp14"]

LSP_FILE = "joints.mat"
ORDER = "images.txt"
_NOT_SPLITS = {"images", "readme", "readme-upstream", "license"}


def read_lsp(folder: str | Path, split: str | None = None) -> Annotations:
    """Reads a folder with ``joints.mat`` and ``images``.

    Joints are in the order of ``images.txt``, one name a line, if there is one, else of the sorted
    images. A split is a list ``<split>.txt`` of names. Nobody drew boxes: ``joints_box`` gives
    them. An image without a labelled joint is kept without a person, and counted.

    Args:
        folder: The folder.
        split: Name of the split; None for all images.

    Raises:
        HeatpointError: ``joints.mat`` has another layout, is not of the images that are there, or
            there is no such split.
    """
    folder = Path(folder)
    joints = _read_joints(folder / LSP_FILE)
    files = _files(folder, len(joints))
    chosen = list(range(len(files))) if split is None else _split(folder, split, files)
    annotations = Annotations(("person",), [], str(folder), skeleton=LSP_SKELETON)
    for index in chosen:
        objects = Objects(len(LSP_SKELETON))
        box = joints_box(joints[index])
        if box is None:
            detail = "no joint is labelled, so nothing says where the person is"
            annotations.leave_out("object without a box", str(files[index]), detail)
        else:
            objects.add(box, 0, keypoints=joints[index])
        annotations.images.append(objects.record(files[index], None, index + 1))
    return annotations


def _read_joints(path: Path) -> NDArray[np.float64]:
    """Returns the joints of a ``joints.mat``, (N, 14, 3), in image pixels with visibility.

    Raises:
        HeatpointError: The file cannot be read or has another layout.
    """
    values = np.asarray(read_matlab(path, "joints"))
    count = len(LSP_SKELETON)
    if values.ndim == 2:
        values = values[..., None]  # MATLAB drops the axis of a single image
    if values.ndim != 3 or values.shape[:2] not in ((3, count), (count, 3)):
        raise HeatpointError(
            f"{path}: expected 'joints' of shape (3, {count}, N), Leeds Sports Pose, or "
            f"({count}, 3, N), its extended set, got {values.shape}"
        )
    original = values.shape[0] == 3
    table: NDArray[np.float64] = (
        values.transpose(2, 1, 0) if original else values.transpose(2, 0, 1)
    )
    table = table.astype(np.float64)
    flag = table[..., 2]
    if not np.isin(flag, (0, 1)).all():
        raise HeatpointError(f"{path}: expected 0 or 1 as third value of a joint")
    table[..., :2] -= 0.5
    table[..., 2] = np.where(flag == 1, 1.0, 2.0) if original else 2.0 * flag
    table[table[..., 2] == 0] = 0.0
    return table


def _files(folder: Path, count: int) -> list[Path]:
    """Returns the image of each row of the joints; one that is missing need not exist."""
    there = list_images(folder / "images")
    order = folder / ORDER
    if not order.is_file():
        if len(there) != count:
            raise HeatpointError(
                f"{folder / LSP_FILE} has {count} images, but {folder / 'images'} holds "
                f"{len(there)}; name those of the joints in their order in {order}, one a line"
            )
        return there
    names = [line for line in read_lines(order) if line]
    if len(names) != count:
        raise HeatpointError(
            f"{order} names {len(names)} images, but {folder / LSP_FILE} has {count}; they must be "
            "the same, in the same order"
        )
    by_stem = {path.stem: path for path in there}
    missing = folder / "images"
    return [by_stem.get(image_stem(name), missing / f"{image_stem(name)}.jpg") for name in names]


def _split(folder: Path, split: str, files: list[Path]) -> list[int]:
    lists = {
        path.stem: path for path in folder.glob("*.txt") if path.stem.lower() not in _NOT_SPLITS
    }
    place = {path.stem: index for index, path in enumerate(files)}
    chosen = []
    for line in read_split(folder, split, lists, "a list of names such as train.txt"):
        if image_stem(line) not in place:
            raise HeatpointError(
                f"{lists[split]} lists {line!r}, which has no joints in {LSP_FILE}"
            )
        chosen.append(place[image_stem(line)])
    return chosen


FLIC_SKELETON = SKELETONS["flic11"]

FLIC_FILE = "examples.mat"
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
    path = folder / FLIC_FILE
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
    annotations = Annotations(("person",), [], str(folder), skeleton=FLIC_SKELETON)
    found: dict[Path, Objects] = {}
    for number, item in enumerate(examples, start=1):
        file = folder / "images" / _text(item["filepath"])
        objects = found.setdefault(file, Objects(len(FLIC_SKELETON)))
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
