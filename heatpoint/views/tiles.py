"""Looking at overlapping tiles of a large picture, and putting what they say together at the seams.

Two tiles both see the strip that they share, so that their rows of one object agree about it:
within the strip they are the same box. Rows that agree become one: the best of those that no seam
has cut, or, of an object that is whole in no tile, the box around all pieces.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from heatpoint.errors import HeatpointError
from heatpoint.geometry import Affine, box_area, box_iou
from heatpoint.views import Look, Places, View, best_of_each, chosen
from heatpoint.views.fields import Arrays, Field

SAME = 0.5
"""Overlap (IoU) from which two rows are of one object."""

_TOUCH = 0.02
"""Share of a row's side by which it may fall short of the tile's border that cuts it."""

Bounds = NDArray[np.float64]
"""(4,) xyxy in image pixels."""


@dataclass(frozen=True)
class Tiles(View):
    """One look per tile, at the picture's own resolution where ``size`` is that of the tiles.

    Attributes:
        tile: (height, width) of a tile in image pixels.
        overlap: Share of a tile that the next one shows too, at least.
    """

    whole: ClassVar[bool] = False

    tile: tuple[int, int] = (512, 512)
    overlap: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.overlap <= 0.9:
            raise HeatpointError(
                f"overlap, the share of a tile that the next one shows too, must lie between 0 "
                f"and 0.9, not {self.overlap}"
            )

    def looks(self, image_size: tuple[int, int], places: Places | None = None) -> Sequence[Look]:
        """Returns one look per tile, row by row; the last ones end with the picture."""
        zoom = Affine.scale(self.size[1] / self.tile[1], self.size[0] / self.tile[0])
        tops, lefts = (_starts(image_size[i], self.tile[i], self.overlap) for i in (0, 1))
        return [
            Look(
                self.size,
                zoom @ Affine.translate(-left, -top),
                (float(left), float(top), float(left + self.tile[1]), float(top + self.tile[0])),
                part=True,
            )
            for top in tops
            for left in lefts
        ]

    def merge(
        self, looks: Sequence[Look], parts: Sequence[Arrays], fields: Sequence[Field], most: int
    ) -> Arrays:
        """Returns the rows of all tiles, each object once; ``most`` holds for every tile."""
        tiles = np.array([look.box for look in looks], np.float64)
        rows, tile_of = best_of_each(parts, most)
        own = _on_own_ground(rows["boxes"], tiles, tile_of)
        return _each_once(chosen(rows, own), tile_of[own], tiles)

    def protocol(self) -> dict[str, object]:
        """Returns size, tile and overlap."""
        return {**super().protocol(), "tile": list(self.tile), "overlap": self.overlap}


def _starts(side: int, tile: int, overlap: float) -> list[int]:
    """Returns where tiles begin along a side, evenly spread; one begins at 0 in any case."""
    if side <= tile:
        return [0]
    count = math.ceil((side - tile) / max(1.0, tile * (1 - overlap))) + 1
    return [round(place * (side - tile) / (count - 1)) for place in range(count)]


def _on_own_ground(
    boxes: NDArray[np.floating], tiles: Bounds, tile_of: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Returns which rows stay by their place: of points, those nearest to the middle of their tile.

    Points have no extent that could tell whether two are one, so the tiles divide the picture
    among each other: a point belongs to the tile whose middle is nearest. Boxes all stay.
    """
    flat = (boxes[:, 2:] <= boxes[:, :2]).any(1)
    middles = (tiles[:, :2] + tiles[:, 2:]) / 2
    stays = np.ones(len(boxes), bool)
    for row in np.flatnonzero(flat):
        away = np.abs(middles - (boxes[row, :2] + boxes[row, 2:]) / 2).max(1)
        stays[row] = away.argmin() == tile_of[row]
    return stays


def _each_once(rows: Arrays, tile_of: NDArray[np.int64], tiles: Bounds) -> Arrays:
    """Returns one row for all rows of different tiles that agree."""
    boxes = rows["boxes"].astype(np.float64)
    inner = tiles != np.concatenate((tiles[:, :2].min(0), tiles[:, 2:].max(0)))
    cut = _cut_sides(boxes, tiles[tile_of], inner[tile_of])
    group = np.arange(len(boxes))
    for first, second in _agreeing(boxes, rows["labels"], cut, tile_of, tiles):
        group[group == group[second]] = group[first]
    joined = {**rows, "boxes": rows["boxes"].copy()}
    stays = np.ones(len(boxes), bool)
    numbers, counts = np.unique(group, return_counts=True)
    for number in numbers[counts > 1]:
        members = np.flatnonzero(group == number)
        whole = members[~cut[members].any(1)]
        among = whole if len(whole) else members
        best = among[rows["scores"][among].argmax()]
        if not len(whole):
            around = (boxes[members, :2].min(0), boxes[members, 2:].max(0))
            joined["boxes"][best] = np.concatenate(around)
        stays[members[members != best]] = False
    return chosen(joined, stays)


def _cut_sides(boxes: Bounds, tiles: Bounds, inner: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Returns which inner sides (x1, y1, x2, y2) of its tile each row reaches, (N, 4).

    A fiftieth of the row's own side, one pixel at least, is taken for a touch: networks are not
    exact.
    """
    reach = np.maximum(1.0, _TOUCH * (boxes[:, 2:] - boxes[:, :2]))
    low = boxes[:, :2] <= tiles[:, :2] + reach
    high = boxes[:, 2:] >= tiles[:, 2:] - reach
    return np.asarray(np.concatenate((low, high), 1) & inner)


def _agreeing(
    boxes: Bounds,
    labels: NDArray[np.int64],
    cut: NDArray[np.bool_],
    tile_of: NDArray[np.int64],
    tiles: Bounds,
) -> Iterator[tuple[int, int]]:
    """Yields pairs of rows of one class that agree, every row once for each pair of tiles.

    The best pairs come first, so that two objects that overlap in a strip keep their own rows.
    """
    rows_of = [np.flatnonzero(tile_of == number) for number in range(len(tiles))]
    for number, tile in enumerate(tiles):
        near = (tiles[number + 1 :, :2] <= tile[2:]).all(1)
        near &= (tiles[number + 1 :, 2:] >= tile[:2]).all(1)
        for other in number + 1 + np.flatnonzero(near):
            mine, theirs = rows_of[number], rows_of[other]
            (shared,) = _clipped(tiles[[other]], tile)
            if box_area(shared) > 0:
                first, second = (_clipped(boxes[rows], shared) for rows in (mine, theirs))
                alike = box_iou(first, second)
            else:
                alike = _continuation(boxes[mine], boxes[theirs], cut[mine], cut[theirs])
            alike = np.where(labels[mine][:, None] == labels[theirs], alike, 0.0)
            while alike.size and alike.max() >= SAME:
                row, column = np.unravel_index(alike.argmax(), alike.shape)
                yield int(mine[row]), int(theirs[column])
                alike[row] = 0
                alike[:, column] = 0


def _clipped(boxes: Bounds, tile: Bounds) -> Bounds:
    """Returns (N, 4) boxes cut down to what a tile shows."""
    return np.concatenate(
        (np.maximum(boxes[:, :2], tile[:2]), np.minimum(boxes[:, 2:], tile[2:])), 1
    )


def _continuation(
    first: Bounds, second: Bounds, first_cut: NDArray[np.bool_], second_cut: NDArray[np.bool_]
) -> Bounds:
    """Returns how alike rows are along a seam of tiles that share nothing but it, (N, M) in [0, 1].

    Only rows that are cut on facing sides can be pieces of one object.
    """
    alike = np.zeros((len(first), len(second)))
    for axis, across in ((0, 1), (1, 0)):
        faces = first_cut[:, axis + 2][:, None] & second_cut[:, axis]
        faces |= first_cut[:, axis][:, None] & second_cut[:, axis + 2]
        low = np.maximum(first[:, None, across], second[:, across])
        high = np.minimum(first[:, None, across + 2], second[:, across + 2])
        least = np.minimum(first[:, None, across], second[:, across])
        most = np.maximum(first[:, None, across + 2], second[:, across + 2])
        along = (high - low) / (most - least).clip(1e-9)
        alike = np.maximum(alike, np.where(faces, along, 0.0))
    return alike
