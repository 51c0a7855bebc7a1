"""Looking at boxes: one crop around each, in which a model finds the joints of one subject."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from heatpoint.errors import HeatpointError
from heatpoint.geometry.crops import PADDING, crop_affine
from heatpoint.views.base import Look, Places, View, stacked
from heatpoint.views.fields import Arrays, Field


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
