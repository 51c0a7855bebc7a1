"""Reads images, from wherever they come, into one form: (H, W, 3) uint8 RGB, upright, or bands."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PIL
from PIL import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from heatpoint.data.bands import Deep, as_rgb, checked, stretched
from heatpoint.data.opening import (
    JPEG_END,
    JPEG_START,
    MAX_BYTES,
    ORIENTATION,
    BadImage,
    check_pixels,
    count_frames,
    go_to,
    jpeg_size,
    named,
    opened,
    orientation_of,
    turn,
    upright,
    upright_size,
)
from heatpoint.data.rasters import array_of
from heatpoint.data.shards import reading
from heatpoint.geometry import RGB, Bands, Image

ImageSource = str | Path | bytes | NDArray[Any] | PIL.Image
"""A file, the bytes of a file, an array of RGB pixels, or a Pillow image."""

_ROWS = 1 << 22
"""Pixels that are converted at a time."""

_BITS, _PHOTOMETRIC, _PLANAR = 258, 262, 284
"""Numbers of TIFF tags."""

_SHRUNK = {
    1: cv2.IMREAD_COLOR_RGB,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2 | cv2.IMREAD_COLOR_RGB,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4 | cv2.IMREAD_COLOR_RGB,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8 | cv2.IMREAD_COLOR_RGB,
}
"""How OpenCV reads colours, by the pixels of a JPEG along each side of one; its reduced colours
would be blue, green, red."""

_KEPT = ("L", "LA", "RGB", "RGBA", "CMYK")
"""Pillow's modes whose channels may be kept as they are; others become RGB."""

_UNTURN = {6: 8, 8: 6}
"""What turns back, where that is not the same turn again."""

_PNG_END = b"IEND\xaeB`\x82"


@dataclass(frozen=True)
class Header:
    """What an image file says of itself before it is decoded.

    Attributes:
        size: (height, width) of the upright image.
        orientation: EXIF's number of how it is turned, 1 to 8.
        frames: Pictures in the file; thumbnails, overviews and masks of TIFF files do not count,
            nor do the further views of a JPEG (MPO).
        deep: Whether its values may have more than 8 bits.
        bands: What it holds.
        rgb: Whether it is read as RGB unless its bands are asked for.
    """

    size: tuple[int, int]
    orientation: int
    frames: int
    deep: bool
    bands: Bands = RGB
    rgb: bool = True

    @property
    def stored(self) -> tuple[int, int]:
        """(height, width) of the image before it is turned."""
        return self.size[::-1] if self.orientation >= 5 else self.size


def load_image(
    source: ImageSource,
    name: str = "",
    frame: int = 0,
    bits: int | None = None,
    shrink: int = 1,
    bands: Bands = RGB,
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
        bands: What the picture has to hold; others than RGB are not converted, and those of a .npy
            file are read when they are looked at.

    Returns:
        (H, W, 3) uint8, H and W a ``shrink``-th (rounded up) where it is used; a uint8 RGB array
        comes back as it is, not copied. Of other bands (H, W, C).

    Raises:
        BadImage: The image is missing, empty, cut off, broken, far too large or no image, has no
            such frame, values of more than ``bits``, or other bands; the message names it and says
            what was found.
    """
    if isinstance(source, np.ndarray):
        return _checked(source, name or "the image array", bits, bands)
    if isinstance(source, PIL.Image):
        with named(name or "the Pillow image"):
            if bands != RGB:
                return _banded(source, None, bands, name or "the Pillow image")
            return _from_pillow(source, name or "the Pillow image", bits)
    if not isinstance(source, bytes | str | os.PathLike):
        raise BadImage(
            "an image is a path, bytes, a numpy array or a Pillow image, got "
            f"{type(source).__name__}"
        )
    if not name:
        name = f"an image of {len(source)} bytes" if isinstance(source, bytes) else str(source)
    if (array := array_of(source, name)) is not None:
        return _checked(array, name, bits, bands)
    with opened(source, name) as (image, stream):
        go_to(image, frame, name)
        if bands != RGB:
            return _banded(image, stream, bands, name)
        if isinstance(image, JpegImageFile):
            return _from_jpeg(stream, image, name, shrink)
        check_pixels(image, name)
        deep = _deep(image, stream)
        return _from_pillow(image, name) if deep is None else _from_deep(deep, image, name, bits)


def load_shown(source: ImageSource, shown: Sequence[int] = ()) -> NDArray[np.uint8]:
    """Returns the (H, W, 3) uint8 pixels of an image as people see it; bands are stretched.

    Args:
        source: As ``load_image``'s.
        shown: Channels that are drawn, see ``bands.visible``.

    Raises:
        BadImage: As ``load_image``.
        HeatpointError: There are no such channels.
    """
    array = source if isinstance(source, np.ndarray) else array_of(source, str(source)[:80])
    if array is not None and array.ndim == 3 and (shown or array.shape[2] not in (1, 3, 4)):
        return stretched(array, shown)
    return stretched(load_image(source), shown)


def image_size(source: str | Path | bytes, name: str = "") -> tuple[int, int]:
    """Returns (height, width) of the upright image; reads the header only.

    Args:
        source: A file, or its bytes.
        name: What messages call bytes.

    Raises:
        BadImage: The file is missing or no image.
    """
    if not isinstance(source, bytes) and (plain := jpeg_size(source)):
        return plain
    name = name or ("of the bytes given" if isinstance(source, bytes) else str(source))
    if (array := array_of(source, name, read=False)) is not None:
        return array.shape[0], array.shape[1]
    with opened(source, name) as (image, stream):
        return upright_size(image, orientation_of(image, stream))


def read_header(source: str | Path | bytes) -> Header:
    """Returns what an image file says of itself; of GIF and TIFF files every frame is looked for.

    Raises:
        BadImage: The file is missing or no image.
    """
    if (array := array_of(source, str(source)[:80], read=False)) is not None:
        held = Bands(array.shape[2] if array.ndim == 3 else 1, str(array.dtype))
        kind = array.dtype == np.uint16
        return Header((array.shape[0], array.shape[1]), 1, 1, kind, held, held.channels in (1, 3))
    with opened(source, str(source)[:80]) as (image, stream):
        orientation = orientation_of(image, stream)
        size, deep = upright_size(image, orientation), _is_deep(image)
        channels = len(image.getbands()) if image.mode in _KEPT or deep else 3
        held = Bands(min(channels, 3), "uint16") if deep else Bands(channels)
        return Header(size, orientation, count_frames(image), deep, held)


def deep_file(path: str | Path) -> Deep | None:
    """Returns the values of an image file of more than 8 bits, None of another one.

    Raises:
        BadImage: The image cannot be read.
    """
    if (array := array_of(path, str(path))) is not None:
        return Deep(array) if array.dtype == np.uint16 else None
    with opened(path, str(path)) as (image, stream):
        check_pixels(image, str(path))
        return _deep(image, stream)


def ends_well(path: Path) -> bool:
    """Returns False for JPEG and PNG files without an end, which decoding may confirm as cut."""
    with reading(path) as file:
        start = file.read(8)
        file.seek(max(0, file.seek(0, os.SEEK_END) - 64))
        end = file.read()
    if start.startswith(JPEG_START):
        return JPEG_END in end
    return not start.startswith(b"\x89PNG") or _PNG_END in end


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
    return np.ascontiguousarray(upright(pixels, image))


def _from_deep(deep: Deep, image: PIL.Image, name: str, bits: int | None) -> Image:
    try:
        return as_rgb(upright(deep.among(bits).scaled(), image))
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
    orientation = 1 if isinstance(image, TiffImageFile) else orientation_of(image)
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
    told = image.getexif().get(ORIENTATION, 1) == 1 or ORIENTATION in tags
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


def _banded(image: PIL.Image, stream: BinaryIO | None, bands: Bands, name: str) -> Image:
    """Returns the upright pixels of an image as they are stored, if they have these bands."""
    check_pixels(image, name)
    deep = None
    if isinstance(image, ImageFile.ImageFile) and stream is not None:
        deep = _deep(image, stream)
    if deep is not None:
        values = 65535 - deep.values if deep.white_is_zero else deep.values
    else:
        kept = image.mode in _KEPT or image.mode.startswith("I;16")
        values = np.asarray(image if kept else image.convert("RGB"))
    return np.ascontiguousarray(upright(_checked(values, name, None, bands), image))


def _checked(pixels: NDArray[Any], name: str, bits: int | None, bands: Bands) -> Image:
    try:
        return as_rgb(pixels, bits) if bands == RGB else checked(pixels, bands)
    except ValueError as error:
        raise BadImage(f"{name} {error}") from None
