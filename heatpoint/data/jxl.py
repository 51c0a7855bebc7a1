"""JPEG XL for Pillow, decoded by imagecodecs; the header is read here, as that decodes all.

The one plugin for Pillow that is kept well may not be combined with every licence.
"""

from __future__ import annotations

import io
import struct
from fractions import Fraction
from typing import Any

from PIL import Image as PIL
from PIL import ImageFile

from heatpoint.data.bands import Deep, as_rgb

CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
CODESTREAM = b"\xff\x0a"

_SIDE = ((9, 1), (13, 1), (18, 1), (30, 1))
_RATIOS = [Fraction(*pair) for pair in ((1, 1), (6, 5), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))]
"""Width over height where the header does not spell the width out."""


class JxlImageFile(ImageFile.ImageFile):
    """A JPEG XL file as upright 8-bit RGB; the decoder turns it, whatever its EXIF says."""

    format = "JXL"
    format_description = "JPEG XL"

    def _open(self) -> None:
        assert self.fp is not None
        bits = _Bits(_codestream(self.fp.read(1 << 16)))
        width, height = _size(bits)
        orientation, self.is_animated = _metadata(bits)
        self._size = (height, width) if orientation >= 5 else (width, height)
        self._mode, self._frame = "RGB", 0
        self._pixels: Any = None

    @property
    def n_frames(self) -> int:
        """Pictures in the file; those of an animation are decoded to be counted."""
        return len(self._frames()) if self.is_animated else 1

    def seek(self, frame: int) -> None:
        """Chooses which picture is loaded.

        Raises:
            EOFError: There is none.
        """
        if not 0 <= frame < self.n_frames:
            raise EOFError("no more images in JXL file")
        self._frame = frame

    def tell(self) -> int:
        """Returns which picture is loaded."""
        return self._frame

    def load(self) -> Any:
        """Decodes the picture.

        Raises:
            ValueError: It holds values without an upper bound.
        """
        pixels = self._frames()[self._frame]
        if pixels.dtype.kind == "u" and pixels.dtype.itemsize == 2:
            pixels = Deep(pixels, 16).scaled()  # the decoder spreads other depths over 16 bits
        self.im = PIL.fromarray(as_rgb(pixels)).im
        return super().load()

    def _frames(self) -> Any:
        import imagecodecs

        if self._pixels is None:
            assert self.fp is not None
            self.fp.seek(0)
            pixels = imagecodecs.jpegxl_decode(self.fp.read())
            self._pixels = pixels if self.is_animated else pixels[None]
        return self._pixels


class _Bits:
    """Reads numbers from bytes, lowest bits first."""

    def __init__(self, data: bytes) -> None:
        self._number, self._left = int.from_bytes(data[:64], "little"), 8 * len(data[:64])

    def take(self, count: int) -> int:
        if count > self._left:
            raise ValueError("the header is cut off")
        value = self._number & ((1 << count) - 1)
        self._number >>= count
        self._left -= count
        return value

    def choice(self, ways: tuple[tuple[int, int], ...]) -> int:
        """Returns a number that takes one of four counts of bits, each with its offset."""
        count, offset = ways[self.take(2)]
        return self.take(count) + offset


def _codestream(data: bytes) -> bytes:
    """Returns the compressed picture's beginning, behind its two bytes of signature."""
    if data.startswith(CODESTREAM):
        return data[2:]
    stream = io.BytesIO(data)
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind in (b"jxlc", b"jxlp"):
            return stream.read(512)[2 if kind == b"jxlc" else 6 :]
        if length < 8:
            break
        stream.seek(length - 8, io.SEEK_CUR)
    raise ValueError("there is no picture in the container")


def _size(bits: _Bits) -> tuple[int, int]:
    """Returns (width, height) of the picture before it is turned."""
    small = bits.take(1)
    height = 8 * (bits.take(5) + 1) if small else bits.choice(_SIDE)
    if ratio := bits.take(3):
        return int(height * _RATIOS[ratio - 1]), height
    return 8 * (bits.take(5) + 1) if small else bits.choice(_SIDE), height


def _metadata(bits: _Bits) -> tuple[int, bool]:
    """Returns the orientation, 1 to 8, and whether the file holds several pictures."""
    if bits.take(1) or not bits.take(1):  # all is as usual, or all of this is
        return 1, False
    orientation = bits.take(3) + 1
    if bits.take(1):  # the size at which it is meant to be seen
        _size(bits)
    preview = bits.take(1)
    return orientation, not preview and bool(bits.take(1))
