"""Finds the COCO files of a folder, and which split of the data each of them is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from heatpoint.data import Annotations
from heatpoint.data.combining import gathered
from heatpoint.data.formats import matching
from heatpoint.data.readers import coco, steps
from heatpoint.data.readers.given import Given, begins
from heatpoint.errors import HeatpointError

_MOST_FILES = 64
"""JSON files in one folder: where there are more, each is of one image, which COCO's are not."""

_BEGINNING = rb'(?s)^[\xef\xbb\xbf\xff\xfe\s]*\{.*"(images|annotations|licenses)"\s*:'
_KINDS = ("instances", "person_keypoints", "stuff", "panoptic", "captions", "image_info")
"""What COCO's own files begin with; of those of one split, the first is read."""

_EXPORTED = ("_annotations.coco.json", "labels.json")
"""What exporters call the file of a split's own folder; of several the first one read."""

_LAYOUT = "a folder with _annotations.coco.json or labels.json, or a file in annotations/"


def fits(given: Given) -> bool:
    """Returns whether a folder holds COCO files."""
    return next(_found(given.path), None) is not None


def _coco_files(folder: Path) -> list[Path]:
    """Returns the files in a folder, by name, that begin as COCO files do."""
    files = matching(folder, "*.json")
    if len(files) > _MOST_FILES:
        files = [path for path in files if path.name in ("_annotations.coco.json", "labels.json")]
    return [path for path in files if path.is_file() and begins(path, _BEGINNING, 1 << 16)]


def _split_of(path: Path) -> str:
    """Returns the split of ``instances_train2017.json``, ``train2017``; of others their stem."""
    kind, _, split = path.stem.rpartition("_")
    return split if kind in _KINDS else path.stem


def _found(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yields split and file: of one split those of COCO's kinds in their order."""
    for place in matching(folder, "*/"):
        files = _coco_files(place) if place.name != "annotations" else []
        for path in sorted(files, key=lambda path: path.name not in _EXPORTED):
            yield place.name, path
    order = {kind: number for number, kind in enumerate(_KINDS)}
    for place in (folder, folder / "annotations"):
        files = _coco_files(place)
        for path in sorted(files, key=lambda path: order.get(path.stem.rpartition("_")[0], 0)):
            yield _split_of(path), path


def _named(split: str, files: dict[str, list[Path]]) -> list[Path]:
    """Returns the files of a split: its name, with or without a year, or the stem of a file."""
    if split in files:
        return files[split]
    stems = [path for paths in files.values() for path in paths if path.stem == split]
    years = [name for name in files if re.fullmatch(rf"{re.escape(split)}\d{{4}}", name)]
    return stems or (files[years[0]] if len(years) == 1 else [])


def read_folder(given: Given) -> Annotations:
    """Reads a split, or everything where it is one file, or one in each split's own folder.

    Raises:
        HeatpointError: There is no such split, or the files may hold the same images.
    """
    folder = given.path
    files: dict[str, list[Path]] = {}
    for name, path in _found(folder):
        files.setdefault(name, []).append(path)
    if given.split is not None:
        chosen = _named(given.split, files)
        if not chosen:
            raise steps.no_such_split(folder, given.split, files, _LAYOUT)
    elif len(files) == 1:
        chosen = next(iter(files.values()))
    else:
        every = [path for paths in files.values() for path in paths]
        if any(path.parent in (folder, folder / "annotations") for path in every):
            some = ", ".join(str(path) for path in every[:4])
            raise HeatpointError(
                f"{folder} holds {len(every)} COCO files; name the split, as {folder}:"
                f"{next(iter(files))}, or give the file: {some}"
            )
        return _joined([_part(given, paths) for paths in files.values()], folder)
    return _part(given, chosen)


def _part(given: Given, paths: Sequence[Path]) -> Annotations:
    """Returns what the first file of a split says, and says that there are others."""
    annotations = coco.read_coco(Given(paths[0], images=given.images))
    for other in paths[1:]:
        detail = f"{paths[0].name} is read; give {other} itself if it is meant"
        annotations.say("annotations in a second format", "", detail)
    return annotations


def _joined(parts: list[Annotations], folder: Path) -> Annotations:
    """Returns the splits as one data set; ids that begin anew in each are numbered through.

    Raises:
        HeatpointError: They have different classes or joints.
    """
    first = parts[0]
    for other in parts[1:]:
        if (other.names, other.skeleton) != (first.names, first.skeleton):
            raise HeatpointError(
                f"{first.source} and {other.source} have different classes or joints "
                f"({', '.join(first.names)}; {', '.join(other.names)}); name one split: "
                f"{folder}:{Path(first.source).parent.name}"
            )
    images = [record for part in parts for record in part.images]
    joined = gathered(parts, images)
    if joined.images is not images:
        detail = f"the {len(parts)} splits number their images anew; here they have 1 to "
        joined.say("images numbered anew", "", f"{detail}{len(images)}")
    return joined
