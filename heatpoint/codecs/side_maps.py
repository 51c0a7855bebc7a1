"""Where the sides of boxes are: said by the cells that they pass through.

From the middle of an object its sides are far away, and hard to say exactly; a cell on a side need
only look at itself. So a heatmap says through which cells a side passes, whosever, one channel for
each of left, upper, right and lower, another map where in its cell it does, and the sides of a box
that the middle has said about move to where these maps say.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from heatpoint.codecs import Maps, MapSpec
from heatpoint.codecs.encoded import SidePoints, last_of_cell, list_points
from heatpoint.codecs.peaks import is_portable, mean_logit, places_of

HEATMAP, OFFSET = "side_heatmap", "side_offset"
"""Names of the maps."""

WIDE = 2
"""Cells beside a side that its blob reaches at most: it is to be placed, not found."""

ROWS = 9
"""Places along a side at which the maps are asked."""

LEAST, ALL, SURE = 0.2, 0.5, 0.85
"""How sure a place must be (root of the mean squared probability along a side) for a side to move
there at all, to move all of the way, and for the score of the box not to fall."""

NEAR, REACH = 0.35, 24
"""How far a side may move, in the length between it and the opposite one, and in cells."""

SHORT = 4.0
"""Length in cells between two sides from which on the maps are more exact about them than the
middle, whose errors grow with it."""

RIVAL = 0.6
"""How sure a place must be beside its neighbours: of sides next to each other both are places."""

SPREAD = 0.1
"""How far off sides are taken to be, in that length (one standard deviation) ..."""

_LEAST_SPREAD, _LEAST_ROOM = 0.5, 1.0
"""... and the least that this and the way that it may move are, in cells."""


_OUT, _FAR = REACH + 1, 1e6
"""Cells before and behind a map from which no cell of it is within reach."""


def side_maps(bias: float) -> tuple[MapSpec, ...]:
    """Returns the heatmap (4 logits) and the places of sides in their cells (4, in cells).

    Args:
        bias: What logits begin with.
    """
    return MapSpec(HEATMAP, 4, bias=bias), MapSpec(OFFSET, 4, std=0.001)


def list_sides(
    boxes: Tensor, image: Tensor, radius: Tensor, batch: int, map_size: tuple[int, int]
) -> SidePoints:
    """Returns the cells that the sides of boxes pass through, and those beside them, in the maps.

    A cell beside a side learns where it is, too, so that a place need not be found to the cell.
    One that a side passes through learns that side's; of several, one's.

    Args:
        boxes: (P, 4) xyxy in cells, of positive area.
        image: (P,) int64.
        radius: (P, 2) int64, of the objects' blobs along x and y in cells.
        batch: Number of images.
        map_size: (h, w) of the maps.
    """
    height, width = map_size
    ends = boxes.new_tensor((width, height, width, height))
    low, high, last = boxes[:, [1, 0, 1, 0]], boxes[:, [3, 2, 3, 2]], ends.flip(0) - 1
    begin = torch.minimum(low.clamp(min=0).floor(), last)
    number = torch.minimum(high.ceil() - 1, last) - begin + 1
    owner, side = ((boxes >= 0) & (boxes <= ends) & (number > 0)).nonzero().unbind(1)
    number = number[owner, side].long()
    every = torch.repeat_interleave(torch.arange(len(owner), device=boxes.device), number)
    step = torch.arange(len(every), device=boxes.device) - (number.cumsum(0) - number)[every]
    owner, side = owner[every], side[every]
    along, across = begin[owner, side] + step + 0.5, boxes[owner, side]
    upright = side % 2 == 0
    x, y = torch.where(upright, across, along), torch.where(upright, along, across)
    blurred = torch.stack((upright, ~upright), 1) * radius[owner].clamp(max=WIDE)
    planes, points = (batch, 4), torch.stack((x, y), 1)
    found = list_points(points, image[owner], side, blurred, planes, map_size)
    offset = torch.where(upright, found.offset[:, 0], found.offset[:, 1])
    plane, place = image[owner] * 4 + side, places_of(found.cell, width)
    steps = torch.tensor((-1, 1, 0), device=boxes.device)[:, None]  # its own cells come last
    column = place[:, 0] + steps * upright
    row = place[:, 1] + steps * ~upright
    known = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    cell, offset = (row * width + column)[known], (offset - steps)[known]
    plane = plane.expand(3, -1)[known]
    last = last_of_cell(plane, cell, 4 * batch, height * width)
    return SidePoints(plane[last], cell[last], offset[last, None].float(), found.blobs)


def placed_sides(boxes: Tensor, maps: Maps) -> tuple[Tensor, Tensor]:
    """Returns boxes whose sides moved towards where the maps say that one is, if one is near.

    A side is looked for at ``ROWS`` places along itself, in the cells up to ``REACH`` beside each.
    What counts is the root of the mean of the squared probabilities of cells in one line with the
    side: of a disc or a turned thing only few cells of a side touch it, and are sure. Of all such
    p at distances d that do not pale beside their neighbours, the place is where
    p exp(-d^2 / 2 s^2) is greatest, s being ``SPREAD`` of the way to the opposite side: sure places
    are taken from further away than doubtful ones. Where its cells differ about the place within
    them, they are averaged by their squared probability. The side moves by p / ``ALL`` of the way,
    at most all of it, for a doubtful place may be another side's; and by L^2 / (L^2 + ``SHORT``^2)
    of that where L cells are between two sides, as measurements are weighed of which one errs by a
    share of L. So no box turns over. A side more than a cell outside of the input stays.

    Args:
        boxes: (B, K, 4) xyxy in cells.
        maps: With those of ``side_maps``.

    Returns:
        The boxes, and (B, K) how sure their sides are, from 0 to 1: the mean of the four p, 0 for a
        side without a place, of ``SURE``.
    """
    height, width = maps[HEATMAP].shape[-2:]
    unit = boxes.new_ones(())  # an exported program reads the sides off its maps
    ends = torch.stack((unit * width, unit * height)).repeat(2)[:, None, None]
    sides = boxes.transpose(1, 2)[..., None]  # (B, 4, K, 1)
    length = (sides[:, 2:] - sides[:, :2]).repeat(1, 2, 1, 1)
    room = (NEAR * length).clamp(min=_LEAST_ROOM)
    reach = REACH
    if not is_portable() and boxes.device.type == "cpu" and boxes.numel():
        reach = min(reach, int(room.max().nan_to_num(REACH, REACH)) + 2)  # a cell and its rival
    line = torch.arange(-reach, reach + 1, device=boxes.device)
    shifted = (sides.nan_to_num() + _OUT).clamp(min=0).clamp(max=_FAR)  # both at once: no ONNX
    across = shifted.long() - _OUT + line  # (B, 4, K, M)
    share = (torch.arange(ROWS, device=boxes.device) + 0.5) / ROWS
    begin = sides[:, :2].flip(1).repeat(1, 2, 1, 1)  # a GPU's graph takes no lists
    along = _cells(begin + length.flip(1) * share, ends.flip(0))  # (B, 4, K, ROWS)
    upright = (torch.arange(4, device=boxes.device) % 2 == 0)[:, None, None]
    along = torch.where(upright, along * width, along)[..., None]

    def cells(across: Tensor) -> Tensor:
        """Returns the cells (B, 4, K, ROWS, M) at places (B, 4, K, M) across sides."""
        across = _cells(across, ends)
        return along + torch.where(upright, across, across * width)[..., None, :]

    within = (across >= 0) & (across < ends)
    sure = _read(maps[HEATMAP].float().sigmoid().square(), cells(across))
    # Row by row, since the order of torch's own sum depends on how many lines there are.
    mean = sum(sure.unbind(-2)) / ROWS
    height_at = (mean * within).sqrt()
    beside = F.pad(height_at, (1, 1))
    highest = height_at >= RIVAL * torch.maximum(beside[..., :-2], beside[..., 2:])
    away = across + 0.5 - sides
    spread = (SPREAD * length).clamp(min=_LEAST_SPREAD)
    likely = height_at.clamp(min=1e-6).log() - away.square() / (2 * spread.square())
    seeable = (sides >= -_LEAST_ROOM) & (sides <= ends + _LEAST_ROOM)  # none beyond is taught
    usable = highest & (height_at >= LEAST) & (away.abs() <= room) & seeable
    likely = torch.where(usable, likely, float("-inf"))
    best = likely.argmax(-1, keepdim=True)  # (B, 4, K, 1)
    place = across.gather(-1, best)
    weight = sure.gather(-1, best[..., None].expand(*sure.shape[:-1], 1))
    inside = (weight * _read(maps[OFFSET], cells(place))).sum(-2)
    way = place + inside / weight.sum(-2).clamp(min=1e-9) - sides
    seen = usable.gather(-1, best)
    found = height_at.gather(-1, best) * seen
    way = way * (found / ALL).clamp(max=1)
    way = way * length.square() / (length.square() + SHORT**2)
    moved = torch.where(seen, sides + way, sides)
    return moved.squeeze(-1).transpose(1, 2), (found.mean((1, 3)) / SURE).clamp(max=1)


def _cells(places: Tensor, ends: Tensor) -> Tensor:
    """Returns the whole cells int64 of places, within the maps."""
    return torch.minimum(places.nan_to_num().clamp(min=0), ends - 1).long()


def _read(values: Tensor, cells: Tensor) -> Tensor:
    """Returns float32 values of a map (B, 4, h, w) at cells (B, 4, ...) of its four channels."""
    return values.flatten(2).gather(2, cells.flatten(2)).float().view(cells.shape)


def unflipped_sides(maps: Maps) -> Maps:
    """Returns the maps of a mirrored image (x to W - x) turned back."""
    left, top, right, bottom = maps[HEATMAP].flip(-1).unbind(1)
    heatmap = torch.stack((right, top, left, bottom), 1)
    left, top, right, bottom = maps[OFFSET].flip(-1).unbind(1)
    return {HEATMAP: heatmap, OFFSET: torch.stack((1 - right, top, 1 - left, bottom), 1)}


def merged_sides(maps: Maps, other: Maps) -> Maps:
    """Returns the mean of the maps of an image and of its mirror image, turned back."""
    heatmap = mean_logit(maps[HEATMAP].float(), other[HEATMAP].float())
    return {HEATMAP: heatmap, OFFSET: (maps[OFFSET] + other[OFFSET]) / 2}
