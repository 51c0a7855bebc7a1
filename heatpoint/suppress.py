"""Suppression of double detections: hard NMS, soft-NMS, and the merge of several test scales.

Soft-NMS: Bodla et al., "Soft-NMS: Improving Object Detection With One Line of Code", ICCV 2017,
equations 2 (linear) and 3 (gaussian).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SoftMethod = Literal["gaussian", "linear", "hard"]


def nms(boxes: Tensor, scores: Tensor, labels: Tensor, iou: float) -> Tensor:
    """Returns the rows that greedy suppression within each class keeps, by descending score.

    Args:
        boxes: (N, 4) xyxy, any one frame.
        scores: (N,).
        labels: (N,) integer; boxes of different classes never suppress each other.
        iou: A box is removed when it overlaps a better one of its class by more than this.

    Returns:
        (kept,) int64 indices into the rows.
    """
    from torchvision.ops import batched_nms

    kept: Tensor = batched_nms(boxes.float(), scores.float(), labels, iou)
    return kept


def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor | None = None,
    *,
    method: SoftMethod = "gaussian",
    sigma: float = 0.5,
    iou: float = 0.5,
    drop_below: float = 0.001,
    inclusive: bool = False,
    keep_stale: bool = False,
) -> tuple[Tensor, Tensor]:
    """Lowers the scores of boxes that overlap better ones instead of removing them.

    The rows are visited as the published in-place algorithm does: the best remaining row is
    swapped to the front, every later one that overlaps it decays, and one that falls below
    ``drop_below`` gives its place to the last row. That last row's old copy stays behind the valid
    rows; CenterNet, CornerNet and CenterNet-triplets read the whole array and so keep these
    duplicates. The default here does not; ``keep_stale=True`` does, for their exact numbers.

    Args:
        boxes: (N, 4) xyxy, any one frame; meant for up to a few thousand rows.
        scores: (N,).
        labels: (N,) integer, suppressed class by class in ascending order; None is one class.
        method: Decay by ``exp(-iou^2 / sigma)``, by ``1 - iou`` above ``iou``, or to 0 above it.
        sigma: Width of the gaussian decay.
        iou: Threshold of the linear and the hard decay; the gaussian one has none.
        drop_below: Overlapping rows whose score falls below this are dropped.
        inclusive: Widths and heights count one pixel more, as in every published system.
        keep_stale: Returns the leftovers of dropped rows too, N rows in all.

    Returns:
        (M,) int64 indices into the rows and (M,) float32 decayed scores, class by class in the
        order in which the algorithm leaves them. With ``keep_stale`` an index can repeat.
    """
    groups = [np.arange(len(boxes))]
    if labels is not None:
        classes = labels.cpu().numpy()
        groups = [np.flatnonzero(classes == label) for label in np.unique(classes)]
    order: list[Tensor] = [torch.zeros(0, dtype=torch.long)]
    decayed: list[Tensor] = [torch.zeros(0)]
    all_boxes = boxes.detach().cpu().numpy().astype(np.float32)
    all_scores = scores.detach().cpu().numpy().astype(np.float32)
    for rows in groups:
        touching, factors = _decay(all_boxes[rows], method, sigma, iou, 1.0 if inclusive else 0.0)
        visited, values, kept = _visit(all_scores[rows], touching, factors, drop_below)
        end = len(rows) if keep_stale else kept
        order.append(torch.from_numpy(rows[visited[:end]]))
        decayed.append(torch.from_numpy(values[:end]))
    return torch.cat(order).to(boxes.device), torch.cat(decayed).to(boxes.device)


def _decay(
    boxes: NDArray[np.float32], method: SoftMethod, sigma: float, iou: float, extra: float
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Returns which pairs of boxes touch, and the factors by which row i lowers row j; both (N, N).

    ``extra`` is added to every width and height: 1 where a box includes its last pixel.
    """
    x1, y1, x2, y2 = boxes.T
    one = np.float32(extra)
    areas = (x2 - x1 + one) * (y2 - y1 + one)
    # In place, because fresh (N, N) arrays cost more than the arithmetic on them.
    width = np.minimum(x2[:, None], x2)
    width -= np.maximum(x1[:, None], x1) - one
    height = np.minimum(y2[:, None], y2)
    height -= np.maximum(y1[:, None], y1) - one
    touching = (width > 0) & (height > 0)
    shared = np.multiply(width, height, out=width)
    shared *= touching
    union = np.subtract(areas[:, None] + areas, shared, out=height)
    np.maximum(union, np.finfo(np.float32).tiny, out=union)
    overlap = np.divide(shared, union, out=shared)
    if method == "gaussian":
        overlap *= overlap
        overlap *= np.float32(-1 / sigma)
        return touching, np.exp(overlap, out=overlap)
    lowered = 1 - overlap if method == "linear" else np.float32(0)
    return touching, np.where(overlap > iou, lowered, np.float32(1))


def _visit(
    scores: NDArray[np.float32],
    touching: NDArray[np.bool_],
    factors: NDArray[np.float32],
    drop_below: float,
) -> tuple[NDArray[np.int64], NDArray[np.float32], int]:
    """Runs the in-place algorithm on row numbers instead of rows.

    Returns:
        The row number and the score at every place, and how many leading places are valid.
    """
    rows = np.arange(len(scores))
    values = scores.copy()
    valid = len(scores)
    place = 0
    while place < valid:
        best = place + int(values[place:valid].argmax())
        if best != place:
            rows[place], rows[best] = rows[best], rows[place]
            values[place], values[best] = values[best], values[place]
        later = rows[place + 1 : valid]
        after = factors[rows[place]].take(later) * values[place + 1 : valid]
        # A row that is not touched never drops, however low its score was to begin with.
        doomed = after < drop_below
        if doomed.any():
            doomed &= touching[rows[place], later]
            valid = _close_gaps(rows, values, after, doomed, place + 1, valid)
        else:
            values[place + 1 : valid] = after
        place += 1
    return rows, values, valid


def _close_gaps(
    rows: NDArray[np.int64],
    values: NDArray[np.float32],
    after: NDArray[np.float32],
    doomed: NDArray[np.bool_],
    start: int,
    valid: int,
) -> int:
    """Stores decayed scores from ``start`` on and fills doomed places with the last valid rows.

    A row that moves forward leaves its undecayed copy behind, as published.

    Returns:
        The new number of valid places.
    """
    last = valid - 1
    for gap in np.flatnonzero(doomed) + start:
        if gap > last:
            break
        source = int(gap)
        while doomed[source - start]:
            rows[gap], values[gap] = rows[source], after[source - start]
            source, last = last, last - 1
            if source == gap:
                break
        else:
            rows[gap], values[gap] = rows[source], after[source - start]
    undoomed = np.flatnonzero(~doomed[: last + 1 - start]) + start
    values[undoomed] = after[undoomed - start]
    return last + 1


def top_detections(scores: Tensor, count: int) -> Tensor:
    """Returns the (N,) mask of the published cut: scores at least the ``count``-th largest.

    Equal scores at the cut all stay, so that more than ``count`` rows can remain.
    """
    if len(scores) <= count:
        return torch.ones_like(scores, dtype=torch.bool)
    return scores >= torch.topk(scores, count).values[-1]


def merge_scales(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    *,
    sigma: float = 0.5,
    max_detections: int = 100,
    inclusive: bool = False,
    keep_stale: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Merges the detections of several test scales as CenterNet and CornerNet do.

    Gaussian soft-NMS class by class, then the best ``max_detections`` over all classes. The
    published numbers come from ``inclusive=True, keep_stale=True``, see ``soft_nms``.

    Args:
        boxes: (N, 4) xyxy in image pixels, the first scale's rows before the second's.
        scores: (N,).
        labels: (N,) integer.
        sigma: Width of the gaussian decay.
        max_detections: How many rows stay; equal scores at the cut all do.
        inclusive: See ``soft_nms``.
        keep_stale: See ``soft_nms``.

    Returns:
        Boxes, decayed scores and labels of the rows that stay, in order of class.
    """
    order, decayed = soft_nms(
        boxes, scores, labels, sigma=sigma, inclusive=inclusive, keep_stale=keep_stale
    )
    stay = top_detections(decayed, max_detections)
    return boxes[order[stay]], decayed[stay], labels[order[stay]]
