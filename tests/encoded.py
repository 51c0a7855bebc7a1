"""Makes image files for tests: a picture without symmetry, and files of any content."""

from __future__ import annotations

import io
import zlib

import numpy as np
from PIL import Image as PIL


def blocks(height: int = 32, width: int = 48) -> np.ndarray:
    """Returns a picture whose quarters differ, so that lossy formats keep them apart."""
    picture = np.full((height, width, 3), 30, np.uint8)
    picture[: height // 2, : width // 2] = (220, 40, 40)
    picture[: height // 2, width // 2 :] = (40, 200, 60)
    picture[height // 2 :, : width // 2] = (50, 60, 230)
    return picture


def encode(image: PIL.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def turned(orientation: int) -> PIL.Exif:
    tags = PIL.Exif()
    tags[0x0112] = orientation
    return tags


def chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content).to_bytes(4, "big")
    return len(content).to_bytes(4, "big") + kind + content + check


def tiff(tags: dict[int, int], data: bytes) -> bytes:
    """Returns a little-endian TIFF file of these numbers, the data at place 8."""
    data += b"\0" * (-len(data) % 2)
    entries = b"".join(
        tag.to_bytes(2, "little") + b"\4\0\1\0\0\0" + value.to_bytes(4, "little")
        for tag, value in tags.items()
    )
    start = b"II*\0" + (8 + len(data)).to_bytes(4, "little") + data
    return start + len(tags).to_bytes(2, "little") + entries + bytes(4)
