"""Writes data sets for other tools: COCO, YOLO, Pascal VOC and WebDataset, with their pictures."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, ImageRecord, Size
from heatpoint.data.combining import unified
from heatpoint.data.dividing import picture_names
from heatpoint.data.images import image_size
from heatpoint.data.readers.coco import as_coco
from heatpoint.data.shard_writer import write_shards
from heatpoint.data.shards import content, inside, is_file
from heatpoint.errors import HeatpointError
from heatpoint.system.files import partial_name, write_json

Form = Literal["coco", "yolo", "voc", "shards"]
Placing = Literal["leave", "link", "copy"]
"""What is done with pictures: nothing, a symbolic link to each, a copy of each."""


def write(
    parts: Mapping[str, Annotations],
    form: Form,
    out: str | Path,
    pictures: Placing | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Writes a data set as a new folder, all of it or nothing.

    ``coco``: ``NAME.json`` for each part, pictures in ``images``. ``yolo``: ``data.yaml``, pictures
    in ``images/NAME``, labels in ``labels/NAME``; keypoints and four corners as ultralytics reads
    them (pose, OBB). ``voc``: ``Annotations``, pictures in ``JPEGImages``, a list of each part in
    ``ImageSets/Main``; boxes are written as they are, pixel ``i`` covering ``[i, i + 1)``.
    ``shards``: ``NAME-000000.tar`` and more of each part, which hold pictures and annotations.

    A picture is called by its path below the folder that all of them have in common; in VOC, which
    has no folders, these become part of the name. Of pictures that differ in their endings only,
    the second is renamed, for labels are found by names without endings.

    Args:
        parts: The data sets by the names of their splits; their classes are brought together.
        form: The format.
        out: The folder to make; there may be an empty one.
        pictures: By default ``link``, for these formats find pictures beside their labels; with
            ``leave``, COCO files name the pictures where they are. Pictures in shards are copied.
        progress: Called with the number of pictures that are placed and of all.

    Returns:
        How many of each thing the format cannot say, in words: it is left out, or lost.

    Raises:
        HeatpointError: The folder holds something, a part has no images, a picture is missing (so
            that it cannot be placed, or its size is unknown), or the system refuses.
    """
    if form == "shards" and pictures == "leave":
        raise HeatpointError("shards hold their pictures, which cannot be left where they are")
    same = dict(zip(parts, unified(list(parts.values())), strict=True))
    paths = list(dict.fromkeys(record.path for part in same.values() for record in part.images))
    lost = Counter[str]()
    with _new_folder(Path(out)) as folder:
        names = _names(paths, form)
        if form == "shards":
            write_shards(same, folder, names, lost, progress)
            return dict(+lost)
        homes = {
            record.path: _HOMES[form].format(name=name)
            for name, part in same.items()
            for record in part.images
        }
        if pictures != "leave":
            for number, path in enumerate(paths, start=1):
                _place(path, folder / homes[path] / names[path], pictures or "link")
                if progress is not None:
                    progress(number, len(paths))
        # COCO files can name pictures anywhere: without names, they stay where they are.
        named = {} if form == "coco" and pictures == "leave" else names
        _WRITERS[form](same, folder, named, lost)
    return dict(+lost)


_OUTSIDE = "corners outside of their picture, for which ultralytics leaves out the picture"

_HOMES = {"coco": "images", "yolo": "images/{name}", "voc": "JPEGImages"}


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """Yields a folder that becomes ``out`` once everything is in it."""
    out = Path(os.path.abspath(out))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise HeatpointError(f"{out} holds something already; choose a new folder")
    temporary = partial_name(out)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if out.exists():
            out.rmdir()
        temporary.rename(out)
    except OSError as error:
        raise HeatpointError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _names(paths: Sequence[Path], form: str) -> dict[Path, str]:
    """Returns a name for each picture; no two are the same without their endings.

    There are no folders in them for VOC, nor for YOLO where one would lead to other labels.
    """
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for path, name in zip(paths, picture_names(paths), strict=True):
        leads = not {"images", "labels", "label"}.isdisjoint(name.lower().split("/")[:-1])
        flat = form == "voc" or (form == "yolo" and leads)
        whole = PurePosixPath(name.replace("/", "_") if flat else name)
        stems = (whole.stem, f"{whole.stem}_{whole.suffix[1:]}")
        numbered = (f"{whole.stem}_{number}" for number in range(2, len(paths) + 3))
        choice = (whole.with_name(f"{stem}{whole.suffix}") for stem in (*stems, *numbered))
        # Some file systems take a.jpg and A.jpg for one.
        chosen = next(each for each in choice if _key(each) not in taken)
        taken.add(_key(chosen))
        names[path] = str(chosen)
    return names


def _key(name: PurePosixPath) -> str:
    return str(name.with_suffix("")).casefold()


def _place(path: Path, target: Path, how: Placing) -> None:
    if not is_file(path):
        raise HeatpointError(
            f"{path} does not exist, so it cannot be placed beside its labels; give the folder of "
            "the pictures by --images, or --pictures leave"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    if inside(path):
        target.write_bytes(content(path))
    elif how == "copy":
        shutil.copy2(path, target)
    else:
        target.symlink_to(os.path.realpath(path))


def _write_coco(
    parts: Mapping[str, Annotations],
    folder: Path,
    names: Mapping[Path, str],
    lost: Counter[str],
) -> None:
    for name, part in parts.items():
        images = [_sound(record, lost) for record in part.images]
        if names:
            images = [replace(each, path=folder / "images" / names[each.path]) for each in images]
        write_json(folder / f"{name}.json", as_coco(replace(part, images=images), folder))


def _sound(record: ImageRecord, lost: Counter[str]) -> ImageRecord:
    """Returns the record without boxes that no format can say, which are counted."""
    finite = np.asarray(np.isfinite(record.boxes).all(1))
    lost["non-finite boxes, left out"] += int((~finite).sum())
    return record.keep(finite)


def _plain(record: ImageRecord, lost: Counter[str]) -> tuple[ImageRecord, Size]:
    """Returns a record without what YOLO and VOC cannot say, which is counted, and its size."""
    record = _sound(record, lost)
    lost["crowd regions, left out"] += int(record.crowd.sum())
    record = record.keep(~record.crowd)
    good = np.asarray((record.boxes[:, 2:] > record.boxes[:, :2]).all(1))
    lost["boxes without area, left out"] += int((~good).sum())
    record = record.keep(good)
    if record.heads is not None:
        lost["head sizes"] += int(np.isfinite(record.heads).sum())
    try:
        return record, image_size(record.path)
    except HeatpointError:
        if record.size is None:
            raise
        return record, record.size


def _write_yolo(
    parts: Mapping[str, Annotations],
    folder: Path,
    names: Mapping[Path, str],
    lost: Counter[str],
) -> None:
    import yaml

    first = next(iter(parts.values()))
    skeleton = first.skeleton
    content: dict[str, object] = {name: f"images/{name}" for name in parts}
    content["names"] = dict(enumerate(first.names))
    if skeleton is not None:
        content["kpt_shape"] = [len(skeleton), 3]
        content["flip_idx"] = list(skeleton.flip)
        content["kpt_names"] = {label: list(skeleton.joints) for label in range(len(first.names))}
        content["skeleton"] = [list(edge) for edge in skeleton.edges]
        lost["classes with joints of their own"] += len(skeleton.slices)
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    (folder / "data.yaml").write_text(text, encoding="utf-8")
    for name, part in parts.items():
        for record in part.images:
            record, (height, width) = _plain(record, lost)
            lost["marks of difficult objects"] += int(record.difficult.sum())
            scale = np.array((width, height), np.float64)
            corners = record.boxes.reshape(-1, 2, 2) / scale
            rows = np.column_stack((corners.mean(1), corners[:, 1] - corners[:, 0]))
            if record.quads is not None:
                rows = (record.quads / scale).reshape(-1, 8)
                lost[_OUTSIDE] += int((np.abs(rows - 0.5) > 0.51).any(1).sum())
            if skeleton is not None:
                joints = record.joints(len(skeleton))
                joints = np.concatenate((joints[..., :2] / scale, joints[..., 2:]), -1)
                rows = np.column_stack((rows, joints.reshape(len(rows), 3 * len(skeleton))))
            lines = (_numbers(label, row) for label, row in zip(record.labels, rows, strict=True))
            file = folder / "labels" / name / PurePosixPath(names[record.path]).with_suffix(".txt")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(lines), encoding="utf-8")


def _numbers(label: int, row: NDArray[np.float64]) -> str:
    # Nine digits are a ten-thousandth of a pixel of any picture.
    return " ".join((str(label), *(f"{value:.9g}" for value in row.tolist()))) + "\n"


def _write_voc(
    parts: Mapping[str, Annotations],
    folder: Path,
    names: Mapping[Path, str],
    lost: Counter[str],
) -> None:
    present = Counter[str]()
    for name, part in parts.items():
        stems = []
        for record in part.images:
            record, size = _plain(record, lost)
            if record.quads is not None:
                lost["four corners, of which the box is left"] += len(record)
            if record.keypoints is not None:
                lost["joints"] += int((record.keypoints[..., 2] > 0).sum())
            present.update(part.names[label] for label in record.labels.tolist())
            stems.append(PurePosixPath(names[record.path]).stem)
            file = folder / "Annotations" / f"{stems[-1]}.xml"
            file.parent.mkdir(exist_ok=True)
            file.write_text(_xml(record, names[record.path], size, part.names), encoding="utf-8")
        listed = folder / "ImageSets" / "Main" / f"{name}.txt"
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text("".join(f"{stem}\n" for stem in stems), encoding="utf-8")
    classes = next(iter(parts.values())).names
    lost["classes without an object, which VOC does not list"] += len(classes) - len(present)


def _xml(record: ImageRecord, name: str, size: Size, names: Sequence[str]) -> str:
    """Returns the VOC file of one picture."""
    height, width = size
    head = f"  <filename>{escape(name)}</filename>\n  <size><width>{width}</width>"
    head += f"<height>{height}</height><depth>3</depth></size>\n"
    rows = zip(record.labels.tolist(), record.boxes.tolist(), record.difficult, strict=True)
    objects = "".join(
        f"  <object>\n    <name>{escape(names[label])}</name>\n"
        f"    <difficult>{int(difficult)}</difficult>\n    <bndbox>"
        + "".join(f"<{key}>{side:.9g}</{key}>" for key, side in zip(_CORNERS, box, strict=True))
        + "</bndbox>\n  </object>\n"
        for label, box, difficult in rows
    )
    return f"<annotation>\n{head}{objects}</annotation>\n"


_CORNERS = ("xmin", "ymin", "xmax", "ymax")

_Writer = Callable[[Mapping[str, Annotations], Path, Mapping[Path, str], Counter[str]], None]
_WRITERS: dict[str, _Writer] = {"coco": _write_coco, "yolo": _write_yolo, "voc": _write_voc}
