"""Reads images, from wherever they come, into one form: (H, W, 3) uint8 RGB, upright."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PIL
from PIL import ImageFile, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from heatpoint.errors import HeatpointError
from heatpoint.geometry import Image

ImageSource = str | Path | bytes | NDArray[Any] | PIL.Image
"""A file, the bytes of a file, an array of RGB pixels, or a Pillow image."""

SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"),
    *(".pbm", ".pnm", ".jpe", ".jfif", ".dib", ".jp2", ".avif"),
)
"""Endings, in lower case, by which a folder's images are told from its other files."""

_FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "PPM", "WEBP", "TIFF", "JPEG2000", "AVIF")
"""What Pillow may decode, whatever a file is called; others would start programs, as EPS does."""

MAX_PIXELS = 178_956_970
"""Largest image that is decoded (Pillow's own limit): half a gigabyte as RGB. A few bytes of PNG
can claim far more."""

_ORIENTATION = 0x0112
_JPEG_START, _JPEG_END, _PNG_END = b"\xff\xd8", b"\xff\xd9", b"IEND\xaeB`\x82"


class BadImage(HeatpointError):
    """An image that cannot be read, also after the trip from a worker process.

    A ``DataLoader`` rebuilds a worker's exception from its printed traceback; what counts is the
    sentence behind the last mention of this class.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())


def load_image(source: ImageSource, name: str = "") -> Image:
    """Returns the upright RGB pixels of an image.

    The EXIF orientation of files, bytes and Pillow images is applied once; arrays are taken as
    they are. Grey becomes three equal channels; transparency is dropped, not blended; 16-bit
    values v become ``round(v / 257)``, the full range and never the image's own maximum (16-bit
    *colour* files keep their high byte, at most one level less); CMYK and palettes are converted
    by Pillow without colour profile; of several frames the first is read.

    Args:
        source: A file, its bytes, a Pillow image, or an array: (H, W), (H, W, 1), (H, W, 3) RGB or
            (H, W, 4) RGBA of uint8, uint16, or float in [0, 1].
        name: What messages call an image that has no file name.

    Returns:
        (H, W, 3) uint8; a uint8 RGB array comes back as it is, not copied.

    Raises:
        BadImage: The image is missing, empty, cut off, broken, far too large or no image;
            the message names it and says what was found.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, name or "the image array")
    if isinstance(source, PIL.Image):
        return _from_pillow(source, name or "the Pillow image")
    if isinstance(source, bytes):
        return _decode(source, name or f"an image of {len(source)} bytes")
    if isinstance(source, str | os.PathLike):
        return _decode(_read(Path(source)), name or str(source))
    raise BadImage(
        f"an image is a path, bytes, a numpy array or a Pillow image, got {type(source).__name__}"
    )


def image_size(path: str | Path) -> tuple[int, int]:
    """Returns (height, width) of the upright image; reads the header only.

    Raises:
        BadImage: The file is missing or no image.
    """
    path = Path(path)
    try:
        with _open(path) as image:
            width, height = image.size
            # The size that Pillow tells of a TIFF file is the upright one already.
            turned = image.format != "TIFF" and _orientation(image) >= 5
    except Exception as error:  # _read says what is wrong with a path
        raise _broken(_read(path), str(path), error) from None
    return (width, height) if turned else (height, width)


def ends_well(path: Path) -> bool:
    """Returns False for JPEG and PNG files without an end, which decoding may confirm as cut."""
    with open(path, "rb") as file:
        start = file.read(8)
        file.seek(max(0, file.seek(0, os.SEEK_END) - 64))
        end = file.read()
    if start.startswith(_JPEG_START):
        return _JPEG_END in end
    return not start.startswith(b"\x89PNG") or _PNG_END in end


def _open(file: Path | io.BytesIO) -> ImageFile.ImageFile:
    """Opens an image in one of the formats that are read."""
    PIL.preinit()  # without it, Pillow would import every plugin there is for the first file
    return PIL.open(file, formats=_FORMATS)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        if path.is_dir():
            reason = "is a folder, expected an image file"
        elif isinstance(error, FileNotFoundError):
            reason = "does not exist"
        raise BadImage(f"image {path} {reason}") from None


def _decode(data: bytes, name: str) -> Image:
    stream = io.BytesIO(data)
    try:
        with (JpegImageFile if data.startswith(_JPEG_START) else _open)(stream) as image:
            if image.format == "JPEG" and image.mode in ("L", "RGB"):
                _check_pixels(image, name)
                # Some decoders silently paint what is missing grey. Behind the start of the scan
                # FF D9 can only be the end-of-image marker: FF in pixel data is followed by 00.
                if data.rfind(_JPEG_END) < stream.tell():
                    raise BadImage(
                        f"image {name} is cut off: its {len(data)} bytes lack the end of the JPEG "
                        "data; copy or download it again"
                    )
                # OpenCV takes two thirds of Pillow's time here and gives the same pixels.
                if _orientation(image) == 1:
                    encoded = np.frombuffer(data, np.uint8)
                    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
                    pixels = cv2.imdecode(encoded, flags)
                    if pixels is not None:
                        return pixels  # type: ignore[return-value]
            return _from_pillow(image, name)
    except HeatpointError:
        raise
    # Pillow's decoders raise whatever a broken byte happens to cause, struct.error included.
    except Exception as error:
        raise _broken(data, name, error) from None


def _orientation(image: PIL.Image) -> int:
    """Returns the EXIF orientation 1-8, 1 where it is missing or nonsense."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    # A broken EXIF block makes Pillow raise various errors; the pixels may be fine.
    except Exception:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _from_pillow(image: PIL.Image, name: str) -> Image:
    _check_pixels(image, name)
    if image.mode in ("I", "F"):
        raise BadImage(
            f"{name} holds 32-bit pixels (Pillow mode {image.mode}) without a defined range; "
            "convert it to 8 or 16 bits first"
        )
    try:
        image.load()  # turns TIFF files and forgets their orientation
        orientation = _orientation(image)
        plain = image.copy() if image.mode.startswith("I;16") else image.convert("RGB")
        if orientation != 1:
            plain.info = {}  # other tags, which may be broken, must not hinder the turn
            plain.getexif()[_ORIENTATION] = orientation
            plain = ImageOps.exif_transpose(plain)
        pixels = np.array(plain)
    except Exception as error:
        kind = image.format or "image"
        raise BadImage(f"{name} is a broken or cut off {kind}: {error}") from None
    return _from_array(pixels, name)


def _from_array(pixels: NDArray[Any], name: str) -> Image:
    shape, kind = pixels.shape, pixels.dtype
    if len(shape) == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or 0 in shape:
        raise BadImage(
            f"{name} has shape {shape}; expected (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) with at "
            "least one pixel (channels come last)"
        )
    if kind.kind == "u" and kind.itemsize == 2:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    elif kind.kind == "f":
        low, high = float(pixels.min()), float(pixels.max())
        if not (low >= 0 and high <= 1):
            raise BadImage(
                f"{name} holds {kind} values from {low:g} to {high:g}; expected 0 to 1, or uint8 "
                "from 0 to 255"
            )
        pixels = np.rint(pixels * 255).astype(np.uint8)
    elif kind != np.uint8:
        raise BadImage(f"{name} holds {kind}; expected uint8, uint16, or float from 0 to 1")
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    return np.ascontiguousarray(pixels[..., :3])


def _check_pixels(image: PIL.Image, name: str) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise BadImage(
            f"image {name} claims {image.width} x {image.height} pixels, more than the "
            f"{MAX_PIXELS} that are read; cut it into tiles first"
        )


def _broken(data: bytes, name: str, error: Exception) -> BadImage:
    """Returns the error for bytes that no decoder takes, saying what they look like."""
    if not data:
        return BadImage(f"image {name} is empty (0 bytes)")
    if isinstance(error, PIL.DecompressionBombError):
        return BadImage(f"image {name} is too large: {error}; cut it into tiles first")
    if isinstance(error, UnidentifiedImageError):
        start = data[:16]
        text = all(32 <= byte < 127 or byte in (9, 10, 13) for byte in start)
        what = f"text ({start.decode('ascii')!r} ...)" if text else f"bytes {start[:8].hex(' ')}"
        if data.startswith(_JPEG_START):
            what = f"a JPEG start but only {len(data)} bytes, cut off or broken"
        return BadImage(f"{name} is not an image in a known format: it holds {what}")
    reason = str(error) or type(error).__name__
    return BadImage(f"image {name} is broken or cut off: {reason}")


class TiffParts:
    """A TIFF file of 8-bit grey, RGB or RGBA that is read part by part; a ``Raster``.

    Args:
        path: The file.
        page: tifffile's page.

    Attributes:
        size: (height, width) in pixels.
    """

    def __init__(self, path: Path, page: Any) -> None:
        self._path, self._page = path, page
        self.size: tuple[int, int] = (int(page.imagelength), int(page.imagewidth))
        self._cell: tuple[int, int] = page.chunks[:2]
        self._across: int = page.chunked[1]

    def region(self, left: int, top: int, right: int, bottom: int) -> Image:
        """Returns the pixels of [left, right) x [top, bottom), which lies within the picture.

        Raises:
            HeatpointError: The file is damaged.
        """
        (high, wide), extent = self._cell, (bottom - top, right - left)
        part = np.zeros((*extent, 3), np.uint8)
        for row in range(top // high, -(-bottom // high)):
            for column in range(left // wide, -(-right // wide)):
                y, x = row * high - top, column * wide - left
                cell = self._decoded(row * self._across + column)
                seen = cell[max(0, -y) : extent[0] - y, max(0, -x) : extent[1] - x]
                y, x = max(0, y), max(0, x)
                part[y : y + seen.shape[0], x : x + seen.shape[1]] = seen
        return part

    def _decoded(self, number: int) -> Image:
        page = self._page
        try:
            place = [page.dataoffsets[number]], [page.databytecounts[number]]
            data, _ = next(page.parent.filehandle.read_segments(*place))
            cell = page.decode(data, number, jpegtables=page.jpegtables)[0]
        except Exception as error:  # decoders raise whatever a broken byte happens to cause
            raise HeatpointError(
                f"part {number} of {self._path} cannot be decoded ({error}); the file is damaged"
            ) from None
        if cell is None:  # a sparse file leaves out cells that are all 0
            return np.zeros((*self._cell, 3), np.uint8)
        cell = cell.reshape(cell.shape[-3:])
        return np.repeat(cell, 3, -1) if cell.shape[-1] == 1 else cell[..., :3]


def open_parts(path: Path) -> TiffParts | None:
    """Returns a picture to be read part by part, or None where it has to be read as a whole.

    That is every format but TIFF, a TIFF of other than 8-bit grey, RGB or RGBA, one that is to be
    turned, and every file where tifffile is not installed.
    """
    if path.suffix.lower() not in (".tif", ".tiff"):
        return None
    try:
        import tifffile
    except ImportError:
        return None
    try:
        file = tifffile.TiffFile(path)
        page: Any = file.pages.first
    except (OSError, ValueError, AttributeError, IndexError, tifffile.TiffFileError):
        return None  # the reader of whole pictures says what is wrong
    file.filehandle.set_lock(True)  # several threads may read at once
    plain = (
        page.dtype == np.uint8
        and getattr(page.photometric, "name", "") in ("RGB", "MINISBLACK", "YCBCR")
        and page.planarconfig == 1
        and page.imagedepth == 1
        and page.samplesperpixel in (1, 3, 4)
        and page.tags.valueof("Orientation", 1) == 1
    )
    return TiffParts(path, page) if plain else None
