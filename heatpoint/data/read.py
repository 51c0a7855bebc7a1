"""Reads a labelled data set in whatever format it is, recognised by what is there."""

from __future__ import annotations

from pathlib import Path

from heatpoint.data.annotations import Annotations
from heatpoint.data.coco import read_coco
from heatpoint.data.locate import list_images
from heatpoint.data.text_lines import read_text_lines
from heatpoint.data.voc import read_voc
from heatpoint.data.yolo import NAMES_FILES, YAML_FILES, read_yolo
from heatpoint.errors import HeatpointError, suggest

FORMATS = (
    "a COCO JSON file, a text file of lines 'path x1,y1,x2,y2,class ...', a Pascal VOC folder "
    "(with Annotations/*.xml) or a YOLO folder (with images, labels and classes.txt), both with "
    "their split behind a colon ('folder:train') if only one is meant"
)

_SLASH = {"/", "\\"}


def read(data: str | Path, images: str | Path | None = None) -> Annotations:
    """Reads a labelled data set.

    Args:
        data: A COCO JSON file, a text file of one image per line, a Pascal VOC folder or a YOLO
            folder. A folder may be followed by a colon and a split (``bccd:train``); a path that
            exists with its colon, such as one on a Windows drive, is taken whole.
        images: Folder of the images of a COCO or text file, if it is none of those that
            ``locate.image_folders`` lists. VOC and YOLO folders hold their own.

    Raises:
        HeatpointError: Nothing is there, it is none of these formats, it has no images, or its
            reader finds a mistake that leaves nothing sensible to keep.
    """
    path, split = _parse(data)
    if path.is_dir():
        if images is not None:
            raise HeatpointError(
                f"images is {str(images)!r}, but {path} is a folder with images of its own; "
                "leave images out"
            )
        annotations = _read_folder(path, split)
    elif split is not None:
        raise HeatpointError(f"{path} is a file and has no split {split!r}; leave ':{split}' off")
    else:
        annotations = _read_file(path, images)
    annotations.source = str(data)
    if not annotations.images:
        raise HeatpointError(f"{data} lists no images; expected at least one")
    return annotations


def _parse(data: str | Path) -> tuple[Path, str | None]:
    """Splits ``folder:split``; the path returned exists."""
    text = str(data)
    if text and Path(text).exists():
        return Path(text), None
    head, colon, split = text.rpartition(":")
    if colon and head and not _SLASH & set(split) and Path(head).exists():
        return Path(head), split
    # "C:train" and "C:\data" name a drive, not a folder with a split.
    missing = Path(head) if colon and len(head) > 1 and not _SLASH & set(split) else Path(text)
    beside = missing.parent
    near = suggest(missing.name, (p.name for p in beside.iterdir())) if beside.is_dir() else ""
    raise HeatpointError(f"{missing} does not exist{near or f'; expected {FORMATS}'}")


def _read_file(path: Path, images: str | Path | None) -> Annotations:
    suffix = path.suffix.lower()
    if suffix == ".json":
        return read_coco(path, images)
    if suffix == ".txt":
        annotations = read_text_lines(path, images)
        if annotations.objects == 0 and _is_yolo(path.parent):
            raise HeatpointError(
                f"{path} has no boxes and is part of a YOLO folder; give the folder, with a split "
                f"if only one is meant, such as {path.parent}:{path.stem}"
            )
        return annotations
    folder = f"; for the folder it is in, give {path.parent}" if suffix in (".yaml", ".xml") else ""
    raise HeatpointError(f"{path}: expected {FORMATS}{folder}")


def _read_folder(folder: Path, split: str | None) -> Annotations:
    if any((folder / "Annotations").glob("*.xml")):
        return read_voc(folder, split)
    if _is_yolo(folder):
        return read_yolo(folder, split)
    inside = sorted(folder.glob("*.json")) + sorted(folder.glob("annotations/*.json"))
    if inside:
        some = ", ".join(str(path) for path in inside[:4])
        raise HeatpointError(
            f"{folder} is a folder; to read COCO annotations, give the file: {some}"
        )
    looked = "Annotations/*.xml (Pascal VOC); images, labels, " + ", ".join(
        YAML_FILES + NAMES_FILES
    )
    there = sorted(path.name for path in folder.iterdir())
    got = f"got {', '.join(there[:8])}" if there else "the folder is empty"
    raise HeatpointError(f"{folder}: looked for {looked} (YOLO); *.json (COCO); {got}")


def _is_yolo(folder: Path) -> bool:
    """Returns whether a folder has label files, or class names beside images."""
    if (folder / "labels").is_dir() or any(folder.glob("*/labels")):
        return True
    named = any((folder / name).is_file() for name in YAML_FILES + NAMES_FILES)
    return named and bool(list_images(folder))
