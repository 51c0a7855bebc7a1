"""Pictures that are not 8-bit RGB: how many channels they have, of which type, and their files."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.data.opening import MAX_BYTES, BadImage, named, opened
from heatpoint.data.shards import content, inside
from heatpoint.errors import HeatpointError
from heatpoint.geometry import RGB, Bands, Image, is_rgb

MOST = 64
"""Most channels of a picture."""

_ARRAYS = (".npy", ".tif", ".tiff")


def checked(pixels: NDArray[Any], bands: Bands, name: str) -> Image:
    """Returns (H, W) or (H, W, C) pixels as (H, W, C), if they have these bands.

    Raises:
        BadImage: They have not.
    """
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or 0 in pixels.shape:
        raise BadImage(f"{name} has shape {pixels.shape}; expected (H, W, C), channels last")
    found = Bands(pixels.shape[2], str(pixels.dtype))
    if found != bands:
        raise BadImage(
            f"{name} has {found}, but {bands} are expected, as the pictures have that the model is "
            "trained on; give pictures like those"
        )
    return pixels


def kept_of(stored: Bands, rgb: bool, channels: int) -> Bands:
    """Returns as what a picture of a data set is read.

    Args:
        stored: What its file holds.
        rgb: Whether it is usually read as RGB.
        channels: How many channels are asked for, 0 if nothing is.
    """
    return RGB if rgb and not channels else stored


def one_kind(kinds: Mapping[Bands, Path], channels: int) -> Bands:
    """Returns what the pictures of a data set hold.

    Args:
        kinds: What there is, with a file of each.
        channels: How many channels are asked for, 0 if nothing is.

    Raises:
        HeatpointError: They are of several kinds, of other numbers of channels than asked for, or
            of values that are not read.
    """
    if len(kinds) > 1:
        (one, first), (other, second), *_ = kinds.items()
        raise HeatpointError(
            f"{first} is read as {one}, but {second} as {other}, and a network takes one kind of "
            "pictures: leave some out, or bring all to the same channels and depth"
        )
    bands, path = next(iter(kinds.items()), (RGB, Path()))
    if channels not in (0, bands.channels):
        raise HeatpointError(
            f"{path} has {bands}, not {channels} channels as asked for; leave channels out"
        )
    if bands.dtype not in ("uint8", "uint16"):
        raise HeatpointError(
            f"{path} has {bands}, but values must be uint8 or uint16; scale all pictures by one "
            "range first"
        )
    return bands


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
    """Returns the first page of a TIFF file that Pillow does not know, None of others."""
    try:
        with opened(source, name):
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
            return np.moveaxis(values, 0, -1) if page.planarconfig == 2 else values
    except BadImage:
        raise
    except Exception as error:  # decoders raise whatever a broken byte happens to cause
        raise BadImage(f"image {name} is broken or cannot be decoded: {error}") from None


def visible(shown: Sequence[int], channels: int) -> list[int]:
    """Returns which three channels, counted from 0, are drawn as red, green and blue.

    Args:
        shown: One channel or three, counted from 1; () for the first three, or the first of fewer.
        channels: How many there are.

    Raises:
        HeatpointError: There are no such channels, or neither one nor three.
    """
    shown = shown or range(1, 4 if channels >= 3 else 2)
    if len(shown) not in (1, 3) or min(shown) < 1 or max(shown) > channels:
        raise HeatpointError(
            f"shown is {','.join(map(str, shown))}; expected one channel, or three as red, green "
            f"and blue, each from 1 to the {channels} that the pictures have"
        )
    return [number - 1 for number in shown] * (3 // len(shown))


def stretched(image: Image, shown: Sequence[int] = ()) -> NDArray[np.uint8]:
    """Returns three channels of a picture as people see it, (H, W, 3) uint8.

    Each is stretched between its own 1st and 99th percentile; 8-bit RGB is left as it is, unless
    channels are chosen.

    Args:
        image: (H, W, C).
        shown: See ``visible``.

    Raises:
        HeatpointError: As ``visible``.
    """
    if is_rgb(image) and not shown:
        return image.astype(np.uint8, copy=False)
    chosen = np.asarray(image[..., visible(shown, image.shape[2])])
    few = max(1, chosen.shape[0] // 512), max(1, chosen.shape[1] // 512)
    low, high = np.percentile(chosen[:: few[0], :: few[1]], (1, 99), axis=(0, 1))
    scaled: NDArray[Any] = (chosen - low) * (255 / np.maximum(high - low, 1))
    return scaled.clip(0, 255).round().astype(np.uint8)
