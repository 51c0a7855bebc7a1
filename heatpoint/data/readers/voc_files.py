"""Where the files of a Pascal VOC data set are: annotations, their pictures, and its splits.

Annotations lie beside their pictures, or the two lie in folders of their own: ``Annotations`` and
``JPEGImages``, ``xmls`` and ``images``, ``train/annotations`` and ``train/images``. Without such
words the folders of the two are called the same; that is how they find each other.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from heatpoint.data.formats import is_left_behind, is_picture
from heatpoint.data.readers import locate, steps
from heatpoint.errors import HeatpointError

Parts = tuple[str, ...]

ANNOTATIONS = {"annotations", "annotation", "annots", "anno", "xmls", "xml", "labels", "label"}
_PICTURES = {"jpegimages", "images", "image", "imgs", "img", "pictures", "photos", "pics", "jpegs"}
_SETS = "imagesets"


@dataclass(frozen=True)
class Place:
    """A folder of pictures.

    Attributes:
        folder: Where it is.
        key: Its folders below the data set's, without the words for pictures and annotations.
        names: Names of the pictures by their stem.
    """

    folder: Path
    key: Parts
    names: dict[str, list[str]]

    @cached_property
    def _folded(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for stem, names in self.names.items():
            found[locate.folded(stem)] += names
        return found

    def paths(self) -> list[Path]:
        """Returns the pictures."""
        return [self.folder / name for names in self.names.values() for name in names]

    def find(self, stem: str) -> list[Path]:
        """Returns the pictures of a stem."""
        return [self.folder / name for name in self.names.get(stem) or ()]

    def near(self, stem: str) -> Path | None:
        """Returns the one picture whose stem differs in case or in the form of its accents."""
        found = self._folded.get(locate.folded(stem)) or ()
        return self.folder / found[0] if len(found) == 1 else None


@dataclass
class Files:
    """The files of a data set.

    Attributes:
        root: The folder of the data set.
        images: The folder in which its pictures must be; None for any of ``places``.
        annotations: Names of the XML files of each folder below ``root``.
        places: The folders that hold pictures.
        single: Whether it is one XML file, whose neighbours are nobody's business.
        lists: Text files that list the pictures of a split: by the folder whose split it is and by
            its name.
    """

    root: Path
    images: Path | None = None
    annotations: dict[Parts, list[str]] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    single: bool = False
    lists: dict[Parts, dict[str, Path]] = field(default_factory=dict)

    @cached_property
    def paths(self) -> list[tuple[Parts, Path]]:
        """The XML files with the folder that each lies in."""
        return [
            (parts, self.root.joinpath(*parts, name))
            for parts, names in self.annotations.items()
            for name in names
        ]


def walk(root: Path) -> Iterator[tuple[Parts, list[str]]]:
    """Yields the folders below a folder and the names of their files; hidden ones are passed over.

    Links to folders are followed, each folder once.
    """
    seen: set[tuple[int, int]] = set()
    for folder, inner, names in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            inner.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        inner[:] = sorted(name for name in inner if not is_left_behind(name))
        yield (
            Path(folder).relative_to(root).parts,
            sorted(n for n in names if not is_left_behind(n)),
        )


def is_xml(name: str) -> bool:
    """Returns whether a file is called like an annotation."""
    return name.lower().endswith(".xml")


def key_of(parts: Sequence[str]) -> Parts:
    """Returns folders without those that are called after what is in them."""
    return tuple(part for part in parts if part.lower() not in ANNOTATIONS | _PICTURES)


def find_files(path: Path, images: Path | None) -> Files:
    """Returns the files of a data set.

    Args:
        path: Its folder, or a single XML file.
        images: Folder of the pictures; None to look below the folder and, if there are none,
            beside it.

    Raises:
        HeatpointError: ``images`` is no folder.
    """
    single = not path.is_dir()
    files = Files(path.parent if single else path, images, single=single)
    texts: dict[Parts, list[str]] = {}
    plain: set[Parts] = set()
    for parts, names in itertools.islice(walk(files.root), 1 if single else None):
        if found := [name for name in names if is_xml(name)]:
            files.annotations[parts] = found
        place = _place(files.root.joinpath(*parts), parts, names)
        if place.names and images is None:
            files.places.append(place)
        if listed := [name for name in names if name.lower().endswith(".txt")]:
            texts[parts] = listed
            if not found and not place.names:
                plain.add(parts)
    _add_lists(files, texts, plain)
    if single:
        files.annotations = {(): [path.name]}
    if images is not None and not images.is_dir():
        raise HeatpointError(f"{images} is not a folder; expected the images of {path}")
    if images is not None:
        files.places = _places(images)
    elif not files.places:
        files.places = _beside(files.root)
    return files


def _place(folder: Path, parts: Parts, names: Sequence[str]) -> Place:
    by_stem: dict[str, list[str]] = defaultdict(list)
    for name in names:
        if is_picture(Path(name)):
            by_stem[name.rpartition(".")[0]].append(name)
    return Place(folder, key_of(parts), dict(by_stem))


def _places(root: Path) -> list[Place]:
    found = [_place(root.joinpath(*parts), parts, names) for parts, names in walk(root)]
    return [place for place in found if place.names]


def _beside(root: Path) -> list[Place]:
    """Returns the folders of pictures beside a folder of annotations, and the one it is in."""
    above = root.resolve().parent
    names = [path.name for path in sorted(above.iterdir())]
    named = [above / name for name in names if name.lower() in _PICTURES]
    found = [place for folder in named for place in _places(folder)]
    return [*found, place] if (place := _place(above, (), names)).names else found


def _add_lists(files: Files, texts: dict[Parts, list[str]], plain: set[Parts]) -> None:
    """Finds the lists of splits: of ``ImageSets/Main`` first, then others."""
    found: list[tuple[int, Parts, Parts]] = []
    for parts in texts:
        lower = [part.lower() for part in parts]
        if _SETS in lower:
            owner = parts[: lower.index(_SETS)]
            found.append((0 if lower[-1] == "main" else 2, owner, parts))
        elif parts in plain and any(each[: len(parts)] == parts for each in files.annotations):
            found.append((1, parts, parts))
    for _, owner, parts in sorted(found):
        known = files.lists.setdefault(owner, {})
        for name, path in steps.split_lists(files.root.joinpath(*parts)).items():
            known.setdefault(name, path)


class Split(NamedTuple):
    """What a split consists of.

    Attributes:
        annotations: Its XML files; of a listed picture without one, where it should be.
        keys: Folders whose pictures without annotation belong to it, by their key.
    """

    annotations: list[tuple[Parts, Path]]
    keys: set[Parts]


def choose(files: Files, split: str | None) -> Split:
    """Returns the annotations of a split: of the lists of that name, or of folders called so.

    Args:
        files: The files of the data set.
        split: Its name; None for all.

    Raises:
        HeatpointError: There is no such split, or a line of its list may mean two annotations.
    """
    everything = files.paths
    if files.single:
        return Split(everything, set())
    keys = {key_of(parts) for parts in files.annotations} | {place.key for place in files.places}
    if split is None:
        return Split(everything, keys)
    named = {name for known in files.lists.values() for name in known}
    if split in named:
        owners = [owner for owner, known in files.lists.items() if split in known]
        return Split([each for owner in owners for each in _listed(files, owner, split)], set())
    folders = {part for parts in files.annotations for part in key_of(parts)}
    if split not in folders:
        layout = "a list in ImageSets/Main or a folder of annotations"
        raise steps.no_such_split(files.root, split, named | folders, layout)
    chosen = [each for each in everything if split in key_of(each[0])]
    return Split(chosen, {key for key in keys if split in key})


def _listed(files: Files, owner: Parts, split: str) -> list[tuple[Parts, Path]]:
    """Returns the annotations that the list of a split names; class lists' flags are dropped."""
    above = len(key_of(owner))
    whole: dict[str, tuple[Parts, Path]] = {}
    often: Counter[str] = Counter()
    for parts, path in files.paths:
        if parts[: len(owner)] == owner:
            stem = locate.image_stem(path.stem)
            whole["/".join((*key_of(parts)[above:], stem))] = parts, path
            often[stem] += 1
    last = {name.rpartition("/")[2]: each for name, each in whole.items()}
    forms = Counter(map(locate.folded, whole))
    near = {form: name for name in whole if forms[form := locate.folded(name)] == 1}
    folder = next((parts for parts in files.annotations if parts[: len(owner)] == owner), owner)
    found: list[tuple[Parts, Path]] = []
    lists = files.lists[owner]
    for line in steps.read_split(files.root, split, lists, "a list"):
        text = line.split()[-1] if is_xml(line) else line
        head, _, flag = text.rpartition(" ")
        names = [text, head.strip()] if flag in ("-1", "0", "1") and head else [text]
        stems = [_stem(name) for name in names]
        stems += [near[form] for form in map(locate.folded, stems) if form in near]
        known = next((whole[stem] for stem in stems if stem in whole), None)
        bare = stems[-1].rpartition("/")[2]
        if known is None and often[bare] > 1:
            raise HeatpointError(
                f"{lists[split]}: {line!r} may be any of {often[bare]} annotations of that name; "
                "write its folder in front"
            )
        missing = folder, files.root.joinpath(*folder, f"{bare}.xml")
        found.append(known or last.get(bare, missing))
    return found


def _stem(line: str) -> str:
    """Returns a line of a list as folders and stem, without words for pictures or annotations."""
    text = line[:-4] if is_xml(line) else line
    parts = [part for part in text.split("/") if part not in ("", ".")]
    return "/".join((*key_of(parts[:-1]), locate.image_stem(parts[-1]))) if parts else ""
