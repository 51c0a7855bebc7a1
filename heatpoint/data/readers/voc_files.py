"""Where the files of a Pascal VOC data set are: annotations, their pictures, and its splits.

Annotations lie beside their pictures, or the two lie in folders of their own: ``Annotations`` and
``JPEGImages``, ``xmls`` and ``images``, ``train/annotations`` and ``train/images``. Without such
words the folders of the two are called the same; that is how they find each other. An annotation's
own name comes before the name that stands in it: tools keep writing what a picture was called when
it was labelled, or the picture that it was made from.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

from heatpoint.data import Annotations, formats
from heatpoint.data.formats import SUFFIXES, is_picture
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
    """Yields the folders below a folder, by their parts, and the names of their files."""
    return ((Path(at).relative_to(root).parts, names) for at, names in formats.walk(root))


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


class Pictures:
    """Finds the picture of each annotation.

    Args:
        files: The files of the data set.
        filenames: What stands in ``<filename>`` of each of its annotations.
        annotations: Its ``findings`` and ``searched`` grow.
    """

    def __init__(
        self, files: Files, filenames: Mapping[Path, str], annotations: Annotations
    ) -> None:
        self._files, self._filenames, self._annotations = files, filenames, annotations
        self._by_key: dict[Parts, list[Place]] = defaultdict(list)
        for place in files.places:
            self._by_key[place.key].append(place)
        self._places = self._paired()
        self._found = {path: self._own(parts, path) for parts, path in files.paths}
        self._taken = {found[0] for found in self._found.values() if found}

    def _paired(self) -> dict[Parts, list[Place]]:
        """Returns where the pictures of each folder of annotations are, the likeliest first.

        They are in the folders with the same key. Where none of those holds any, they are in all
        that belong to no other annotations.
        """
        stems = {
            parts: {locate.image_stem(name[:-4]) for name in names}
            for parts, names in self._files.annotations.items()
        }
        wanted = {key_of(parts) for parts in stems}
        others = [place for place in self._files.places if place.key not in wanted]
        paired: dict[Parts, list[Place]] = {}
        for parts, mine in stems.items():
            places = self._by_key[key_of(parts)]
            held = {id(place): len(mine & place.names.keys()) for place in (*places, *others)}
            if others and not any(held[id(place)] for place in places):
                found = [place for place in others if held[id(place)]]
                if found or not places:
                    places = found or others[: len(others) == 1]
                self._tell_elsewhere(parts, found)
            paired[parts] = sorted(places, key=lambda place: -held[id(place)])
        return paired

    def find(self, listed: Sequence[tuple[Parts, Path]]) -> list[Path]:
        """Returns the picture of each annotation, existing or not.

        It is the one of the annotation's own stem. Where that is missing, it is the one that the
        annotation names, or that is called nearly so, unless it belongs to another annotation.

        Args:
            listed: Annotations and the folders they are in.

        Raises:
            HeatpointError: None is found where the user said that they are.
        """
        paths: list[Path | None] = []
        for parts, path in listed:
            found = self._found[path] if path in self._found else self._own(parts, path)
            if len(found) > 1 and [one.name for one in found].count(self._name(path)) != 1:
                others = ", ".join(map(str, found[1:]))
                self._tell(found[0], f"{others} could be meant by {path.name} as well")
            paths.append(found[0] if found else self._named(parts, path) or self._near(parts, path))
        if listed and not any(paths):
            if self._files.images is not None:
                raise HeatpointError(
                    f"{self._files.images} holds none of the {len(listed)} images of "
                    f"{self._files.root}; expected {self._missing(*listed[0]).name!r}, for one"
                )
            folders = [place.folder for place in self._files.places] or [self._files.root]
            self._annotations.searched = tuple(map(str, folders))
        return [found or self._missing(*each) for found, each in zip(paths, listed, strict=True)]

    def _name(self, path: Path) -> str:
        """Returns the last part of the name that stands in an annotation."""
        return self._filenames.get(path, "").replace("\\", "/").rpartition("/")[2]

    def _own(self, parts: Parts, path: Path) -> list[Path]:
        """Returns the pictures of an annotation's own stem, the one that it names first."""
        stem = locate.image_stem(path.stem)
        found = [one for place in self._places.get(parts, ()) for one in place.find(stem)]
        if len(found) > 1:
            name = self._name(path) if path.stem == stem else path.stem
            found.sort(key=lambda one: one.name != name)
        return found

    def _named(self, parts: Parts, path: Path) -> Path | None:
        """Returns the picture that an annotation names; folders of other machines do not count."""
        name = PureWindowsPath(self._filenames.get(path, ""))
        folders = () if name.root or name.drive else name.parts[:-1]
        key = key_of((*key_of(parts), *folders))
        places = self._places.get(parts, ()) if key == key_of(parts) else self._by_key[key]
        for place in places:
            found = place.find(locate.image_stem(name.name))
            for one in sorted(found, key=lambda one: one.name != name.name):
                if one not in self._taken:
                    return one
        return None

    def _near(self, parts: Parts, path: Path) -> Path | None:
        """Returns the picture that is called nearly as an annotation is."""
        for place in self._places.get(parts, ()):
            found = place.near(locate.image_stem(path.stem))
            if found is not None and found not in self._taken:
                self._tell(found, f"the annotation is {path.name}")
                return found
        return None

    def _missing(self, parts: Parts, path: Path) -> Path:
        """Returns where the picture of an annotation should be."""
        suffix = Path(self._name(path)).suffix
        name = f"{locate.image_stem(path.stem)}{suffix if suffix.lower() in SUFFIXES else '.jpg'}"
        for place in self._places.get(parts, ()):
            return place.folder / name
        folders = ["JPEGImages" if part == "Annotations" else part for part in parts]
        return self._files.root.joinpath(*folders, name)

    def _tell(self, picture: Path, detail: str) -> None:
        self._annotations.say("image under a near name", str(picture), detail)

    def _tell_elsewhere(self, parts: Parts, places: Sequence[Place]) -> None:
        if self._files.images is None:
            for place in places:
                detail = f"those of {self._files.root.joinpath(*parts)} are in {place.folder}"
                self._annotations.say("images under shorter names", "", detail)
