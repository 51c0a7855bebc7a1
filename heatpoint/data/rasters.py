"""Reads what Pillow does not: .npy files, TIFF files of several bands, TIFF files part by part."""

from __future__ import annotations

import io
from contextlib import ExitStack, suppress
from operator import index
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PIL
from PIL.TiffImagePlugin import TiffImageFile

from heatpoint.data.opening import MAX_BYTES, BadImage, named, opened
from heatpoint.data.shards import content, inside
from heatpoint.errors import HeatpointError
from heatpoint.geometry import RGB, Bands, Image

MOST = 64
"""Most channels of a picture."""

_ARRAYS = (".npy", ".tif", ".tiff")

_MEANING, _SAMPLES, _LAYOUT = 262, 277, 284
"""Numbers of TIFF tags."""


def array_of(source: object, name: str, read: bool = True) -> NDArray[Any] | None:
    """Returns the values of a .npy file or of a TIFF file of several bands, None of another one.

    A .npy file is not read but mapped: what is not looked at needs no memory. One of three axes
    has its channels along the shortest, which is the last or the first.

    Args:
        source: A file or its bytes; None is returned for anything else.
        name: What messages call it.
        read: False leaves all values of a TIFF file 0, for those who ask for shape and type.

    Returns:
        (H, W) or (H, W, C).

    Raises:
        BadImage: It cannot be read, or its axes are not clear.
    """
    start, ending = b"", ""
    if isinstance(source, bytes):
        start = source[:6]
    elif isinstance(source, (str, Path)):
        ending = Path(source).suffix.lower()
    if isinstance(source, (str, Path)) and ending in _ARRAYS and inside(source):
        with named(name):
            source = content(source)
    if start == b"\x93NUMPY" or ending == ".npy":
        return _channels_last(_mapped(source, name), name)
    if start[:2] in (b"II", b"MM") or ending in _ARRAYS[1:]:
        return _of_tiff(source, name, read)
    return None


def _mapped(source: Any, name: str) -> NDArray[Any]:
    try:
        if isinstance(source, bytes):
            return np.asarray(np.load(io.BytesIO(source), allow_pickle=False))
        return np.asarray(np.load(source, mmap_mode="r", allow_pickle=False))
    except FileNotFoundError:
        raise BadImage(f"image {name} does not exist") from None
    except (OSError, ValueError, EOFError, MemoryError, OverflowError) as error:
        raise BadImage(f"image {name} is no .npy file of plain numbers: {error}") from None


def _channels_last(array: NDArray[Any], name: str) -> NDArray[Any]:
    if array.ndim == 3:
        first, middle, last = array.shape
        if last < min(first, middle) and last <= MOST:
            return array
        if first < min(middle, last) and first <= MOST:
            return np.moveaxis(array, 0, -1)
    if array.ndim != 2 or 0 in array.shape:
        raise BadImage(
            f"{name} has shape {array.shape}, of which no axis is clearly that of the channels; "
            f"save it as (H, W) or (H, W, C) with at most {MOST} channels, fewer than either side"
        )
    return array


def _of_tiff(source: Any, name: str, read: bool) -> NDArray[Any] | None:
    """Returns the first page of a TIFF file that Pillow does not read as it is, None of others."""
    try:
        with opened(source, name) as (image, _):
            if not _is_cut(image):
                return None
    except BadImage as error:
        if "not an image in a known format" not in str(error):
            raise
    try:
        import tifffile
    except ImportError:
        raise BadImage(
            f"{name} is a TIFF file that Pillow cannot read; if it is one of several bands, "
            "install what reads it: pip install 'heatpoint[tiff]'"
        ) from None
    try:
        with tifffile.TiffFile(io.BytesIO(source) if isinstance(source, bytes) else source) as file:
            page: Any = file.pages.first
            if read and page.nbytes > MAX_BYTES:
                raise BadImage(
                    f"image {name} claims {page.nbytes:,} bytes; cut it into tiles first"
                )
            blank = np.broadcast_to(np.zeros((), page.dtype), page.shape)  # one value in memory
            values: NDArray[Any] = page.asarray() if read else blank
            if values.ndim not in (2, 3) or 0 in values.shape:
                raise BadImage(f"image {name} has shape {values.shape}; expected (H, W, channels)")
            planes = values.ndim == 3 and page.planarconfig == 2
            return np.moveaxis(values, 0, -1) if planes else values
    except BadImage:
        raise
    except Exception as error:  # decoders raise whatever a broken byte happens to cause
        raise BadImage(f"image {name} is broken or cannot be decoded: {error}") from None


def _is_cut(image: PIL.Image) -> bool:
    """Returns whether Pillow would read the first of a TIFF file's channels as grey or RGB."""
    if not isinstance(image, TiffImageFile):
        return False
    means, samples, layout = (image.tag_v2.get(tag, 1) for tag in (_MEANING, _SAMPLES, _LAYOUT))
    with_alpha = image.mode == "LA" and layout == 1
    return bool(samples > 4 if means == 2 else means in (0, 1) and samples > 1 and not with_alpha)


class TiffParts:
    """A TIFF file that is read part by part, as 8-bit RGB or as it is stored; a ``Raster``.

    Args:
        path: The file.
        page: tifffile's page.
        bands: What is read.

    Attributes:
        size: (height, width) in pixels.
    """

    def __init__(self, path: Path, page: Any, bands: Bands) -> None:
        self._path, self._page, self._bands = path, page, bands
        self.size: tuple[int, int] = (int(page.imagelength), int(page.imagewidth))
        self._planes: int = page.samplesperpixel if page.planarconfig == 2 else 1
        high, wide = map(index, page.chunks[:2])  # those of a broken file may be no whole numbers
        self._cell: tuple[int, int] = (high, wide)
        self._grid: tuple[int, int] = page.chunked[-2:] if self._planes > 1 else page.chunked[:2]
        self._mapped: NDArray[Any] | None = None
        # One that is not compressed is often a single strip; one that is sparse starts at 0.
        start = page.dataoffsets[0] if page.is_contiguous else 0
        whole = start + page.nbytes <= page.parent.filehandle.size
        if start and whole and page.photometric.name != "YCBCR":
            kind = np.dtype(page.parent.byteorder + page.dtype.char)
            values = np.memmap(path, kind, "r", start, page.shape)
            last = values[..., None] if values.ndim == 2 else values
            self._mapped = np.moveaxis(last, 0, -1) if self._planes > 1 else last

    def region(self, left: int, top: int, right: int, bottom: int) -> Image:
        """Returns the pixels of [left, right) x [top, bottom), which lies within the picture.

        Raises:
            HeatpointError: The file is damaged.
        """
        if self._mapped is not None:
            return self._kept(self._mapped[top:bottom, left:right])
        (high, wide), extent = self._cell, (bottom - top, right - left)
        part = np.zeros((*extent, self._bands.channels), self._bands.dtype)
        (down, across), each = self._grid, part.shape[2] // self._planes
        for plane in range(self._planes):
            channels = part[..., plane * each : (plane + 1) * each]
            for row in range(top // high, -(-bottom // high)):
                for column in range(left // wide, -(-right // wide)):
                    y, x = row * high - top, column * wide - left
                    cell = self._decoded((plane * down + row) * across + column)
                    seen = cell[max(0, -y) : extent[0] - y, max(0, -x) : extent[1] - x]
                    y, x = max(0, y), max(0, x)
                    channels[y : y + seen.shape[0], x : x + seen.shape[1]] = seen
        return part

    def _kept(self, values: NDArray[Any]) -> Image:
        """Returns the channels that are read, of those stored."""
        if self._bands == RGB:
            values = np.repeat(values, 3, -1) if values.shape[-1] == 1 else values[..., :3]
        return np.ascontiguousarray(values, self._bands.dtype)

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
            return np.zeros((*self._cell, 1), self._bands.dtype)
        cell = cell.reshape(cell.shape[-3:])
        return cell if self._planes > 1 else self._kept(cell)


def open_parts(path: Path, bands: Bands = RGB) -> TiffParts | None:
    """Returns a picture to be read part by part, or None where it has to be read as a whole.

    That is every format but TIFF, as RGB a TIFF of other than 8-bit grey, RGB or RGBA, one of
    colours or of others than these bands where other bands are wanted, one that is to be turned,
    and every file where tifffile is not installed.
    """
    if path.suffix.lower() not in (".tif", ".tiff"):
        return None
    try:
        import tifffile
    except ImportError:
        return None
    # Tags of a broken file may be of any type and value; the reader of whole pictures says so.
    with suppress(Exception), ExitStack() as closing:
        file = closing.enter_context(tifffile.TiffFile(path))
        if parts := _parts(path, file, bands):
            closing.pop_all()
            return parts
    return None


def _parts(path: Path, file: Any, bands: Bands) -> TiffParts | None:
    page: Any = file.pages.first
    file.filehandle.set_lock(True)  # several threads may read at once
    means, samples = getattr(page.photometric, "name", ""), page.samplesperpixel
    if bands == RGB:
        fitting = {"RGB": (3, 4), "YCBCR": (3,), "MINISBLACK": (1, 3)}.get(means, ())
        known = page.dtype == np.uint8 and page.planarconfig == 1 and samples in fitting
    else:
        known = Bands(samples, str(page.dtype)) == bands and means == "MINISBLACK"
    plain = (
        known
        and page.imagedepth == 1
        and page.tags.valueof("Orientation", 1) == 1
        and b"tiff:Orientation" not in bytes(page.tags.valueof("XMP", b""))
    )
    return TiffParts(path, page, bands) if plain else None
