"""Suppression of double detections: hard NMS, soft-NMS, and the merge of several test scales.

Soft-NMS: Bodla et al., "Soft-NMS: Improving Object Detection With One Line of Code", ICCV 2017,
equations 2 (linear) and 3 (gaussian).
"""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from heatpoint.inference.soft_nms import SoftMethod, decay, visit

SoftNms = Literal["gaussian", "linear", "merge", "none"]
"""What a detector can be told to do about double boxes instead of removing them."""


Boxes = NDArray[np.floating[Any]]
Scores = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]
Rows = NDArray[np.int64]
"""Numbers of rows."""


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
    # Unlike the visits of soft-NMS, OpenCV's prefers the earlier of two rows with equal scores.
    sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).astype(np.float64)
    # Only scores above OpenCV's threshold count, which must not be below 0.
    above = scores.astype(np.float32).clip(np.finfo(np.float32).tiny)
    kept = cv2.dnn.NMSBoxesBatched(sides.tolist(), above.tolist(), labels.tolist(), 0.0, iou)
    return np.asarray(kept, np.int64).reshape(-1)


def soft_nms(
    boxes: Boxes,
    scores: Scores,
    labels: Labels | None = None,
    *,
    method: SoftMethod = "gaussian",
    sigma: float = 0.5,
    iou: float = 0.5,
    drop_below: float = 0.001,
    inclusive: bool = False,
    keep_stale: bool = False,
) -> tuple[Rows, NDArray[np.float32]]:
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
    order, decayed = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    all_boxes, all_scores = boxes.astype(np.float32), scores.astype(np.float32)
    for rows in _by_class(len(boxes), labels):
        touching, factors = decay(all_boxes[rows], method, sigma, iou, 1.0 if inclusive else 0.0)
        visited, values, kept = visit(all_scores[rows], touching, factors, drop_below)
        end = len(rows) if keep_stale else kept
        order.append(rows[visited[:end]])
        decayed.append(values[:end])
    return np.concatenate(order), np.concatenate(decayed)


def soft_nms_merge(
    boxes: Boxes,
    scores: Scores,
    corner_scores: Scores,
    labels: Labels | None = None,
    *,
    method: SoftMethod = "gaussian",
    sigma: float = 0.5,
    iou: float = 0.5,
    exponent: float = 8.0,
    drop_below: float = 0.001,
    inclusive: bool = False,
    keep_stale: bool = False,
    corner_scores_stay: bool = False,
) -> tuple[Rows, NDArray[np.float32], NDArray[np.float32]]:
    """Lowers scores like ``soft_nms``, and moves each box towards the boxes that it suppresses.

    A box becomes the mean of itself, with weight 1, and every later one of its class, with weight
    ``(1 - factor) ** exponent`` where ``factor`` is what the score is multiplied by; x1 and y1
    are weighted by the score of the top-left corner too, x2 and y2 by that of the bottom-right
    one. This is the "merge_bbox" of the released CornerNet, which has it for several test scales.

    The released program swaps boxes without the scores of their corners, so that these soon
    belong to other boxes. The default here does not; ``corner_scores_stay=True`` does, for its
    exact numbers (with ``inclusive`` and ``keep_stale``).

    Args:
        boxes: (N, 4) xyxy, any one frame.
        scores: (N,).
        corner_scores: (N, 2), of the top-left and of the bottom-right corner, above 0.
        labels: As for ``soft_nms``, like all that follow but ``exponent``.
        method: See there.
        sigma: See there.
        iou: See there.
        exponent: 8 in the released CornerNet-Lite, 10 in CornerNet.
        drop_below: See there.
        inclusive: See there.
        keep_stale: See there.
        corner_scores_stay: Scores of corners stay at their places when boxes are swapped.

    Returns:
        (M,) int64 indices into the rows, their (M, 4) float32 merged boxes and (M,) float32
        decayed scores.
    """
    order, decayed = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    merged = [np.zeros((0, 4), np.float32)]
    all_boxes, all_scores = boxes.astype(np.float32), scores.astype(np.float32)
    all_corners = corner_scores.astype(np.float32)
    for rows in _by_class(len(boxes), labels):
        own, corners = all_boxes[rows], all_corners[rows].repeat(2, axis=1)
        touching, factors = decay(own, method, sigma, iou, 1.0 if inclusive else 0.0)
        moved = np.zeros_like(own)

        def absorb(
            place: int,
            row: int,
            later: NDArray[np.int64],
            met: NDArray[np.int64],
            # Bound here, because a closure would see the variables of the next class.
            own: NDArray[np.float32] = own,
            corners: NDArray[np.float32] = corners,
            factors: NDArray[np.float32] = factors,
            moved: NDArray[np.float32] = moved,
        ) -> None:
            lost = 1 - factors[row].take(later)
            near = np.flatnonzero(lost)
            first, others = (place, met) if corner_scores_stay else (row, later)
            weights = corners[others[near]] * lost[near, None] ** np.float32(exponent)
            total = corners[first] + weights.sum(0)
            pulled = (own[later[near]] * weights).sum(0)
            moved[place] = (own[row] * corners[first] + pulled) / total

        visited, values, kept = visit(all_scores[rows], touching, factors, drop_below, absorb)
        moved[kept:] = own[visited[kept:]]
        end = len(rows) if keep_stale else kept
        order.append(rows[visited[:end]])
        decayed.append(values[:end])
        merged.append(moved[:end])
    return np.concatenate(order), np.concatenate(merged), np.concatenate(decayed)


def _by_class(count: int, labels: Labels | None) -> list[Rows]:
    """Returns the row numbers of each class, in ascending order of label."""
    if labels is None:
        return [np.arange(count)]
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def top_detections(scores: Scores, count: int) -> NDArray[np.bool_]:
    """Returns the (N,) mask of the published cut: scores at least the ``count``-th largest.

    Equal scores at the cut all stay, so that more than ``count`` rows can remain.
    """
    if len(scores) <= count:
        return np.ones(len(scores), bool)
    stay: NDArray[np.bool_] = scores >= np.partition(scores, -count)[-count]
    return stay


def soften(
    boxes: Boxes,
    scores: Scores,
    labels: Labels,
    corner_scores: Scores,
    *,
    kind: Literal["gaussian", "linear", "merge"] = "gaussian",
    sigma: float = 0.5,
    max_detections: int = 100,
    inclusive: bool = False,
    keep_stale: bool = False,
) -> tuple[Boxes, NDArray[np.float32], Labels]:
    """Suppresses double boxes as CenterNet and CornerNet do, of one test scale or of several.

    Soft-NMS class by class, then the best ``max_detections`` over all classes. The published
    numbers come from ``inclusive=True, keep_stale=True``, see ``soft_nms``.

    Args:
        boxes: (N, 4) xyxy in image pixels, the first scale's rows before the second's.
        scores: (N,).
        labels: (N,) integer.
        corner_scores: (N, 2), for "merge": weights of the top-left and the bottom-right corner.
        kind: "gaussian" and "linear" (above an overlap of 0.5) lower scores; "merge" is gaussian
            and moves boxes too, see ``soft_nms_merge``.
        sigma: Width of the gaussian decay.
        max_detections: How many rows stay; equal scores at the cut all do.
        inclusive: See ``soft_nms``.
        keep_stale: See ``soft_nms``.

    Returns:
        Boxes, decayed scores and labels of the rows that stay, in order of class.
    """
    if kind == "merge":
        order, boxes, decayed = soft_nms_merge(
            boxes,
            scores,
            corner_scores,
            labels,
            sigma=sigma,
            inclusive=inclusive,
            keep_stale=keep_stale,
        )
    else:
        order, decayed = soft_nms(
            boxes,
            scores,
            labels,
            method=kind,
            sigma=sigma,
            inclusive=inclusive,
            keep_stale=keep_stale,
        )
        boxes = boxes[order]
    stay = top_detections(decayed, max_detections)
    return boxes[stay], decayed[stay], labels[order[stay]]
