"""Where the pictures are that annotations name: by whole names first, never by guessing in silence.

Names come from other machines, other systems and other tools: with folders that are not here, in
capitals, with another ending. One rule holds for all names of a file, so that a name never means
two pictures; whatever is not the very name on disk is told.
"""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from heatpoint.data import Annotations
from heatpoint.data.formats import SUFFIXES, UNREAD, files_below, is_picture, unread
from heatpoint.data.readers.steps import Person
from heatpoint.data.shards import is_file, listed
from heatpoint.errors import HeatpointError
from heatpoint.wording import amount

_MOST_DROPPED = 12
"""Leading folders of a name that may be missing here."""

_DEEPEST = 64
"""Folders in a name that means anything."""

_DRIVE = re.compile(r"/?[A-Za-z]:")

_ADDRESS = re.compile(r"(?!file:)[a-z][a-z0-9+.-]+://[^/]*/", re.IGNORECASE)

_MOST_COMPARED = 1000
"""Names that are compared with those on disk, where no folder holds one as it is written."""


def first_file(places: Iterable[Path]) -> Path | None:
    """Returns the first of some places at which there is a file, None if there is none.

    A name that no system takes, of 300 letters say, is no file's.
    """
    return next((path for path in places if os.path.isfile(path)), None)


def image_stem(name: str) -> str:
    """Returns a file name without folders and image suffix; ``scan.v2`` keeps its ``.v2``."""
    path = Path(name.replace("\\", "/"))
    return path.stem if is_picture(path) else path.name


def list_images(folder: Path) -> list[Path]:
    """Returns the image files below ``folder``, sorted by path; none if it does not exist.

    What systems and programs leave behind is passed over (``formats.is_left_behind``).
    """
    return sorted(files_below(folder, endings=SUFFIXES), key=lambda path: path.parts)


def leave_out_unread(folders: Iterable[Path], annotations: Annotations) -> None:
    """Counts the pictures below some folders that are of a format which is not read here."""
    for path in sorted({one for each in folders for one in files_below(each, endings=UNREAD)}):
        annotations.leave_out("picture of a format that is not read", str(path), unread([path]))


def leave_out_unlabelled(
    folders: Iterable[Path], annotations: Annotations, why: Callable[[Path], str]
) -> None:
    """Counts the pictures of some folders that no record has, and says why of each."""
    known = {(os.path.realpath(r.path.parent), r.path.name) for r in annotations.images}
    for folder in sorted(folders):
        for path in files_below(folder, recursive=False, endings=SUFFIXES):
            if (os.path.realpath(folder), path.name) not in known:
                annotations.leave_out("image without annotation file", str(path), why(path))


def image_folders(annotation: Path) -> list[Path]:
    """Returns where the images of an annotation file are looked for, in order.

    Beside the file, in ``images``, in ``../images``, in ``..``; and, for files such as
    ``instances_val2017.json`` and ``val2017-boxes.csv``, in the folder ``val2017`` beside, above,
    or inside ``images``; in ``data``, where FiftyOne keeps them.
    """
    places = [".", "images", "../images", ".."]
    for split in (annotation.stem.rsplit("_", 1)[-1], re.split("[-_]", annotation.stem)[0]):
        places += [split, f"../{split}", f"images/{split}", f"../images/{split}"]
    places = list(dict.fromkeys([*places, "data", "../data"]))
    return [Path(os.path.normpath(annotation.parent / place)) for place in places]


class _Name(NamedTuple):
    """A name as it was written, taken apart.

    Attributes:
        folders: Its folders, the first one first, without drive and root.
        last: Its last part.
        path: The whole name as a path, where it is absolute on this system or goes up; else None.
    """

    folders: tuple[str, ...]
    last: str
    path: Path | None


def _name(text: str) -> _Name:
    if address := _ADDRESS.match(text):  # https://host/photos/a.jpg?key
        text = unquote(re.split("[?#]", text[address.end() :])[0])
    plain = text.removeprefix("file://").replace("\\", "/")
    above, slash, last = plain.rpartition("/")
    if last in ("", ".", "..") or "\0" in last:
        above, slash, last = plain, "", ""
    folders, astray = _folders(above + slash)
    if folders is None:
        return _Name((), "", None)
    if not last and folders:
        folders, last = folders[:-1], folders[-1]
    if not slash and os.name == "nt" and (drive := _DRIVE.match(last)):
        last = last[drive.end() :]
    return _Name(folders, last, Path(plain) if astray else None)


@lru_cache
def _folders(above: str) -> tuple[tuple[str, ...] | None, bool]:
    """Returns folders without drive and root, and whether they may lead out of where one is.

    They are None where they can be the folders of nothing.
    """
    drive = _DRIVE.match(above)
    parts = above[drive.end() :].split("/") if drive else above.split("/")
    parts = [part for part in parts if part not in ("", ".")]
    if "\0" in above or len(parts) > _DEEPEST:
        return None, False
    astray = ".." in parts or above.startswith("/") or (drive is not None and os.name == "nt")
    if ".." in parts:
        whole = posixpath.normpath("/".join(parts)).split("/")
        parts = [part for part in whole if part not in ("..", ".")]
    return tuple(parts), astray


def folded(name: str) -> str:
    """Returns what names have in common that systems and tools write differently."""
    return unicodedata.normalize("NFC", unquote(name)).casefold().strip()


class _Listing:
    """The names in one folder, read once."""

    def __init__(self, folder: Path | None) -> None:
        self.names: set[str] = set()
        if folder is not None:
            with suppress(OSError, ValueError):  # not there, no folder, or no name of one
                held = listed(folder)
                self.names.update(os.listdir(folder) if held is None else held)

    @cached_property
    def _near(self) -> dict[str, str]:
        """Names by their folded form and, of pictures, by that of their stem; unique ones only."""
        pictures = [name for name in self.names if is_picture(Path(name))]
        found: dict[str, str] = {}
        for names, stem in ((pictures, True), (self.names, False)):
            forms = [folded(Path(name).stem if stem else name) for name in names]
            often = Counter(forms)
            found |= {
                form: name for form, name in zip(forms, names, strict=True) if often[form] == 1
            }
        return found

    def close(self, name: str) -> str | None:
        """Returns the one name that differs in case, accents' form, ending or ``%20`` only."""
        if not self.names:
            return None
        return self._near.get(folded(name)) or self._near.get(folded(image_stem(name)))


class _Base:
    """A folder against which names are resolved."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._listings: dict[tuple[str, ...], tuple[Path, _Listing]] = {}

    def _within(self, folders: tuple[str, ...]) -> tuple[Path, _Listing]:
        """Returns a folder below this one, in the case that it has on disk, and what is in it."""
        known = self._listings.get(folders)
        if known is None:
            if folders:
                above, listing = self._within(folders[:-1])
                name = folders[-1] if folders[-1] in listing.names else listing.close(folders[-1])
                folder = above / (name or folders[-1])
                # Of thousands of folders that are elsewhere, none is asked for.
                known = folder, _Listing(folder if name else None)
            else:
                known = self.folder, _Listing(self.folder)
            self._listings[folders] = known
        return known

    def count(self, names: Mapping[tuple[str, ...], Sequence[str]], dropped: int) -> int:
        """Returns how many files there are, of names by their folders, without their first ones."""
        total = 0
        for folders, last in names.items():
            _, listing = self._within(folders[dropped:])
            if listing.names:
                total += sum(map(listing.names.__contains__, last))
        return total

    def find(self, name: _Name, dropped: int) -> Path | None:
        """Returns the file of a name without its first folders, None if there is none."""
        folder, listing = self._within(name.folders[dropped:])
        return folder / name.last if name.last in listing.names else None

    def close(self, name: _Name, dropped: int) -> Path | None:
        """Returns the one picture that is called nearly so."""
        folder, listing = self._within(name.folders[dropped:])
        near = listing.close(name.last) if name.last else None
        return folder / near if near else None


def locate_images(
    names: Sequence[str],
    annotations: Annotations,
    file: Path,
    images: Path | None = None,
    at_last: Sequence[Path] = (),
) -> list[Path]:
    r"""Resolves the names of pictures against the one folder that holds the most of them.

    Whole names come first. Where they lead nowhere, the same number of leading folders is dropped
    from all names (``C:\me\train\a.jpg`` is ``train/a.jpg`` or ``a.jpg`` here), unless two names
    would become one. In the folder that holds the most, a picture whose name differs in case, in
    the form of its accents, in its ending or in ``%20`` for a blank is taken where it is the only
    such one. Both are told by findings. An absolute name is taken as it is where it exists.

    Args:
        names: What the annotations call their pictures, with ``/`` or ``\``.
        annotations: Its ``findings`` and ``searched`` grow; ``searched`` are the folders that
            were looked at if not one picture was found.
        file: The file of the annotations.
        images: The one folder to look in; None means ``image_folders``.
        at_last: Folders to look in after those.

    Returns:
        One path per name, existing or not.

    Raises:
        HeatpointError: ``images`` is no folder or holds none of the pictures; or names lead out
            of the folders that belong to the file (its own and the one above, ``images``, and the
            working folder), which is not done unless ``images`` asks for it.
    """
    folders = [*image_folders(file), *at_last] if images is None else [images]
    if images is not None and not images.is_dir() and listed(images) is None:
        raise HeatpointError(f"{images} is not a folder; expected the images of {file}")
    plain = [_name(name) for name in names]
    if addresses := [name for name in names if _ADDRESS.match(name)]:
        detail = f"{len(addresses)} images, such as {addresses[0]}"
        annotations.say("image named by an address", "", detail)
    chosen, dropped = _best([_Base(folder) for folder in folders], plain)
    paths = [chosen.find(name, dropped) for name in plain]
    # The root of the whole system is nobody's choice of a folder.
    around = [path for path in (file.parent.resolve().parent, Path.cwd()) if path.name]
    _take_astray(plain, paths, [*folders[:1], file.parent, *around], file, folders)
    if dropped:
        detail = f"{sum(path is not None for path in paths)} names, such as {names[0]!r}, were "
        detail += f"found in {chosen.folder} without their first {dropped} folders"
        annotations.say("images under shorter names", "", detail)
    taken = set(paths)
    for place, name in enumerate(plain):
        near = chosen.close(name, dropped) if paths[place] is None else None
        if near and near not in taken:  # else another name means it
            paths[place] = near
            taken.add(near)
            detail = f"the annotations call it {names[place]!r}"
            annotations.say("image under a near name", str(near), detail)
    if names and not any(paths):
        if images is not None:
            raise HeatpointError(
                f"{images} holds none of the {len(names)} images of {file}; expected {names[0]!r}, "
                "for one"
            )
        annotations.searched = tuple(map(str, folders))
    return [
        path or chosen.folder.joinpath(*name.folders[dropped:], name.last or "unnamed")
        for path, name in zip(paths, plain, strict=True)
    ]


def most_found(forms: Sequence[Sequence[str]], file: Path, images: Path | None = None) -> int:
    """Returns which of several forms of the same names leads to the most pictures.

    Args:
        forms: Lists of names, as for ``locate_images``, in the order of preference.
        file: As for ``locate_images``.
        images: As for ``locate_images``.
    """
    bases = [_Base(folder) for folder in (image_folders(file) if images is None else [images])]
    counts = []
    for names in forms:
        plain = list(map(_name, names))
        base, dropped = _best(bases, plain)
        counts.append(sum(base.find(name, dropped) is not None for name in plain))
    return counts.index(max(counts))


def place_people(
    people: Sequence[Person], annotations: Annotations, file: Path, images: str | Path | None
) -> list[Person]:
    """Returns people whose ``image`` is a name in annotations with the file that it means.

    Args:
        people: The people.
        annotations: As for ``locate_images``.
        file: As for ``locate_images``.
        images: As for ``locate_images``.

    Raises:
        HeatpointError: As for ``locate_images``.
    """
    names = list(dict.fromkeys(str(person.image) for person in people))
    folder = None if images is None else Path(images)
    there = dict(zip(names, locate_images(names, annotations, file, folder), strict=True))
    return [person._replace(image=there[str(person.image)]) for person in people]


def _best(bases: Sequence[_Base], names: Sequence[_Name]) -> tuple[_Base, int]:
    """Returns the folder that holds the most pictures, and how many of their folders to drop."""
    last: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        last.setdefault(name.folders, []).append(name.last)
    distinct, some = len({(name.folders, name.last) for name in names}), names[:_MOST_COMPARED]
    for near in (False, True):  # names that are nearly those on disk count where none is the same
        for dropped in range(min(max(map(len, last), default=0), _MOST_DROPPED) + 1):
            if dropped and len({(n.folders[dropped:], n.last) for n in names}) < distinct:
                break  # two names would become one
            best, most = bases[0], 0
            for base in bases:
                if near:
                    count = sum(base.close(name, dropped) is not None for name in some)
                else:
                    count = base.count(last, dropped)
                if count > most:
                    best, most = base, count
                if most == len(names):
                    break
            if most:
                return best, dropped
    return bases[0], 0


def _take_astray(
    names: Sequence[_Name],
    paths: list[Path | None],
    allowed: Sequence[Path],
    file: Path,
    folders: Sequence[Path],
) -> None:
    """Takes absolute names, and names that go up, where they lead to files that may be read."""
    outside: dict[str, str] = {}
    # Links inside of a folder are its owner's own doing: only the name itself must not lead out.
    roots = {each(root) for root in allowed for each in (os.path.abspath, os.path.realpath)}
    within: dict[str, bool] = {}
    for place, name in enumerate(names):
        if name.path is None:
            continue
        absolute = name.path.is_absolute()
        for path in [name.path] if absolute else [folder / name.path for folder in folders]:
            found = os.path.abspath(path)
            if not is_file(found):
                continue
            above = os.path.dirname(found)
            if above not in within:
                # A folder in the data's own may be a link: the user has put it there.
                both = {above, os.path.realpath(above)}
                within[above] = any(_is_within(one, root) for one in both for root in roots)
            if within[above]:
                paths[place] = Path(os.path.normpath(path))
                break
            outside.setdefault(str(name.path), found)
    if outside:
        first, *_ = strays = list(outside.values())
        try:
            here = os.path.commonpath([os.path.dirname(path) for path in strays])
        except ValueError:  # on two drives of Windows
            here = os.path.dirname(first)
        raise HeatpointError(
            f"{file} names {amount(len(strays), 'file')} outside of its folder, such as {first}; "
            f"if they are meant, say so with --images {here} (of validation data: --val-images)"
        )


def _is_within(path: str, root: str) -> bool:
    """Tells whether an absolute path is in a folder, or that folder."""
    try:
        return os.path.commonpath((path, root)) == root
    except ValueError:  # on two drives of Windows
        return False
