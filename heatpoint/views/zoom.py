"""Looking again, closer, where a first look at the whole picture found something or suspects it.

As in CornerNet-Saccade (Law et al. 2019, sections 3.2 to 3.4); where its paper and its released
program differ, the program is followed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from heatpoint.errors import HeatpointError
from heatpoint.geometry import Affine
from heatpoint.views import Look, Places, View, best_of_each, chosen
from heatpoint.views.fields import Arrays, Field

FIRST_ZOOM = 2.0
"""A first look at a small picture, enlarged by more than this, asks for no other one ..."""

CLOSEST = 4.0
"""... and none is enlarged by more than this, where attention asks for it."""

SIZES = ((96.0, 192.0), (32.0, 64.0), (0.0, 24.0))
"""Longer sides, in pixels of the picture, above which objects are large, medium or small, and how
long such a side is to be in the next look."""

APART, ALIKE = 16.0, (0.8, 1.2)
"""Two places are one if they are no more than so many pixels of the input apart, and the ratio of
their zooms lies in between."""


class Locations(NamedTuple):
    """Where to look, and how closely.

    Attributes:
        points: (N, 2) float64, x and y in image pixels: the middle of the next look.
        zooms: (N,) float64, input pixels per image pixel.
        scores: (N,) float64 in [0, 1].
    """

    points: NDArray[np.float64]
    zooms: NDArray[np.float64]
    scores: NDArray[np.float64]

    def chosen(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Locations:
        """Returns those that a mask or an index names."""
        return Locations(*(values[rows] for values in self))


@dataclass(frozen=True)
class Zoom(View):
    """One or more looks at the whole picture, made small, and closer ones at promising places.

    Attributes:
        longest: The longer side of the picture in each of the first looks, as a share of the
            input's; 255 and 192 pixels of 255 as released.
        attention: Least probability of a place that is looked at again.
        found: Least score of a result of a first look.
        sure: Results of a first look that score more are looked at again.
        crops: Most further looks at a picture, the best places.
        closer: Side of further looks in pixels, that of the windows of training; 0 for looks as
            large as the first ones, as released.
    """

    returns: ClassVar[bool] = True
    settings: ClassVar[tuple[str, ...]] = ("closer",)

    longest: tuple[float, ...] = (1.0, 192 / 255)
    attention: float = 0.3
    found: float = 0.3
    sure: float = 0.5
    crops: int = 30
    closer: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "longest", tuple(self.longest))
        if not self.longest or any(not 0 < share <= 1 for share in self.longest):
            raise HeatpointError(
                f"longest must be shares in (0, 1], at least one, not {self.longest}"
            )
        shares = self.attention, self.found, self.sure
        if any(not 0 <= share <= 1 for share in shares) or min(self.crops, self.closer) < 0:
            raise HeatpointError(
                f"attention, found and sure must lie in [0, 1], crops and closer be at least 0, "
                f"not {shares}, {self.crops} and {self.closer:g}"
            )

    @property
    def near(self) -> tuple[int, int]:
        """The (H, W) of further looks."""
        return (round(self.closer), round(self.closer)) if self.closer else self.size

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """The (H, W) of first and of further looks."""
        return (self.size,) if self.near == self.size else (self.size, self.near)

    def looks(self, image_size: tuple[int, int], places: Places | None = None) -> Sequence[Look]:
        """Returns the looks at the whole picture, aspect kept, centred, the rest black."""
        height, width = image_size
        middle = np.array((width / 2, height / 2))
        fitting = min(self.size[0] / height, self.size[1] / width)
        return [self._at(middle, share * fitting, turn=0) for share in self.longest]

    def _at(self, point: NDArray[np.float64], zoom: float, turn: int) -> Look:
        """Returns a look that shows a point of the picture in its middle."""
        x, y = point.tolist()
        size = self.near if turn else self.size
        centre = Affine.translate(size[1] / 2, size[0] / 2)
        shift = Affine.scale(zoom, zoom) @ Affine.translate(-x, -y)
        return Look(size, centre @ shift, turn=turn, part=turn > 0)

    def again(
        self, image_size: tuple[int, int], looks: Sequence[Look], parts: Sequence[Arrays]
    ) -> Sequence[Look]:
        """Returns the closer looks, the best place first, once the first looks are answered.

        Args:
            image_size: (height, width) of the picture.
            looks: All looks so far.
            parts: What was found by each, and its ``places``, (M, 5) in image pixels.
        """
        if any(look.turn for look in looks):
            return ()
        asked = [
            attended(part["places"], zoom_of(look), self.size, image_size, self.attention)
            for look, part in zip(looks, parts, strict=True)
        ]
        asked += [around(part["boxes"], part["scores"], self.sure) for part in parts]
        every = Locations(*(np.concatenate(columns) for columns in zip(*asked, strict=True)))
        best = distinct(every, both=self.near != self.size)
        kept = zip(best.points[: self.crops], best.zooms.tolist(), strict=False)
        return [self._at(point, zoom, turn=1) for point, zoom in kept]

    def full(self, looks: Sequence[Look]) -> bool:
        """Returns whether there were as many further looks as there may be."""
        return sum(look.turn > 0 for look in looks) >= self.crops

    def merge(
        self, looks: Sequence[Look], parts: Sequence[Arrays], fields: Sequence[Field], most: int
    ) -> Arrays:
        """Returns the rows of all looks; of first ones those that score more than ``found``."""
        shown = [
            part if look.turn else chosen(part, part["scores"] > self.found)
            for look, part in zip(looks, parts, strict=True)
        ]
        return best_of_each(shown, most)[0]

    def protocol(self) -> dict[str, object]:
        """Returns size, first looks, thresholds and the number of further looks."""
        names = ("attention", "found", "sure", "crops", "closer")
        own = {name: getattr(self, name) for name in names}
        return {**super().protocol(), "longest": list(self.longest), **own}


def zoom_of(look: Look) -> float:
    """Returns how many input pixels an image pixel takes."""
    return look.to_input.matrix[0]


def attended(
    places: NDArray[np.float64],
    zoom: float,
    size: tuple[int, int],
    image_size: tuple[int, int],
    least: float,
) -> Locations:
    """Returns where the attention of a first look points to.

    Left out are places outside of the picture, and, as released, all of them where the look is
    enlarged by more than ``FIRST_ZOOM`` already, or the next would be by more than ``CLOSEST``.

    Args:
        places: (M, 5), xyxy of the part that the next look should show, in image pixels, and a
            probability.
        zoom: Input pixels per image pixel of the first look.
        size: (H, W) of the inputs.
        image_size: (height, width) of the picture.
        least: Places of this probability or less are left out.
    """
    points = (places[:, :2] + places[:, 2:4]) / 2
    zooms = size[1] / np.maximum(places[:, 2] - places[:, 0], 1e-9)
    inside = ((points >= 0) & (points < (image_size[1], image_size[0]))).all(1)
    # A hair of room, since the sides of parts are rounded.
    near = (zoom <= FIRST_ZOOM) & (zooms <= CLOSEST * (1 + 1e-6))
    rows = inside & near & (places[:, 4] > least)
    return Locations(points, zooms, places[:, 4].astype(np.float64)).chosen(rows)


def around(boxes: NDArray[np.floating], scores: NDArray[np.floating], least: float) -> Locations:
    """Returns the middles of boxes that score more than ``least``, enlarged by their size.

    Their score is 1, as released, so that they come before all places of attention.
    """
    boxes = boxes[scores > least].astype(np.float64)
    longest = (boxes[:, 2:] - boxes[:, :2]).max(1, initial=0)
    wanted = np.select([longest > above for above, _ in SIZES], [side for _, side in SIZES])
    points = (boxes[:, :2] + boxes[:, 2:]) / 2
    return Locations(points, wanted / np.maximum(longest, 1e-9), np.ones(len(boxes)))


def distinct(locations: Locations, both: bool) -> Locations:
    """Returns locations by descending score, without those that a better one nearly covers.

    Args:
        locations: Any number.
        both: Whether places are one only where they are near along both axes. As released, one
            axis is enough, so that places in one row or column of a picture are taken for one:
            harmless where a look shows much of a row, but small looks would miss what is there.
    """
    left = locations.chosen(np.argsort(-locations.scores, kind="stable"))
    kept = []
    while len(left.scores):
        kept.append(left.chosen(np.arange(1)))
        offsets = np.abs(left.points - left.points[0])
        apart = offsets.max(1) if both else offsets.min(1)
        ratio = left.zooms[0] / left.zooms
        same = (apart <= APART / left.zooms[0]) & (ratio >= ALIKE[0]) & (ratio <= ALIKE[1])
        same[0] = True
        left = left.chosen(~same)
    return Locations(*(np.concatenate(c) for c in zip(*kept, strict=True))) if kept else left
