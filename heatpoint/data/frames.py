"""Which way up a decoded picture is, and where the pictures of a file of several lie."""

from __future__ import annotations

import os
import struct
from typing import Any, BinaryIO

from numpy.typing import NDArray
from PIL import Image as PIL
from PIL import ImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from heatpoint.data.opening import PNG_START, BadImage

ORIENTATION, _SUBFILE = 274, 254
"""Numbers of EXIF and TIFF tags."""

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
