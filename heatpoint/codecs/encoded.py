"""What maps of objects should say about a batch, as lists of cells: of centres and of corners."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from heatpoint.codecs import Encoded, require
from heatpoint.codecs.gaussian import (
    RadiusRule,
    Windows,
    draw_windows,
    gaussian_radius,
    gaussian_windows,
)


class Blobs(NamedTuple):
    """The target of class maps: blobs, plane by plane, as ``focal_loss`` takes them.

    Attributes:
        windows: Cells and values of the blobs, flat indices into (B, C, h, w), grouped by plane.
        starts: (B * C + 1,) int64, where the planes' groups start in ``windows``.
        peaks: (Q,) int64, flat indices of the cells with value 1; fewer than objects where some of
            one class share a cell.
    """

    windows: Windows
    starts: Tensor
    peaks: Tensor

    @property
    def lists(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Cells, values, starts and peaks, in the order of ``focal_loss``."""
        return self.windows.cell, self.windows.value, self.starts, self.peaks


class Points(NamedTuple):
    """Where the objects of a batch are found: their centres, or corners of one kind.

    Attributes:
        cell: (P,) int64, row * w + column.
        offset: (P, 2) float32 in [0, 1], the point minus the cell's corner, x and y in cells.
        blobs: The target of their heatmap.
    """

    cell: Tensor
    offset: Tensor
    blobs: Blobs


class SidePoints(NamedTuple):
    """Cells that sides of boxes pass through, and those beside them; M of them in the batch.

    Attributes:
        plane: (M,) int64, image * 4 + side: left, upper, right, lower.
        cell: (M,) int64, row * w + column.
        offset: (M, 1) float32 in [-1, 2], the side minus the left or upper edge of the cell.
        blobs: The target of their heatmap.
    """

    plane: Tensor
    cell: Tensor
    offset: Tensor
    blobs: Blobs


class CellSamples(NamedTuple):
    """Cells at which size and offset are trained; S of them in the batch.

    Attributes:
        image: (S,) int64.
        cell: (S,) int64, row * w + column.
        offset: (S, 2) float32, centre minus the cell's corner, x and y in cells.
        size: (S, 2) float32, width and height in cells.
        weight: (S,) float32 in (0, 1]; those of an object's samples sum to 1.
        owner: (S,) int64, the object, among the P of the batch.
    """

    image: Tensor
    cell: Tensor
    offset: Tensor
    size: Tensor
    weight: Tensor
    owner: Tensor

    def chosen(self, rows: Tensor) -> CellSamples:
        """Returns the samples that a mask or an index names."""
        return CellSamples(*(values[rows] for values in self))

    def last(self, batch: int, cells: int) -> CellSamples:
        """Returns the last sample of each cell; of ``batch`` maps of so many cells."""
        return self.chosen(last_of_cell(self.image, self.cell, batch, cells))

    def with_regions(self, radius: Tensor, batch: int, map_size: tuple[int, int]) -> CellSamples:
        """Returns the objects' own cells, which these are, followed by cells around them.

        A neighbour's target is measured from its own corner, so its offset leaves [0, 1]; its
        weight is a gaussian's value divided by the object's sum of them, as in TTFNet (Liu et al.
        2020, equation 6), but without that paper's preference for large objects: every object
        counts once. A cell belongs to the object whose own it is, else to the smallest.

        Args:
            radius: (P, 2) int64, half sides of the regions along x and y in cells.
            batch: Number of images.
            map_size: (h, w) of the maps.
        """
        height, width = map_size
        column, row = self.cell % width, self.cell // width
        windows = gaussian_windows(self.image, column, row, radius, map_size)
        owner = windows.owner
        rank, best = ranked(windows, self.size.prod(-1), batch * height * width)
        best[self.image * (height * width) + self.cell] = -1
        won = best[windows.cell] == rank[owner]

        owner, cell = owner[won], windows.cell[won] % (height * width)
        away = torch.stack((column[owner] - cell % width, row[owner] - cell // width), -1)
        around = self.chosen(owner)._replace(cell=cell, weight=windows.value[won])
        around = around._replace(offset=around.offset + away)
        both = CellSamples(*map(torch.cat, zip(self, around, strict=True)))
        total = torch.zeros_like(self.weight).index_add_(0, both.owner, both.weight)
        return both._replace(weight=both.weight / total[both.owner])


@dataclass(frozen=True, eq=False, kw_only=True)
class ObjectsEncoded(Encoded):
    """The targets of P objects of several classes.

    No map is stored: the objects and the cells of their blobs are listed, without a limit to the
    number of objects.

    Attributes:
        batch: Number of images.
        classes: Number of classes.
        label: (P,) int64.
        left_out: Number of objects that have no area within the maps or the input.
    """

    batch: int
    classes: int
    label: Tensor

    def __len__(self) -> int:
        return len(self.label)

    def drawn(self, blobs: Blobs, channels: int | None = None) -> Tensor:
        """Draws the target of a heatmap: (B, C, h, w) float32 in [0, 1], 1 at the peaks.

        Args:
            blobs: Plane by plane.
            channels: Planes of an image, where they are not the classes.
        """
        channels = self.classes if channels is None else channels
        planes = draw_windows(blobs.windows, self.batch * channels, self.map_size)
        return planes.view(self.batch, channels, *self.map_size)

    def logits(self, blobs: Blobs, channels: int | None = None) -> Tensor:
        """Returns the ideal heatmap (B, C, h, w); 0 and 1 have no finite logit, so a millionth."""
        return torch.logit(self.drawn(blobs, channels), eps=1e-6)

    def map_of(self, values: Tensor, plane: Tensor, cell: Tensor, shares: int = 1) -> Tensor:
        """Returns the map (B, n, h, w) of values at cells; where some share one, of the last.

        Args:
            values: (S, n / shares).
            plane: (S,) int64, image * shares + share.
            cell: (S,) int64, row * w + column; the map is 0 at other cells.
            shares: Parts of the map, each with values of its own.
        """
        cells, planes = self.map_size[0] * self.map_size[1], self.batch * shares
        last = last_of_cell(plane, cell, planes, cells)
        lines = values.new_zeros(planes, cells, values.shape[1])
        lines[plane[last], cell[last]] = values[last]
        return lines.transpose(1, 2).reshape(-1, shares * values.shape[1], *self.map_size)

    def _sharing(self, image: Tensor, *cells: Tensor) -> int:
        """Returns how many objects share one of their cells with another one."""
        shared = torch.zeros_like(image, dtype=torch.bool)
        for cell in cells:
            place = image * (self.map_size[0] * self.map_size[1]) + cell
            _, which, counts = torch.unique(place, return_inverse=True, return_counts=True)
            shared |= counts[which] > 1
        return int(shared.sum())


@dataclass(frozen=True, eq=False, kw_only=True)
class CenterEncoded(ObjectsEncoded):
    """The targets of ``CenterCodec`` for a batch.

    Attributes:
        objects: (P) objects: own cell, offset in [0, 1] and size; the weight is 1.
        radius: (P, 2) int64, of the blobs along x and y in cells.
        blobs: The target of the heatmap, with Q peaks.
        samples: Where size and offset are trained.
        kept: (N,) bool, which objects of the targets, one image after the other, the P are.
        shares: Boxes that the maps of an image say in one cell: one, or one of each class.
        sides: The cells that sides pass through, where these are learnt.
        counts: (2,) float32, of the heatmap's loss and of the others: number of positive cells Q
            and sum of the samples' weights; with ``sides``, (4,): numbers of positive cells of
            their heatmap and of cells in all.
    """

    objects: CellSamples
    radius: Tensor
    blobs: Blobs
    samples: CellSamples
    kept: Tensor
    shares: int = 1
    sides: SidePoints | None = None

    def plane(self, at: CellSamples) -> Tensor:
        """Returns image * shares + share (S,) int64, the maps that say the boxes of samples."""
        return at.image if self.shares == 1 else at.image * self.shares + self.label[at.owner]

    def preview(self) -> Tensor:
        """Draws the target of the heatmap: (B, C, h, w) float32 in [0, 1], 1 at the centres."""
        return self.drawn(self.blobs)

    def collisions(self) -> int:
        """Returns how many objects share their cell with another one, of whatever class.

        Size and offset maps have one value per cell (of each class, with ``shares``), so at most
        one of them can be right.
        """
        return self._sharing(self.plane(self.objects), self.objects.cell)


def check_blobs(
    clamp: float | None,
    kernel: int,
    overlap: float = 0.7,
    soft_nms: float | None = None,
    *,
    bias: float = 0.0,
) -> None:
    """Makes sure that what codecs of boxes have in common is in range.

    Args:
        clamp: Bound of the clamped sigmoid, or None.
        kernel: Side of the neighbourhood of which a peak is the maximum.
        overlap: Of the rule for radii.
        soft_nms: Width of the suppression, or None.
        bias: What the logits of heatmaps begin with.

    Raises:
        HeatpointError: One is not; names it and its value.
    """
    require(-20 <= bias <= 20, "heatmap_bias", "lie between -20 and 20", bias)
    require(0 < overlap < 1, "overlap", "lie between 0 and 1", overlap)
    require(kernel % 2 == 1 and kernel < 1000, "peak_kernel", "be odd and below 1000", kernel)
    fine = clamp is None or 0 < clamp < 0.5
    require(fine, "clamp", "lie between 0 and 0.5 or be None", clamp)
    require(soft_nms is None or soft_nms > 0, "soft_nms", "be above 0 or None", soft_nms)


def blob_radius(
    sides: Tensor, rule: RadiusRule, overlap: float = 0.7, alpha: float = 0.54
) -> Tensor:
    """Returns whole radii (P, 2) int64 along x and y for sides (P, 2), width and height, in cells.

    Rule, overlap and alpha are those of ``gaussian_radius``.
    """
    radius = gaussian_radius(sides.flip(-1).to(exact(sides)), rule, overlap, alpha)
    return radius.flip(-1).long().clamp(min=0)


def exact(values: Tensor) -> torch.dtype:
    """Returns the type that the references compute in, or the most exact one of Apple's GPUs."""
    return torch.float32 if values.device.type == "mps" else torch.float64


def last_of_cell(image: Tensor, cell: Tensor, batch: int, cells: int) -> Tensor:
    """Returns (S,) bool: the sample is the last one in its cell.

    Args:
        image: (S,) int64.
        cell: (S,) int64, below ``cells``.
        batch: Number of images.
        cells: Number of cells of a map.
    """
    place = image * cells + cell
    order = torch.arange(len(place), device=place.device)
    last = order.new_zeros(batch * cells).scatter_reduce_(0, place, order, "amax")
    return last[place] == order


def ranked(windows: Windows, area: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """Returns the rank (P,) int64 of objects by area, and the least rank at each cell.

    Args:
        windows: The cells that the objects cover, of all images.
        area: (P,), of the objects.
        cells: Number of cells of all images; P stands in those that no object covers.
    """
    rank = torch.empty_like(windows.counts)
    rank[area.argsort(stable=True)] = torch.arange(len(rank), device=rank.device)
    least = rank.new_full((cells,), len(rank))
    return rank, least.scatter_reduce_(0, windows.cell, rank[windows.owner], "amin")


def at_cells(values: Tensor, image: Tensor, cell: Tensor) -> Tensor:
    """Returns what maps (B, n, h, w) say at cells of images, both (S,) int64: (S, n)."""
    width = values.shape[-1]
    return values[image, :, cell // width, cell % width]


def list_points(
    points: Tensor,
    image: Tensor,
    label: Tensor,
    radius: Tensor,
    planes: tuple[int, int],
    map_size: tuple[int, int],
    divisor: float = 6.0,
) -> Points:
    """Returns where one point of each object is; one on the far border falls into the last cell.

    Args:
        points: (P, 2) x and y in cells, within the maps.
        image: (P,) int64.
        label: (P,) int64.
        radius: (P, 2) int64, of the blobs along x and y in cells; (P,) for circles.
        planes: Numbers of images and of classes.
        map_size: (h, w) of the maps.
        divisor: Of the blobs' diameter; see ``gaussian_windows``.
    """
    height, width = map_size
    end = torch.tensor((width - 1, height - 1), device=points.device)
    place = torch.minimum(points.floor().long().clamp(min=0), end)
    cell = place[:, 1] * width + place[:, 0]
    batch, classes = planes
    plane = image * classes + label
    blobs = list_blobs(plane, cell, radius, batch * classes, map_size, divisor)
    return Points(cell, (points - place).float(), blobs)


def list_blobs(
    plane: Tensor,
    cell: Tensor,
    radius: Tensor,
    planes: int,
    map_size: tuple[int, int],
    divisor: float = 6.0,
) -> Blobs:
    """Lists the cells of blobs plane by plane, as ``focal_loss`` takes them.

    Args:
        plane: (P,) int64, the map of each blob.
        cell: (P,) int64, row * w + column of its peak.
        radius: (P, 2) int64, along x and y in cells.
        planes: Number of maps.
        map_size: (h, w) of the maps.
        divisor: Of the blobs' diameter; see ``gaussian_windows``.
    """
    height, width = map_size
    order = plane.argsort(stable=True)
    grouped, peak = plane[order], cell[order]
    column, row = peak % width, peak // width
    windows = gaussian_windows(grouped, column, row, radius[order], map_size, divisor)
    ends = F.pad(windows.counts.cumsum(0), (1, 0))
    every = torch.arange(planes + 1, device=plane.device)
    starts = ends[torch.searchsorted(grouped, every)]
    return Blobs(windows, starts, torch.unique(plane * (height * width) + cell))
