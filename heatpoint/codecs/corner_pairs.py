"""What maps of corners should say about a batch, and the pairs of corners that they mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from heatpoint.codecs import Maps, Rows
from heatpoint.codecs.encoded import Blobs, ObjectsEncoded, Points
from heatpoint.codecs.peaks import Peaks, is_portable, places_of, read_cells, top_peaks


@dataclass(frozen=True, eq=False, kw_only=True)
class CornerEncoded(ObjectsEncoded):
    """The targets of ``CornerCodec`` for a batch.

    Attributes:
        image: (P,) int64.
        slot: (P,) int64, counts the objects of each image from 0.
        slots: Largest number of objects in an image of the batch.
        top_left: Where the objects' top-left corners are.
        bottom_right: Where their bottom-right corners are.
        counts: (4,) float32: positive cells of the top-left and of the bottom-right heatmaps,
            objects, and images.
    """

    image: Tensor
    slot: Tensor
    slots: int
    top_left: Points
    bottom_right: Points

    @property
    def corners(self) -> dict[str, Points]:
        """Both kinds of corners, by the names of their heatmaps."""
        return {"top_left": self.top_left, "bottom_right": self.bottom_right}

    def learnt(self, corner: str) -> Blobs:
        """Returns what the heatmap of one kind of corner learns."""
        return self.corners[corner].blobs

    def heatmap(self, corners: Points) -> Tensor:
        """Draws the target of one kind of corner: (B, C, h, w) float32 in [0, 1]."""
        return self.drawn(corners.blobs)

    def preview(self) -> Tensor:
        """Draws the larger one of both targets: (B, C, h, w) float32, 1 at the corners."""
        return torch.maximum(self.heatmap(self.top_left), self.heatmap(self.bottom_right))

    def collisions(self) -> int:
        """Returns how many objects share the cell of a corner with another one, whatever class.

        Offset and embedding have one value per cell, so at most one of them can be right.
        """
        return self._sharing(self.image, self.top_left.cell, self.bottom_right.cell)


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


def find_corners(
    maps: Maps, corner: str, count: int, kernel: int, rim: bool = True
) -> FoundCorners:
    """Returns the best corners of one kind over all classes.

    Args:
        maps: With ``corner``, and ``_embedding`` and ``_offset`` behind that name.
        corner: Which kind.
        count: Number of corners n.
        kernel: Side of the neighbourhood of which a peak is the maximum, in cells.
        rim: Whether corners in the outermost row or column of their side stay; else their rows
            are empty.
    """
    found, places = find_points(maps, corner, count, kernel)
    values = found.values.float()
    if not rim:
        height, width = maps[corner].shape[-2:]
        column, row = places_of(found.cells, width).unbind(-1)
        outer = row == (0 if corner.startswith("top") else height - 1)
        outer = outer | (column == (0 if corner.endswith("left") else width - 1))
        values = torch.where(outer, float("-inf"), values)
    embeddings = read_cells(maps[f"{corner}_embedding"], found.cells)[..., 0].float()
    return FoundCorners(values, found.labels, embeddings, *places.unbind(-1))


def find_points(maps: Maps, name: str, count: int, kernel: int) -> tuple[Peaks, Tensor]:
    """Returns the best peaks over all classes, and where in their cells the points lie.

    Args:
        maps: With ``name``, and ``_offset`` behind that name.
        name: Of the heatmap.
        count: Number of peaks n.
        kernel: Side of the neighbourhood of which a peak is the maximum, in cells.

    Returns:
        The peaks, (B, n), and their x and y in cells, (B, n, 2) float32.
    """
    found = top_peaks(maps[name], count, kernel)
    inside = read_cells(maps[f"{name}_offset"], found.cells).float()
    return found, places_of(found.cells, maps[name].shape[-1]) + inside


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
    both = torch.sigmoid(first.values), torch.sigmoid(second.values)
    scores = torch.where(rejected, 0.0, (both[0] + both[1]) / 2).flatten(1)
    scores, index = scores.topk(min(count, scores.shape[1]))

    def best(*columns: Tensor) -> list[Tensor]:
        return [column.expand_as(rejected).flatten(1).gather(1, index) for column in columns]

    boxes = torch.stack(best(left.x, first.y, right.x, second.y), -1)
    (labels,), corner_scores = best(first.labels), torch.stack(best(*both), -1)
    found = {"boxes": boxes, "scores": scores, "labels": labels, "corner_scores": corner_scores}
    missing = count - scores.shape[1]
    if missing <= 0:
        return found
    return {n: F.pad(v, (0, 0) * (v.dim() - 2) + (0, missing)) for n, v in found.items()}


def joined(rows: Rows, others: Rows) -> Rows:
    """Returns the rows of both, by descending score."""
    return ordered({name: torch.cat((values, others[name]), 1) for name, values in rows.items()})


def ordered(rows: Rows) -> Rows:
    """Returns the rows by descending score; of equal scores, in the order that they had."""
    scores = rows["scores"]
    if is_portable():
        # ONNX has no sort; its top-k orders equal values by index.
        order = scores.topk(scores.shape[1]).indices
    else:
        order = scores.sort(descending=True, stable=True).indices
    found = {}
    for name, values in rows.items():
        tail = [1] * (values.dim() - 2)  # one index serves all numbers of a row
        found[name] = values.gather(1, order.reshape(*order.shape, *tail).expand_as(values))
    return found
