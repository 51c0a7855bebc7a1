"""Reads YOLO data sets: a text file of objects beside every picture, however they are laid out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from heatpoint.data import Annotations, Objects, Size
from heatpoint.data.formats import files_below, is_picture, matching
from heatpoint.data.images import image_size
from heatpoint.data.readers import locate, steps, yolo_lines
from heatpoint.data.readers.given import Given
from heatpoint.data.readers.yolo_files import LabelFiles, pictures
from heatpoint.data.readers.yolo_lines import Row
from heatpoint.data.readers.yolo_set import DESCRIPTIONS, NAMES, YoloSet, describe, describes
from heatpoint.errors import HeatpointError

_KEPT = ("polygon", "rotated box")
"""How kinds of findings begin that cost nothing but an outline."""


@steps.without_collection()
def read_yolo(given: Given) -> Annotations:
    """Reads a YOLO data set: a folder, its ``data.yaml``, or a ``.data`` file of darknet and CVAT.

    The description tells class names, splits (folders or lists of pictures) and joints
    (``kpt_shape``, ``flip_idx``, ``kpt_names``); nothing is ever downloaded. A folder may do
    without: its names then stand in ``classes.txt``, ``obj.names`` and the like, its splits are
    lists ``<split>.txt`` or folders ``images/<split>`` and ``<split>/images``. Without a split,
    everything is read: of a description all its splits, of a folder all folders ``images`` and
    what the description tells elsewhere. ``val``, ``valid`` and ``validation`` are one name where
    only one of them is there; so are ``train`` and ``training``, ``test`` and ``testing``.

    ``LabelFiles`` says which label file is whose; a picture without one has no objects.
    ``yolo_lines`` says what lines mean. Boxes become pixels by the size in the picture's header;
    where that cannot be read, its objects are left out and counted.

    Where another folder of the pictures is named and a split is a folder, the pictures with labels
    are read.

    Raises:
        HeatpointError: No class names, no such split, or a malformed line (names file:line).
    """
    path, split, folder = given.path, given.split, given.images
    if folder is not None and not folder.is_dir():
        raise HeatpointError(f"{folder} is not a folder; expected the images of {path}")
    described = describe(path)
    annotations = Annotations(
        described.names,
        [],
        str(path),
        tuple(range(len(described.names))),
        findings=described.findings,
        skeleton=described.skeleton,
    )
    if split is None:
        for name, looked in described.missing.items():
            annotations.leave_out("split that is not there", "", f"{name}: looked for {looked}")
    listed = pictures(described, split, folder, annotations)
    files = LabelFiles(described, split, folder).assign(listed, annotations)
    if folder is not None and any(place.is_dir() for place in described.places(split)):
        files = {image: file for image, file in files.items() if file or split is None}
    rows = _rows(described, files.values())
    seen = [row for several in rows.values() for row in several]
    yolo_lines.check_units(seen)
    if yolo_lines.seem_corners(seen):
        detail = "all would be sound as x1 y1 x2 y2, and many reach out of their pictures"
        annotations.say("boxes that seem to be corners", "", detail)
    numbers = {row.label for row in seen if isinstance(row.label, int)}
    if numbers and min(numbers) == 1 and max(numbers) == len(described.names):
        detail = f"they go from 1 to {max(numbers)}, where 0 to {max(numbers) - 1} have names"
        annotations.say("class numbers from 1 on", "", detail)
    long = described.joints is None and any(len(row.values) > 5 for row in seen)
    if long and split is not None:  # all splits decide alike
        aside = Annotations(described.names, [])
        others = LabelFiles(described, None, folder)
        whole = others.assign(pictures(described, None, folder, aside), aside)
        more = _rows(described, set(whole.values()) - rows.keys())
        seen = [row for several in (*rows.values(), *more.values()) for row in several]
    meaning = yolo_lines.decide(seen, described.in_yaml) if long else "polygon"
    for image, file in files.items():
        _add(annotations, image, rows.get(file or "", []), described, meaning)
    return annotations


def _rows(described: YoloSet, files: Iterable[str | None]) -> dict[str, list[Row]]:
    """Returns the lines of label files."""
    return {file: yolo_lines.read_rows(file, described.names) for file in files if file}


def _add(
    annotations: Annotations,
    image: Path,
    rows: list[Row],
    described: YoloSet,
    meaning: yolo_lines.Meaning,
) -> None:
    """Adds a picture with its objects; those that cannot be kept are left out and counted."""
    size: Size | None
    try:
        size = image_size(image)
    except HeatpointError:
        size = None
    objects = Objects(described.joints[0] if described.joints else None)
    for row in rows:
        said = yolo_lines.shape(row, described.joints, meaning)
        box, joints, kind, detail, corners = said
        label = described.labels.get(row.label)
        if size is None:
            kind, detail = "object of an unreadable image", "without its size boxes have no pixels"
        elif label is None:
            kind = "unknown category id"
            detail = f"class {row.label}, expected 0 to {len(described.names) - 1}"
        if kind.startswith(_KEPT):
            annotations.say(kind, str(image), f"{row.where}: {detail}")
        elif kind:
            annotations.leave_out(kind, str(image), f"{row.where}: {detail}")
        if size is None or label is None or kind == "ambiguous line":
            continue
        height, width = size
        pixels = box[0] * width, box[1] * height, box[2] * width, box[3] * height
        if joints is not None:
            joints = joints * (width, height, 1)
        if corners is not None:
            corners = corners * (width, height)
        objects.add(pixels, label, keypoints=joints, corners=corners)
    annotations.images.append(objects.record(image, size, len(annotations.images) + 1))


def _in_folder(given: Given) -> bool:
    """Returns whether a folder has label files, or class names beside images.

    Where the user named another folder of the images, the names are enough.
    """
    folder = given.path
    labels = matching(folder, "labels/", "*/labels/")
    if any(next(files_below(path, endings=(".txt",)), None) for path in labels):
        return True
    if locate.first_file(folder / name for name in (*DESCRIPTIONS, *NAMES)):
        return given.images is not None or any(is_picture(path) for path in folder.rglob("*"))
    return any(is_picture(path) and path.with_suffix(".txt").is_file() for path in folder.iterdir())


def fits(given: Given) -> bool:
    """Returns whether a file is a data.yaml or a .data file, or a folder is of YOLO."""
    if given.is_folder:
        return _in_folder(given)
    if given.suffix == ".data":
        return True
    return given.suffix in (".yaml", ".yml") and describes(given.start)
