"""Finds the picture of each annotation of a Pascal VOC data set.

An annotation's own name comes before the name that stands in it: tools keep writing what a picture
was called when it was labelled, or the picture that it was made from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PureWindowsPath

from heatpoint.data import Annotations
from heatpoint.data.findings import Finding
from heatpoint.data.formats import SUFFIXES
from heatpoint.data.readers import locate
from heatpoint.data.readers.voc_files import Files, Parts, Place, key_of
from heatpoint.errors import HeatpointError


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
        finding = Finding("image under a near name", str(picture), detail)
        self._annotations.findings.append(finding)

    def _tell_elsewhere(self, parts: Parts, places: Sequence[Place]) -> None:
        if self._files.images is None:
            for place in places:
                detail = f"those of {self._files.root.joinpath(*parts)} are in {place.folder}"
                finding = Finding("images under shorter names", "", detail)
                self._annotations.findings.append(finding)
