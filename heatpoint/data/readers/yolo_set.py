"""What a YOLO data set says of itself: its classes, its joints, and where its splits are."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from heatpoint.data import check_names
from heatpoint.data.findings import Finding
from heatpoint.data.formats import is_left_behind, is_picture, matching
from heatpoint.data.readers import locate, steps
from heatpoint.data.skeleton import Skeleton, name_side
from heatpoint.errors import HeatpointError
from heatpoint.system.files import fits, read_text, read_yaml

DESCRIPTIONS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml", "obj.data")
"""Files that may describe a YOLO folder, the first one first; else any other YAML with names."""

NAMES = (
    *("classes.txt", "obj.names", "labels/classes.txt", "images/classes.txt", "_darknet.labels"),
    *("train/_darknet.labels", "train/classes.txt", "predefined_classes.txt"),
)
"""Files that may hold the names of a YOLO folder's classes, the first one first."""

SYNONYMS = (("train", "training"), ("val", "valid", "validation"), ("test", "testing"))
"""What splits are called; one name stands for another where only that is there."""

MOST = 100_000
"""Classes that a set may have, and a hundred times the joints that a subject may have."""

_KEYS = {key for words in SYNONYMS for key in words} | {"minival"}
_SIGN = re.compile(r"^(train|val|valid|test|names|nc|classes|kpt_shape)\s*[:=]", re.MULTILINE)
_LAYOUT = "a list such as train.txt, a folder images/train or train/images, or a key of data.yaml"


@dataclass
class YoloSet:
    """What a YOLO data set says of itself.

    Attributes:
        folder: Where it is: the folder that was given, or the one of the file.
        names: Class names, by label, which is the number in label files.
        splits: Folders of pictures, and lists of pictures (``.txt``), by the name of the split.
        whole: The same for everything.
        in_yaml: Whether it has a YAML file, which would tell of joints.
        told: Whether a file tells the splits, so that folders it does not name are not looked into.
        joints: J and how many values a joint has, 2 or 3; None where there are none.
        skeleton: The names and pairs of the joints.
        findings: What was noticed.
        missing: Splits that are told and not there, with the places that were looked at.
    """

    folder: Path
    names: tuple[str, ...]
    splits: dict[str, list[Path]] = field(default_factory=dict)
    whole: list[Path] = field(default_factory=list)
    in_yaml: bool = False
    told: bool = False
    joints: tuple[int, int] | None = None
    skeleton: Skeleton | None = None
    findings: list[Finding] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    @cached_property
    def labels(self) -> dict[int | str, int]:
        """Label of each class, by its name and by its number."""
        named: dict[int | str, int] = {name: label for label, name in enumerate(self.names)}
        return named | {label: label for label in range(len(self.names))}

    def places(self, split: str | None) -> list[Path]:
        """Returns the folders and lists of a split, or of everything.

        Raises:
            HeatpointError: There is no such split, or it is not where it should be.
        """
        if split is None and (self.whole or not self.missing):
            return self.whole
        same = [word for words in SYNONYMS if split in words for word in words]
        names = [split, *same] if split is not None else list(self.missing)
        for name in names:
            if name in self.splits:
                return self.splits[name]
        for name in names:
            if name in self.missing:
                raise HeatpointError(
                    f"split {name!r} of {self.folder} is not there; looked for {self.missing[name]}"
                )
        raise steps.no_such_split(self.folder, str(split), self.splits, _LAYOUT)


def describes(start: str) -> bool:
    """Returns whether a YAML or .data file that starts so has a key of a YOLO data set."""
    return _SIGN.search(start) is not None


def describe(path: Path) -> YoloSet:
    """Returns what a folder, a data.yaml or a darknet .data file says of itself.

    Raises:
        HeatpointError: No class has a name, or the description is malformed.
    """
    folder, file = (path, _description(path)) if path.is_dir() else (path.parent, path)
    content = {} if file is None else _content(file)
    inside, tops = _layout(folder)
    names, source = _classes(folder, content, file or folder)
    found = YoloSet(folder, names, inside)
    if file is None:
        found.whole = tops
        return found
    number = content.get("nc", content.get("classes", ""))
    if isinstance(number, str) and number.isdecimal() and int(number[:9]) != len(names):
        detail = f"{file} counts {number:.9} classes, {source or file} names {len(names)}"
        found.findings.append(Finding("number of classes mismatch", "", detail))
    found.in_yaml = file.suffix.lower() != ".data"
    found.joints, found.skeleton = _joints(content, file)
    told = {key: _told(key, content, file, found) for key in content if key in _KEYS}
    chosen = [place for places in told.values() for place in places]
    found.told = not path.is_dir() and bool(chosen or found.missing)
    found.whole = list(dict.fromkeys(chosen if found.told else [*tops, *chosen]))
    gone = found.missing if found.told else {}  # of a folder, its own folders stand in for them
    found.splits = {key: places for key, places in inside.items() if key not in gone}
    found.splits |= {key: places for key, places in told.items() if places}
    return found


def _description(folder: Path) -> Path | None:
    """Returns the file that describes a folder: one of the known, or the only one like them."""
    known = locate.first_file(path for name in DESCRIPTIONS for path in matching(folder, name))
    if known is not None:
        return known
    others = [*matching(folder, "*.y*ml"), *matching(folder, "*.data")]
    return next(iter(_only([each for each in others if describes(read_text(each)[:4096])])), None)


def _only(files: list[Path]) -> list[Path]:
    """Returns the files if they are one; of several, none is anybody's guess."""
    return files if len(files) == 1 else []


def _content(file: Path) -> dict[str, Any]:
    """Returns the keys and values of a YAML or .data file."""
    if file.suffix.lower() == ".data":
        lines = [line.partition("=") for _, line in steps.read_lines(file) if line[0] not in "#;"]
        return {key.strip(): value.strip() for key, _, value in lines}
    content = read_yaml(file)
    if not isinstance(content, dict):
        raise steps.unexpected(file, "'names' to list the classes", f"{content!r:.60}")
    return content


def _classes(
    folder: Path, content: dict[str, Any], where: Path
) -> tuple[tuple[str, ...], Path | None]:
    """Returns the names of the classes, and the text file that they stand in, if they do."""
    told: Any = content.get("names", "")
    own = Path(told.replace("\\", "/")) if isinstance(told, str) else Path()
    looked = [folder / own, folder.parent / own, folder / own.name] if own.name else []
    if isinstance(told, str):
        known = [path for name in NAMES for path in matching(folder, name)]
        source = locate.first_file([*looked, *known, *_only(matching(folder, "*.names"))])
        if source is not None:
            return steps.read_names(source), source
    if told == "":
        raise HeatpointError(
            f"{folder}: expected the class names, one per line, in classes.txt; looked for "
            f"{', '.join((*DESCRIPTIONS, *NAMES))}"
        )
    if isinstance(told, list):
        told = {str(number): name for number, name in enumerate(told)}
    numbers = [str(number) for number in range(len(told))]
    if not fits(told, dict[str, str]) or set(told) != {*numbers}:
        wanted = "'names' to list the classes, or numbered from 0"
        raise steps.unexpected(where, wanted, f"{told!r:.60}")
    return check_names([told[number] for number in numbers], where), None


def _joints(content: dict[str, Any], file: Path) -> tuple[tuple[int, int] | None, Skeleton | None]:
    """Returns ``kpt_shape`` and the skeleton of ``kpt_names``, ``flip_idx`` and ``skeleton``."""
    shape = content.get("kpt_shape")
    if shape is None:
        return None, None
    numbers = _numbers(shape)
    if len(numbers) != 2 or not 1 <= numbers[0] <= MOST // 100 or numbers[1] not in (2, 3):
        raise steps.unexpected(file, "'kpt_shape' to be [number of joints, 2 or 3]", repr(shape))
    count = numbers[0]
    names = content.get("kpt_names") or []
    if isinstance(names, dict):  # by class: they have names in common, or the joints have none
        different = list(names.values())
        names = different[0] if all(one == different[0] for one in different) else []
    if names and (not fits(names, list[str]) or len(names) != count):
        raise steps.unexpected(file, f"'kpt_names' to list {count} joints", f"{names!r:.60}")
    described: dict[str, Any] = {"joints": names or [f"joint_{i}" for i in range(count)]}
    if content.get("flip_idx"):
        swapped = _numbers(content["flip_idx"])
        if sorted(swapped) != list(range(count)) or [swapped[i] for i in swapped] != [
            *range(count)
        ]:
            wanted = f"'flip_idx' to list {count} joints of which two change places or one stays"
            raise steps.unexpected(file, wanted, f"{content['flip_idx']!r:.80}")
        pairs = [(one, other) for one, other in enumerate(swapped) if one < other]
        right = [name_side(described["joints"][one])[0] == "right" for one, _ in pairs]
        described["pairs"] = [
            pair[::-1] if turned else pair for pair, turned in zip(pairs, right, strict=True)
        ]
    if content.get("skeleton"):
        edges = [_numbers(edge) for edge in content["skeleton"]]
        first = int(max((joint for edge in edges for joint in edge), default=0) == count)
        described["edges"] = [[joint - first for joint in edge] for edge in edges]
    return (count, numbers[1]), Skeleton.from_dict(described, file)


def _numbers(value: Any) -> list[int]:
    """Returns the whole numbers of a YAML list; an empty list for anything else."""
    if not isinstance(value, list) or not fits(value, list[str]):
        return []
    return (
        [int(one) for one in value] if all(re.fullmatch(r"\d{1,9}", one) for one in value) else []
    )


def _told(key: str, content: dict[str, Any], file: Path, found: YoloSet) -> list[Path]:
    """Returns the folders and lists of a split that a description tells, where they are there.

    Args:
        key: The name of the split.
        content: The description.
        file: Its file.
        found: Its ``findings`` and ``missing`` grow.
    """
    values = content[key] if isinstance(content[key], list) else [content[key]]
    root = content.get("path") or ""
    if not fits([root, *values], list[str]):
        raise steps.unexpected(file, f"{key!r} to be a path or a list of paths", f"{values!r:.80}")
    places: list[Path] = []
    for value in values:
        if value.strip().lower() in ("", "~", "null"):
            continue
        looked = list(_candidates(value.strip(), root.strip(), file))
        there = [(place, as_told) for place, as_told in looked if _is_place(place)]
        if not there:
            found.missing[key] = " and ".join(dict.fromkeys(f"{at!s:.200}" for at, _ in looked[:3]))
            continue
        place, as_told = there[0]
        places.append(place)
        if not as_told:
            detail = f"{file.name} says {value!r}; {place} is taken"
            found.findings.append(Finding("split under another path", "", detail))
    return places


def _candidates(value: str, root: str, file: Path) -> Iterator[tuple[Path, bool]]:
    """Yields where a split may be that a description tells, and whether it tells just that.

    As told is relative to ``path``, which is relative to the file's folder, the working folder or
    the folder above. Roboflow writes ``../train/images`` for what is beside the file, CVAT
    ``data/train.txt``. Paths of other machines follow, without their first folders.
    """
    folder = file.parent
    value, root = value.replace("\\", "/"), root.replace("\\", "/")
    above = [folder, Path(), *([folder.parent] if root else [])]
    told = [Path(os.path.normpath(place / root / value)) for place in above]
    parts = [part for part in PurePosixPath(value).parts if part not in ("/", ".")]
    kept = parts[1:] if PureWindowsPath(value).drive else parts
    kept = [part for part in kept if part != ".."]
    if value.startswith("../") and not root:
        yield folder.joinpath(*kept), not _is_place(told[0])
    if value.startswith("data/") and file.suffix.lower() == ".data":
        told.append(folder.joinpath(*kept[1:]))
    yield from ((place, True) for place in told)
    for first in range(min(len(kept), 12)):
        yield folder.joinpath(*kept[first:]), False


def _is_place(path: Path) -> bool:
    """Returns whether pictures may be in a folder or listed in a file."""
    return os.path.isdir(path) or (path.suffix.lower() == ".txt" and os.path.isfile(path))


def _layout(folder: Path) -> tuple[dict[str, list[Path]], list[Path]]:
    """Returns the splits that folders and lists tell by their names, and all folders ``images``."""
    inner: dict[str, list[Path]] = {}
    outer: dict[str, list[Path]] = {}
    tops: list[Path] = []
    for name in _folders(folder):
        inside = _folders(folder / name)
        images = [folder / name / one for one in inside if one.lower() == "images"]
        if name.lower() == "images":
            tops.insert(0, folder / name)
            inner |= {one: [folder / name / one] for one in inside}
        elif images:
            tops += images
            outer[name] = images
        elif name in _KEYS:
            outer[name] = [folder / name]
    stems = {Path(name).stem for name in os.listdir(folder) if is_picture(Path(name))}
    known = {Path(name).stem for name in NAMES} | stems
    lists = {name: [file] for name, file in steps.split_lists(folder).items() if name not in known}
    return inner | outer | lists, tops


def _folders(folder: Path) -> list[str]:
    """Returns the names of the folders in a folder, without those that systems leave behind."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir())
    except OSError as error:
        raise HeatpointError(f"cannot read the folder {folder}: {error.strerror}") from None
    return [name for name in names if not is_left_behind(name)]
