"""Reads published sets of people's joints: MPII Human Pose, Leeds Sports Pose and FLIC.

All count pixels from 1, so 0.5 is taken away. MPII is read as the ports of Stacked Hourglass
publish it, JSON or the original's HDF5. A person's box is the square of side ``200 * scale`` about
the centre moved down by ``15 * scale``: padded by 1.25, it is the published crop (Newell et al.
2016 and every port). In Leeds Sports Pose and FLIC nobody drew boxes: ``joints_box`` gives them.

Leeds Sports Pose and its extension are told apart by their layout, and their third value means
different things. In the original, (3, 14, N), every joint has a place and 1 says that it is
*hidden* (the ports turn it round; the README calls it visibility). In the extended set,
(14, 3, N), 1 says that it was labelled, and x and y of a 0 mean nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, Box
from heatpoint.data.readers import arrays, locate, steps
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


def is_mpii(given: Given) -> bool:
    """Returns whether a file is one of the published MPII files."""
    data = given.content
    first = data[0] if isinstance(data, list) and data else None
    json = isinstance(first, dict) and any(first.keys() >= {*keys[2:4]} for keys in _KEYS)
    return json or arrays.kind(given.path) == "MPII"


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
    with arrays.open_hdf5(path, "the JSON files of the PyTorch ports need nothing") as file:
        known = set(file)
        table = {
            key: np.asarray(arrays.values(file, key), np.float64) for key in known & {*_H5_SHAPES}
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
    values, count = _numbers(arrays.read_matlab(path, "joints")), len(LSP_SKELETON)
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
    table = arrays.read_matlab(path, "examples")
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
