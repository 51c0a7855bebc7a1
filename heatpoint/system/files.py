"""Writes files so that a reader never sees half of one, and reads whole files of text."""

from __future__ import annotations

import codecs
import csv
import json
import os
import platform
import re
import shutil
import stat
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from heatpoint.errors import HeatpointError
from heatpoint.system import encodings, is_alive
from heatpoint.system.signs import SIGN, sign

Wanted = TypeVar("Wanted")

_PARTIAL = re.compile(r"\..+\.(?:(?P<host>[0-9a-f]{8})-)?(?P<process>\d+)\.partial(?:\..*)?")
"""Name of a temporary file: who writes it stands in it; the machine since the second edition."""


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path`` and renames it to ``path`` on success.

    The temporary name keeps the suffix of ``path``, because writers choose a format by it. On any
    error the temporary file is removed and the old file, if there was one, stays as it was. What
    processes that were killed left in the same folder is removed, too.

    Of a symbolic link the target is replaced. A device or pipe (``/dev/stdout``) is written to as
    it is, once everything is there.

    Raises:
        HeatpointError: It is a folder, or the system refuses the write (full disk, no permission,
            missing device).
    """
    try:
        if is_stream(path):
            with tempfile.TemporaryDirectory() as folder:
                yield (whole := Path(folder, f"stream{Path(path).suffix}"))
                sys.stdout.flush()
                with open(whole, "rb") as source, open(path, "ab") as stream:
                    shutil.copyfileobj(source, stream)
            return
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        temporary = partial_name(target)
        try:
            yield temporary
            sign(temporary)
            with open(temporary, "rb+") as written:
                os.fsync(written.fileno())
            os.replace(temporary, target)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise HeatpointError(
            f"cannot write {path}: {error.strerror or error}; free space or choose another folder "
            "(what was saved there before is untouched)"
        ) from error


def is_stream(path: str | Path) -> bool:
    """Tells whether ``path`` is a device or pipe, to which nothing can be renamed.

    A standard stream counts even where the shell leads it to a file, which others write to, too.

    Raises:
        HeatpointError: It is a folder, or no name of a file at all.
        OSError: It is a link that leads nowhere else, or too long a name.
    """
    text = str(path)
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        mode = 0
    except ValueError as error:  # a null character
        raise HeatpointError(f"{text!r} is no name of a file ({error})") from None
    if text in ("", ".") or text.endswith(("/", os.sep)) or stat.S_ISDIR(mode):
        raise HeatpointError(f"cannot write {text!r}: it is a folder; name a file in it")
    return bool(mode) and (not stat.S_ISREG(mode) or text.startswith(("/dev/", "/proc/")))


def partial_name(target: Path) -> Path:
    """Returns the temporary name of a file or folder while this process writes it."""
    return target.with_name(f".{target.stem}.{_here()}-{os.getpid()}.partial{target.suffix}")


def _here() -> str:
    """Returns eight digits for this machine: folders may be shared with others.

    Containers that have one name, that of their host, count their processes each for itself.
    """
    apart = ""
    with suppress(OSError):  # not Linux
        apart = os.readlink("/proc/self/ns/pid")
    return f"{zlib.crc32((platform.node() + apart).encode()):08x}"


def _sweep(folder: Path) -> None:
    """Removes the temporary files of processes of this machine that are no more."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = _PARTIAL.fullmatch(entry.name)
            if found and found["host"] in (None, _here()) and not is_alive(int(found["process"])):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                    continue
                with suppress(OSError):
                    os.unlink(entry.path)


def write_json(path: str | Path, value: Any) -> None:
    """Writes ``value`` as indented JSON, atomically; an object says first who wrote it."""
    if isinstance(value, dict):
        value = {"written_by": SIGN, **value}
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


LARGEST_TEXT = 8 << 30
"""Bytes of a text file that is read whole: more than any published annotation file has."""

LARGEST_YAML = 4 << 20
"""Characters of a YAML file: a hundred thousand names of classes."""


NamedFile = TypeVar("NamedFile", bound=str | Path)


def write_table(
    path: str | Path, headings: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
    """Writes a CSV file, atomically.

    Raises:
        HeatpointError: It cannot be written.
    """
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([headings, *rows])


def check_file(path: NamedFile, remedy: str = "") -> NamedFile:
    """Returns the path of a file after making sure that there is one.

    Args:
        path: Where it should be.
        remedy: What to do where it is not, from a semicolon on.

    Raises:
        HeatpointError: There is none; says what is there, or why nobody can tell.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise HeatpointError(f"{path} does not exist{remedy}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise HeatpointError(f"cannot read {str(path)!r:.300}: {reason}{remedy}") from None
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
        what = "a folder" if stat.S_ISDIR(mode) else "a device or socket"
        raise HeatpointError(f"{path} is {what}, no file{remedy}")
    return path


def read_text(path: str | Path, kind: str = "a text file") -> str:
    """Returns the contents of a text file without its byte order mark, and of carriage returns.

    It is UTF-8, or UTF-16 or UTF-32 as its first bytes tell, or in the national encoding that
    ``encodings`` settles for a data set.

    Args:
        path: The file; a pipe will do.
        kind: What it should be, for the message.

    Raises:
        HeatpointError: The file is missing, unreadable, too large, or no text of a known encoding.
    """
    data = _read_bytes(path, kind)
    try:
        text = encodings.decoded(data, path, kind)
    except MemoryError:
        raise _too_large(path) from None
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise HeatpointError(
            f"{path} is not {kind}: it has a null character in line {line:,}; it was damaged, or "
            "is a file of another kind"
        )
    return text.removeprefix("\ufeff")


def _read_bytes(path: str | Path, kind: str) -> bytes:
    """Returns the bytes of a file that should hold text."""
    try:
        with open(check_file(path, f"; expected {kind}"), "rb") as file:
            if (size := os.fstat(file.fileno()).st_size) > LARGEST_TEXT:
                raise HeatpointError(
                    f"{path} has {size:,} bytes, and {kind} is read whole up to {LARGEST_TEXT:,}; "
                    "split it"
                )
            return file.read()
    except OSError as error:
        raise HeatpointError(f"cannot read {path}: {error.strerror or error}") from error
    except MemoryError:
        raise _too_large(path) from None


def _too_large(path: str | Path) -> HeatpointError:
    return HeatpointError(f"{path} does not fit into this machine's memory; split it")


def read_json(path: str | Path) -> Any:
    """Reads a JSON file, with or without a byte order mark.

    Raises:
        HeatpointError: The file is missing or is not JSON (cut in half, say); names where.
    """
    text = read_text(Path(path), "a JSON text file")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise HeatpointError(
            f"{path} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}; "
            "the file may be cut off"
        ) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise HeatpointError(
            f"{path} cannot be read as JSON: {error}; numbers of thousands of digits and brackets "
            "thousands deep are not taken"
        ) from None


def read_json_as(path: str | Path, kind: type[Wanted]) -> Wanted | None:
    """Reads what a type of ``msgspec`` takes of a JSON file, and passes over the rest.

    That takes a fraction of the time and memory of ``read_json``, where much is passed over.

    Returns:
        None where the file holds something else, or is not JSON by the letter: ``read_json`` takes
        more (NaN, infinities, other encodings), and says of anything else what is wrong.

    Raises:
        HeatpointError: The file is missing or unreadable.
    """
    data = _read_bytes(Path(path), "a JSON text file").removeprefix(codecs.BOM_UTF8)
    if encodings.is_settled() and not data.isascii():
        return None
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def read_yaml(path: str | Path) -> Any:
    """Reads a YAML file as lists and mappings of texts: ``plain_yaml.parse`` says how.

    Raises:
        HeatpointError: The file is missing, larger than ``LARGEST_YAML``, or no YAML; names where.
    """
    from heatpoint.system.plain_yaml import parse

    text = read_text(Path(path), "a YAML text file")
    if len(text) > LARGEST_YAML:
        raise HeatpointError(f"{path} has more than {LARGEST_YAML:,} characters; shorten it")
    return parse(text, path)


def fits(value: object, kind: Any) -> bool:
    """Tells whether a value read from a file is of the type of an annotation; numbers are finite.

    Understands plain types, unions, ``Literal``, and lists, tuples and dicts of one type each,
    where a list serves as a tuple.
    """
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return any(type(value) is type(known) and value == known for known in args)
    if origin in (Union, UnionType):
        return any(fits(value, each) for each in args)
    if origin in (list, tuple):
        return isinstance(value, list | tuple) and all(fits(each, args[0]) for each in value)
    if origin is dict:
        return isinstance(value, dict) and all(
            fits(key, args[0]) and fits(each, args[1]) for key, each in value.items()
        )
    if kind is float:
        # No field of a file means more, and squares stay finite.
        return type(value) in (int, float) and abs(value) < 1e18  # type: ignore[arg-type]
    return type(value) is int if kind is int else isinstance(value, kind)
