"""Reads joints from MATLAB files: Leeds Sports Pose with its extension, and FLIC.

Leeds Sports Pose and its extension are told apart by their layout, and their third value means
different things. In the original, (3, 14, N), every joint has a place and 1 says that it is
*hidden* (the ports turn it round; the README calls it visibility). In the extended set,
(14, 3, N), 1 says that it was labelled, and x and y of a 0 mean nothing.

All count pixels from 1, so 0.5 is taken away. Nobody drew boxes of persons: ``joints_box`` gives
them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations
from heatpoint.data.readers import locate, mat5, steps
from heatpoint.data.readers.given import Given
from heatpoint.data.skeleton import SKELETONS
from heatpoint.errors import HeatpointError

LSP_SKELETON = SKELETONS["lsp14"]
LSP_FILE = "joints.mat"
ORDER = "images.txt"
"""Names the images of Leeds Sports Pose in the order of their joints."""

FLIC_SKELETON = SKELETONS["flic11"]
FLIC_FILE = "examples.mat"
PLACES = (0, 1, 2, 3, 4, 5, 6, 9, 12, 13, 16)
"""Column of each joint of FLIC's skeleton in ``coords``."""

_FIELDS = ("coords", "filepath")
_FLAGS = {"train": "istrain", "test": "istest"}


def is_lsp(given: Given) -> bool:
    """Returns whether a folder is of Leeds Sports Pose."""
    return (given.path / LSP_FILE).is_file()


def read_lsp(given: Given) -> Annotations:
    """Reads a folder of Leeds Sports Pose with ``joints.mat`` and ``images``.

    Joints are in the order of ``images.txt``, one name a line, if there is one, else of the sorted
    images. A split is a list ``<split>.txt`` of names. An image without a labelled joint is kept
    without a person, and counted.

    Raises:
        HeatpointError: ``joints.mat`` has another layout, is not of the images that are there, or
            there is no such split.
    """
    folder, split = given.path, given.split
    joints = _lsp_joints(folder / LSP_FILE)
    files = _lsp_files(folder, len(joints), given.images or folder / "images")
    rows = {file: row for row, file in enumerate(files)}
    annotations = Annotations(("person",), [], str(folder), skeleton=LSP_SKELETON)
    chosen: Iterable[int] = range(len(files))
    if split is not None:
        listed = _listed(folder, split, files)
        chosen = [rows[file] for file in steps.once(listed, annotations, split)]
    detail = "no joint is labelled, so nothing says where the person is"
    steps.add_people(annotations, [steps.around(files[i], joints[i], detail) for i in chosen])
    for record in annotations.images:
        record.image_id = rows[record.path] + 1
    return annotations


def _lsp_joints(path: Path) -> NDArray[np.float64]:
    """Returns the joints of a ``joints.mat``, (N, 14, 3), in image pixels with visibility.

    Raises:
        HeatpointError: The file cannot be read or has another layout.
    """
    values, count = _numbers(read_matlab(path, "joints")), len(LSP_SKELETON)
    if values.ndim == 2:
        values = values[..., None]  # MATLAB drops the axis of a single image
    if values.ndim != 3 or values.shape[:2] not in ((3, count), (count, 3)):
        layouts = f"'joints' of shape (3, {count}, N), LSP, or ({count}, 3, N), extended LSP"
        raise steps.unexpected(path, layouts, values.shape)
    original = values.shape[0] == 3
    table = values.transpose((2, 1, 0) if original else (2, 0, 1)).astype(np.float64)
    flag = table[..., 2]
    if not np.isin(flag, (0, 1)).all():
        raise steps.unexpected(path, "0 or 1 as third value of a joint", np.unique(flag)[:4])
    return steps.as_joints(table[..., :2] - 0.5, 2 - flag if original else 2 * flag)


def _lsp_files(folder: Path, count: int, images: Path) -> list[Path]:
    """Returns the image of each row of the joints; one that is missing need not exist."""
    order = folder / ORDER
    files = locate.list_images(images)
    if order.is_file():
        by_stem = {path.stem: path for path in files}
        stems = [locate.image_stem(line) for _, line in steps.read_lines(order)]
        files = [by_stem.get(stem, images / f"{stem}.jpg") for stem in stems]
    if len(files) != count:
        raise HeatpointError(
            f"{folder / LSP_FILE} has {count} images, but {order if order.is_file() else images} "
            f"holds {len(files)}; name those of the joints in their order in {order}, one a line"
        )
    return files


def _listed(folder: Path, split: str, files: list[Path]) -> list[Path]:
    """Returns the images of a split."""
    lists = {name: path for name, path in steps.split_lists(folder).items() if path.name != ORDER}
    by_stem = {path.stem: path for path in files}
    names = steps.read_split(folder, split, lists, "a list of names such as train.txt")
    lost = [name for name in names if locate.image_stem(name) not in by_stem]
    if lost:
        raise HeatpointError(f"{lists[split]} lists {lost[0]!r}, which has no joints in {LSP_FILE}")
    return [by_stem[locate.image_stem(name)] for name in names]


def is_flic(given: Given) -> bool:
    """Returns whether a folder is of FLIC."""
    return (given.path / FLIC_FILE).is_file()


def read_flic(given: Given) -> Annotations:
    """Reads a folder of FLIC with ``examples.mat`` and ``images``.

    A split is ``train`` or ``test`` by ``istrain`` and ``istest``.

    Every example is one person; several of one frame belong to one image. Coordinates that are
    NaN are not labelled; all others count as visible, as FLIC does not tell. The torso's box is
    no person's box.

    Raises:
        HeatpointError: ``examples.mat`` has another layout, there is no such split, or ``images``
            holds none of the images.
    """
    path = given.path / FLIC_FILE
    table = read_matlab(path, "examples")
    rows = table if isinstance(table, list) else []
    same = all(isinstance(item, dict) and item.keys() == rows[0].keys() for item in rows)
    fields = list(rows[0]) if rows and same else []
    if not set(_FIELDS) <= set(fields):
        got = ", ".join(fields) or "no fields"
        raise steps.unexpected(path, f"examples with {', '.join(_FIELDS)}", got)
    known = {name: field for name, field in _FLAGS.items() if field in fields}
    flags = {name: [_numbers(item[field]).any() for item in table] for name, field in known.items()}
    annotations = Annotations(("person",), [], str(given.path), skeleton=FLIC_SKELETON)
    people = []
    examples = list(enumerate(table, start=1))
    for number, item in steps.flagged(examples, given.split, flags, path, "istrain and istest"):
        joints = _flic_joints(item["coords"], f"{path}: example {number}")
        detail = f"example {number} has no labelled joint, so nothing says where it is"
        image = Path(str(item["filepath"]))
        people.append(steps.around(image, joints, detail))
    return steps.add_people(
        annotations, locate.place_people(people, annotations, path, given.images)
    )


def _flic_joints(coords: Any, where: str) -> NDArray[np.float64]:
    values = _numbers(coords)
    if values.ndim != 2 or values.shape[0] != 2 or values.shape[1] <= max(PLACES):
        raise steps.unexpected(where, "coords of shape (2, 29)", values.shape)
    points = values[:, PLACES].T.astype(np.float64) - 0.5
    return steps.as_joints(points, 2.0 * np.isfinite(points).all(1))


def _numbers(value: Any) -> NDArray[Any]:
    """Returns an array of numbers as it is, an empty one for what is none."""
    return value if isinstance(value, np.ndarray) else np.empty(0)


def read_matlab(path: Path, name: str) -> Any:
    """Returns the variable ``name`` of a .mat file, as ``mat5.variables`` gives it.

    Raises:
        HeatpointError: The file is missing, damaged, of MATLAB's version 7.3, or has no such
            variable.
    """
    try:
        content = dict(mat5.variables(path))
    except FileNotFoundError:
        raise HeatpointError(f"{path} does not exist") from None
    except (ValueError, OSError, zlib.error, RecursionError) as error:
        raise HeatpointError(f"{path} is no whole MATLAB file: {error}") from None
    if name not in content:
        raise steps.unexpected(
            path, f"the variable {name!r}", ", ".join(sorted(content)) or "nothing"
        )
    return content[name]
