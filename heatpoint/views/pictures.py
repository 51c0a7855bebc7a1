"""Looking at whole pictures, at one or several scales, or at one crop around each given box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from heatpoint.errors import HeatpointError
from heatpoint.geometry import PADDING, Affine, crop_affine, letterbox, next_multiple
from heatpoint.views import Look, Places, View, best_of_each, stacked
from heatpoint.views.fields import Arrays, Field


@dataclass(frozen=True)
class Picture(View):
    """One look per test scale at the whole picture, aspect kept, centred, the rest black.

    Attributes:
        scales: Test scales. The input's sides are scaled and rounded to what the network accepts,
            so that nothing of the image is cut off (the released code with a fixed input zooms
            instead and loses the rim).
        keep_resolution: Pads every picture to a legal size instead of resizing it to ``size``; at
            scale 1 its pixels are copied, not resampled.
        margin: Input pixels at scale 1 that stay black on every side of the picture at least, by
            which a network sees where it ends. Without, an object at the rim of an input may be cut
            by the picture or by a random view of training, and looks the same; where one kind is
            labelled and the other is not, that costs much (benchmarks, "A margin").
    """

    settings: ClassVar[tuple[str, ...]] = ("margin",)

    scales: tuple[float, ...] = (1.0,)
    keep_resolution: bool = False
    margin: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", tuple(self.scales))
        if not self.scales or any(not 0 < scale <= 10 for scale in self.scales):
            raise HeatpointError(
                f"scales must be numbers in (0, 10], at least one, not {self.scales}"
            )
        if not 0 <= self.margin <= min(self.size) / 4:
            raise HeatpointError(
                f"margin, the input pixels that stay black around a picture, must lie between 0 "
                f"and {min(self.size) / 4:g}, a quarter of the input's shorter side, not "
                f"{self.margin:g}"
            )

    @property
    def shapes(self) -> int:
        """One input size per scale."""
        return len(self.scales)

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """One input size per scale; none that is known beforehand at the picture's resolution."""
        return () if self.keep_resolution else tuple(self._scaled(scale) for scale in self.scales)

    def looks(self, image_size: tuple[int, int], places: Places | None = None) -> Sequence[Look]:
        """Returns one look per scale."""
        if self.keep_resolution:
            return [self._original(image_size, scale) for scale in self.scales]
        return [self._fitted(image_size, scale) for scale in self.scales]

    def merge(
        self, looks: Sequence[Look], parts: Sequence[Arrays], fields: Sequence[Field], most: int
    ) -> Arrays:
        """Returns the rows of all scales, the ``most`` best of each where there are several."""
        return best_of_each(parts, most)[0]

    def protocol(self) -> dict[str, object]:
        """Returns size, scales, margin and whether the resolution is kept."""
        return {
            **super().protocol(),
            "size": None if self.keep_resolution else list(self.size),
            "keep_resolution": self.keep_resolution,
            "scales": list(self.scales),
            "margin": self.margin,
        }

    def margin_in(self, size: tuple[int, int], scale: float = 1.0) -> float:
        """Returns the margin in an input of (height, width) pixels, a quarter of a side at most.

        Sides are rounded to what the network accepts, and others may be asked for, so that an
        input may be smaller than the one that ``margin`` was checked for.
        """
        return min(scale * self.margin, min(size) / 4)

    def _scaled(self, scale: float) -> tuple[int, int]:
        if scale == 1.0:
            return self.size
        height, width = ((side + self.trim) * scale - self.trim for side in self.size)
        return self.legal(height), self.legal(width)

    def _fitted(self, image_size: tuple[int, int], scale: float) -> Look:
        size = self._scaled(scale)
        return Look(size, letterbox(image_size, size, self.margin_in(size, scale)))

    def _original(self, image_size: tuple[int, int], scale: float) -> Look:
        """Returns the look at the picture's own resolution, padded to a legal size.

        With a multiple of 128 and a trim of 1 it is CornerNet's rule ``side | 127``.
        """
        height, width = (max(1, int(side * scale)) for side in image_size)
        free = 2 * math.ceil(scale * self.margin)
        size = (
            next_multiple(height + free, self.multiple, self.trim),
            next_multiple(width + free, self.multiple, self.trim),
        )
        # Whole pixels, so that a centred image of odd size is not blurred by half a pixel.
        shift = Affine.translate((size[1] - width) // 2, (size[0] - height) // 2)
        return Look(size, shift @ Affine.scale(width / image_size[1], height / image_size[0]))


@dataclass(frozen=True)
class Crops(View):
    """One look per box: the box with a margin, aspect kept, centred, black outside the picture.

    Attributes:
        padding: Side of a crop over that of its box.
    """

    settings: ClassVar[tuple[str, ...]] = ("padding",)
    asks: ClassVar[bool] = True

    padding: float = PADDING

    def __post_init__(self) -> None:
        if not 0.1 <= self.padding <= 100:
            raise HeatpointError(
                f"padding, the side of a crop over that of its box, must lie between 0.1 and 100, "
                f"not {self.padding}"
            )

    def looks(self, image_size: tuple[int, int], places: Places | None = None) -> Sequence[Look]:
        """Returns one look per place; without places, one subject fills the picture."""
        height, width = image_size
        if places is None:
            box = (0.0, 0.0, float(width), float(height))
            return [Look(self.size, crop_affine(box, self.size, self.padding), box)]
        looks = []
        for row, score, label in zip(places.boxes, places.scores, places.labels, strict=True):
            box = (float(row[0]), float(row[1]), float(row[2]), float(row[3]))
            to_input = crop_affine(box, self.size, self.padding)
            looks.append(Look(self.size, to_input, box, float(score), int(label)))
        return looks

    def merge(
        self, looks: Sequence[Look], parts: Sequence[Arrays], fields: Sequence[Field], most: int
    ) -> Arrays:
        """Returns the rows in the order of the places; a score is times that of its place."""
        weighted = [
            {**part, "scores": part["scores"] * np.float32(look.score)}
            for look, part in zip(looks, parts, strict=True)
        ]
        return stacked(weighted)

    def protocol(self) -> dict[str, object]:
        """Returns size and padding."""
        return {**super().protocol(), "padding": self.padding}
