"""Reads TIFF files part by part, so that a picture larger than the memory can be looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.errors import HeatpointError
from heatpoint.geometry import RGB, Bands, Image


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
        self._cell: tuple[int, int] = page.chunks[:2]
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
    try:
        file = tifffile.TiffFile(path)
        page: Any = file.pages.first
    except (OSError, ValueError, AttributeError, IndexError, tifffile.TiffFileError):
        return None  # the reader of whole pictures says what is wrong
    file.filehandle.set_lock(True)  # several threads may read at once
    means, samples = getattr(page.photometric, "name", ""), page.samplesperpixel
    if bands == RGB:
        known = page.dtype == np.uint8 and means in ("RGB", "MINISBLACK", "YCBCR")
        known = known and page.planarconfig == 1 and samples in (1, 3, 4)
    else:
        known = Bands(samples, str(page.dtype)) == bands and means == "MINISBLACK"
    plain = (
        known
        and page.imagedepth == 1
        and page.tags.valueof("Orientation", 1) == 1
        and b"tiff:Orientation" not in bytes(page.tags.valueof("XMP", b""))
    )
    return TiffParts(path, page, bands) if plain else None
