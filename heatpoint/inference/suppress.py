"""Suppression of double detections: hard NMS, and soft-NMS of one test scale or of several.

Soft-NMS: Bodla et al., "Soft-NMS: Improving Object Detection With One Line of Code", ICCV 2017,
equations 2 (linear) and 3 (gaussian).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.floating[Any]]
Scores = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]
Rows = NDArray[np.int64]
"""Numbers of rows."""

LINEAR_ABOVE = 0.5
"""Overlap from which on the linear decay lowers a score; the gaussian one always does."""

DROP_BELOW = 0.001
"""Rows that overlap a better one, and whose score falls below this, are dropped."""


def nms(boxes: Boxes, scores: Scores, labels: Labels, iou: float) -> Rows:
    """Returns the rows that greedy suppression within each class keeps, by descending score.

    Args:
        boxes: (N, 4) xyxy, any one frame.
        scores: (N,).
        labels: (N,) integer; boxes of different classes never suppress each other.
        iou: A box is removed when it overlaps a better one of its class by more than this.

    Returns:
        (kept,) int64 indices into the rows.
    """
    sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).astype(np.float64)
    # Only scores above OpenCV's threshold count, which must not be below 0.
    above = scores.astype(np.float32).clip(np.finfo(np.float32).tiny)
    kept = cv2.dnn.NMSBoxesBatched(sides.tolist(), above.tolist(), labels.tolist(), 0.0, iou)
    return np.asarray(kept, np.int64).reshape(-1)


def soften(
    boxes: Boxes,
    scores: Scores,
    labels: Labels,
    weights: Scores,
    *,
    kind: Literal["gaussian", "linear", "merge"] = "gaussian",
    sigma: float = 0.5,
    max_detections: int = 100,
) -> tuple[Rows, NDArray[np.float32], NDArray[np.float32]]:
    """Lowers the scores of boxes that overlap better ones of their class, and keeps the best.

    Both "gaussian" and "linear" leave boxes where they are. "merge" is gaussian and also moves each
    box towards those that it suppresses: a box becomes the mean of itself, with weight 1, and every
    box that remains behind it, with weight ``(1 - factor) ** 8`` where ``factor`` is what that
    one's score is multiplied by. This is the "merge_bbox" of the released CornerNet-Lite, which has
    it for several test scales.

    The released programs differ in three ways: boxes count one pixel more on each side, leftovers
    of dropped rows stay in the array, and merging mixes the weights of different boxes up.

    Args:
        boxes: (N, 4) xyxy, any one frame, the first scale's rows before the second's; meant for up
            to a few thousand rows of a class.
        scores: (N,), above 0.
        labels: (N,) integer.
        weights: (N, 2), above 0, for "merge": of x1 and y1, the score of the top-left corner, and
            of x2 and y2, that of the bottom-right one.
        kind: "gaussian" multiplies scores by ``exp(-iou^2 / sigma)``, "linear" by ``1 - iou`` above
            an overlap of 0.5.
        sigma: Width of the gaussian decay.
        max_detections: How many rows stay; equal scores at the cut all do.

    Returns:
        (M,) int64 indices into the rows, class by class in ascending order, the best first; their
        (M, 4) float32 boxes and (M,) float32 scores.
    """
    boxes, start = boxes.astype(np.float32), scores.astype(np.float32)
    weights = weights.astype(np.float32).repeat(2, axis=1)
    order, decayed = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    moved = [np.zeros((0, 4), np.float32)]
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        own = boxes[rows]
        touching, factors = _decay(own, kind, sigma)
        visited, values, there = [], [], []
        for row, present in _visits(start[rows], touching, factors):
            visited.append(row)
            values.append(present[row])
            if kind == "merge":
                there.append(present > 0)
        order.append(rows[visited])
        decayed.append(np.asarray(values, np.float32))
        if kind == "merge":
            moved.append(_merge(own, weights[rows], factors, np.asarray(visited), np.stack(there)))
        else:
            moved.append(own[visited])
    lowered = np.concatenate(decayed)
    stay = np.flatnonzero(_best(lowered, max_detections))
    return np.concatenate(order)[stay], np.concatenate(moved)[stay], lowered[stay]


def _decay(
    boxes: NDArray[np.float32], kind: str, sigma: float
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Returns which pairs of boxes touch, and the factors by which row i lowers row j; (N, N)."""
    x1, y1, x2, y2 = boxes.T
    areas = (x2 - x1) * (y2 - y1)
    # In place, because fresh (N, N) arrays cost more than the arithmetic on them.
    width = np.minimum(x2[:, None], x2)
    width -= np.maximum(x1[:, None], x1)
    height = np.minimum(y2[:, None], y2)
    height -= np.maximum(y1[:, None], y1)
    touching = (width > 0) & (height > 0)
    shared = np.multiply(width, height, out=width)
    shared *= touching
    union = np.subtract(areas[:, None] + areas, shared, out=height)
    np.maximum(union, np.finfo(np.float32).tiny, out=union)
    overlap = np.divide(shared, union, out=shared)
    if kind == "linear":
        return touching, np.where(overlap > LINEAR_ABOVE, 1 - overlap, np.float32(1))
    overlap *= overlap
    overlap *= np.float32(-1 / sigma)
    return touching, np.exp(overlap, out=overlap)


def _visits(
    scores: NDArray[np.float32], touching: NDArray[np.bool_], factors: NDArray[np.float32]
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yields the best remaining row and the present scores of all, until none remains.

    The scores, (N,), are 0 for rows that were visited or dropped; the array changes afterwards.
    """
    values = scores.copy()
    row = int(values.argmax())
    while values[row] > 0:
        yield row, values
        values[row] = 0
        values *= factors[row]
        # A row that is not touched never drops, however low its score was to begin with.
        values[touching[row] & (values < DROP_BELOW)] = 0
        row = int(values.argmax())


def _merge(
    boxes: NDArray[np.float32],
    weights: NDArray[np.float32],
    factors: NDArray[np.float32],
    visited: Rows,
    there: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Returns (V, 4) means of boxes; ``there``, (V, N), says which rows were left at each visit."""
    shares = 1 - factors[visited]
    for _ in range(3):
        shares *= shares
    shares *= there
    shares[np.arange(len(visited)), visited] = 1
    moved: NDArray[np.float32] = (shares @ (boxes * weights)) / (shares @ weights)
    return moved


def _best(scores: NDArray[np.float32], count: int) -> NDArray[np.bool_]:
    """Returns the (N,) mask of the published cut: scores at least the ``count``-th largest."""
    if len(scores) <= count:
        return np.ones(len(scores), bool)
    stay: NDArray[np.bool_] = scores >= np.partition(scores, -count)[-count]
    return stay
