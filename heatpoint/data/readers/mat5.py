"""Reads MATLAB's files of versions 5 to 7: arrays of numbers, texts, cells and structures.

SciPy's reader ends the process at some damaged files. This one reads nothing beyond the end of a
file and takes no more memory than it has bytes for.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

LARGEST = 256 << 20
"""Bytes of a file, and of what is compressed in it: more than any published one has."""

_START, _MATRIX, _COMPRESSED = 128, 14, 15
_ORDERS = {b"\0\1IM": "<", b"\1\0MI": ">"}
_NUMBERS = {
    **{1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4"},
    **{7: "f4", 9: "f8", 12: "i8", 13: "u8"},
}
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELLS, _STRUCTURES, _LETTERS, _FIRST_NUMBER, _LAST_NUMBER = 1, 2, 4, 6, 15


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
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"it has more than {LARGEST:,} bytes")
    if data[124:126] == b"\0\2" or data[1:4] == b"HDF":
        raise ValueError("it is of MATLAB's version 7.3; save it with '-v7'")
    if (order := _ORDERS.get(data[124:_START])) is None:
        raise ValueError("it does not begin as one")
    for kind, part in _elements(memoryview(data)[_START:], order):
        if kind == _COMPRESSED:
            inflater = zlib.decompressobj()
            inner = inflater.decompress(part, LARGEST)
            if inflater.unconsumed_tail:
                raise ValueError(f"a variable in it has more than {LARGEST:,} bytes")
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
