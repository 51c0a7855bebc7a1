"""Which pictures a YOLO data set has, which label file belongs to which, and which to none."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from heatpoint.data import Annotations
from heatpoint.data.formats import is_left_behind, is_picture, walk
from heatpoint.data.readers import locate, steps
from heatpoint.data.readers.yolo_set import YoloSet
from heatpoint.errors import HeatpointError
from heatpoint.wording import amount


class _Labels(NamedTuple):
    """A folder of label files.

    Attributes:
        folder: Where it is.
        files: Its text files by their name, of which the ending is in lower case.
        own: Whether it belongs to the folder of the pictures by the rules of YOLO, not by likeness.
    """

    folder: str
    files: dict[str, str]
    own: bool


def pictures(
    described: YoloSet, split: str | None, images: Path | None, annotations: Annotations
) -> list[Path]:
    """Returns the pictures of a split, or of everything; those that a list names need not exist.

    Args:
        described: The data set.
        split: Name of the split; None for everything.
        images: The folder that holds all pictures, where the user named one.
        annotations: What was noticed is added to it.

    Raises:
        HeatpointError: There is no such split, or a list names files that may not be read.
    """
    found: list[Path] = []
    looked: list[Path] = []
    places = described.places(split)
    for place in places:
        if place.suffix.lower() == ".txt" and place.is_file():
            found += steps.once(_listed(place, described, images, annotations), annotations, split)
            continue
        if images is not None:
            place = images / place.name if (images / place.name).is_dir() else images
        looked.append(place)
        found += locate.list_images(place)
    if split is None and not described.told:
        looked.append(images or described.folder)
        found += (
            _beside_labels(looked[-1], looked[:-1]) if found else locate.list_images(looked[-1])
        )
    locate.leave_out_unread(looked, annotations)
    return list(dict.fromkeys(found))


def _beside_labels(folder: Path, known: Sequence[Path]) -> Iterator[Path]:
    """Yields the pictures below a folder, but in those known, beside which their labels lie."""
    for place, names in walk(folder):
        inside = any(Path(place).is_relative_to(one) for one in known)
        texts = {name[:-4] for name in names if name[-4:].lower() == ".txt" and not inside}
        for name in names if texts else ():
            if os.path.splitext(name)[0] in texts and is_picture(Path(name)):
                yield Path(place, name)


def _listed(
    file: Path, described: YoloSet, images: Path | None, annotations: Annotations
) -> list[Path]:
    r"""Returns the pictures that a list names, with or without their endings."""
    lines = [line.replace("\\", "/") for _, line in steps.read_lines(file)]
    lines = [line for line in lines if line[0] != "#" or is_picture(Path(line))]
    names = [line for line in lines if is_picture(Path(line))]
    at_last = [described.folder, described.folder / "images", *described.whole, Path()]
    paths = iter(locate.locate_images(names, annotations, file, images, at_last))
    stems: defaultdict[str, list[Path]] = defaultdict(list)
    if len(names) < len(lines):
        for place in dict.fromkeys([images] if images else [*described.whole, described.folder]):
            for path in locate.list_images(place) if place.is_dir() else ():
                stems[path.stem].append(path)
    return [
        next(paths) if is_picture(Path(line)) else _of_stem(line, stems, file) for line in lines
    ]


def _of_stem(name: str, stems: Mapping[str, Sequence[Path]], file: Path) -> Path:
    """Returns the picture of a name without its ending; one that is not there if it is unclear."""
    near = dict.fromkeys(stems.get(Path(name).name, ()))
    ends = f"/{name}".replace("/./", "/")
    exact = [path for path in near if f"/{path.with_suffix('').as_posix()}".endswith(ends)]
    chosen = exact if "/" in name else list(near)
    if len(chosen) == 1:
        return chosen[0]
    return file.with_name("images") / f"{Path(name).name}.jpg".replace("\0", "")


class LabelFiles:
    """Finds the label files of pictures; every folder is read once.

    The labels of ``a/images/b/c.jpg`` are ``a/labels/b/c.txt``, where the last ``images`` counts
    and capitals do not, or ``c.txt`` beside the picture. Where no folder is called ``images``,
    ``labels`` may stand in the place of any other, or be one more: ``imgs/c.jpg`` or ``c.jpg``. A
    label file may also be called ``c.jpg.txt``.

    Args:
        described: The data set.
        split: Name of the split, None for everything.
        images: The folder that holds all pictures, where the user named one.
    """

    def __init__(self, described: YoloSet, split: str | None, images: Path | None) -> None:
        self._described, self._split = described, split
        self._images = None if images is None else str(images)
        self._known: dict[str, list[_Labels]] = {}

    def assign(self, paths: Sequence[Path], annotations: Annotations) -> dict[Path, str | None]:
        """Returns the label file of each picture, None where there is none.

        Args:
            paths: The pictures.
            annotations: Label files that are not used, or used in an unusual way, are told to it.
        """
        found: dict[Path, str | None] = {}
        users: defaultdict[str, list[Path]] = defaultdict(list)
        guessed: set[str] = set()
        for path in paths:
            found[path] = None
            folder, name = os.path.split(str(path))
            stem = os.path.splitext(name)[0]
            for labels in self._folders(folder or os.curdir):
                file = labels.files.get(f"{stem}.txt") or labels.files.get(f"{name}.txt")
                if file is not None:
                    found[path] = file
                    users[file].append(path)
                    guessed.update(() if labels.own else (file,))
                    break
        for file, several in users.items():
            if len(several) > 1 and file in guessed and len({one.parent for one in several}) > 1:
                found |= dict.fromkeys(several, None)
                detail = f"may belong to {several[0]} or {several[1]}; call the folder of the "
                annotations.leave_out("unused label file", file, detail + "pictures 'images'")
            elif len(several) > 1:
                detail = " and ".join(path.name for path in several[:3])
                annotations.say("label file of several pictures", file, detail)
        used = set(users)
        self._take_near(found, used, annotations)
        self._tell_unused(found, used, annotations)
        if found and not any(found.values()):
            folders = ", ".join(each.folder for each in self._folders(str(paths[0].parent)))
            detail = f"{len(found):,} pictures have none; looked in {folders}"
            annotations.say("no label files", "", detail)
        return found

    def _folders(self, folder: str) -> list[_Labels]:
        """Returns the folders in which the labels of a folder's pictures may be, best first."""
        if folder not in self._known:
            places = dict(reversed(list(self._places(folder))))  # of two the first counts
            self._known[folder] = [
                _Labels(place, _texts(place), own) for place, own in reversed(places.items())
            ]
        return self._known[folder]

    def _places(self, folder: str) -> Iterator[tuple[str, bool]]:
        """Yields those folders as paths, and whether they are so by the rules of YOLO."""
        root = str(self._described.folder)
        if self._images is not None:
            below = os.path.relpath(folder, self._images).split(os.sep)
            split = [self._split] if self._split else []
            above = root.split(os.sep)
            for start, rest in ((above, split), (above + split, []), (above, [])):
                yield from ((one, True) for one in _inserted(start, [*rest, *below]))
            yield os.path.normpath(os.path.join(root, *below)), True
            return
        parts = folder.split(os.sep)
        within = Path(folder).is_relative_to(root)
        depth = len(Path(root).parts and root.split(os.sep)) if root != "." else 0
        called = [place for place, part in enumerate(parts) if part.lower() == "images"]
        if called:
            last = called[-1]
            yield from ((one, True) for one in _inserted(parts[:last], parts[last + 1 :]))
        yield folder, True
        if within and not any(place >= depth for place in called):
            for place in reversed(range(depth, len(parts) + 1)):
                yield from ((one, False) for one in _inserted(parts[:place], parts[place + 1 :]))
                yield from ((one, False) for one in _inserted(parts[:place], parts[place:]))

    def _take_near(
        self, found: dict[Path, str | None], used: set[str], annotations: Annotations
    ) -> None:
        """Gives pictures without a label file the one that differs in capitals or accents only."""
        pictures: defaultdict[tuple[str, str], list[Path]] = defaultdict(list)
        for path, file in found.items():
            if file is None:
                pictures[str(path.parent), _form(path.stem)].append(path)
        folders = {folder for folder, _ in pictures}
        texts: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for folder in folders:
            for labels in self._folders(folder):
                for name in labels.files if labels.own else ():
                    texts[folder, _form(name[:-4])].append(labels.files[name])
        for key in pictures.keys() & texts.keys():
            if len(pictures[key]) == len(texts[key]) == 1 and texts[key][0] not in used:
                path, file = pictures[key][0], texts[key][0]
                found[path] = file
                used.add(file)
                annotations.say("label file under a near name", file, f"read for {path.name}")

    def _tell_unused(
        self, found: dict[Path, str | None], used: set[str], annotations: Annotations
    ) -> None:
        """Counts label files that belong to no picture, or to one that has another."""
        looked: defaultdict[str, set[str]] = defaultdict(set)
        for folder in {os.path.dirname(path) or os.curdir for path in found}:
            for labels in self._folders(folder):
                if labels.own or self._split is None:
                    looked[labels.folder].add(folder)
        for place in self._described.places(self._split):
            for labels in self._folders(str(place)) if place.is_dir() else ():
                for below, _ in walk(labels.folder):
                    looked[below]  # a folder of labels that may have no folder of pictures
        stems = {folder: _stems(folder) for folder in set().union(*looked.values())}
        for folder in sorted(looked):
            for name, file in sorted(_texts(folder).items()):
                if file in used:
                    continue
                stem = locate.image_stem(name[:-4])
                beside = [Path(at, one) for at in sorted(looked[folder]) for one in stems[at][stem]]
                pictures = [path for path in beside if is_picture(path)]
                other = next((found[path] for path in pictures if found.get(path)), None)
                count = _count_objects(file)
                if (pictures and not other and not found.keys() & set(pictures)) or not count:
                    continue
                held = amount(count, "object")
                said = f"{held}; no picture has this name"
                if other:
                    said = f"{held}; {pictures[0].name} has {other}"
                elif beside:
                    said = f"{held}; {beside[0].name} is no picture that is read"
                annotations.leave_out("unused label file", file, said)


def _inserted(above: Sequence[str], below: Sequence[str]) -> list[str]:
    """Returns the folders ``above/labels/below`` there are, in whatever capitals."""
    start = os.sep.join(above) or (os.sep if above else os.curdir)
    try:
        names = sorted(name for name in os.listdir(start) if name.lower() in ("labels", "label"))
    except OSError:
        return []
    places = (os.path.normpath(os.path.join(start, name, *below)) for name in reversed(names))
    return [place for place in places if os.path.isdir(place)]


def _texts(folder: str) -> dict[str, str]:
    """Returns the text files of a folder by name, of which the ending is in lower case."""
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise HeatpointError(f"cannot read the folder {folder}: {error.strerror}") from None
    return {
        f"{name[:-4]}.txt": os.path.join(folder, name)
        for name in names
        if name[-4:].lower() == ".txt" and not is_left_behind(name)
    }


def _stems(folder: str) -> defaultdict[str, list[str]]:
    """Returns the names of the files in a folder that are no texts, by stem."""
    stems: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(os.listdir(folder)):
        if name[-4:].lower() != ".txt" and not is_left_behind(name):
            stems[os.path.splitext(name)[0]].append(name)
    return stems


def _form(stem: str) -> str:
    """Returns what is the same for names that systems write differently."""
    return unicodedata.normalize("NFC", stem).casefold().strip()


def _count_objects(file: str) -> int:
    """Returns how many lines a text file has if the first is one of a label file, else 0."""
    try:
        lines = steps.read_lines(file)
        for value in lines[0][1].split()[1:]:
            float(value)
    except (HeatpointError, IndexError, ValueError):
        return 0
    return len(lines) if len(lines[0][1].split()) > 4 else 0
