"""From maps of corners to boxes: the best corners of each kind, and which of them make a pair."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from heatpoint.codecs.base import Maps, Rows
from heatpoint.codecs.peaks import is_portable, read_cells, top_peaks


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
