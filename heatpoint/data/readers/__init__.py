"""Reads a labelled data set in whatever format it is, recognised by what is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from heatpoint.data import Annotations
from heatpoint.data.quads import are_points, as_points, settled
from heatpoint.data.readers import (
    coco,
    coco_folders,
    createml,
    cvat,
    deeplabcut,
    label_studio,
    labelme,
    people,
    sleap,
    table,
    text_lines,
    unread,
    via,
    voc,
    webdataset,
    yolo,
)
from heatpoint.data.readers.given import Format, Given
from heatpoint.data.readers.locate import image_folders
from heatpoint.data.shards import is_pattern
from heatpoint.errors import HeatpointError, suggest
from heatpoint.system.encodings import reading

FORMATS: tuple[Format, ...] = (
    Format("COCO", coco.fits, coco.read_coco, "a COCO JSON file"),
    Format(
        "Pascal VOC",
        voc.fits,
        voc.read_voc,
        "an XML file of one picture",
        "Annotations/*.xml, or XML files beside the pictures",
    ),
    Format("DOTA", text_lines.is_dota, text_lines.read_dota, folder="labelTxt beside images"),
    Format(
        "YOLO",
        yolo.fits,
        yolo.read_yolo,
        "a data.yaml or .data file",
        "images and labels, data.yaml, obj.data or classes.txt",
    ),
    Format(
        "text lines",
        text_lines.fits,
        text_lines.read_text_lines,
        "a text file of lines 'path x1,y1,x2,y2,class ...'",
        f"a folder of splits with {text_lines.ROBOFLOW}",
    ),
    Format(
        "DeepLabCut",
        deeplabcut.fits,
        deeplabcut.read_deeplabcut,
        "a CollectedData*.csv file or its project's config.yaml",
        "CollectedData*.csv, or labeled-data/*/CollectedData*.csv",
    ),
    Format("SLEAP", sleap.fits, sleap.read_sleap, "a .slp or .pkg.slp file"),
    Format("MPII", people.is_mpii, people.read_mpii, "a JSON or HDF5 file of MPII's joints"),
    Format("Leeds Sports Pose", people.is_lsp, people.read_lsp, folder=people.LSP_FILE),
    Format("FLIC", people.is_flic, people.read_flic, folder=people.FLIC_FILE),
    Format(
        "Label Studio",
        label_studio.fits,
        label_studio.read_label_studio,
        "a JSON or JSON-MIN export of Label Studio",
    ),
    Format(
        "LabelMe",
        labelme.fits,
        labelme.read_labelme,
        "a JSON file of LabelMe",
        "JSON files of LabelMe beside pictures",
    ),
    Format("VIA", via.fits, via.read_via, "a JSON or CSV file of the VGG Image Annotator"),
    Format("CVAT", cvat.fits, cvat.read_cvat, "an XML file of CVAT 1.1", "annotations.xml"),
    Format(
        "Create ML",
        createml.fits,
        createml.read_createml,
        "a JSON file of Create ML",
        f"{createml.FILE}, or one in each split's folder",
    ),
    Format(
        "napari points",
        table.is_napari,
        table.read_napari,
        "a CSV file with the columns axis-0 and axis-1",
        "CSV files with the columns axis-0 and axis-1 beside pictures",
    ),
    Format(
        "CSV table",
        table.fits,
        table.read_table,
        "a CSV file with columns such as filename, xmin, ymin, xmax, ymax, class",
        f"{table.ROBOFLOW}, or one in each split's folder",
    ),
    Format(
        "COCO",
        coco_folders.fits,
        coco_folders.read_folder,
        folder="COCO files (annotations/*.json, */_annotations.coco.json, labels.json)",
    ),
    Format("WebDataset", webdataset.fits, webdataset.read_webdataset, "a .tar file", "*.tar"),
)
"""Every format that is read; of several that fit, the first one counts."""


_REMEDIES = {
    **dict.fromkeys(
        (".zip", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst"),
        "packed; unpack it and give the folder or file in it",
    ),
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "a workbook, which is not read; save it as CSV"),
    **dict.fromkeys(
        (".jsonl", ".ndjson", ".manifest", ".odgt"),
        "lines of JSON, which are not read; convert them to COCO",
    ),
    **dict.fromkeys(
        (".tfrecord", ".record", ".parquet", ".pkl"),
        "not read as annotations; write them as COCO or CSV",
    ),
}
"""What files are that people have and that are not read, by ending, and what to do."""


def read(data: str | Path, images: str | Path | None = None, encoding: str = "") -> Annotations:
    """Reads a labelled data set of any of the ``FORMATS``.

    Args:
        data: A file or folder. It may be followed by a colon and a split (``bccd:train``), where
            its format knows splits; a path that exists with its colon, such as one on a Windows
            drive, is taken whole. Several .tar files are a pattern, ``train-{000..099}.tar``.
        images: Folder of the pictures, if it is none of those that ``locate.image_folders`` lists
            or that the format names.
        encoding: What its texts are in that are no Unicode, such as "cp1251"; "" to find out by
            evidence, which a finding tells.

    Returns:
        The data set; ``format`` says as what it was read. Where another format would fit as
        well, a finding names it.

    Raises:
        HeatpointError: Nothing is there, it is none of these formats, it has no images, or its
            reader finds a mistake that leaves nothing sensible to keep.
    """
    try:
        path, split = _parse(data)
        given = Given(path, split, None if images is None else Path(images))
        folders = image_folders(path / "in" if given.is_folder else path)
        fitting = (each for each in FORMATS if each.fits(given))
        with reading([given.images] if given.images else folders, encoding) as national:
            chosen = next(fitting, None)
            annotations = _read(given, chosen)
            # A JSON file is one thing, and may be too large for those who would know theirs.
            others = list(fitting) if given.suffix != ".json" else []
    except OSError as error:
        raise HeatpointError(
            f"cannot read {error.filename or data}: {error.strerror or error}"
        ) from error
    assert chosen is not None
    annotations.source, annotations.format = str(data), chosen.name
    for other in others:
        if other.name != chosen.name:
            detail = f"read as {chosen.name}; {other.sign(given)} ({other.name}) is there as well"
            annotations.say("annotations in a second format", "", detail)
    for said in national.told.values():
        annotations.say("text in a national encoding", "", said)
    if not annotations.images:
        raise HeatpointError(f"{data} lists no images; expected at least one")
    _check_units(annotations)
    return as_points(annotations) if are_points(annotations) else settled(annotations)


def _check_units(annotations: Annotations) -> None:
    """Says so where boxes look like shares of the pictures' sides."""
    boxes = np.concatenate([record.boxes for record in annotations.images])
    boxes = boxes[np.isfinite(boxes).all(1)]
    sides = boxes[:, 2:] - boxes[:, :2]
    if len(boxes) and boxes.min() >= 0 and boxes.max() <= 2 and sides.max() <= 1:
        detail = "no box is wider than one pixel; they are read in pixels"
        annotations.say("boxes in other units", "", detail)


def _read(given: Given, chosen: Format | None) -> Annotations:
    """Returns what a format reads, or says whose file it is that none reads."""
    try:
        if chosen is None:
            raise _unknown(given)
        return chosen.read(given)
    except HeatpointError:
        # Files of other tools may look like those of ours; to be sure, they are parsed again.
        if tool := unread.made_by(given.content):
            raise HeatpointError(f"{given.path} is {tool}") from None
        raise


def _parse(data: str | Path) -> tuple[Path, str | None]:
    """Splits ``folder:split``; the path returned exists."""
    if str(data) and (Path(data).exists() or is_pattern(data)):
        return Path(data), None
    head, colon, split = str(data).rpartition(":")
    # "C:train" and "C:\data" name a drive, not a folder with a split.
    named = bool(colon and head) and not {"/", "\\"} & set(split)
    if named and Path(head).exists():
        return Path(head), split
    missing = Path(head if named and len(head) > 1 else data)
    beside = missing.parent
    near = suggest(missing.name, (p.name for p in beside.iterdir())) if beside.is_dir() else ""
    raise HeatpointError(f"{missing} does not exist{near or f'; expected {_known()}'}")


def _known() -> str:
    """Returns in words what is read."""
    names = ", ".join(dict.fromkeys(each.name for each in FORMATS))
    return f"annotations of one of these formats, which docs/formats.md explains: {names}"


def _unknown(given: Given) -> HeatpointError:
    """Returns the error for what no format fits."""
    path = given.path
    if remedy := _REMEDIES.get(given.suffix):
        return HeatpointError(f"{path} is {remedy}")
    if not given.is_folder:
        above = any(each.fits(Given(path.parent)) for each in FORMATS)
        hint = f"; for the folder it is in, give {path.parent}" if above else ""
        held = f", got {_told(given.content)}" if given.suffix == ".json" else ""
        if root := re.search(
            r"<([A-Za-z_][\w:.-]*)", given.start if given.suffix == ".xml" else ""
        ):
            held = f", got an element <{root[1]}>"
        return HeatpointError(f"{path}: expected {_known()}{held}{hint}")
    if held := unread.folder_of(path):
        return HeatpointError(held)
    there = ", ".join(sorted(each.name for each in path.iterdir())[:8])
    got = f"got {there}" if there else "the folder is empty"
    signs = "; ".join(f"{each.folder} ({each.name})" for each in FORMATS if each.folder)
    return HeatpointError(f"{path}: looked for {signs}; {got}")


def _told(content: Any) -> str:
    """Returns in words what a JSON file holds that is no format of annotations."""
    kind = "an object" if isinstance(content, dict) else f"a {type(content).__name__}"
    first = content[0] if isinstance(content, list) and content else content
    keys = f" with {', '.join(map(str, sorted(first)[:8]))}" if isinstance(first, dict) else ""
    for key, value in content.items() if isinstance(content, dict) else ():
        if coco.looks_so(value):
            keys += f" (what {key!r} holds looks like COCO: save it as a file of its own)"
    return f"{kind}{keys}"
