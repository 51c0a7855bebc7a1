"""Pictures wherever they are stored: how they are found, divided into parts, and read."""

from __future__ import annotations

import glob
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from heatpoint.data.formats import is_left_behind, is_picture
from heatpoint.data.images import load_image
from heatpoint.data.opening import BadImage
from heatpoint.errors import HeatpointError
from heatpoint.geometry import Image
from heatpoint.inference.sources import Source
from heatpoint.views import Raster, Whole

Holding = Literal["pictures", "parquet", "tar"]
"""What files are: pictures, or files of many."""

_ENDINGS: dict[str, Holding] = {
    ".parquet": "parquet",
    **dict.fromkeys((".tar", ".tgz", ".tar.gz"), "tar"),
}

PER_FILE = 10_000_000
"""Numbers of pictures that each file of many has for its own."""

_NAMES = ("file_name", "path", "name", "__key__", "key", "id")
"""Columns of a parquet file that say what a picture is called."""


@dataclass(frozen=True)
class Part:
    """Pictures that are looked at and written together.

    Attributes:
        number: Its place among the parts, from 0.
        first: Number of its first picture.
        names: The pictures, or the one file that holds them.
        kind: Which of the two.
    """

    number: int
    first: int
    names: tuple[str, ...]
    kind: Holding


@dataclass(frozen=True)
class Storage:
    """Where files are.

    Attributes:
        files: pyarrow's file system; None for the files of this machine.
        scheme: What stands before a path in a name: "s3://"; "" for the files of this machine.
        folder: Where relative names begin.
    """

    files: Any = None
    scheme: str = ""
    folder: str = ""

    def path(self, name: str) -> str:
        """Returns where a file is."""
        return name.removeprefix(self.scheme) if self.files else os.path.join(self.folder, name)

    @contextmanager
    def open(self, name: str) -> Iterator[Any]:
        """Yields an open file.

        Raises:
            BadImage: It cannot be read.
        """
        path = self.path(name)
        try:
            with self.files.open_input_file(path) if self.files else open(path, "rb") as file:
                yield file
        except OSError as error:
            reason = "does not exist" if isinstance(error, FileNotFoundError) else None
            reason = reason or f"cannot be read: {error.strerror or _first_line(error)}"
            raise BadImage(f"image {name} {reason}") from None

    def listed(self, folder: str, recursive: bool) -> list[str]:
        """Returns the names of the files in a folder that is no local one, sorted.

        Raises:
            HeatpointError: It may not be listed, or there is none.
        """
        from pyarrow import fs

        where = self.path(folder).rstrip("/")
        try:
            told = self.files.get_file_info(fs.FileSelector(where, recursive=recursive))
        except FileNotFoundError:
            raise HeatpointError(
                f"{folder} does not exist or holds nothing; check its name"
            ) from None
        except OSError as error:
            raise HeatpointError(
                f"{folder} cannot be listed: {_first_line(error)}; check its name, the "
                "credentials in the environment, and that they permit to list and to read"
            ) from None
        found = [PurePosixPath(each.path) for each in told if each.type == fs.FileType.File]
        below = len(PurePosixPath(where).parts)
        seen = [each for each in found if not any(map(is_left_behind, each.parts[below:]))]
        return [f"{self.scheme}{each}" for each in sorted(seen)]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def find(
    images: Sequence[str], recursive: bool, out: str | Path
) -> tuple[Storage, list[str], Holding]:
    """Returns where the pictures are, the names of their files in order, and what these are.

    Args:
        images: Files, folders, patterns and addresses, all of one place.
        recursive: Look into the folders of a folder, too.
        out: Where results go, which must not be where pictures are looked for.

    Raises:
        HeatpointError: There are none, they are in several places or of several kinds, or cannot
            be listed.
    """
    storage = Storage(folder=os.getcwd())
    found = re.match(r"([a-z][a-z0-9]*)://", images[0], re.IGNORECASE) if images else None
    scheme = found[0] if found else ""
    if any(("://" in each) != bool(found) or not each.startswith(scheme) for each in images):
        raise HeatpointError(
            f"{', '.join(images)} are in several places; give the pictures of one place at a time"
        )
    if found:
        storage = _remote(images[0], scheme)
        # What follows is for the storage: a region, the address of one that is no Amazon's.
        images = [each.partition("?")[0] for each in images]
    names = list[str]()
    for each in images:
        names += storage.listed(each, recursive) if found and not _holding(each) else ()
        names += [each] if found and _holding(each) else ()
        names += () if found else _local(each, recursive, Path(out))
    by_kind: dict[Holding, list[str]] = {}
    for name in names:
        if kind := _holding(name):
            by_kind.setdefault(kind, []).append(name)
    if len(by_kind) == 1:
        kind, chosen = by_kind.popitem()
        return storage, chosen, kind
    given = ", ".join(images)
    if by_kind:
        told = " and ".join(f"{len(some)} of {kind}" for kind, some in by_kind.items())
        raise HeatpointError(f"of the files of {given}, {told}; give those of one kind at a time")
    below = "" if recursive else "; its folders are not searched, --recursive does"
    raise HeatpointError(
        f"{given} holds no picture that is read, no .parquet and no .tar file{below}"
    )


def _holding(name: str) -> Holding | None:
    """Returns what a file is by its name; None for what is not read."""
    ends = (kind for end, kind in _ENDINGS.items() if name.lower().endswith(end))
    return next(ends, "pictures" if is_picture(PurePosixPath(name)) else None)


def _remote(address: str, scheme: str) -> Storage:
    from pyarrow import fs

    try:
        return Storage(fs.FileSystem.from_uri(address)[0], scheme)
    except (OSError, ValueError) as error:
        raise HeatpointError(
            f"{address} cannot be reached: {_first_line(error)}; pictures are read from files and "
            "from s3:// and gs:// addresses"
        ) from None


def _local(given: str, recursive: bool, out: Path) -> list[str]:
    """Returns the names of the files that a file, folder or pattern of this machine stands for."""
    from heatpoint.data.formats import files_below

    if os.path.isdir(given):
        home = os.path.realpath(given)
        if os.path.commonpath([home, os.path.realpath(out)]) == home:
            raise HeatpointError(
                f"{out} lies in {given}, where pictures are read; choose another folder as out"
            )
        return [str(each) for each in sorted(files_below(Path(given), recursive))]
    if os.path.exists(given):
        return [given]
    matched = sorted(map(Path, glob.glob(given, recursive=True)))
    if not matched:
        raise HeatpointError(f"image {given} does not exist (working folder: {os.getcwd()})")
    return [str(each) for each in matched if each.is_file() and not is_left_behind(each.name)]


def divided(names: Sequence[str], kind: Holding, size: int) -> list[Part]:
    """Returns the parts: so many pictures each, or one for each file of many."""
    if kind != "pictures":
        return [Part(i, i * PER_FILE, (name,), kind) for i, name in enumerate(names)]
    starts = range(0, len(names), size)
    return [Part(i, at, tuple(names[at : at + size]), kind) for i, at in enumerate(starts)]


@dataclass(frozen=True)
class Stored(Source):
    """A picture in a storage, which is read when its turn comes."""

    storage: Storage = Storage()

    def load(self, name: str = "") -> Image:
        """Returns its pixels as ``Source`` does."""
        with self.storage.open(self.path) as file:
            data = file.read()
        return load_image(data, self.path, 0, self.bits, bands=self.bands)

    def open(self, name: str = "", whole: bool = True) -> Raster:
        """Returns the picture, in memory."""
        return Whole(self.load(name))


def sources_of(part: Part, storage: Storage, column: str, at_once: int) -> Iterator[list[Source]]:
    """Yields the pictures of a part, so many at once where a file holds them.

    Raises:
        BadImage: The file that holds them cannot be read on.
        HeatpointError: It does not say which column is that of the pictures.
    """
    if part.kind == "pictures" and storage.files:
        yield [Stored(b"", name, storage=storage) for name in part.names]
    elif part.kind == "pictures":
        yield [Source(Path(storage.path(name)), name) for name in part.names]
    else:
        name = part.names[0]
        try:
            with storage.open(name) as file:
                held = (_tar if part.kind == "tar" else _parquet)(file, name, column)
                while some := list(islice(held, at_once)):
                    yield some
        except (OSError, ValueError, EOFError, tarfile.TarError) as error:
            raise BadImage(f"{name} is damaged or cut off: {_first_line(error)}") from None


def _tar(file: Any, name: str, column: str) -> Iterator[Source]:
    with tarfile.open(fileobj=file, mode="r|*") as archive:
        for member in archive:
            if member.isfile() and is_picture(PurePosixPath(member.name)):
                content = archive.extractfile(member)
                assert content is not None
                yield Source(content.read(), f"{name}/{member.name}")


def _parquet(file: Any, name: str, column: str) -> Iterator[Source]:
    import pyarrow
    from pyarrow import parquet

    table = parquet.ParquetFile(file)
    schema = table.schema_arrow
    whole = [each.name for each in schema if _is_bytes(each.type)]
    chosen = column or (whole[0] if len(whole) == 1 else "")
    if chosen not in whole:
        raise HeatpointError(
            f"{name} has the columns {', '.join(schema.names)}, of which {len(whole)} hold bytes"
            f"{f' ({wanted})' if (wanted := ', '.join(whole)) else ''}; name that of the encoded "
            "pictures with column"
        )
    called = next((each for each in _NAMES if each in schema.names and each != chosen), None)
    place = 0
    for batch in table.iter_batches(64, columns=[chosen, *([called] if called else ())]):
        for row in batch.to_pylist():
            held = row[chosen]
            if pyarrow.types.is_struct(schema.field(chosen).type):  # as Hugging Face stores them
                held = held and held["bytes"]
            yield Source(held or b"", f"{name}/{row[called] if called else place}")
            place += 1


def _is_bytes(kind: Any) -> bool:
    from pyarrow import types

    if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    return bool(types.is_binary(kind) or types.is_large_binary(kind))
