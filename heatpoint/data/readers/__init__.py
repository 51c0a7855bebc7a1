"""Reads a labelled data set in whatever format it is, recognised by what is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from heatpoint.data import Annotations
from heatpoint.data.readers.coco import parse_coco, write_coco
from heatpoint.data.readers.deeplabcut import PATTERN, is_deeplabcut, read_deeplabcut
from heatpoint.data.readers.matlab import FLIC_FILE, LSP_FILE, read_flic, read_lsp
from heatpoint.data.readers.mpii import is_mpii, read_mpii_h5, read_mpii_json
from heatpoint.data.readers.text import YOLO_NAMES, is_yolo, read_text_lines, read_yolo
from heatpoint.data.readers.voc import read_voc
from heatpoint.errors import HeatpointError, suggest
from heatpoint.system.files import read_json


def _holds(pattern: str) -> Callable[[Path], bool]:
    return lambda folder: any(folder.glob(pattern))


_FOLDERS: dict[str, tuple[Callable[[Path], bool], Callable[[Path, str | None], Annotations]]] = {
    "Annotations/*.xml (Pascal VOC)": (_holds("Annotations/*.xml"), read_voc),
    f"images, labels, {', '.join(YOLO_NAMES)} (YOLO)": (is_yolo, read_yolo),
    f"{LSP_FILE} (Leeds Sports Pose)": (_holds(LSP_FILE), read_lsp),
    f"{FLIC_FILE} (FLIC)": (_holds(FLIC_FILE), read_flic),
    f"{PATTERN} (DeepLabCut)": (_holds(PATTERN), read_deeplabcut),
}
"""What is looked for in a folder, in this order: in words, and as a test; and the reader."""


FORMATS = (
    "a COCO JSON file, a text file of lines 'path x1,y1,x2,y2,class ...', joints of MPII (.json or "
    f".h5), or a folder that holds {', or '.join(_FOLDERS)}; with the split behind a colon "
    "('folder:train') if only one is meant"
)


def read(data: str | Path, images: str | Path | None = None) -> Annotations:
    """Reads a labelled data set.

    Args:
        data: A COCO JSON file, a text file of one image per line, a Pascal VOC folder, a YOLO
            folder, or joints: a JSON or HDF5 file of MPII, a folder of Leeds Sports Pose or FLIC,
            a CSV file of DeepLabCut or its folder. A folder, and a file that knows splits, may be
            followed by a colon and a split (``bccd:train``); a path that exists with its colon,
            such as one on a Windows drive, is taken whole.
        images: Folder of the images of a COCO, MPII or text file, if it is none of those that
            ``steps.image_folders`` lists. Folders, and DeepLabCut's files, have their own.

    Raises:
        HeatpointError: Nothing is there, it is none of these formats, it has no images, or its
            reader finds a mistake that leaves nothing sensible to keep.
    """
    try:
        path, split = _parse(data)
        folder = path.is_dir()
        if images is not None and (folder or is_deeplabcut(path)):
            raise HeatpointError(
                f"images is {str(images)!r}, but {path} has images of its own; leave images out"
            )
        annotations = _read_folder(path, split) if folder else _read_file(path, split, images)
    except OSError as error:
        raise HeatpointError(
            f"cannot read {error.filename or data}: {error.strerror or error}"
        ) from error
    annotations.source = str(data)
    if not annotations.images:
        raise HeatpointError(f"{data} lists no images; expected at least one")
    return annotations


def _parse(data: str | Path) -> tuple[Path, str | None]:
    """Splits ``folder:split``; the path returned exists."""
    if str(data) and Path(data).exists():
        return Path(data), None
    head, colon, split = str(data).rpartition(":")
    # "C:train" and "C:\data" name a drive, not a folder with a split.
    named = bool(colon and head) and not {"/", "\\"} & set(split)
    if named and Path(head).exists():
        return Path(head), split
    missing = Path(head if named and len(head) > 1 else data)
    beside = missing.parent
    near = suggest(missing.name, (p.name for p in beside.iterdir())) if beside.is_dir() else ""
    raise HeatpointError(f"{missing} does not exist{near or f'; expected {FORMATS}'}")


def _read_file(path: Path, split: str | None, images: str | Path | None) -> Annotations:
    suffix = path.suffix.lower()
    if is_deeplabcut(path):
        return read_deeplabcut(path, split)
    if suffix in (".h5", ".hdf5"):
        return read_mpii_h5(path, split, images)
    content: Any = read_json(path) if suffix == ".json" else None
    if is_mpii(content):
        return read_mpii_json(content, path, split, images)
    if split is not None:
        raise HeatpointError(f"{path} is a file and has no split {split!r}; leave ':{split}' off")
    if suffix == ".json":
        return parse_coco(content, path, images)
    if suffix == ".txt":
        annotations = read_text_lines(path, images)
        if annotations.objects == 0 and is_yolo(path.parent):
            raise HeatpointError(
                f"{path} has no boxes and is part of a YOLO folder; give the folder, with a split "
                f"if only one is meant, such as {path.parent}:{path.stem}"
            )
        return annotations
    beside = suffix in (".yaml", ".xml") or path.name in (LSP_FILE, FLIC_FILE)
    folder = f"; for the folder it is in, give {path.parent}" if beside else ""
    raise HeatpointError(f"{path}: expected {FORMATS}{folder}")


def _read_folder(folder: Path, split: str | None) -> Annotations:
    for is_meant, read_it in _FOLDERS.values():
        if is_meant(folder):
            return read_it(folder, split)
    inside = sorted(folder.glob("*.json")) + sorted(folder.glob("annotations/*.json"))
    if inside:
        some = ", ".join(str(path) for path in inside[:4])
        raise HeatpointError(f"{folder} is a folder; for COCO annotations give the file: {some}")
    there = ", ".join(sorted(path.name for path in folder.iterdir())[:8])
    got = f"got {there}" if there else "the folder is empty"
    raise HeatpointError(f"{folder}: looked for {'; '.join(_FOLDERS)}; *.json (COCO); {got}")


TRAIN, VAL = "train.json", "val.json"
"""Names of the files that ``write_split`` writes."""


def split(annotations: Annotations, val: float, seed: int = 0) -> tuple[Annotations, Annotations]:
    """Divides a data set by chance; an image, with everything in it, is on one side.

    The choice depends on the order of the images and on ``seed`` alone. An image that is listed
    twice counts once. Both parts keep the order. Neighbouring frames of one video may land on
    both sides: where that matters, divide by hand.

    Args:
        annotations: The data set.
        val: Images to validate on: a share below 1, or a number of them from 1 on.
        seed: Chooses the images, not negative.

    Returns:
        The part to train on and the part to validate on.

    Raises:
        HeatpointError: A part would be empty, or ``val`` or ``seed`` means nothing.
    """
    paths = list(dict.fromkeys(record.path for record in annotations.images))
    if seed < 0:
        raise HeatpointError(f"seed must not be negative, got {seed}")
    if not val > 0 or (val >= 1 and not float(val).is_integer()):
        raise HeatpointError(f"val is a share below 1 or a whole number of images, got {val:g}")
    count = round(val * len(paths)) if val < 1 else int(val)
    if not 0 < count < len(paths):
        raise HeatpointError(
            f"val {val:g} of the {len(paths)} images of {annotations.source} are {count}, which "
            "leaves one part empty; choose another number"
        )
    chosen = np.random.default_rng(seed).permutation(len(paths))[:count]
    held = {paths[index] for index in chosen.tolist()}
    apart = np.array([record.path in held for record in annotations.images])
    return annotations.subset(np.flatnonzero(~apart)), annotations.subset(np.flatnonzero(apart))


def write_split(
    data: str | Path, out: str | Path, val: float, seed: int = 0, images: str | Path | None = None
) -> tuple[Annotations, Annotations]:
    """Reads a data set of any format, divides it, and writes ``train.json`` and ``val.json``.

    The files are COCO JSON, joints included; images stay where they are and are named relative to
    the files where that is possible. What a reader could not keep is in the results' ``left_out``.

    Args:
        data: As for ``read``.
        out: Folder to write to; made if missing.
        val: As for ``split``.
        seed: As for ``split``.
        images: As for ``read``.

    Returns:
        The part to train on and the part to validate on.

    Raises:
        HeatpointError: As for ``read`` and ``split``; the folder is not writable; or the images
            were not found, so that the files could not name them.
    """
    annotations = read(data, images)
    if annotations.searched:
        raise HeatpointError(
            f"none of the {len(annotations)} images of {data} was found; searched "
            f"{', '.join(annotations.searched)}; give their folder by --images"
        )
    train, held = split(annotations, val, seed)
    for part, name in ((train, TRAIN), (held, VAL)):
        write_coco(part, Path(out) / name)
    return train, held
