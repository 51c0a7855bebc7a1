"""What a user gave as data, and what a format says of itself so that it is recognised."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from heatpoint.data import Annotations
from heatpoint.errors import HeatpointError
from heatpoint.system.files import read_json, read_json_as, read_text

_START = 4096

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Given:
    """A file or folder that holds annotations in some format.

    Attributes:
        path: The file or folder; it exists.
        split: The split that was named behind a colon; None for everything.
        images: Folder of the pictures, where the user named one; None to look for them.
    """

    path: Path
    split: str | None = None
    images: Path | None = None

    @cached_property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.path.is_dir()

    @cached_property
    def suffix(self) -> str:
        """Ending of a file's name in lower case, ``".json"``; ``""`` for a folder."""
        return "" if self.is_folder else self.path.suffix.lower()

    @cached_property
    def content(self) -> Any:
        """What a ``.json`` file holds, read once; None for everything else.

        Raises:
            HeatpointError: It is a ``.json`` file that cannot be read.
        """
        return read_json(self.path) if self.suffix == ".json" else None

    def decoded(self, kind: type[Kind]) -> Kind | None:
        """Returns what a type of ``msgspec`` takes of a ``.json`` file, read once.

        So a large file is recognised and read in one pass, without the parts that nobody needs.

        Returns:
            None where it is no such file, holds something else, or is JSON for Python only (NaN):
            ``content`` is everything then, or says what is wrong.

        Raises:
            HeatpointError: It cannot be read.
        """
        if kind not in self._decoded:
            is_json = self.suffix == ".json"
            self._decoded[kind] = read_json_as(self.path, kind) if is_json else None
        found: Kind | None = self._decoded[kind]
        return found

    @cached_property
    def _decoded(self) -> dict[type, Any]:
        return {}

    @cached_property
    def start(self) -> str:
        """First characters of a text file (``.csv``, ``.txt``, ``.xml``, ``.yaml``), else ``""``.

        Raises:
            HeatpointError: It cannot be read, or is no text.
        """
        if self.suffix not in (".csv", ".tsv", ".txt", ".xml", ".yaml", ".yml"):
            return ""
        return read_text(self.path)[:_START]

    def without_split(self) -> Path:
        """Returns the path, for a format that knows no splits.

        Raises:
            HeatpointError: A split was named.
        """
        if self.split is not None:
            raise HeatpointError(
                f"{self.path} is a file and has no split {self.split!r}; leave ':{self.split}' off"
            )
        return self.path


@dataclass(frozen=True)
class Format:
    """One format of annotations; a row of ``readers.FORMATS``.

    Attributes:
        name: What its users call it, such as "Pascal VOC".
        recognises: Whether something given, of a kind that has a sign, is of this format. It must
            be quick, and right for damaged files of the format, too, so that its reader says what
            is wrong.
        read: Reads it; obeys ``split`` and ``images``, or refuses them in a sentence.
        file: What a file is recognised by, in words for messages; "" if it is never one.
        folder: What a folder is recognised by: "Annotations/*.xml"; "" likewise.
    """

    name: str
    recognises: Callable[[Given], bool]
    read: Callable[[Given], Annotations]
    file: str = ""
    folder: str = ""

    def sign(self, given: Given) -> str:
        """Returns what files, or folders, are recognised by."""
        return self.folder if given.is_folder else self.file

    def fits(self, given: Given) -> bool:
        """Tells whether something given is of this format."""
        return bool(self.sign(given)) and self.recognises(given)


def begins(path: Path, sign: bytes, size: int = 4096) -> bool:
    """Returns whether a file has what a regular expression says among its first bytes.

    Zeros are passed over, so that UTF-16 is like ASCII. False where there is no file.
    """
    if not path.is_file():
        return False
    try:
        with open(path, "rb") as file:
            start = file.read(size).replace(b"\0", b"")
    except OSError:
        return False
    return re.search(sign, start) is not None
