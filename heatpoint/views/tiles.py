"""Looking at overlapping tiles of a large picture, and putting what they say together at the seams.

Two tiles both see the strip that they share, so that their rows of one object agree about it:
within the strip they are the same box. Rows that agree become one: the best of those that no seam
has cut, or, of an object that is whole in no tile, the box around all pieces. Rows that have four
corners agree by these, and pieces become the smallest rectangle around all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from heatpoint.errors import HeatpointError
from heatpoint.geometry import Affine, box_area, box_iou
from heatpoint.geometry.polygons import quad_iou
from heatpoint.views import Look, Places, View, best_of_each, chosen
from heatpoint.views.fields import Arrays, Field

SAME = 0.5
"""Overlap (IoU) from which two rows are of one object."""

_NEAR = 4.0
"""Input pixels, a cell, within which points of two tiles are one."""

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
        margin: Input pixels that stay black on the picture's own sides, as ``Picture.margin``;
            fewer where the picture fits into one tile, but not with them.
    """

    whole: ClassVar[bool] = False

    tile: tuple[int, int] = (512, 512)
    overlap: float = 0.2
    margin: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.overlap <= 0.9:
            raise HeatpointError(
                f"overlap, the share of a tile that the next one shows too, must lie between 0 "
                f"and 0.9, not {self.overlap}"
            )

    def looks(self, image_size: tuple[int, int], places: Places | None = None) -> Sequence[Look]:
        """Returns one look per tile, row by row, from edge to edge of the picture."""
        zoom = Affine.scale(self.size[1] / self.tile[1], self.size[0] / self.tile[0])
        tops, lefts = (
            _starts(
                image_size[axis],
                self.tile[axis],
                self.overlap,
                math.ceil(self.margin * self.tile[axis] / self.size[axis]),
            )
            for axis in (0, 1)
        )
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
        flat: NDArray[np.bool_] = np.any(rows["boxes"][:, 2:] <= rows["boxes"][:, :2], axis=1)
        if not flat.any():
            return _each_once(rows, tile_of, tiles)
        near = _NEAR * max(self.tile[axis] / self.size[axis] for axis in (0, 1))
        stays = ~flat
        stays[flat] = _points_once(chosen(rows, flat), tile_of[flat], tiles, near)
        rows, tile_of = chosen(rows, stays), tile_of[stays]
        return rows if flat.all() else _each_once(rows, tile_of, tiles)

    def ground(self, looks: Sequence[Look], number: int) -> tuple[float, float, float, float]:
        """Returns the part of the picture whose nearest tile this one is, xyxy in image pixels."""
        middles = np.array([look.box for look in looks], np.float64).reshape(-1, 2, 2).mean(1)
        ends = []
        for axis in (0, 1):
            lines = np.unique(middles[:, axis])
            borders = np.concatenate(([-np.inf], (lines[1:] + lines[:-1]) / 2, [np.inf]))
            place = int(np.searchsorted(lines, middles[number, axis]))
            ends.append(borders[place : place + 2].tolist())
        return (ends[0][0], ends[1][0], ends[0][1], ends[1][1])

    def protocol(self) -> dict[str, object]:
        """Returns size, tile, overlap and margin."""
        return {
            **super().protocol(),
            "tile": list(self.tile),
            "overlap": self.overlap,
            "margin": self.margin,
        }


def _starts(side: int, tile: int, overlap: float, free: int) -> list[int]:
    """Returns where tiles begin along a side, evenly spread from ``free`` pixels before it on."""
    if side <= tile:
        return [-min(free, (tile - side) // 2)]
    beyond = side + 2 * free - tile
    count = math.ceil(beyond / max(1.0, tile * (1 - overlap))) + 1
    return [round(place * beyond / (count - 1)) - free for place in range(count)]


def _points_once(
    rows: Arrays, tile_of: NDArray[np.int64], tiles: Bounds, near: float
) -> NDArray[np.bool_]:
    """Returns which points stay, (N,): each once, of the tile whose middle is nearest.

    Points have no extent that could tell whether two are one, so the tiles divide the picture
    among each other. Near the line between two, networks may put one point on either side: there,
    points of different tiles that are that near each other are one, the best; those of one class
    come first.

    Args:
        rows: N points, as boxes without extent.
        tile_of: (N,) the tile of each.
        tiles: Their bounds.
        near: In image pixels.
    """
    from scipy.spatial import cKDTree

    places = rows["boxes"].astype(np.float64).reshape(-1, 2, 2).mean(1)
    middles = tiles.reshape(-1, 2, 2).mean(1)
    beyond = np.zeros(len(places))  # twice the distance from the nearest tile's ground
    for axis in (0, 1):
        own, lines = middles[tile_of, axis], np.unique(middles[:, axis])
        nearest = lines[np.searchsorted((lines[1:] + lines[:-1]) / 2, places[:, axis])]
        away = np.abs(places[:, axis] - own) - np.abs(places[:, axis] - nearest)
        beyond = np.maximum(beyond, away)
    kept = np.flatnonzero(beyond <= 2 * near)
    pairs = cKDTree(places[kept]).query_pairs(near, output_type="ndarray")
    one, other = kept[pairs.T]
    both = tile_of[one] != tile_of[other]
    one, other = one[both], other[both]
    stays: NDArray[np.bool_] = beyond <= 2 * near
    unlike = rows["labels"][one] != rows["labels"][other]
    order = np.lexsort((np.linalg.norm(places[one] - places[other], axis=1), unlike))
    for first, second in zip(one[order].tolist(), other[order].tolist(), strict=True):
        if stays[first] and stays[second]:
            better = rows["scores"][first] >= rows["scores"][second]
            stays[second if better else first] = False
    return stays


def _each_once(rows: Arrays, tile_of: NDArray[np.int64], tiles: Bounds) -> Arrays:
    """Returns one row for all rows of different tiles that agree."""
    boxes = rows["boxes"].astype(np.float64)
    inner = tiles != np.concatenate((tiles[:, :2].min(0), tiles[:, 2:].max(0)))
    cut = _cut_sides(boxes, tiles[tile_of], inner[tile_of])
    group = np.arange(len(boxes))
    for first, second in _agreeing(boxes, rows, cut, tile_of, tiles):
        group[group == group[second]] = group[first]
    joined = {**rows, "boxes": rows["boxes"].copy()}
    if quads := "quads" in rows:
        joined["quads"] = rows["quads"].copy()
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
            if quads:
                joined["quads"][best] = _rectangle(rows["quads"][members], rows["quads"][best, 0])
        stays[members[members != best]] = False
    return chosen(joined, stays)


def _rectangle(quads: NDArray[np.floating], first: NDArray[np.floating]) -> NDArray[np.float32]:
    """Returns the corners (4, 2) of the smallest rectangle around quads, from near ``first`` on."""
    around = cv2.minAreaRect(quads.reshape(-1, 2).astype(np.float32))
    corners: NDArray[np.float32] = cv2.boxPoints(around)  # type: ignore[assignment]
    return np.roll(corners, -np.linalg.norm(corners - first, axis=1).argmin(), 0)


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
    boxes: Bounds, rows: Arrays, cut: NDArray[np.bool_], tile_of: NDArray[np.int64], tiles: Bounds
) -> Iterator[tuple[int, int]]:
    """Yields pairs of rows of one class that agree, every row once for each pair of tiles.

    The best pairs come first, so that two objects that overlap in a strip keep their own rows.
    """
    labels, quads = rows["labels"], rows.get("quads")
    rows_of = [np.flatnonzero(tile_of == number) for number in range(len(tiles))]
    for number, tile in enumerate(tiles):
        near = (tiles[number + 1 :, :2] <= tile[2:]).all(1)
        near &= (tiles[number + 1 :, 2:] >= tile[:2]).all(1)
        for other in number + 1 + np.flatnonzero(near):
            mine, theirs = rows_of[number], rows_of[other]
            (shared,) = _clipped(tiles[[other]], tile)
            if box_area(shared) > 0 and quads is not None:
                alike = quad_iou(quads[mine], quads[theirs], shared)
            elif box_area(shared) > 0:
                first, second = (_clipped(boxes[own], shared) for own in (mine, theirs))
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
