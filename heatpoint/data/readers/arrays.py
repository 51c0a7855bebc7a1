"""Opens files of arrays that several formats share: HDF5, and MATLAB's of versions 5 to 7.

SciPy's reader ends the process at some damaged MATLAB files. This one reads nothing beyond the end
of a file and takes no more memory than it has bytes for.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np

from heatpoint.errors import HeatpointError

Kind = Literal["MPII", "DeepLabCut", "SLEAP"]

SUFFIXES = (".h5", ".hdf5", ".slp")

LARGEST = 1 << 30
"""Bytes of one array of annotations: a few numbers in a file may claim any size."""

_LABELS, _ANALYSIS = {"frames", "instances"}, {"tracks", "node_names"}
_PANDAS = "df_with_missing"

MATLAB_LARGEST = 256 << 20
"""Bytes of a MATLAB file, and of what is compressed in it: more than any published one has."""

_START, _MATRIX, _COMPRESSED = 128, 14, 15
_ORDERS = {b"\0\1IM": "<", b"\1\0MI": ">"}
_NUMBERS = {
    **{1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4"},
    **{7: "f4", 9: "f8", 12: "i8", 13: "u8"},
}
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELLS, _STRUCTURES, _LETTERS, _FIRST_NUMBER, _LAST_NUMBER = 1, 2, 4, 6, 15


@contextmanager
def open_hdf5(path: Path, instead: str) -> Iterator[Any]:
    """Opens an HDF5 file as an ``h5py.File``.

    Args:
        path: The file.
        instead: What to do without h5py, for the message.

    Raises:
        HeatpointError: h5py is not installed, or the file is damaged, as it is opened or later.
    """
    try:
        import h5py
    except ImportError:
        raise HeatpointError(
            f"{path} is an HDF5 file, which needs h5py: install heatpoint[hdf5]; {instead}"
        ) from None
    try:
        with h5py.File(path, "r") as file:
            yield file
    except HeatpointError:
        raise
    # What h5py raises where the bytes contradict each other is of many kinds.
    except Exception as error:
        raise HeatpointError(f"{path} is no whole HDF5 file: {error}") from None


def values(file: Any, name: str) -> Any:
    """Returns what a dataset of an open file holds.

    Raises:
        HeatpointError: It is larger than ``LARGEST``.
        KeyError: There is no such dataset.
    """
    if (size := file[name].nbytes) > LARGEST:
        raise HeatpointError(
            f"{file.filename}: {name!r} claims {size:,} bytes, expected at most {LARGEST:,}; the "
            "file may be damaged"
        )
    return file[name][()]


def kind(path: Path) -> Kind | None:
    """Returns the format of an HDF5 file by its name and by what is at its top.

    A file that cannot be opened is what its suffix says: ``.slp`` of SLEAP, others of MPII. Files
    with other suffixes are of none.
    """
    if path.suffix.lower() not in SUFFIXES:
        return None
    names: set[str] = set()
    with suppress(HeatpointError), open_hdf5(path, "") as file:
        names.update(file)
    if path.suffix.lower() == ".slp" or names >= _LABELS or names >= _ANALYSIS:
        return "SLEAP"
    pandas = _PANDAS in names or path.name.startswith("CollectedData")
    return "DeepLabCut" if pandas else "MPII"


def is_analysis(file: Any) -> bool:
    """Returns whether an open file of SLEAP holds tracks of an analysis, and no labels."""
    return set(file) >= _ANALYSIS and not set(file) >= _LABELS


def read_matlab(path: Path, name: str) -> Any:
    """Returns the variable ``name`` of a .mat file, as ``variables`` gives it.

    Raises:
        HeatpointError: The file is missing, damaged, of MATLAB's version 7.3, or has no such
            variable.
    """
    try:
        content = dict(variables(path))
    except FileNotFoundError:
        raise HeatpointError(f"{path} does not exist") from None
    except (ValueError, OSError, zlib.error, RecursionError) as error:
        raise HeatpointError(f"{path} is no whole MATLAB file: {error}") from None
    if name not in content:
        raise HeatpointError(
            f"{path}: expected the variable {name!r}, got {', '.join(sorted(content)) or 'nothing'}"
        )
    return content[name]


def variables(path: Path) -> Iterator[tuple[str, Any]]:
    """Yields the name and the value of each variable in a file.

    Numbers are arrays, letters a ``str``, cells a list in MATLAB's order, and structures a list of
    dicts.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged, of version 7.3 (which is HDF5) or something else; says what.
            zlib.error and RecursionError, too.
    """
    with open(path, "rb") as file:
        data = file.read(MATLAB_LARGEST + 1)
    if len(data) > MATLAB_LARGEST:
        raise ValueError(f"it has more than {MATLAB_LARGEST:,} bytes")
    if data[124:126] == b"\0\2" or data[1:4] == b"HDF":
        raise ValueError("it is of MATLAB's version 7.3; save it with '-v7'")
    if (order := _ORDERS.get(data[124:_START])) is None:
        raise ValueError("it does not begin as one")
    for kind, part in _elements(memoryview(data)[_START:], order):
        if kind == _COMPRESSED:
            inflater = zlib.decompressobj()
            inner = inflater.decompress(part, MATLAB_LARGEST)
            if inflater.unconsumed_tail:
                raise ValueError(f"a variable in it has more than {MATLAB_LARGEST:,} bytes")
            kind, part = next(_elements(memoryview(inner), order), (0, part))
        if kind == _MATRIX:
            yield _matrix(part, order)


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Yields kind and content of the elements that stand in a row."""
    place = 0
    while place < len(data):
        if place + 8 > len(data):
            raise ValueError("it is cut off")
        kind, size = struct.unpack(f"{order}II", data[place : place + 8])
        start = place + 8
        if kind >> 16:  # up to four bytes stand in the place of the size
            kind, size, start = kind & 0xFFFF, kind >> 16, place + 4
        place = max(place + 8, start + size)
        if place > len(data):
            raise ValueError("it is cut off")
        yield kind, data[start : start + size]
        if kind != _COMPRESSED:
            place += -place % 8


def _matrix(data: memoryview, order: str) -> tuple[str, Any]:
    """Returns the name and the value of an array."""
    if not data:
        return "", np.zeros((0, 0))
    parts = _elements(data, order)
    try:
        flags, sizes, name = [bytes(next(parts)[1]) for _ in range(3)]
        kind = struct.unpack(f"{order}I", flags[:4])[0] & 0xFF
        shape = np.frombuffer(sizes, f"{order}i4").tolist()
        if min(shape) < 0:
            raise ValueError(f"it has an array of the shape {shape}")
        return name.decode("latin-1"), _value(kind, shape, parts, order)
    except (StopIteration, struct.error):
        raise ValueError("an array in it is cut off") from None


def _value(kind: int, shape: list[int], parts: Iterator[tuple[int, memoryview]], order: str) -> Any:
    """Returns what the parts behind its name make of an array."""
    if kind in (_CELLS, _STRUCTURES):
        names = [""]
        if kind == _STRUCTURES:
            (width,), text = struct.unpack(f"{order}i", next(parts)[1]), bytes(next(parts)[1])
            starts = range(0, len(text), width) if width > 0 else ()
            names = [text[i : i + width].split(b"\0")[0].decode("latin-1") for i in starts]
        values = [_matrix(part, order)[1] for _, part in parts]
        if len(values) != math.prod(shape) * len(names):
            raise ValueError(f"it has {len(values)} values for the shape {shape}")
        if kind == _CELLS:
            return values
        rows = range(0, len(values), len(names) or 1)
        return [dict(zip(names, values[i : i + len(names)], strict=True)) for i in rows]
    stored, content = next(parts)
    if kind == _LETTERS:
        encoding = _TEXTS.get(stored, "latin-1")
        ending = {"<": "-le", ">": "-be"}[order] if encoding in ("utf-16", "utf-32") else ""
        return bytes(content).decode(encoding + ending)
    if not _FIRST_NUMBER <= kind <= _LAST_NUMBER or stored not in _NUMBERS:
        raise ValueError(f"it has an array of the kind {kind}, of which nothing is known here")
    return np.frombuffer(content, f"{order}{_NUMBERS[stored]}").reshape(shape, order="F")
