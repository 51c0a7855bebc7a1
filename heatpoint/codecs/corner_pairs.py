"""What maps of corners should say about a batch, as lists of cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from heatpoint.codecs import Encoded, Maps, Rows
from heatpoint.codecs.encoded import list_blobs
from heatpoint.codecs.gaussian import Windows, draw_windows
from heatpoint.codecs.peaks import is_portable, read_cells, top_peaks


@dataclass(frozen=True, eq=False)
class Corners:
    """One of the two corners of every object of a batch.

    Attributes:
        cell: (P,) int64, row * w + column.
        offset: (P, 2) float32 in [0, 1], corner minus the cell's own corner, x and y in cells.
        windows: Cells and values of the blobs, flat indices into (B, C, h, w), grouped by plane.
        starts: (B * C + 1,) int64, where the planes' groups start in ``windows``.
        peaks: (Q,) int64, flat indices of the cells with value 1; Q is less than P where corners
            of one class share a cell.
    """

    cell: Tensor
    offset: Tensor
    windows: Windows
    starts: Tensor
    peaks: Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class CornerEncoded(Encoded):
    """The targets of ``CornerCodec`` for a batch of P objects; no map is stored.

    Attributes:
        batch: Number of images.
        classes: Number of classes.
        image: (P,) int64.
        label: (P,) int64.
        slot: (P,) int64, counts the objects of each image from 0.
        slots: Largest number of objects in an image of the batch.
        top_left: Where the objects' top-left corners are.
        bottom_right: Where their bottom-right corners are.
        counts: (4,) float32: positive cells of the top-left and of the bottom-right heatmaps,
            objects, and images.
        left_out: Number of objects that have no area within the input.
    """

    batch: int
    classes: int
    image: Tensor
    label: Tensor
    slot: Tensor
    slots: int
    top_left: Corners
    bottom_right: Corners

    def __len__(self) -> int:
        return len(self.label)

    def heatmap(self, corners: Corners) -> Tensor:
        """Draws the target of one kind of corner: (B, C, h, w) float32 in [0, 1]."""
        planes = draw_windows(corners.windows, self.batch * self.classes, self.map_size)
        return planes.view(self.batch, self.classes, *self.map_size)

    def preview(self) -> Tensor:
        """Draws the larger one of both targets: (B, C, h, w) float32, 1 at the corners."""
        return torch.maximum(self.heatmap(self.top_left), self.heatmap(self.bottom_right))

    def collisions(self) -> int:
        """Returns how many objects share the cell of a corner with another one, whatever class.

        Offset and embedding have one value per cell, so at most one of them can be right.
        """
        cells = self.map_size[0] * self.map_size[1]
        shared = torch.zeros_like(self.image, dtype=torch.bool)
        for corners in (self.top_left, self.bottom_right):
            place = self.image * cells + corners.cell
            _, which, counts = torch.unique(place, return_inverse=True, return_counts=True)
            shared |= counts[which] > 1
        return int(shared.sum())


def list_corners(
    points: Tensor,
    image: Tensor,
    label: Tensor,
    radius: Tensor,
    planes: tuple[int, int],
    map_size: tuple[int, int],
) -> Corners:
    """Returns where one corner of each object is; one on the far border falls into the last cell.

    Args:
        points: (P, 2) x and y in cells, within the maps.
        image: (P,) int64.
        label: (P,) int64.
        radius: (P,) int64, of the blobs in cells.
        planes: Numbers of images and of classes.
        map_size: (h, w) of the maps.
    """
    height, width = map_size
    end = torch.tensor((width - 1, height - 1), device=points.device)
    place = torch.minimum(points.floor().long().clamp(min=0), end)
    cell = place[:, 1] * width + place[:, 0]
    batch, classes = planes
    blobs = list_blobs(image * classes + label, cell, radius, batch * classes, map_size)
    return Corners(cell, points - place, *blobs)


def slots_of(image: Tensor, batch: int) -> tuple[Tensor, int]:
    """Counts the objects of each image from 0.

    Args:
        image: (P,) int64, ascending.
        batch: Number of images.

    Returns:
        The place of each object among those of its image, and the largest number of objects.
    """
    counts = torch.bincount(image, minlength=batch)
    begins = counts.cumsum(0) - counts
    slot = torch.arange(len(image), device=image.device) - begins[image]
    return slot, int(counts.amax()) if batch else 0


class FoundCorners(NamedTuple):
    """The best corners of one kind, n of each image.

    Attributes:
        values: (B, n) logits; minus infinity marks an empty row.
        labels: (B, n) int64.
        embeddings: (B, n) float32.
        x: (B, n) float32, in cells.
        y: (B, n) float32, in cells.
    """

    values: Tensor
    labels: Tensor
    embeddings: Tensor
    x: Tensor
    y: Tensor


def find_corners(maps: Maps, corner: str, count: int, kernel: int) -> FoundCorners:
    """Returns the best corners of one kind over all classes.

    Args:
        maps: With ``corner``, and ``_embedding`` and ``_offset`` behind that name.
        corner: Which kind.
        count: Number of corners n.
        kernel: Side of the neighbourhood of which a peak is the maximum, in cells.
    """
    peaks = top_peaks(maps[corner], count, kernel)
    width = maps[corner].shape[-1]
    row = torch.div(peaks.cells, width, rounding_mode="trunc")
    column = peaks.cells - row * width
    inside = read_cells(maps[f"{corner}_offset"], peaks.cells).float()
    embeddings = read_cells(maps[f"{corner}_embedding"], peaks.cells)[..., 0].float()
    x, y = column + inside[..., 0], row + inside[..., 1]
    return FoundCorners(peaks.values.float(), peaks.labels, embeddings, x, y)


def pair_corners(
    upper: FoundCorners, lower: FoundCorners, threshold: float, count: int, falling: bool = True
) -> Rows:
    """Returns the best pairs of an upper and a lower corner, by descending score.

    Rejected are pairs of different classes, of embeddings too far apart, and of corners that are
    the wrong way round. The score is the mean of the two corners' probabilities.

    Args:
        upper: Corners at the top of boxes.
        lower: Corners at their bottom.
        threshold: Largest difference of the embeddings.
        count: Number of pairs K; rejected ones fill up with a score of 0.
        falling: Whether the upper corner is the left one; else the lower is.
    """
    first = FoundCorners(*(part[:, :, None] for part in upper))
    second = FoundCorners(*(part[:, None, :] for part in lower))
    left, right = (first, second) if falling else (second, first)
    rejected = (
        (first.labels != second.labels)
        | ((first.embeddings - second.embeddings).abs() > threshold)
        | (right.x < left.x)
        | (second.y < first.y)
        | (first.values == float("-inf"))
        | (second.values == float("-inf"))
    )
    upper_score, lower_score = torch.sigmoid(first.values), torch.sigmoid(second.values)
    scores = torch.where(rejected, 0.0, (upper_score + lower_score) / 2).flatten(1)
    scores, index = scores.topk(min(count, scores.shape[1]))
    sides = [side.expand_as(rejected) for side in (left.x, first.y, right.x, second.y)]
    boxes = torch.stack([side.flatten(1).gather(1, index) for side in sides], -1)
    both = [score.expand_as(rejected) for score in (upper_score, lower_score)]
    corner_scores = torch.stack([score.flatten(1).gather(1, index) for score in both], -1)
    labels = first.labels.expand_as(rejected).flatten(1).gather(1, index)
    found = {"boxes": boxes, "scores": scores, "labels": labels, "corner_scores": corner_scores}
    missing = count - scores.shape[1]
    if missing <= 0:
        return found
    filling = {name: (0, 0) * (values.dim() - 2) + (0, missing) for name, values in found.items()}
    return {name: F.pad(values, filling[name]) for name, values in found.items()}


def joined(rows: Rows, others: Rows) -> Rows:
    """Returns the rows of both, by descending score."""
    both = {name: torch.cat((values, others[name]), 1) for name, values in rows.items()}
    scores = both["scores"]
    if is_portable():
        # ONNX has no sort; its top-k orders equal values by index.
        order = scores.topk(scores.shape[1]).indices
    else:
        order = scores.sort(descending=True, stable=True).indices
    return {
        name: values.gather(
            1, order.reshape(*order.shape, *[1] * (values.dim() - 2)).expand_as(values)
        )
        for name, values in both.items()
    }
