"""Local maxima of heatmaps: finding the best ones and reading other maps at their cells."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import reduce
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# Tiles of these sides are tried in turn; a side must divide the map's.
TILE_SIDES = (8, 4)

_PORTABLE = ContextVar("_PORTABLE", default=False)


@contextmanager
def portable() -> Iterator[None]:
    """Lets decoding go as it does in exported programs, so that both can be compared."""
    token = _PORTABLE.set(True)
    try:
        yield
    finally:
        _PORTABLE.reset(token)


def is_portable() -> bool:
    """Returns whether operations are written down for other runtimes, or compared with such."""
    return torch.compiler.is_compiling() or _PORTABLE.get()


class Peaks(NamedTuple):
    """The best local maxima of each image, by descending value and then by ascending index.

    Attributes:
        values: (B, K), in the type of the heatmap; minus infinity marks an empty row.
        labels: (B, K) int64, channel of the heatmap.
        cells: (B, K) int64, row * w + column.
    """

    values: Tensor
    labels: Tensor
    cells: Tensor


def local_maxima(heatmap: Tensor, kernel: int = 3) -> Tensor:
    """Returns where a cell equals the maximum of the ``kernel`` x ``kernel`` cells around it.

    All cells of a plateau count as maxima, as in every released program.

    Args:
        heatmap: (B, C, h, w), logits or probabilities.
        kernel: Odd number of cells.

    Returns:
        (B, C, h, w) bool.
    """
    half = kernel // 2
    if is_portable() or heatmap.device.type != "cpu":
        return F.max_pool2d(heatmap, kernel, stride=1, padding=half) == heatmap
    # Maxima of lines and then of columns take a processor a seventh of the time of pooling.
    highest = F.pad(heatmap, (half,) * 4, value=float("-inf"))
    for axis in (-1, -2):
        side = heatmap.shape[axis]
        highest = reduce(torch.maximum, (highest.narrow(axis, at, side) for at in range(kernel)))
    return highest == heatmap


def top_peaks(heatmap: Tensor, count: int, kernel: int = 3, one_class: bool = False) -> Peaks:
    """Returns the ``count`` highest local maxima over all channels of each image.

    There are three ways to the same answer. On a processor outside of export and compilation, the
    maxima of tiles rule out nearly all cells beforehand (80 x 128 x 128 cells in a tenth of the
    time), or, where thousands are wanted, all maxima are listed and sorted; everywhere else the
    whole map is pooled and sorted. Equal values are ordered by index,
    and in exported programs by whatever the runtime's top-k does (ONNX: by index).

    Args:
        heatmap: (B, C, h, w), logits or probabilities.
        count: Number of rows K; where an image has fewer maxima, empty rows follow.
        kernel: Odd number of cells, side of the neighbourhood.
        one_class: Whether only the best class of a cell counts.
    """
    if one_class:
        best, label = _suppressed(heatmap, kernel).max(1, keepdim=True)
        found = top_peaks(best, count, kernel=1)
        return found._replace(labels=read_cells(label, found.cells)[..., 0])
    if is_portable() or heatmap.device.type != "cpu" or not len(heatmap):
        values, index = _ordered(heatmap, count, kernel)
    else:
        rows = [
            _tiled(image, count, kernel)
            or _listed(image, count, kernel)
            or _ordered(image, count, kernel)
            for image in torch.split(heatmap, 1)
        ]
        values, index = (torch.cat(column) for column in zip(*rows, strict=True))
    cells = heatmap.shape[-2] * heatmap.shape[-1]
    # Of numbers that are never negative "trunc" is the floor, and a single operator in ONNX.
    labels = torch.div(index, cells, rounding_mode="trunc")
    return Peaks(values, labels, index - labels * cells)


def read_cells(values: Tensor, cells: Tensor) -> Tensor:
    """Returns the vectors of a map at some cells of each image.

    Args:
        values: (B, channels, h, w).
        cells: (B, K) int64, row * w + column.

    Returns:
        (B, K, channels), in the type of ``values``.
    """
    index = cells.unsqueeze(1).expand(-1, values.shape[1], -1)
    return values.flatten(2).gather(2, index).transpose(1, 2)


class Around(NamedTuple):
    """The S cells within some reach of peaks, their own among them.

    Attributes:
        cells: (B, K, S) int64, row * w + column; beyond the border those of the border again.
        sure: (B, K, S) float32, probability of the peak's class there.
    """

    cells: Tensor
    sure: Tensor

    def mean(self, said: Tensor, agrees: Tensor, own: Tensor) -> Tensor:
        """Returns the mean of what cells that agree with their peak say, by their probability.

        Args:
            said: (B, K, S, n).
            agrees: (B, K, S) bool.
            own: (B, K, n), what the peak's cell says.
        """
        weight = (self.sure * agrees)[..., None]
        total, weights = (weight * said).sum(2), weight.sum(2)
        return torch.where(weights > 0, total / weights, own)  # no probability of 0 is a number


def cells_around(heatmap: Tensor, cells: Tensor, labels: Tensor, reach: int) -> Around:
    """Returns the cells up to ``reach`` beside peaks on each axis.

    Args:
        heatmap: (B, C, h, w) logits.
        cells: (B, K) int64, row * w + column.
        labels: (B, K) int64.
        reach: Cells on each side.
    """
    height, width = heatmap.shape[-2:]
    unit = cells.new_ones(())  # an exported program reads the sides off its maps
    end = torch.stack((unit * width, unit * height)) - 1
    line = torch.arange(-reach, reach + 1, device=cells.device)
    steps = torch.cartesian_prod(line, line)
    place = places_of(cells, width)[:, :, None] + steps
    place = torch.minimum(place.clamp(min=0), end)  # (B, K, S, 2)
    around = place[..., 1] * width + place[..., 0]
    plane = (labels * (height * width)).repeat_interleave(len(steps), 1)
    sure = heatmap.flatten(1).gather(1, plane + around.flatten(1)).float().sigmoid()
    return Around(around, sure.view(around.shape))


def places_of(cells: Tensor, width: int) -> Tensor:
    """Returns x and y (..., 2) int64 of cells (...), row * width + column."""
    row = torch.div(cells, width, rounding_mode="trunc")
    return torch.stack((cells - row * width, row), -1)


def unflipped(offset: Tensor) -> Tensor:
    """Returns maps (B, 2, h, w) of x and y within each cell, made of a mirror image, turned back.

    A point at x in its cell is at 1 - x in the mirrored cell.
    """
    x, y = offset.flip(-1).unbind(1)
    return torch.stack((1 - x, y), 1)


def _suppressed(heatmap: Tensor, kernel: int) -> Tensor:
    """Returns the heatmap with minus infinity wherever there is no local maximum."""
    return torch.where(local_maxima(heatmap, kernel), heatmap, float("-inf"))


def _ordered(heatmap: Tensor, count: int, kernel: int) -> tuple[Tensor, Tensor]:
    """Returns values and flat indices (B, K), in exported programs in a form that all understand.

    Of equal values, the lowest indices are taken. The number of cells may be unknown in exported
    programs, so that there is no asking whether there are enough: as many empty ones as are wanted
    follow in any case.
    """
    flat = _suppressed(heatmap, kernel).flatten(1)
    size = flat.shape[1]
    if is_portable():
        values, index = F.pad(flat, (0, count), value=float("-inf")).topk(count)
        return values, torch.where(index < size, index, 0)
    kept = min(count, size)
    worst = flat.topk(kept).values[:, -1:]
    # top-k takes any of several equal values, so a second one picks among those by index.
    priority = torch.arange(size, 0, -1, device=flat.device, dtype=torch.int32)
    priority = torch.where(flat > worst, 2 * size, torch.where(flat == worst, priority, 0))
    index = priority.topk(kept).indices.sort().values
    values, order = flat.gather(1, index).sort(descending=True, stable=True)
    missing = (0, count - kept)
    return F.pad(values, missing, value=float("-inf")), F.pad(index.gather(1, order), missing)


def _tiled(image: Tensor, count: int, kernel: int) -> tuple[Tensor, Tensor] | None:
    """Returns what ``_ordered`` does for one image (1, C, h, w), or None where that must be used.

    A tile whose maximum is not exceeded by a neighbouring tile's holds a local maximum of the
    map, since the neighbourhood of a cell ends within the neighbouring tiles. So if ``count``
    such tiles reach a threshold, at least ``count`` local maxima do, and only cells that reach it
    need a closer look.
    """
    height, width = image.shape[-2:]
    for side in TILE_SIDES:
        few = image.numel() < count * side * side  # tiles
        if few or height % side or width % side or kernel // 2 > side:
            continue
        tiles = _tile_maxima(image, side)
        summits = tiles[local_maxima(tiles)]
        if len(summits) < count:
            continue
        threshold = summits.topk(count).values[-1]
        _, channel, row, column = (tiles >= threshold).nonzero().unbind(1)
        # With many tiles in play (a constant map, say) the closer look costs more than it saves.
        if 4 * len(row) > tiles.numel():
            continue
        blocks = image[0].view(-1, height // side, side, width // side, side)
        inside = (blocks[channel, row, :, column] >= threshold).nonzero()
        tile, down, right = inside.unbind(1)
        places = channel[tile], row[tile] * side + down, column[tile] * side + right
        return _closer_look(image[0], *places, count, kernel)
    return None


def _listed(image: Tensor, count: int, kernel: int) -> tuple[Tensor, Tensor] | None:
    """Returns what ``_ordered`` does for one image (1, C, h, w), or None where that must be used.

    That is where there are fewer maxima, or so many that sorting them takes longer.
    """
    peaks = image > float("-inf")
    if kernel > 1:  # every cell but NaN, which is not above anything, is the maximum of itself
        peaks &= local_maxima(image, kernel)
    index = peaks.flatten().nonzero()[:, 0]
    if not count <= len(index) <= image.numel() // 4:
        return None
    values = image.flatten()[index]
    index = index[values >= values.kthvalue(len(values) - count + 1).values]
    values, order = image.flatten()[index].sort(descending=True, stable=True)
    return values[None, :count], index[order[:count]][None]


def _tile_maxima(image: Tensor, side: int) -> Tensor:
    """Returns the maxima (1, C, h / side, w / side) of square tiles of an image (1, C, h, w).

    Pooling is ten times faster than two reductions where channels are innermost in memory, and
    ten times slower where they are not.
    """
    if not image.is_contiguous() and image.is_contiguous(memory_format=torch.channels_last):
        return F.max_pool2d(image, side, side)
    _, channels, height, width = image.shape
    lines = image.view(1, channels, height // side, side, width).amax(3)
    return lines.view(1, channels, height // side, width // side, side).amax(4)


def _closer_look(
    image: Tensor, channel: Tensor, row: Tensor, column: Tensor, count: int, kernel: int
) -> tuple[Tensor, Tensor] | None:
    """Returns the best ``count`` of some cells that are local maxima, or None if too few are."""
    height, width = image.shape[-2:]
    values = image[channel, row, column]
    reach = torch.arange(-(kernel // 2), kernel // 2 + 1)
    down, right = torch.cartesian_prod(reach, reach).unbind(1)
    # Clamping at the border repeats cells of the neighbourhood, which changes no maximum.
    y = (row[:, None] + down).clamp_(0, height - 1)
    x = (column[:, None] + right).clamp_(0, width - 1)
    stays = (image[channel[:, None], y, x].amax(1) == values).nonzero()[:, 0]
    channel, row, column, values = channel[stays], row[stays], column[stays], values[stays]
    if len(values) < count:
        return None
    index, order = ((channel * height + row) * width + column).sort()
    values, order = values[order].sort(descending=True, stable=True)
    return values[None, :count], index[order][None, :count]


def mean_logit(first: Tensor, second: Tensor) -> Tensor:
    """Returns logits of the mean of the probabilities that two maps of logits mean.

    No probability is ever rounded to 0 or 1. All is said by softplus, which exported programs
    know and compute without overflow, where they lack or misjudge other functions.

    Args:
        first: Logits, float32.
        second: Logits of the same shape.
    """
    yes = _log_sum(-F.softplus(-first), -F.softplus(-second))
    no = _log_sum(-F.softplus(first), -F.softplus(second))
    return yes - no


def _log_sum(first: Tensor, second: Tensor) -> Tensor:
    """Returns the logarithms of the sums of numbers given by their logarithms."""
    return torch.maximum(first, second) + F.softplus(-(first - second).abs())
