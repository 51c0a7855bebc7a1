"""Data sets made of data sets: ``heatpoint split``, ``merge``, ``filter`` and ``convert-data``."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from heatpoint.errors import HeatpointError
from heatpoint.options import Data, File, Folder, Words
from heatpoint.wording import amount

if TYPE_CHECKING:
    from heatpoint.data import Annotations


def _located(data: str, images: str | None) -> Annotations:
    """Reads a data set of which pictures were found, so that a file of it can name them."""
    from heatpoint.data.readers import read

    annotations = read(data, images)
    if annotations.searched:
        raise HeatpointError(
            f"none of the {len(annotations)} images of {data} was found; searched "
            f"{', '.join(annotations.searched)}; give their folder by --images"
        )
    return annotations


def _written(path: Path, part: Annotations) -> None:
    """Writes a COCO file and says what is in it."""
    from heatpoint.data.readers.coco import write_coco

    write_coco(part, path)
    print(f"{path}: {amount(len(part), 'image')}, {amount(part.objects, 'object')}")


def _left_out(data: str, annotations: Annotations) -> None:
    """Says what the reader could not keep, or guessed."""
    from collections import Counter

    from heatpoint.data.validate import describe

    if told := Counter(each.kind for each in annotations.findings):
        print(f"in {data}: {describe(told)}")


@dataclass
class Split:
    """Divides a data set into train.json and val.json, the same way every time.

    Examples:
        heatpoint split yolo_folder --val 100 --out parts
        heatpoint split all.json --group "(.+)_frame" --stratify
    """

    data: Data
    """annotations of any format that can be read"""

    val: float = 0.2
    """images to validate on: a share below 1, or their number"""

    group: str = ""
    """a regular expression for names of pictures: those for which its parentheses hold the same
    stay together, such as the frames of one film; '(.*)/' keeps folders together"""

    groups: str = ""
    """the same by a table, FILE:COLUMN: a CSV file, or a field of the images of a COCO file"""

    stratify: bool = False
    """give both parts the same share of the objects of each class"""

    seed: int = 0
    """chooses the images"""

    out: Folder = "runs/split"
    """folder for train.json and val.json"""

    images: Folder | None = None
    """folder of the pictures, if not beside the annotations"""

    def run(self) -> None:
        """Divides, and prints what went where."""
        from heatpoint.data.dividing import grouped, split
        from heatpoint.system.outputs import check_outputs

        files = [Path(self.out, name) for name in ("train.json", "val.json")]
        check_outputs({"annotations": files}, [self.data, self.groups])
        data = _located(self.data, self.images)
        groups = None
        if self.group or self.groups:
            groups = grouped(data, self.group, self.groups)
            print(f"{len(set(groups)):,} groups of images")
        parts = split(data, self.val, self.seed, groups, self.stratify)
        for part, file in zip(parts, files, strict=True):
            _written(file, part)
        _left_out(self.data, data)
        print(f"next: {_training(files, data)}")


def _training(files: list[Path], data: Annotations) -> str:
    """Returns the command that trains on the first file, and validates on a second one.

    Names in annotations do not lead out of the folders that belong to them, see
    ``locate_images``; so it names the folder of pictures that are elsewhere.
    """
    words = ["heatpoint", "train", str(files[0])]
    words += [word for file in files[1:] for word in ("--val", str(file))]
    pictures = [os.path.dirname(os.path.abspath(record.path)) for record in data.images]
    try:
        folder = Path(os.path.commonpath(pictures))
    except ValueError:  # on two drives of Windows
        folder = Path(pictures[0])
    known = Path(os.path.abspath(files[0])).parents[1], Path.cwd()
    if not any(folder.is_relative_to(root) for root in known):
        options = ("--images", "--val-images")[: len(files)]
        words += [word for option in options for word in (option, str(folder))]
    return shlex.join(words)


@dataclass
class Merge:
    """Joins data sets of any formats into one COCO file.

    Classes are the same where their names are; a picture that several have gets the objects of all.

    Examples:
        heatpoint merge bccd:train more.json --out all.json
        heatpoint merge cats.json dogs.json
    """

    data: list[Data]
    """annotations of any format that can be read"""

    out: File = "runs/merged.json"
    """the COCO file to write"""

    def run(self) -> None:
        """Joins, and prints what is there."""
        from heatpoint.data.combining import merge
        from heatpoint.system.outputs import check_outputs

        check_outputs({"annotations": [self.out]}, self.data)
        parts = [_located(each, None) for each in self.data]
        merged, twice = merge(parts)
        _written(Path(self.out), merged)
        if twice:
            print(f"{twice:,} objects were in several of them and are in it once")
        for each, part in zip(self.data, parts, strict=True):
            _left_out(each, part)
        print(f"next: {_training([Path(self.out)], merged)}")


def renames(text: str) -> dict[str, str]:
    """Returns ``{"Car": "car"}`` for ``"Car=car"``; commas separate several.

    Raises:
        HeatpointError: A part has no ``=``, or one of its sides is empty.
    """
    pairs = [each.partition("=") for each in text.split(",") if each.strip()]
    if not all(old.strip() and new.strip() for old, _, new in pairs):
        raise HeatpointError(f"--rename {text!r}: expected OLD=NEW, separated by commas")
    return {old.strip(): new.strip() for old, _, new in pairs}


@dataclass
class Filter:
    """Writes a part of a data set as a COCO file: some classes, no small objects.

    Examples:
        heatpoint filter all.json --classes cat,dog --out pets.json
        heatpoint filter voc:train --rename Car=car,Truck=car --min-side 8 --no-empty
    """

    data: Data
    """annotations of any format that can be read"""

    classes: Words | Sequence[str] = ()
    """classes to keep, in the order they shall have; all by default"""

    without: Words | Sequence[str] = ()
    """classes to leave out"""

    rename: str = ""
    """new names of classes, OLD=NEW,OLD=NEW; classes that get one name become one"""

    min_side: float = 0.0
    """least width and height of an object in pixels"""

    empty: bool = True
    """keep images of which no object is left"""

    out: File = "runs/filtered.json"
    """the COCO file to write"""

    images: Folder | None = None
    """folder of the pictures, if not beside the annotations"""

    def run(self) -> None:
        """Selects, and prints what is left."""
        from heatpoint.data.combining import select
        from heatpoint.system.outputs import check_outputs

        check_outputs({"annotations": [self.out]}, [self.data])
        data = _located(self.data, self.images)
        part = select(
            data, self.classes, self.without, renames(self.rename), self.min_side, self.empty
        )
        _written(Path(self.out), part)
        images, objects = len(data) - len(part), data.objects - part.objects
        print(f"left out: {amount(images, 'image')}, {amount(objects, 'object')}")
        _left_out(self.data, data)
        print(f"next: {_training([Path(self.out)], part)}")


@dataclass
class ConvertData:
    """Writes a data set of any format as a new folder for another tool.

    Examples:
        heatpoint convert-data bccd:train --val bccd:val --to yolo --out bccd-yolo
        heatpoint convert-data labels.json --to shards --out shards
    """

    data: Data
    """annotations of any format that can be read"""

    to: Literal["coco", "yolo", "voc", "shards"] = "coco"
    """the format to write"""

    val: Data | None = None
    """a second part, which becomes the split val beside the split train"""

    out: Folder = "runs/converted"
    """the folder to make; all of it is written, or nothing"""

    pictures: Literal["link", "copy", "leave"] = "link"
    """link or copy them into the folder, or leave them, where COCO files name them; shards hold
    copies"""

    images: Folder | None = None
    """folder of the pictures, if not beside the annotations"""

    def run(self) -> None:
        """Converts, and prints what went where and what the format cannot say."""
        from heatpoint.commands.display import Progress
        from heatpoint.data.writers import write

        sources = {"train": self.data} | ({} if self.val is None else {"val": self.val})
        parts = {name: _located(data, self.images) for name, data in sources.items()}
        with Progress("writing") as progress:
            lost = write(parts, self.to, self.out, self.pictures, progress)
        for name, part in parts.items():
            there = f"{amount(len(part), 'image')}, {amount(part.objects, 'object')}"
            print(f"{self.out}, {name}: {there}")
            _left_out(sources[name], part)
        for what, number in lost.items():
            print(f"{self.to} cannot say: {number:,} x {what}")
