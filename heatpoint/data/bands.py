"""What the values of pictures are: how many channels, of how many bits, and 8-bit RGB of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.data.findings import Finding
from heatpoint.errors import HeatpointError
from heatpoint.geometry import RGB, Bands, Image, is_rgb


def checked(pixels: NDArray[Any], bands: Bands) -> Image:
    """Returns (H, W) or (H, W, C) pixels as (H, W, C), if they have these bands.

    Raises:
        ValueError: They have not; says what they are.
    """
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or 0 in pixels.shape:
        raise ValueError(f"has shape {pixels.shape}; expected (H, W, C), channels last")
    found = Bands(pixels.shape[2], str(pixels.dtype))
    if found != bands:
        raise ValueError(
            f"has {found}, but {bands} are expected, as the pictures have that the model is "
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


DEPTHS = (8, 10, 12, 14, 16)
"""Bits that sensors, and programs that pack their values into 16 bits, have."""


FEWEST = 64
"""Grey levels below which it is worth a word that the file has many more."""


@dataclass(frozen=True)
class Deep:
    """Values of more than 8 bits each.

    Attributes:
        values: (H, W) or (H, W, C) uint16.
        declared: Bits that the file says they have; None if it is silent.
        white_is_zero: Whether 0 is the brightest value.
    """

    values: NDArray[np.uint16]
    declared: int | None = None
    white_is_zero: bool = False

    @property
    def silent(self) -> bool:
        """Whether nothing is declared that holds the values, so that their depth is a guess."""
        return self.declared is None or int(self.values.max(initial=0)) >= 2**self.declared

    @property
    def bits(self) -> int:
        """How many bits the values have: as declared if they fit, else the fewest that hold them.

        The camera's 12 bits in a file of 16 would otherwise be almost black. Among ``DEPTHS``
        alone is chosen, not by the largest value itself, so that pictures of one camera are
        scaled alike unless one is far darker than the others; a data set is read by one depth.
        """
        if not self.silent:
            assert self.declared is not None
            return self.declared
        largest = int(self.values.max(initial=0))
        return next(bits for bits in DEPTHS if largest < 2**bits)

    def among(self, bits: int | None) -> Deep:
        """Returns the values as those of one of many pictures, which are scaled alike.

        Args:
            bits: What those have that declare none; None where that is not known.

        Raises:
            ValueError: There are larger values.
        """
        if bits is None or not self.silent:
            return self
        if self.bits > bits:
            raise ValueError(
                f"holds values up to {self.values.max():,}, more than the {bits} bits of the "
                "pictures that the model was trained on; scale it like those, or train anew with "
                "pictures like this one among them"
            )
        return replace(self, declared=bits)

    def scaled(self) -> NDArray[np.uint8]:
        """Returns ``round(255 v / (2**bits - 1))`` of each value v, 255 less that of white 0."""
        white = 2**self.bits - 1
        steps = (np.arange(white + 1, dtype=np.uint32) * 255 + white // 2) // white
        steps = steps[::-1] if self.white_is_zero else steps
        scaled: NDArray[np.uint8] = steps.astype(np.uint8)[self.values]
        return scaled

    def levels(self) -> tuple[int, int]:
        """Returns how many different values there are, and how many of them stay different."""
        used = np.unique(self.values)
        return len(used), len(np.unique(Deep(used, self.bits).scaled()))


def as_rgb(pixels: NDArray[Any], bits: int | None = None) -> Image:
    """Returns (H, W, 3) uint8 of grey, RGB or RGBA, whose transparency is dropped.

    Args:
        pixels: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, uint16 or float in [0, 1];
            uint8 RGB comes back as it is, not copied.
        bits: What uint16 values have; None guesses.

    Raises:
        ValueError: The array is none of these; says what it holds and what was expected.
    """
    shape, kind = pixels.shape, pixels.dtype
    if len(shape) == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or 0 in shape:
        raise ValueError(
            f"has shape {shape}; expected (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) with at "
            "least one pixel (channels come last)"
        )
    pixels = pixels[..., :3]
    if kind.kind == "u" and kind.itemsize == 2:
        pixels = Deep(pixels).among(bits).scaled()
    elif kind.kind == "f":
        low, high = float(pixels.min()), float(pixels.max())
        if not (low >= 0 and high <= 1):
            raise ValueError(
                f"holds {kind} values from {low:g} to {high:g}; expected 0 to 1, or uint8 from 0 "
                "to 255"
            )
        pixels = np.rint(pixels * 255).astype(np.uint8)
    elif kind != np.uint8:
        raise ValueError(f"holds {kind}; expected uint8, uint16, or float from 0 to 1")
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    return np.ascontiguousarray(pixels)


def depth_findings(deep: Deep | None, path: Path) -> tuple[list[Finding], int | None]:
    """Returns what is to be said of a 16-bit picture, and its bits if they are a guess."""
    if deep is None:
        return [], None
    bits = deep.bits if deep.silent else None
    least, most, (there, seen) = int(deep.values.min()), int(deep.values.max()), deep.levels()
    if seen < FEWEST and there >= 4 * seen:
        detail = f"{there:,} values from {least:,} to {most:,} become {seen} of 256 grey levels"
        return [Finding("picture of few grey levels", str(path), detail)], bits
    if bits is not None and bits < 16:
        detail = f"values up to {most:,}, as if of {bits} bits"
        return [Finding("16-bit picture of fewer bits", str(path), detail)], bits
    return [], bits


def one_depth(guesses: Counter[int]) -> tuple[int | None, list[Finding]]:
    """Returns how many bits all pictures are taken to have that declare none; says if they differ.

    Args:
        guesses: How many of them seem to have how many bits.
    """
    bits = max(guesses, default=None)
    told = ", ".join(f"{number:,} of {one}" for one, number in sorted(guesses.items()))
    detail = f"by their largest values, {told}; all are scaled as {bits}"
    return bits, [Finding("16-bit pictures of several depths", "", detail)] * (len(guesses) > 1)
