"""Tells the size of a plain JPEG file from its first bytes, ten times faster than decoders do.

Readers of relative boxes need the size of every picture of a data set before anything else. What
is not plain is left to ``images.image_size``: other formats, and files that may have to be turned.
"""

from __future__ import annotations

import os
from pathlib import Path

from heatpoint.data.images import image_size

_READ = 4096
_TURNS = 0xE1
"""Marker of EXIF and XMP, which may say that the picture is to be turned."""

_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Markers of the part that holds the size."""


def quick_size(path: str | Path) -> tuple[int, int]:
    """Returns (height, width) of the upright image, as ``image_size`` does.

    Raises:
        BadImage: The file is missing or no image.
    """
    return _plain_size(path) or image_size(path)


def _plain_size(path: str | Path) -> tuple[int, int] | None:
    """Returns the size of a JPEG file without EXIF whose header is short, None of all others."""
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError):
        return None
    try:
        head = os.read(file, _READ)
    except OSError:  # a folder
        return None
    finally:
        os.close(file)
    place = 2 if head.startswith(b"\xff\xd8\xff") else len(head)
    while place + 9 <= len(head) and head[place] == 0xFF:
        marker = head[place + 1]
        if marker in _FRAMES:
            height = int.from_bytes(head[place + 5 : place + 7], "big")
            width = int.from_bytes(head[place + 7 : place + 9], "big")
            return (height, width) if height and width else None
        if marker == _TURNS or not 0xC0 <= marker <= 0xFE or 0xD0 <= marker <= 0xDA:
            return None
        place += 2 + int.from_bytes(head[place + 2 : place + 4], "big")
    return None
