"""Reads parts of pictures that are too large for memory, from formats that allow it.

TIFF files in tiles or strips are read by the tiles or strips that a part touches, through tifffile
(``pip install 'heatpoint[tiff]'``). Every other format has to be decoded as a whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from heatpoint.errors import HeatpointError
from heatpoint.geometry.affine import Image


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
        tiled = bool(page.is_tiled)
        self._cell = (
            int(page.tilelength if tiled else page.rowsperstrip),
            int(page.tilewidth if tiled else page.imagewidth),
        )
        self._across = -(-self.size[1] // self._cell[1])

    def region(self, left: int, top: int, right: int, bottom: int) -> Image:
        """Returns the pixels of [left, right) x [top, bottom), which lies within the picture.

        Raises:
            HeatpointError: The file is damaged.
        """
        high, wide = self._cell
        part = np.zeros((bottom - top, right - left, 3), np.uint8)
        for row in range(top // high, -(-bottom // high)):
            for column in range(left // wide, -(-right // wide)):
                cell = self._decoded(row * self._across + column)
                y, x = row * high, column * wide
                y1, y2 = max(top, y), min(bottom, y + cell.shape[0])
                x1, x2 = max(left, x), min(right, x + cell.shape[1])
                part[y1 - top : y2 - top, x1 - left : x2 - left] = cell[
                    y1 - y : y2 - y, x1 - x : x2 - x
                ]
        return part

    def _decoded(self, number: int) -> Image:
        page = self._page
        try:
            handle = page.parent.filehandle
            offset, count = page.dataoffsets[number], page.databytecounts[number]
            with handle.lock:
                handle.seek(offset)
                data = handle.read(count)
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
        page: Any = tifffile.TiffFile(path).pages.first
        photometric = page.photometric.name
    except (OSError, ValueError, AttributeError, IndexError, tifffile.TiffFileError):
        return None  # the reader of whole pictures says what is wrong
    orientation = page.tags.get("Orientation")
    plain = (
        page.dtype == np.uint8
        and photometric in ("RGB", "MINISBLACK", "YCBCR")
        and page.planarconfig == 1
        and page.imagedepth == 1
        and page.samplesperpixel in (1, 3, 4)
        and (orientation is None or orientation.value == 1)
    )
    return TiffParts(path, page) if plain else None
