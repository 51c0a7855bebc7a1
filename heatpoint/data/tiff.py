"""Reads TIFF files part by part, so that a picture larger than the memory can be looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from heatpoint.errors import HeatpointError
from heatpoint.geometry import Image


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
        and b"tiff:Orientation" not in bytes(page.tags.valueof("XMP", b""))
    )
    return TiffParts(path, page) if plain else None
