"""What heatpoint writes is signed, so that later runs may replace it, and nothing else."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import Literal

from heatpoint.system import VERSION

SIGN = f"heatpoint {VERSION}"
"""What stands in the files."""

Kind = Literal[
    "numbers", "plans", "annotations", "pictures", "pages", "films", "checkpoints", "exported"
]
"""What an output is: results, numbers and logs as text; labelled data sets; and so on."""

_OBJECT = rb'\{\s*"written_by": "heatpoint [^"]*",\s*"'

_STARTS: dict[Kind, bytes] = {
    # Objects, lists of rows in our layout, lines of a film's frames, the log of a run, tables.
    "numbers": _OBJECT + rb'(?!images": )|\[(?:\]|\n  \{\n    "(?:file_name|image_id)": )'
    rb'|\{"frame": \d+, "seconds": |epoch,updates,seconds,'
    rb"|(?:picture|frame,seconds(?:,track)?),(?:class,score|subject,joint),",
    "plans": rb"# written by heatpoint ",
    "annotations": _OBJECT + rb'images": ',
    "pictures": rb"\x89PNG.{29}.{4}tEXtComment\0heatpoint |\xff\xd8.{16,20}\xff\xfe..heatpoint ",
    "pages": rb"<!doctype html>\s*<!-- heatpoint ",
    "films": rb".{4}ftyp|\x1aE\xdf\xa3|RIFF.{4}AVI ",
    "checkpoints": rb'.{8}\{"__metadata__":\{"heatpoint":',
    "exported": rb"\x08|\s*<",
}
"""How files of each kind begin."""

_ENDS: dict[Kind, bytes] = {
    "films": rb"written by heatpoint [^ ]+\Z",
    "exported": rb"\n\theatpoint\x12|<heatpoint value=",
}
"""What stands in the last mebibyte of those kinds that are signed there."""

_START, _END = 4096, 1 << 20


def is_ours(path: Path, kind: Kind) -> bool:
    """Tells whether nothing is lost with a file that an output of this kind replaces.

    So it is if an earlier run of heatpoint wrote it, as an output of the same kind, or if it is
    empty. JSON objects have ``written_by``; PNG, JPEG and HTML a comment; videos a block behind
    their last one; checkpoints and exported files a header. ``.bin`` goes with its ``.xml``.
    """
    if kind == "exported" and path.suffix.lower() == ".bin":
        path = path.with_suffix(".xml")
    with open(path, "rb") as file:
        start = file.read(_START)
        if not start:
            return True
        if not re.match(_STARTS[kind], start, re.DOTALL):
            return False
        file.seek(max(0, path.stat().st_size - _END))
        return kind not in _ENDS or bool(re.search(_ENDS[kind], file.read()))


def sign(path: Path) -> None:
    """Signs a picture or a video that is complete; leaves all else, and what is signed, alone."""
    with open(path, "rb") as file:
        start = file.read(_START)
    if re.match(_STARTS["pictures"], start, re.DOTALL):
        return
    if start.startswith(b"\x89PNG"):
        _insert(path, 33, _chunk(b"tEXt", f"Comment\0{SIGN}".encode()))  # behind the header
    elif start.startswith(b"\xff\xd8\xff\xe0"):
        comment = SIGN.encode()
        segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
        _insert(path, 4 + int.from_bytes(start[4:6], "big"), segment)
    elif re.match(_STARTS["films"], start, re.DOTALL):
        text = f"written by {SIGN}".encode()
        size = len(text).to_bytes(4, "little")
        block = {
            b"RIFF": b"JUNK" + size + text,
            b"\x1aE\xdf\xa3": b"\xec" + bytes([0x80 | len(text)]) + text,  # Void
        }.get(start[:4], (len(text) + 8).to_bytes(4, "big") + b"free" + text)
        with open(path, "ab") as file:
            file.write(block)


def _chunk(kind: bytes, content: bytes) -> bytes:
    """Returns a chunk of a PNG file."""
    check = zlib.crc32(kind + content)
    return len(content).to_bytes(4, "big") + kind + content + check.to_bytes(4, "big")


def _insert(path: Path, place: int, more: bytes) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:place] + more + data[place:])
