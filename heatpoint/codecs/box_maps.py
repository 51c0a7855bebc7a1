"""How a cell of the maps says its box: by size and offset, or by the distances to its sides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from heatpoint.codecs import Maps, MapSpec, require
from heatpoint.codecs.peaks import unflipped

Measure = Literal["size", "sides"]

MOST = 9.0
"""Logarithm of the longest side that is read, in cells: longer than any picture's."""

AGREE = 0.6
"""Overlap (IoU) from which on what a neighbour of a peak says is taken for the peak's own."""

USUAL = 8.0
"""Distance in cells that an untrained network says; 32 pixels at stride 4."""


class BoxMaps(Protocol):
    """What a codec asks of a way to say boxes.

    Values are (..., n) by map name, offsets (..., 2) from a cell's upper left corner to the
    centre of a box, and sizes (..., 2) its width and height; all in cells.
    """

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """The maps that say a box, the one that measures first."""

    def written(self, offset: Tensor, size: Tensor) -> dict[str, Tensor]:
        """Returns what the maps say about boxes."""

    def read(self, values: Mapping[str, Tensor], learning: bool = False) -> tuple[Tensor, Tensor]:
        """Returns offset and size that values stand for; while learning, sizes may be negative."""

    def unflip(self, maps: Maps) -> Maps:
        """Returns these maps of the mirrored image (x to W - x) as those of the image."""

    def merged(self, maps: Maps, other: Maps) -> Maps:
        """Returns the mean of these maps of an image and of its mirror image, turned back."""


@dataclass(frozen=True)
class SizeAndOffset:
    """Width and height, and where in its cell the centre is: CenterNet's maps.

    Attributes:
        log: Whether sizes are natural logarithms.
        offset: Whether there is an offset map; without, a centre is taken to be its cell's.
    """

    log: bool
    offset: bool

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """``size`` (width, height) and ``offset`` (x, y)."""
        offset = (MapSpec("offset", 2, std=0.001),) if self.offset else ()
        return (MapSpec("size", 2, std=0.001), *offset)

    def written(self, offset: Tensor, size: Tensor) -> dict[str, Tensor]:
        """Returns size, as a logarithm where so chosen, and offset."""
        values = {"size": size.log() if self.log else size}
        return {**values, "offset": offset} if self.offset else values

    def read(self, values: Mapping[str, Tensor], learning: bool = False) -> tuple[Tensor, Tensor]:
        """Returns offset and size; a negative size is 0 unless it is to be learnt from."""
        size = values["size"]
        if self.log:
            size = size.clamp(max=MOST).exp()
        elif not learning:
            size = size.clamp(min=0)
        return values.get("offset", torch.full_like(size, 0.5)), size

    def unflip(self, maps: Maps) -> Maps:
        """Returns both maps turned back; a centre at x in its cell is at 1 - x in the mirrored."""
        back = {"size": maps["size"].flip(-1)}
        return {**back, "offset": unflipped(maps["offset"])} if self.offset else back

    def merged(self, maps: Maps, other: Maps) -> Maps:
        """Returns the mean of the sizes, and the image's own offset, as released.

        The released program, whose mirror is W - 1 - x, can make no use of the mirrored offset.
        """
        return {**maps, "size": (maps["size"] + other["size"]) / 2}


@dataclass(frozen=True)
class Sides:
    """Distances from the centre of a cell to the left, upper, right and lower side of its box.

    Any cell within an object can say its box without knowing where the object's middle is, as in
    FCOS (Tian et al. 2019, equation 1) and TTFNet. A distance d in cells is written as

        d            up to one cell, negative where the cell's centre lies outside of the box,
        1 + ln d     from there on,

    which has no kink. An error of the map is then a share of a long distance and a part of a cell
    of a short one; an exponential alone (FCOS, equation 2) could say no box beside the cell.
    """

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """``sides``, with a hidden convolution of its own where small networks share one."""
        return (MapSpec("sides", 4, bias=1 + math.log(USUAL), branch="sides", std=0.001),)

    def written(self, offset: Tensor, size: Tensor) -> dict[str, Tensor]:
        """Returns the four distances as they are written."""
        away = offset - 0.5
        return {"sides": _written(torch.cat((size / 2 - away, size / 2 + away), -1))}

    def read(self, values: Mapping[str, Tensor], learning: bool = False) -> tuple[Tensor, Tensor]:
        """Returns offset and size; sides that are in the wrong order are no box of any size."""
        written = values["sides"]
        above = (written - 1).clamp(max=MOST).exp()
        distance = torch.where(written < 1, written, above)
        before, behind = distance[..., :2], distance[..., 2:]
        size = before + behind
        return 0.5 + (behind - before) / 2, size if learning else size.clamp(min=0)

    def unflip(self, maps: Maps) -> Maps:
        """Returns the map turned back: left and right change places."""
        return {"sides": maps["sides"].flip(-1)[:, [2, 1, 0, 3]]}

    def merged(self, maps: Maps, other: Maps) -> Maps:
        """Returns the mean of what both say."""
        return {**maps, "sides": (maps["sides"] + other["sides"]) / 2}


def _written(distance: Tensor) -> Tensor:
    """Returns distances in cells as the map says them; see ``Sides``."""
    return torch.where(distance < 1, distance, 1 + distance.clamp(min=1).log())


def check_neighbours(count: int, region: float, name: str) -> None:
    """Makes sure that cells around a peak, of which a mean is taken, have learnt something.

    Args:
        count: Cells on each side.
        region: Share of an object within which cells learn what it is like ...
        name: ... and the field that says it.

    Raises:
        HeatpointError: The count is out of range, or no cell but the peak's learns.
    """
    fine = type(count) is int and (count == 0 or (0 < count < 10 and region > 0))
    require(fine, "neighbours", f"be a whole number from 0 to 9, and 0 without a {name}", count)


def overlap(one: Tensor, other: Tensor) -> Tensor:
    """Returns the IoU (...) of boxes xyxy (..., 4), 0 for empty ones."""
    low = torch.maximum(one[..., :2], other[..., :2])
    high = torch.minimum(one[..., 2:], other[..., 2:])
    shared = _area(high - low)
    whole = _area(one[..., 2:] - one[..., :2]) + _area(other[..., 2:] - other[..., :2]) - shared
    return shared / whole.clamp(min=1e-9)


def _area(sides: Tensor) -> Tensor:
    """Returns the areas (...) of sides (..., 2), 0 where one is negative."""
    sides = sides.clamp(min=0)
    return sides[..., 0] * sides[..., 1]
