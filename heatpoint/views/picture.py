"""Looking at the whole picture: letterboxed, at its own resolution, or at several test scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from heatpoint.errors import HeatpointError
from heatpoint.geometry.affine import Affine, letterbox
from heatpoint.geometry.sizes import next_multiple
from heatpoint.views.base import Look, Places, View, chosen, stacked
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
    """

    scales: tuple[float, ...] = (1.0,)
    keep_resolution: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", tuple(self.scales))
        if not self.scales or any(not 0 < scale <= 10 for scale in self.scales):
            raise HeatpointError(
                f"scales must be numbers in (0, 10], at least one, not {self.scales}"
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
        sizes = [self._scaled(scale) for scale in self.scales]
        return [Look(size, letterbox(image_size, size)) for size in sizes]

    def merge(
        self, looks: Sequence[Look], parts: Sequence[Arrays], fields: Sequence[Field], most: int
    ) -> Arrays:
        """Returns the rows of all scales, the ``most`` best of each where there are several."""
        if len(parts) == 1:
            return parts[0]
        best = [np.argsort(-part["scores"], kind="stable")[:most] for part in parts]
        return stacked([chosen(part, order) for part, order in zip(parts, best, strict=True)])

    def protocol(self) -> dict[str, object]:
        """Returns size, scales and whether the resolution is kept."""
        return {
            **super().protocol(),
            "size": None if self.keep_resolution else list(self.size),
            "keep_resolution": self.keep_resolution,
            "scales": list(self.scales),
        }

    def _scaled(self, scale: float) -> tuple[int, int]:
        if scale == 1.0:
            return self.size
        height, width = ((side + self.trim) * scale - self.trim for side in self.size)
        return self.legal(height), self.legal(width)

    def _original(self, image_size: tuple[int, int], scale: float) -> Look:
        """Returns the look at the picture's own resolution, padded to a legal size.

        With a multiple of 128 and a trim of 1 it is CornerNet's rule ``side | 127``.
        """
        resized = [max(1, int(side * scale)) for side in image_size]
        size = (
            next_multiple(resized[0], self.multiple, self.trim),
            next_multiple(resized[1], self.multiple, self.trim),
        )
        # Whole pixels, so that a centred image of odd size is not blurred by half a pixel.
        to_input = Affine.translate(
            (size[1] - resized[1]) // 2, (size[0] - resized[0]) // 2
        ) @ Affine.scale(resized[1] / image_size[1], resized[0] / image_size[0])
        return Look(size, to_input)
