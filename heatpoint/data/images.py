"""Reads images, from wherever they come, into one form: (H, W, 3) uint8 RGB, upright."""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PIL
from PIL import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from heatpoint.data.depth import Deep, as_rgb
from heatpoint.data.opening import (
    JPEG_END,
    JPEG_START,
    MAX_BYTES,
    PNG_START,
    BadImage,
    check_pixels,
    named,
    opened,
)
from heatpoint.geometry import Image

ImageSource = str | Path | bytes | NDArray[Any] | PIL.Image
"""A file, the bytes of a file, an array of RGB pixels, or a Pillow image."""

_ROWS = 1 << 22
"""Pixels that are converted at a time."""

_ORIENTATION, _SUBFILE, _BITS, _PHOTOMETRIC, _PLANAR = 274, 254, 258, 262, 284
"""Numbers of EXIF and TIFF tags."""

_SHRUNK = {
    1: cv2.IMREAD_COLOR_RGB,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2 | cv2.IMREAD_COLOR_RGB,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4 | cv2.IMREAD_COLOR_RGB,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8 | cv2.IMREAD_COLOR_RGB,
}
"""How OpenCV reads colours, by the pixels of a JPEG along each side of one; its reduced colours
would be blue, green, red."""

_UNTURN = {6: 8, 8: 6}
"""What turns back, where that is not the same turn again."""

_PNG_END = b"IEND\xaeB`\x82"
_TEXTS = {b"eXIf", b"iTXt", b"tEXt", b"zTXt"}
"""Parts of a PNG file that may tell its orientation."""


@dataclass(frozen=True)
class Header:
    """What an image file says of itself before it is decoded.

    Attributes:
        size: (height, width) of the upright image.
        orientation: EXIF's number of how it is turned, 1 to 8.
        frames: Pictures in the file; thumbnails, overviews and masks of TIFF files do not count,
            nor do the further views of a JPEG (MPO).
        deep: Whether its values may have more than 8 bits.
    """

    size: tuple[int, int]
    orientation: int
    frames: int
    deep: bool

    @property
    def stored(self) -> tuple[int, int]:
        """(height, width) of the image before it is turned."""
        return self.size[::-1] if self.orientation >= 5 else self.size


def load_image(
    source: ImageSource, name: str = "", frame: int = 0, bits: int | None = None, shrink: int = 1
) -> Image:
    """Returns the upright RGB pixels of an image.

    The EXIF orientation of files, bytes and Pillow images is applied once; arrays are taken as
    they are. Grey becomes three equal channels; transparency is dropped, not blended; CMYK and
    palettes are converted by Pillow without colour profile.

    Values of more than 8 bits become ``round(255 v / (2**bits - 1))``. How many bits they have is
    what the file declares (PGM, JPEG 2000, TIFF, sBIT of a PNG); in a file of 16 bits that is
    silent, ``bits``, or else the fewest of 8, 10, 12, 14 and 16 that hold its largest value. It is
    never the largest value itself, which would make the pixels of one thing depend on all others in
    the picture.

    Args:
        source: A file, its bytes, a Pillow image, or an array: (H, W), (H, W, 1), (H, W, 3) RGB or
            (H, W, 4) RGBA of uint8, uint16, or float in [0, 1].
        name: What messages call an image that has no file name.
        frame: Which picture of a file of several, from 0.
        bits: The depth of the data set, for pictures that declare none; None guesses it.
        shrink: 2, 4 or 8 allows that so many pixels along each side become one, their mean, as
            JPEG files offer it: three times as fast for 12 million pixels. Others come whole.

    Returns:
        (H, W, 3) uint8, H and W a ``shrink``-th (rounded up) where it is used; a uint8 RGB array
        comes back as it is, not copied.

    Raises:
        BadImage: The image is missing, empty, cut off, broken, far too large or no image, has no
            such frame, or values of more than ``bits``; the message names it and says what was
            found.
    """
    if isinstance(source, np.ndarray):
        return _checked(source, name or "the image array", bits)
    if isinstance(source, PIL.Image):
        with named(name or "the Pillow image"):
            return _from_pillow(source, name or "the Pillow image", bits)
    if not isinstance(source, bytes | str | os.PathLike):
        raise BadImage(
            "an image is a path, bytes, a numpy array or a Pillow image, got "
            f"{type(source).__name__}"
        )
    if not name:
        name = f"an image of {len(source)} bytes" if isinstance(source, bytes) else str(source)
    with opened(source, name) as (image, stream):
        _go_to(image, frame, name)
        if isinstance(image, JpegImageFile):
            return _from_jpeg(stream, image, name, shrink)
        check_pixels(image, name)
        deep = _deep(image, stream)
        return _from_pillow(image, name) if deep is None else _from_deep(deep, image, name, bits)


def image_size(path: str | Path) -> tuple[int, int]:
    """Returns (height, width) of the upright image; reads the header only.

    Raises:
        BadImage: The file is missing or no image.
    """
    with opened(path, str(path)) as (image, stream):
        return _upright_size(image, _orientation(image, stream))


def read_header(source: str | Path | bytes) -> Header:
    """Returns what an image file says of itself; of GIF and TIFF files every frame is looked for.

    Raises:
        BadImage: The file is missing or no image.
    """
    with opened(source, str(source)[:80]) as (image, stream):
        orientation = _orientation(image, stream)
        size, deep = _upright_size(image, orientation), _is_deep(image)
        return Header(size, orientation, _count_frames(image), deep)


def deep_file(path: str | Path) -> Deep | None:
    """Returns the values of an image file of more than 8 bits, None of another one.

    Raises:
        BadImage: The image cannot be read.
    """
    with opened(path, str(path)) as (image, stream):
        check_pixels(image, str(path))
        return _deep(image, stream)


def ends_well(path: Path) -> bool:
    """Returns False for JPEG and PNG files without an end, which decoding may confirm as cut."""
    with open(path, "rb") as file:
        start = file.read(8)
        file.seek(max(0, file.seek(0, os.SEEK_END) - 64))
        end = file.read()
    if start.startswith(JPEG_START):
        return JPEG_END in end
    return not start.startswith(b"\x89PNG") or _PNG_END in end


def _go_to(image: ImageFile.ImageFile, frame: int, name: str) -> None:
    try:
        image.seek(_pages(image)[frame] if isinstance(image, TiffImageFile) else frame)
    except (EOFError, IndexError):
        raise BadImage(f"image {name} has no frame {frame + 1}") from None


def _count_frames(image: ImageFile.ImageFile) -> int:
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


def _orientation(image: PIL.Image, stream: BinaryIO | None = None) -> int:
    """Returns the EXIF orientation 1-8, 1 where it is missing or nonsense.

    Args:
        image: The image.
        stream: Its file, if it is not to be decoded, as Pillow decodes PNG files to look behind
            their pixels.
    """
    early = isinstance(image, PngImageFile) and stream is not None and not _has_late_texts(stream)
    try:
        exif = PIL.Image.getexif(image) if early else image.getexif()
        value = exif.get(_ORIENTATION, 1)
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


def _upright_size(image: ImageFile.ImageFile, orientation: int) -> tuple[int, int]:
    """Returns (height, width) of an image that is not decoded yet."""
    width, height = image.size
    # The size that Pillow tells of a TIFF file with a tag of its own is the upright one already.
    told = isinstance(image, TiffImageFile) and _ORIENTATION in image.tag_v2
    return (width, height) if orientation >= 5 and not told else (height, width)


def turn(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Returns a view of (H, W, ...) pixels as a file with this EXIF orientation means them."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    down = -1 if orientation in (3, 4, 7, 8) else 1
    right = -1 if orientation in (2, 3, 6, 7) else 1
    return pixels[::down, ::right]


def _upright(pixels: NDArray[Any], image: PIL.Image) -> NDArray[Any]:
    """Returns a view of the decoded pixels of an image; decoders turn TIFF files themselves."""
    return pixels if isinstance(image, TiffImageFile) else turn(pixels, _orientation(image))


def _from_jpeg(stream: BinaryIO, image: JpegImageFile, name: str, shrink: int) -> Image:
    check_pixels(image, name)
    if image.mode not in ("L", "RGB"):
        return _from_pillow(image, name)
    behind = stream.tell()
    stream.seek(0)
    data = stream.read(MAX_BYTES)
    # Some decoders silently paint what is missing grey. Behind the start of the scan FF D9 can
    # only be the end-of-image marker: FF in pixel data is followed by 00.
    if data.rfind(JPEG_END) < behind:
        raise BadImage(
            f"image {name} is cut off: its {len(data)} bytes lack the end of the JPEG data; copy "
            "or download it again"
        )
    # OpenCV takes two thirds of Pillow's time here and gives the same pixels.
    flags = _SHRUNK[shrink] | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if pixels is None:
        return _from_pillow(image, name)
    return np.ascontiguousarray(_upright(pixels, image))


def _from_deep(deep: Deep, image: PIL.Image, name: str, bits: int | None) -> Image:
    try:
        return as_rgb(_upright(deep.among(bits).scaled(), image))
    except ValueError as error:
        raise BadImage(f"{name} {error}") from None


def _from_pillow(image: PIL.Image, name: str, bits: int | None = None) -> Image:
    """Returns the pixels of an image; they are converted in strips, which halves the memory."""
    check_pixels(image, name)
    if image.mode in ("I", "F"):
        raise BadImage(
            f"{name} holds 32-bit or signed pixels (Pillow mode {image.mode}) without a defined "
            "range; convert it to 8 or 16 bits first, all pictures by one range"
        )
    image.load()
    if image.mode.startswith("I;16"):
        return _from_deep(Deep(np.asarray(image, np.uint16)), image, name, bits)
    orientation = 1 if isinstance(image, TiffImageFile) else _orientation(image)
    width, height = image.size
    shape = (width, height) if orientation >= 5 else (height, width)
    pixels = np.empty((*shape, 3), np.uint8)
    stored, rows = turn(pixels, _UNTURN.get(orientation, orientation)), max(1, _ROWS // width)
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        strip.info.pop("transparency", None)  # of a palette, Pillow would warn of it
        stored[top : top + rows] = np.asarray(strip.convert("RGB"))
    return pixels


def _is_deep(image: ImageFile.ImageFile) -> bool:
    """Returns whether the values of an image that is not decoded yet may have more than 8 bits."""
    layout = str(image.tile[0].args) if image.tile else ""
    grey = image.mode.startswith("I;16") or (image.format == "PPM" and image.mode == "I")
    return grey or ";16" in layout


def _deep(image: ImageFile.ImageFile, stream: BinaryIO) -> Deep | None:
    """Returns the values of an image of more than 8 bits as its decoder turns them, else None.

    Of a file of several pages and of separate planes, 16-bit colour is left to Pillow, which keeps
    the high byte.

    Args:
        image: The image, whose header is read.
        stream: Its file.
    """
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    deep_colour = _is_deep(image)
    if image.format == "PPM" and image.mode == "I":  # Pillow scales by the maximum it declares
        return Deep(np.asarray(image).astype(np.uint16), 16)
    if image.mode.startswith("I;16"):
        declared = 16 if image.format == "JPEG2000" else _declared(image, stream)
        white_is_zero = tags.get(_PHOTOMETRIC) == 0  # Pillow turns that of 8 bits over, not this
        return Deep(np.asarray(image).astype(np.uint16), declared, white_is_zero)
    told = image.getexif().get(_ORIENTATION, 1) == 1 or _ORIENTATION in tags
    if not deep_colour or image.tell() or tags.get(_PLANAR, 1) != 1 or not told:
        return None
    stream.seek(0)
    encoded = np.frombuffer(stream.read(MAX_BYTES), np.uint8)
    # Pillow would keep the high byte alone, which is almost black of a camera's 12 bits.
    colour = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
    if colour is None or colour.dtype != np.uint16 or colour.ndim != 3:
        return None
    return Deep(colour[..., 2::-1].astype(np.uint16), _declared(image, stream))


def _declared(image: ImageFile.ImageFile, stream: BinaryIO) -> int | None:
    """Returns the bits of each value that a TIFF or PNG file tells, None where it is silent."""
    if isinstance(image, TiffImageFile):
        bits = int(image.tag_v2.get(_BITS, (16,))[0])
        return bits if bits < 16 else None
    stream.seek(0)
    told = re.search(rb"sBIT(.)", stream.read(1 << 16).partition(b"IDAT")[0], re.DOTALL)
    return told[1][0] if told and told[1][0] <= 16 else None


def _checked(pixels: NDArray[Any], name: str, bits: int | None) -> Image:
    try:
        return as_rgb(pixels, bits)
    except ValueError as error:
        raise BadImage(f"{name} {error}") from None
