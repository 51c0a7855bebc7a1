"""Opens image files of a closed list of formats; what fails names the file and what it holds."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import BinaryIO

from PIL import Image as PIL
from PIL import ImageFile, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from heatpoint.data.shards import is_file, reading
from heatpoint.errors import HeatpointError

_FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "PPM", "WEBP", "TIFF", "JPEG2000", "AVIF")
"""What Pillow may decode, whatever a file is called; others would start programs, as EPS does."""

MAX_PIXELS = 178_956_970
"""Largest image that is decoded (Pillow's own limit): half a gigabyte as RGB, and at most eight
bytes per pixel, 1.4 GB, while it is decoded. A few bytes of PNG can claim far more."""

MAX_BYTES = 1 << 30
"""Longest stream or JPEG file that is read; others are read where they lie."""

JPEG_START, JPEG_END, PNG_START = b"\xff\xd8", b"\xff\xd9", b"\x89PNG\r\n\x1a\n"


class BadImage(HeatpointError):
    """An image that cannot be read, also after the trip from a worker process.

    A ``DataLoader`` rebuilds a worker's exception from its printed traceback; what counts is the
    sentence behind the last mention of this class.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())


class TooLarge(BadImage):
    """An image that has, or claims, more pixels than are decoded."""


@contextmanager
def opened(
    source: bytes | str | os.PathLike[str], name: str
) -> Iterator[tuple[ImageFile.ImageFile, BinaryIO]]:
    """Yields an image whose header is read, and its file.

    Args:
        source: The file, or its bytes.
        name: What messages call it.

    Raises:
        BadImage: The file is missing or no image, or what is done with it fails.
    """
    with _stream(source, name) as stream, named(name, stream), _open(stream) as image:
        yield image, stream


@contextmanager
def _stream(source: bytes | str | os.PathLike[str], name: str) -> Iterator[BinaryIO]:
    """Yields an open file that can be read at any place."""
    if isinstance(source, bytes):
        yield io.BytesIO(source)
        return
    try:
        with reading(source) as file:
            # A pipe cannot be read twice.
            yield file if is_file(source) else io.BytesIO(file.read(MAX_BYTES))
    except (OSError, ValueError) as error:  # a name with a null character is a ValueError
        reason = f"cannot be read: {getattr(error, 'strerror', '') or error}"
        if isinstance(error, FileNotFoundError):
            reason = "does not exist"
        elif isinstance(error, IsADirectoryError):
            reason = "is a folder, expected an image file"
        raise BadImage(f"image {name} {reason}") from None


@cache
def _formats() -> tuple[str, ...]:
    """Returns the formats that are read, after making them known to Pillow."""
    PIL.preinit()  # without it, Pillow would import every plugin there is for the first file
    more = []
    if find_spec("pillow_heif"):
        import pillow_heif

        pillow_heif.register_heif_opener()
        more.append("HEIF")
    if find_spec("imagecodecs"):
        from heatpoint.data.jxl import CODESTREAM, CONTAINER, JxlImageFile

        starts = CODESTREAM, CONTAINER
        PIL.register_open("JXL", JxlImageFile, lambda start: start.startswith(starts))
        more.append("JXL")
    return (*_FORMATS, *more)


def _open(stream: BinaryIO) -> ImageFile.ImageFile:
    """Opens an image in one of the formats that are read."""
    start = stream.read(2)
    stream.seek(0)
    if start == JPEG_START:  # else Pillow would look for the further pictures of a stereo camera
        return JpegImageFile(stream)
    return PIL.open(stream, formats=_formats())


def check_pixels(image: PIL.Image, name: str) -> None:
    """Makes sure that an image is not too large to be decoded.

    Raises:
        TooLarge: It is.
    """
    if image.width * image.height > MAX_PIXELS:
        raise TooLarge(
            f"image {name} claims {image.width} x {image.height} pixels, more than the "
            f"{MAX_PIXELS} that are read; cut it into tiles first"
        )


@contextmanager
def named(name: str, stream: BinaryIO | None = None) -> Iterator[None]:
    """Turns whatever a decoder raises into the error that names the image and what it holds."""
    try:
        yield
    except HeatpointError:
        raise
    # Pillow's decoders raise whatever a broken byte happens to cause, struct.error included.
    except Exception as error:
        raise _broken(stream, name, error) from None


def _broken(stream: BinaryIO | None, name: str, error: Exception) -> BadImage:
    reason = str(error) or type(error).__name__
    if isinstance(error, PIL.DecompressionBombError):
        told = reason.partition(",")[0].lower()  # the rest speaks of attacks
        return TooLarge(f"image {name} is too large: {told}; cut it into tiles first")
    if isinstance(error, MemoryError):
        return TooLarge(f"image {name} is too large for the memory; cut it into tiles first")
    if stream is not None:
        stream.seek(0)
        start = stream.read(16)
        if not start:
            return BadImage(f"image {name} is empty (0 bytes)")
        if isinstance(error, UnidentifiedImageError):
            return BadImage(f"{name} is not an image in a known format: it holds {_what(start)}")
    return BadImage(f"image {name} is broken or cut off: {reason}")


def _what(start: bytes) -> str:
    """Returns what a file that begins with these bytes looks like."""
    text = all(32 <= byte < 127 or byte in (9, 10, 13) for byte in start)
    return f"text ({start.decode('ascii')!r} ...)" if text else f"bytes {start[:8].hex(' ')}"
