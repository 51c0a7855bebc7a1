"""What maps of centre points should say about a batch, as lists of cells."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from heatpoint.codecs import Encoded
from heatpoint.codecs.gaussian import Windows, draw_windows, gaussian_windows


@dataclass(frozen=True, eq=False)
class CellSamples:
    """Cells at which size and offset are trained; S of them in the batch.

    Attributes:
        image: (S,) int64.
        cell: (S,) int64, row * w + column.
        offset: (S, 2) float32, centre minus the cell's corner, x and y in cells.
        size: (S, 2) float32, width and height in cells.
        weight: (S,) float32 in (0, 1]; those of an object's samples sum to 1.
    """

    image: Tensor
    cell: Tensor
    offset: Tensor
    size: Tensor
    weight: Tensor

    def chosen(self, rows: Tensor) -> CellSamples:
        """Returns the samples that a mask or an index names."""
        return CellSamples(
            self.image[rows], self.cell[rows], self.offset[rows], self.size[rows], self.weight[rows]
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class CenterEncoded(Encoded):
    """The targets of ``CenterCodec`` for a batch.

    No map is stored: the objects and the cells of their blobs are listed, without a limit to the
    number of objects.

    Attributes:
        batch: Number of images.
        classes: Number of classes.
        objects: (P) objects: own cell, offset in [0, 1] and size; the weight is 1.
        label: (P,) int64.
        radius: (P,) int64, of the blobs in cells.
        windows: Cells and values of the blobs, flat indices into (B, C, h, w), grouped by plane.
        starts: (B * C + 1,) int64, where the planes' groups start in ``windows``.
        peaks: (Q,) int64, flat indices of the cells with value 1; Q is less than P where objects
            of one class share a cell.
        samples: Where size and offset are trained.
        counts: (2,) float32, of the heatmap's loss and of the others: number of positive cells Q
            and sum of the samples' weights.
        left_out: Number of objects that have no area within the maps (border "cells" only).
    """

    batch: int
    classes: int
    objects: CellSamples
    label: Tensor
    radius: Tensor
    windows: Windows
    starts: Tensor
    peaks: Tensor
    samples: CellSamples

    def __len__(self) -> int:
        return len(self.label)

    def preview(self) -> Tensor:
        """Draws the target of the heatmap: (B, C, h, w) float32 in [0, 1], 1 at the centres."""
        planes = draw_windows(self.windows, self.batch * self.classes, self.map_size)
        return planes.view(self.batch, self.classes, *self.map_size)

    def collisions(self) -> int:
        """Returns how many objects share their cell with another one, of whatever class.

        Size and offset maps have one value per cell, so at most one of them can be right.
        """
        height, width = self.map_size
        place = self.objects.image * (height * width) + self.objects.cell
        counts = torch.unique(place, return_counts=True)[1]
        return int(counts[counts > 1].sum())


def check_objects(
    boxes: Tensor,
    label: Tensor,
    image: Tensor,
    classes: int,
    map_size: tuple[int, int],
    stride: int,
    inside: bool,
) -> None:
    """Checks that all objects of a batch can be encoded.

    Args:
        boxes: (P, 4) xyxy in cells.
        label: (P,) int64.
        image: (P,) int64.
        classes: Number of classes.
        map_size: (h, w) of the maps.
        stride: Input pixels per cell, for the message.
        inside: Whether centres must lie within the maps.

    Raises:
        ValueError: A box is not finite, is empty or, if so asked, has its centre outside of the
            maps, or a label is out of range; names the first such object.
    """
    bad = ~(boxes.isfinite().all(-1) & (boxes[:, 2:] > boxes[:, :2]).all(-1))
    bad |= (label < 0) | (label >= classes)
    if inside:
        # Rounding may move a centre on the border a little beyond it.
        center = (boxes[:, :2] + boxes[:, 2:]) / 2
        far = center.new_tensor((map_size[1], map_size[0])) + 1e-3
        bad |= ((center < -1e-3) | (center > far)).any(-1)
    if bool(bad.any()):
        first = int(bad.nonzero()[0])
        box = [round(value * stride, 3) for value in boxes[first].tolist()]
        raise ValueError(
            f"image {int(image[first])} of the batch has a box {box} with label "
            f"{int(label[first])}; boxes must be finite, of positive area and centred within the "
            f"input of {map_size[0] * stride} x {map_size[1] * stride} pixels (height x width), "
            f"labels from 0 to {classes - 1}"
        )


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


def region_samples(
    objects: CellSamples, radius: Tensor, batch: int, map_size: tuple[int, int]
) -> CellSamples:
    """Returns the objects' own cells followed by samples at the cells around them.

    A neighbour's target is measured from its own corner, so its offset leaves [0, 1]; its weight
    is a gaussian's value divided by the object's sum of them, as in TTFNet (Liu et al. 2020,
    equation 6), but without that paper's preference for large objects: every object counts once.
    A cell belongs to the object whose own it is, else to the smallest.

    Args:
        objects: The objects' own cells.
        radius: (P,) int64, half side of the regions in cells.
        batch: Number of images.
        map_size: (h, w) of the maps.
    """
    height, width = map_size
    column, row = objects.cell % width, objects.cell // width
    windows = gaussian_windows(objects.image, column, row, radius, map_size)
    owner = windows.owner
    place = objects.image * (height * width) + objects.cell
    rank = torch.empty_like(place)
    rank[objects.size.prod(-1).argsort(stable=True)] = torch.arange(len(rank), device=rank.device)
    best = rank.new_full((batch * height * width,), len(rank))
    best.scatter_reduce_(0, windows.cell, rank[owner], "amin")
    best[place] = -1
    won = best[windows.cell] == rank[owner]

    owner, value = owner[won], windows.value[won]
    cell = windows.cell[won] % (height * width)
    away = torch.stack((column[owner] - cell % width, row[owner] - cell // width), -1)
    weight = torch.cat((objects.weight, value))
    shared_by = torch.cat((torch.arange(len(column), device=cell.device), owner))
    total = objects.weight.new_zeros(len(column)).index_add_(0, shared_by, weight)
    return CellSamples(
        torch.cat((objects.image, objects.image[owner])),
        torch.cat((objects.cell, cell)),
        torch.cat((objects.offset, objects.offset[owner] + away)),
        torch.cat((objects.size, objects.size[owner])),
        weight / total[shared_by],
    )


def list_blobs(
    plane: Tensor, cell: Tensor, radius: Tensor, planes: int, map_size: tuple[int, int]
) -> tuple[Windows, Tensor, Tensor]:
    """Lists the cells of blobs plane by plane, as ``focal_loss`` takes them.

    Args:
        plane: (P,) int64, the map of each blob.
        cell: (P,) int64, row * w + column of its peak.
        radius: (P,) int64, in cells.
        planes: Number of maps.
        map_size: (h, w) of the maps.

    Returns:
        The windows, where each plane's entries start in them (planes + 1,), and the flat indices
        of the peaks without repetitions.
    """
    height, width = map_size
    order = plane.argsort(stable=True)
    grouped, peak = plane[order], cell[order]
    windows = gaussian_windows(grouped, peak % width, peak // width, radius[order], map_size)
    ends = F.pad(windows.counts.cumsum(0), (1, 0))
    every = torch.arange(planes + 1, device=plane.device)
    starts = ends[torch.searchsorted(grouped, every)]
    return windows, starts, torch.unique(plane * (height * width) + cell)


def assemble(
    objects: CellSamples,
    samples: CellSamples,
    label: Tensor,
    radius: Tensor,
    batch: int,
    classes: int,
    map_size: tuple[int, int],
    left_out: int = 0,
) -> CenterEncoded:
    """Returns the targets of a batch, with the cells of its blobs listed plane by plane.

    Args:
        objects: The objects' own cells.
        samples: Where size and offset are trained.
        label: (P,) int64.
        radius: (P,) int64, of the blobs in cells.
        batch: Number of images.
        classes: Number of classes.
        map_size: (h, w) of the maps.
        left_out: Number of objects that are not among ``objects``.
    """
    plane = objects.image * classes + label
    windows, starts, peaks = list_blobs(plane, objects.cell, radius, batch * classes, map_size)
    total = samples.weight.sum()
    return CenterEncoded(
        batch=batch,
        classes=classes,
        map_size=map_size,
        objects=objects,
        label=label,
        radius=radius,
        windows=windows,
        starts=starts,
        peaks=peaks,
        samples=samples,
        counts=torch.stack((torch.full_like(total, len(peaks)), total)),
        left_out=left_out,
    )
