"""Pictures in .tar files, each of which counts as a folder: ``shards/train-000000.tar/0001.jpg``.

Such a path is a picture's name like any other. The files of a .tar file lie in it one after the
other, uncompressed, so that a picture is read where it lies, in any order, as from a folder.
"""

from __future__ import annotations

import glob
import io
import os
import re
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from heatpoint.data.formats import is_left_behind, is_picture
from heatpoint.errors import HeatpointError

SHARD = ".tar"

PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
"""Endings of compressed ones, of which no part can be read alone."""

_REST = 1 << 20
"""Bytes behind the last file of a .tar file that are looked at: tools fill up to 10 kB or less."""


class Place(NamedTuple):
    """Where a file lies in a .tar file.

    Attributes:
        start: Its first byte.
        length: How many it has.
    """

    start: int
    length: int


_known: dict[tuple[str, int, int], dict[str, Place]] = {}
"""The pictures in .tar files by the file, its size and its time."""


def files_in(shard: str | Path) -> list[tuple[str, Place]]:
    """Returns the name of each file of a .tar file and where it lies, in order.

    Names are with ``/``; one may be there twice, may be absolute or lead up. Only headers are read.

    Raises:
        HeatpointError: It cannot be read, is damaged, compressed or cut off, or goes on behind its
            end.
    """
    found: list[tuple[str, Place]] = []
    try:
        with open(shard, "rb") as file:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                while member := archive.next():
                    archive.members = []  # type: ignore[attr-defined] # it would keep all of them
                    if member.isreg():
                        found.append((member.name, Place(member.offset_data, member.size)))
                file.seek(archive.offset)
            # tarfile takes a broken header for the end.
            rest = file.read(_REST)
    except tarfile.TarError as error:
        why = str(error) or "no .tar file"
        raise HeatpointError(
            f"{shard} is damaged, cut off or compressed ({why}); copy or download it again, or "
            "decompress it: pictures get no smaller by it"
        ) from None
    except OSError as error:
        raise HeatpointError(f"cannot read {shard}: {error.strerror or error}") from None
    if rest.strip(b"\0") or not rest:
        what = "goes on behind its end: it is damaged, or several files in one"
        raise HeatpointError(
            f"{shard} {what if rest else 'has no end: it is cut off'}; its {len(found):,} files up "
            "to there are not all; copy or download it again"
        )
    pictures = _known.setdefault(_key(shard), {})
    for name, place in found:
        if (plain := plain_name(name)) and is_picture(PurePosixPath(plain)):
            pictures.setdefault(plain, place)
    return found


def plain_name(name: str) -> str:
    """Returns what a file in a .tar file is called below it; "" for a name that leads elsewhere.

    Example:
        >>> plain_name("./day/0001.jpg"), plain_name("../0001.jpg")
        ('day/0001.jpg', '')
    """
    path = PurePosixPath(name)
    astray = path.is_absolute() or ".." in path.parts or "\\" in name
    return "" if astray or any(map(is_left_behind, path.parts)) else str(path)


def pictures_in(shard: str | Path) -> dict[str, Place]:
    """Returns the pictures of a .tar file by their names; they are looked for once.

    Raises:
        HeatpointError: It cannot be read, see ``files_in``.
        FileNotFoundError: It does not exist.
    """
    key = _key(shard)
    if key not in _known:
        files_in(shard)
    return _known[key]


def _key(shard: str | Path) -> tuple[str, int, int]:
    status = os.stat(shard)
    return os.path.abspath(shard), status.st_size, status.st_mtime_ns


def inside(path: str | os.PathLike[str]) -> tuple[str, str] | None:
    """Returns the .tar file that a path leads into, and the name in it; None if there is none."""
    text = os.fspath(path).replace(os.sep, "/")
    at = text.lower().find(f"{SHARD}/")
    while at >= 0:
        end = at + len(SHARD)
        if os.path.isfile(text[:end]):
            return text[:end], text[end + 1 :]
        at = text.lower().find(f"{SHARD}/", end)
    return None


def listed(folder: str | Path) -> set[str] | None:
    """Returns the names in a .tar file, or in a folder of it; None of what is neither.

    Raises:
        HeatpointError: It cannot be read.
    """
    found = inside(f"{os.fspath(folder)}/")
    if found is None:
        return None
    shard, above = found
    names = (name for name in pictures_in(shard) if name.startswith(above))
    return {name[len(above) :].partition("/")[0] for name in names}


def place_of(path: Any) -> tuple[str, Place] | None:
    """Returns the .tar file that holds a picture and where; None for what lies in none.

    Raises:
        FileNotFoundError: The .tar file has no picture of this name.
        HeatpointError: It cannot be read.
    """
    if not isinstance(path, str | os.PathLike) or (found := inside(path)) is None:
        return None
    shard, name = found
    place = pictures_in(shard).get(name)
    if place is None:
        raise FileNotFoundError(name)
    return shard, place


def is_file(path: str | os.PathLike[str]) -> bool:
    """Tells whether a path is that of a file, or of a picture in a .tar file."""
    if os.path.isfile(path):
        return True
    try:
        return place_of(path) is not None
    except FileNotFoundError:
        return False


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[io.BufferedReader]:
    """Yields a file, or a picture in a .tar file, open to be read at any place.

    Raises:
        OSError: It cannot be read.
        HeatpointError: The .tar file that holds it cannot be read.
    """
    held = place_of(path)
    if held is None:
        with open(path, "rb") as file:
            yield file
        return
    shard, place = held
    with open(shard, "rb", buffering=0) as whole:
        yield io.BufferedReader(_Window(whole, place))


def content(path: str | os.PathLike[str]) -> bytes:
    """Returns all bytes of a file, or of a picture in a .tar file.

    Raises:
        OSError: It cannot be read.
        HeatpointError: The .tar file that holds it cannot be read.
    """
    with reading(path) as file:
        return file.read()


class _Window(io.RawIOBase):
    """A part of a file as a file of its own."""

    def __init__(self, file: io.FileIO, place: Place) -> None:
        super().__init__()
        self._file, self._place, self._at = file, place, 0

    def readable(self) -> bool:
        """Returns True."""
        return True

    def seekable(self) -> bool:
        """Returns True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Goes to a byte and returns its number."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._place.length}[whence]
        if start + offset < 0:
            raise ValueError(f"negative place {start + offset}")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer as far as bytes are left and returns how many."""
        with memoryview(buffer).cast("B") as view:
            count = max(0, min(len(view), self._place.length - self._at))
            self._file.seek(self._place.start + self._at)
            count = self._file.readinto(view[:count]) or 0
        self._at += count
        return count


def is_pattern(data: str | Path) -> bool:
    """Tells whether a name stands for several .tar files, as ``train-{000..099}.tar`` does."""
    text = str(data)
    return text.lower().endswith(SHARD) and (glob.has_magic(text) or "{" in text)


def named(pattern: str | Path) -> list[Path]:
    """Returns the .tar files that a name or pattern stands for, each once, sorted by name.

    ``*``, ``?`` and ``[...]`` are as in a shell, and so are ``{a,b}`` and ``{000..099}``.

    Raises:
        HeatpointError: A part of it stands for no file.
    """
    found: set[Path] = set()
    for each in _unbraced(str(pattern)):
        matched = [each] if os.path.isfile(each) else sorted(glob.glob(each, recursive=True))
        if not matched:
            part = "" if each == str(pattern) else f", a part of {pattern}"
            raise HeatpointError(f"no file is called {each}{part} (working folder: {os.getcwd()})")
        found.update(map(Path, matched))
    return sorted(found)


def _unbraced(text: str) -> Iterator[str]:
    """Yields what a name with braces stands for; innermost first, as braces may be in braces."""
    braces = re.search(r"\{([^{}]*)\}", text)
    if braces is None:
        yield text
        return
    choices: Iterable[str] = braces[1].split(",")
    ends = re.fullmatch(r"(\d+)\.\.(\d+)", braces[1])
    if ends:
        first, last = map(int, ends.groups())
        width = len(ends[1]) if ends[1].startswith("0") else 0
        # One by one: the first that is missing ends it.
        choices = (f"{number:0{width}}" for number in range(first, last + 1))
    for choice in choices:
        yield from _unbraced(text[: braces.start()] + choice + text[braces.end() :])
