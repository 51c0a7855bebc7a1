"""Opens image files of a closed list of formats, and says how they lie: which way up, how large.

What fails names the file and what it holds.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any, BinaryIO

from numpy.typing import NDArray
from PIL import Image as PIL
from PIL import ImageFile, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

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
    """An image that cannot be read."""


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


ORIENTATION, _SUBFILE = 274, 254
"""Numbers of EXIF and TIFF tags."""

_READ = 4096
_TURNS = 0xE1
"""Marker of the part of a JPEG file that may say that the picture is to be turned: EXIF and XMP."""

_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Markers of the part that holds the size."""

_TEXTS = {b"eXIf", b"iTXt", b"tEXt", b"zTXt"}
"""Parts of a PNG file that may tell its orientation."""


def go_to(image: ImageFile.ImageFile, frame: int, name: str) -> None:
    """Goes to a picture of a file of several, from 0.

    Raises:
        BadImage: There is no such one.
    """
    try:
        image.seek(_pages(image)[frame] if isinstance(image, TiffImageFile) else frame)
    except (EOFError, IndexError):
        raise BadImage(f"image {name} has no frame {frame + 1}") from None


def count_frames(image: ImageFile.ImageFile) -> int:
    """Returns how many pictures a file holds."""
    if isinstance(image, TiffImageFile):
        return len(_pages(image))
    return getattr(image, "n_frames", 1)


def _pages(image: TiffImageFile) -> list[int]:
    """Returns the places of the pictures of a TIFF file, without those of reduced size and masks.

    The file is left at its first page.
    """
    pages, place = [0], 1
    while image.is_animated:
        try:
            image.seek(place)
        except EOFError:
            break
        except Exception:  # a page in a format of its own, or a broken one: it still counts
            pages.append(place)
            break
        if not image.tag_v2.get(_SUBFILE, 0) & 0b101:
            pages.append(place)
        place += 1
    image.seek(0)
    return pages


def orientation_of(image: PIL.Image, stream: BinaryIO | None = None) -> int:
    """Returns the EXIF orientation 1-8, 1 where it is missing or nonsense.

    Args:
        image: The image.
        stream: Its file, if it is not to be decoded, as Pillow decodes PNG files to look behind
            their pixels.
    """
    early = isinstance(image, PngImageFile) and stream is not None and not _has_late_texts(stream)
    try:
        exif = PIL.Image.getexif(image) if early else image.getexif()
        value = exif.get(ORIENTATION, 1)
    # A broken EXIF block makes Pillow raise various errors; the pixels may be fine.
    except Exception:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _has_late_texts(stream: BinaryIO) -> bool:
    """Returns whether a PNG file has texts behind its pixels."""
    place, pixels = stream.tell(), False
    stream.seek(len(PNG_START))
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if pixels and kind in _TEXTS:
            break
        pixels |= kind == b"IDAT"
        stream.seek(length + 4, os.SEEK_CUR)
    stream.seek(place)
    return len(head) == 8


def upright_size(image: ImageFile.ImageFile, orientation: int) -> tuple[int, int]:
    """Returns (height, width) of an image that is not decoded yet."""
    width, height = image.size
    # The size that Pillow tells of a TIFF file with a tag of its own is the upright one already.
    told = isinstance(image, TiffImageFile) and ORIENTATION in image.tag_v2
    return (width, height) if orientation >= 5 and not told else (height, width)


def jpeg_size(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Returns (height, width) of a JPEG file without EXIF whose header is short, None of others.

    That is ten times faster than what decoders do, and readers of relative boxes need the size of
    every picture of a data set before anything else.
    """
    if not os.path.isfile(path):  # a pipe cannot be read twice
        return None
    try:
        with open(path, "rb", buffering=0) as file:
            head = file.read(_READ)
    except OSError:
        return None
    place = 2 if head.startswith(JPEG_START + b"\xff") else len(head)
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


def turn(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Returns a view of (H, W, ...) pixels as a file with this EXIF orientation means them."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    down = -1 if orientation in (3, 4, 7, 8) else 1
    right = -1 if orientation in (2, 3, 6, 7) else 1
    return pixels[::down, ::right]


def upright(pixels: NDArray[Any], image: PIL.Image) -> NDArray[Any]:
    """Returns a view of the decoded pixels of an image; decoders turn TIFF files themselves."""
    return pixels if isinstance(image, TiffImageFile) else turn(pixels, orientation_of(image))
