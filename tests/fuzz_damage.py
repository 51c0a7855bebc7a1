"""Damages the contents of files: by bytes, by numbers, by words, and by the parts of JSON."""

from __future__ import annotations

import copy
import json
import re
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

Chance = np.random.Generator
Damage = Callable[[bytes, Chance], bytes]

EXTREMES = [
    *(b"0", b"-1", b"1e300", b"-3e38", b"3e38", b"NaN", b"Infinity", b"-inf", b"1e-320"),
    *(b"99999999999", b"9" * 400, b"9" * 5000, b"8192", b"65537", b"2147483648", b"0.5", b"", b"x"),
    *(b"true", b"null", b"2001-99-99", b"\xc3\xa9", b"\xe4\xb8", b"../../../../etc/passwd"),
    b"x" * 300,
]
"""What takes the place of a number or a word of a text."""

VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 3.5, 8192, 65536, 10**9, 10**400, 1e300, -3e38, float("nan")),
    *(float("inf"), "", "x", "1", "\0", "y" * 300, "../../../../etc/passwd", "é", "nan", [], {}),
    *([[]], [1, 2], [1.0, float("nan"), 3, 4], {"a": 1}, ["x", "x"], [None], list(range(2000))),
]
"""What takes the place of a value of JSON."""

SHORTS = [
    *(*range(20), 32, 64, 255, 256, 257, 277, 284, 317, 322, 323, 338, 339),
    *(4095, 32767, 32768, 32773, 34712, 50000, 50001, 65534, 65535),
]
"""What takes the place of a number of 16 bits: small ones, ends, and what TIFF files number so."""

_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
_WORD = re.compile(rb"[A-Za-z_]{2,}")
BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (96 + i, 96 + i, b",".join([b"*%c" % (95 + i)] * 9)) for i in range(2, 12)
)
INSERTED = [
    *(b"\0", b"\r\n", b"\xef\xbb\xbf", b"\xff\xfe", b"[" * 3000, b"{" * 3000, b'"', b"\\", b"%"),
    *(
        b"<!ENTITY a 'b'>",
        b"&a;",
        b"&a [*a]",
        b"<<: *a\n",
        b"- " * 3000,
        b"!!python/name:os.x ",
        BOMB,
    ),
    *(b'encoding="utf-7"', b"\t", b" ", b",", b"\n" * 50, b"x," * 2000, "é汽车".encode("utf-16")),
]
"""What is put between the bytes of a file."""


def _place(data: bytes, chance: Chance) -> int:
    return int(chance.integers(0, len(data) + 1))


def _span(data: bytes, chance: Chance) -> slice:
    start = _place(data, chance)
    return slice(start, start + int(chance.integers(1, 64)))


def cut(data: bytes, chance: Chance) -> bytes:
    """Returns the beginning."""
    return data[: _place(data, chance)]


def flip(data: bytes, chance: Chance) -> bytes:
    """Returns the bytes with some bits turned."""
    changed = bytearray(data)
    for place in chance.integers(0, len(data), chance.integers(1, 9)) if data else ():
        changed[place] ^= 1 << int(chance.integers(8))
    return bytes(changed)


def overwrite(data: bytes, chance: Chance) -> bytes:
    """Returns the bytes with some in a row all 0, all 1, or noise."""
    span, changed = _span(data, chance), bytearray(data)
    size = len(changed[span])
    kind = int(chance.integers(3))
    changed[span] = (b"\0" * size, b"\xff" * size, chance.bytes(size))[kind]
    return bytes(changed)


def insert(data: bytes, chance: Chance) -> bytes:
    """Returns the bytes with something between them."""
    place = _place(data, chance)
    return data[:place] + INSERTED[int(chance.integers(len(INSERTED)))] + data[place:]


def repeat(data: bytes, chance: Chance) -> bytes:
    """Returns the bytes with some of them many times."""
    span = _span(data, chance)
    return data[: span.start] + data[span] * int(chance.integers(2, 200)) + data[span.stop :]


def drop(data: bytes, chance: Chance) -> bytes:
    """Returns the bytes without some in the middle."""
    span = _span(data, chance)
    return data[: span.start] + data[span.stop :]


def swap(data: bytes, chance: Chance) -> bytes:
    """Returns the bytes with two halves exchanged."""
    place = _place(data, chance)
    return data[place:] + data[:place]


def renumber(data: bytes, chance: Chance) -> bytes:
    """Returns the text with another number or word in place of one."""
    pattern = _NUMBER if chance.random() < 0.7 else _WORD
    found = list(pattern.finditer(data))
    if not found:
        return flip(data, chance)
    one = found[int(chance.integers(len(found)))]
    return data[: one.start()] + EXTREMES[int(chance.integers(len(EXTREMES)))] + data[one.end() :]


BYTES: tuple[Damage, ...] = (cut, flip, overwrite, insert, repeat, drop, swap)
TEXT: tuple[Damage, ...] = (*BYTES, renumber, renumber, renumber, renumber)


def value_of(content: Any, chance: Chance) -> Any:
    """Returns a copy of a value of JSON, damaged in one to three places."""
    content = copy.deepcopy(content)
    for _ in range(int(chance.integers(1, 4))):
        places = list(_places(content))
        if not places:
            return VALUES[int(chance.integers(len(VALUES)))]
        holder, key = places[int(chance.integers(len(places)))]
        deed = chance.random()
        if deed < 0.2:
            del holder[key]
        elif deed < 0.3:
            holder[key] = [holder[key]] * int(chance.integers(2, 50))
        elif deed < 0.4 and isinstance(holder[key], int | float):
            holder[key] = str(holder[key])
        elif deed < 0.45:
            other, name = places[int(chance.integers(len(places)))]
            holder[key] = copy.deepcopy(other[name])
        else:
            holder[key] = copy.deepcopy(VALUES[int(chance.integers(len(VALUES)))])
    return content


def _places(content: Any) -> Any:
    """Yields every place in a value: what holds it, and under which key."""
    if isinstance(content, dict | list):
        keys = list(content) if isinstance(content, dict) else range(len(content))
        for key in keys:
            yield content, key
            yield from _places(content[key])


def parts(data: bytes, chance: Chance) -> bytes:
    """Returns a JSON file with parts of other kinds, or without some."""
    return json.dumps(value_of(json.loads(data), chance)).encode()


def header(data: bytes, chance: Chance) -> bytes:
    """Returns a safetensors file whose header of ours, or the list of tensors, is damaged."""
    length = struct.unpack("<Q", data[:8])[0]
    table = json.loads(data[8 : 8 + length])
    if chance.random() < 0.85:
        ours = value_of(json.loads(table["__metadata__"]["heatpoint"]), chance)
        table["__metadata__"]["heatpoint"] = json.dumps(ours)
    else:
        table = value_of(table, chance)
    text = json.dumps(table).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def tags(data: bytes, chance: Chance) -> bytes:
    """Returns a TIFF file with other numbers among its tags, which begin it or end it."""
    changed, order = bytearray(data), "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    start = struct.unpack(order + ("Q" if big else "I"), data[8:16] if big else data[4:8])[0]
    size, first = (20, start + 8) if big else (12, start + 2)
    for _ in range(int(chance.integers(1, 4))):
        # Number, kind, count or value of one of the tags.
        offset = first + size * int(chance.integers(0, 20)) + 2 * int(chance.integers(0, size // 2))
        number = SHORTS[int(chance.integers(len(SHORTS)))]
        changed[offset : offset + 2] = struct.pack(order + "H", number)
    return bytes(changed)


JSON: tuple[Damage, ...] = (*TEXT, *[parts] * 10)
CHECKPOINT: tuple[Damage, ...] = (*BYTES, *[header] * 20)
