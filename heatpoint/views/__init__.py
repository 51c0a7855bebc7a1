"""What every view has: looks at a picture, a second look where one is wanted, and the merge."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from heatpoint.errors import HeatpointError
from heatpoint.geometry import Affine, Image, less, next_multiple
from heatpoint.views.fields import Arrays, Field

Pixels = NDArray[np.unsignedinteger[Any]]
"""(3, H, W) uint8 RGB, contiguous; (C, H, W) uint8 or uint16 of other bands."""


class Raster(Protocol):
    """A picture that can be read as a whole or, where its format allows, in parts."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""

    def region(self, left: int, top: int, right: int, bottom: int) -> Image:
        """Returns the pixels of [left, right) x [top, bottom), which lies within the picture."""


@dataclass(frozen=True)
class Whole:
    """A picture in memory; a ``Raster``.

    Attributes:
        pixels: (h, w, 3) uint8 RGB, or other bands.
    """

    pixels: Image

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def region(self, left: int, top: int, right: int, bottom: int) -> Image:
        """Returns a part of the pixels, without a copy."""
        return self.pixels[top:bottom, left:right]


@dataclass(frozen=True)
class Places:
    """Boxes in one picture to look at.

    Attributes:
        boxes: (N, 4) float, xyxy in image pixels; each may reach beyond the image.
        scores: (N,) float32 in [0, 1], how sure it is that there is something; 1 where known.
        labels: (N,) int64, the class of what is there.
    """

    boxes: NDArray[np.floating]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.boxes)

    def check_inside(self, image_size: tuple[int, int], where: str) -> None:
        """Makes sure that every box shows a part of an image of (height, width).

        Raises:
            HeatpointError: One lies wholly outside.
        """
        height, width = image_size
        for place, (x1, y1, x2, y2) in enumerate(self.boxes.tolist()):
            if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
                raise HeatpointError(
                    f"box {place} of {where}, {box_text((x1, y1, x2, y2))}, lies wholly outside "
                    f"the image of {width} x {height} pixels (width x height); boxes are x1, y1, "
                    "x2, y2 in image pixels: are these another image's?"
                )


@dataclass(frozen=True)
class Look:
    """One input of the network: which pixels it shows, and the way back.

    Attributes:
        size: (H, W) of the input.
        to_input: Map from image to input pixels.
        box: Place that is looked at, xyxy in image pixels, a number of ``Places``, or None.
        score: How sure it is that something is there.
        label: Class of what is there.
        turn: 0 for a first look, 1 for those that the first ones asked for, and so on.
        part: Reads only the pixels in view, of a picture that is much larger.
        to_image: Map from input to image pixels.
    """

    size: tuple[int, int]
    to_input: Affine
    box: tuple[float, float, float, float] | None = None
    score: float = 1.0
    label: int = 0
    turn: int = 0
    part: bool = False
    to_image: Affine = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "to_image", self.to_input.inverse())

    def cut(self, raster: Raster) -> Pixels:
        """Returns the input: the picture warped once, black (0, 0, 0) outside of it.

        Black is what all released systems of this family have there, *before* the network
        normalises.
        """
        left, top, (bottom, right) = 0, 0, raster.size
        if self.part:
            view = np.array([0.0, 0.0, self.size[1], self.size[0]])
            x1, y1, x2, y2 = self.to_image.boxes(view).tolist()
            # Two more pixels, of which interpolation reads the nearest.
            left, top = max(left, math.floor(x1) - 2), max(top, math.floor(y1) - 2)
            right, bottom = min(right, math.ceil(x2) + 2), min(bottom, math.ceil(y2) + 2)
        if right <= left or bottom <= top:
            pixel = raster.region(0, 0, 1, 1)
            return np.zeros((pixel.shape[2], *self.size), pixel.dtype)
        onward = self.to_input @ Affine.translate(left, top)
        return channels_first(onward.warp(raster.region(left, top, right, bottom), self.size))


@dataclass(frozen=True)
class View(ABC):
    """Which pixels of a picture are looked at; subclasses register themselves by class name.

    Attributes:
        size: (H, W) of the network's inputs in pixels.
        multiple: Sides of inputs are multiples of this number of pixels ...
        trim: ... less this.
    """

    kinds: ClassVar[dict[str, type[View]]] = {}
    """Every view by class name, which exported files give."""

    settings: ClassVar[tuple[str, ...]] = ()
    """Fields that belong to a trained detector: its header and exported files carry them."""

    asks: ClassVar[bool] = False
    """Whether every look asks about one thing, which is answered by one row, sure or not: rows
    then stay in the order of the places, and none is suppressed or left out."""

    returns: ClassVar[bool] = False
    """Whether it looks again, so that a picture may hold more results than fit one answer."""

    whole: ClassVar[bool] = True
    """Whether the picture is wanted in memory; False reads it part by part."""

    size: tuple[int, int]
    multiple: int = 1
    trim: int = 0

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        View.kinds[cls.__name__] = cls

    @property
    def shapes(self) -> int:
        """Number of different input sizes among the looks at one picture, for batches."""
        return 1

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """The (H, W) of inputs that are known beforehand, to be checked against the network."""
        return (self.size,)

    @abstractmethod
    def looks(self, image_size: tuple[int, int], places: Places | None = None) -> Sequence[Look]:
        """Returns the first looks at a picture of (height, width) pixels.

        Args:
            image_size: (height, width) of the picture.
            places: Where to look, for views that take places; None for wherever the view looks.
        """

    def again(
        self, image_size: tuple[int, int], looks: Sequence[Look], parts: Sequence[Arrays]
    ) -> Sequence[Look]:
        """Returns further looks, wanted because of what was found; none by default.

        It is asked again after these were answered, so that a view must know when to stop: by
        ``Look.turn``, say.

        Args:
            image_size: (height, width) of the picture.
            looks: All looks so far.
            parts: What was found by each, in image pixels, as for ``merge``; fields of the kind
                "place" stand beside these rows.
        """
        return ()

    def full(self, looks: Sequence[Look]) -> bool:
        """Returns whether a picture had all looks that it may have, so that more may be to see."""
        return False

    @abstractmethod
    def merge(
        self, looks: Sequence[Look], parts: Sequence[Arrays], fields: Sequence[Field], most: int
    ) -> Arrays:
        """Returns the rows of all looks at one picture as one answer.

        Args:
            looks: The looks, first ones first.
            parts: Rows of each, in image pixels, empty ones left out; ``boxes``, ``scores`` and
                ``labels`` are among the fields whatever the codec gives.
            fields: Kinds of the fields.
            most: Most results that are wanted of one look.
        """

    def ground(self, looks: Sequence[Look], number: int) -> tuple[float, float, float, float]:
        """Returns the part of the picture that one look alone counts, xyxy in image pixels.

        The grounds of all looks divide the plane among each other. By default a look has all.

        Args:
            looks: The looks at the picture.
            number: Which of them.
        """
        return (-math.inf, -math.inf, math.inf, math.inf)

    def protocol(self) -> dict[str, object]:
        """Returns what decides about the numbers, to be stored beside them."""
        return {"view": type(self).__name__, "size": list(self.size)}

    def legal(self, side: float) -> int:
        """Returns the side of an input, in pixels, that is nearest to ``side``."""
        return max(1, round((side + self.trim) / self.multiple)) * self.multiple - self.trim


def stacked(parts: Sequence[Arrays]) -> Arrays:
    """Returns the rows of several looks one after the other."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def best_of_each(parts: Sequence[Arrays], most: int) -> tuple[Arrays, NDArray[np.int64]]:
    """Returns the ``most`` best rows of each look one after the other, and the looks' numbers.

    Of a single look, all rows stay as they are.
    """
    if len(parts) == 1:
        return parts[0], np.zeros(len(parts[0]["scores"]), np.int64)
    best = [np.argsort(-part["scores"], kind="stable")[:most] for part in parts]
    rows = stacked([chosen(part, order) for part, order in zip(parts, best, strict=True)])
    return rows, np.repeat(np.arange(len(parts)), [len(order) for order in best])


def chosen(rows: Arrays, index: NDArray[Any] | np.bool_ | slice) -> Arrays:
    """Returns the rows that an index or a mask selects."""
    return {name: values[index] for name, values in rows.items()}


def box_text(box: Sequence[float]) -> str:
    """Returns a box for messages."""
    return "(" + ", ".join(f"{side:g}" for side in box) + ")"


def channels_first(image: Image) -> Pixels:
    """Returns the contiguous (C, H, W) array of an (H, W, C) image.

    OpenCV's split takes under half the time of a transposed copy.
    """
    planes = np.empty((image.shape[2], *image.shape[:2]), image.dtype)
    cv2.split(image, list(planes))
    return planes


def input_size(
    size: int | Sequence[int] | None,
    own: tuple[int, int],
    multiple: int = 1,
    trim: int = 0,
    name: str = "size",
) -> tuple[int, int]:
    """Returns the (height, width) that an option means.

    Args:
        size: What the user said: one number, or height and width.
        own: What it is if the user said nothing.
        multiple: Number of pixels that every side must be divisible by ...
        trim: ... plus this many pixels.
        name: The option's name, for the message.

    Raises:
        HeatpointError: It is no size, or not one that the network takes; names the next one.
    """
    sides = own if size is None else (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or any(not isinstance(side, int) or side < 1 for side in sides):
        raise HeatpointError(f"{name} must be one or two positive whole numbers, not {size}")
    legal = tuple(next_multiple(side, multiple, trim) for side in sides)
    if legal != sides:
        half = (multiple - 1) // 2
        nearest = tuple(next_multiple(side - half, multiple, trim) for side in sides)
        said = [str(a) if a == b else f"{a}x{b}" for a, b in (legal, nearest)]
        following = said[0] if nearest == legal else f"{said[0]}, the nearest {said[1]}"
        rule = f"multiples of {multiple}{less(trim)}" if trim else f"divisible by {multiple}"
        raise HeatpointError(
            f"{name} {sides[0]}x{sides[1]} (height x width) does not fit this model, whose sides "
            f"must be {rule}: the next legal size is {following}"
        )
    return sides[0], sides[1]
