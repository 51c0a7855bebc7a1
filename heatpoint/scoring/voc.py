"""Pascal VOC's average precision at overlap 0.5, after the rules of the VOC development kit.

Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV 2010, section 4.2: the
11-point average of VOC 2007 and the area under the whole curve used since VOC 2010.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from heatpoint.data.annotations import Annotations
from heatpoint.geometry.affine import box_iou
from heatpoint.scoring.rows import Results, box_rows

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class VocScores:
    """VOC's numbers, from 0 to 1; NaN where there is nothing to find.

    Attributes:
        ap50_11_point: Mean over classes of the 11-point AP (VOC 2007).
        ap50_all_point: Mean over classes of the area under the curve (VOC 2010 on).
        class_11_point: The 11-point AP of each class.
        class_all_point: The area under the curve of each class.
    """

    ap50_11_point: float = math.nan
    ap50_all_point: float = math.nan
    class_11_point: dict[str, float] = field(default_factory=dict)
    class_all_point: dict[str, float] = field(default_factory=dict)


def voc_metrics(
    results: Results,
    annotations: Annotations,
    overlap: float = 0.5,
) -> VocScores:
    """Returns VOC's two average precisions, overall and of every class.

    A detection belongs to the object of its class that it overlaps most, free or taken: the first
    to reach ``overlap`` is right, the next ones are wrong. One that belongs to a difficult object
    (or a crowd region) counts neither way. The development kit counts the last pixel of a box
    inside; our continuous boxes hold it already, so that its "+ 1" is not needed.

    Args:
        results: See ``rows.Results``.
        annotations: The truth.
        overlap: Least intersection over union of a right detection.

    Raises:
        HeatpointError: As ``coco.coco_metrics``.
    """
    rows = box_rows(results, annotations)
    label_of = {category: label for label, category in enumerate(annotations.category_ids)}
    image_of = {record.image_id: place for place, record in enumerate(annotations.images)}
    images = np.array([image_of[row["image_id"]] for row in rows], np.int64)
    labels = np.array([label_of[row["category_id"]] for row in rows], np.int64)
    scores = np.array([row["score"] for row in rows], np.float64)
    boxes = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    eleven: dict[str, float] = {}
    area: dict[str, float] = {}
    for label, name in enumerate(annotations.names):
        chosen = np.flatnonzero(labels == label)
        chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
        right, wrong, total = _match(boxes[chosen], images[chosen], annotations, label, overlap)
        recall, precision = _curve(right, wrong, total)
        eleven[name] = average_precision_11_point(recall, precision) if total else math.nan
        area[name] = average_precision_all_point(recall, precision) if total else math.nan
    return VocScores(_mean(eleven), _mean(area), eleven, area)


def _match(
    boxes: Floats, images: NDArray[np.int64], annotations: Annotations, label: int, overlap: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], int]:
    """Says of every detection of one class, (N,) by descending score, if it is right or wrong.

    Returns:
        (N,) right, (N,) wrong, and the number of objects to be found. Ignored ones are neither.
    """
    right = np.zeros(len(boxes), np.bool_)
    wrong = np.zeros(len(boxes), np.bool_)
    order = np.argsort(images, kind="stable")
    starts = np.searchsorted(images[order], np.arange(len(annotations.images) + 1))
    total = 0
    for place, record in enumerate(annotations.images):
        mine = record.labels == label
        ignored = (record.crowd | record.difficult)[mine]
        total += int((~ignored).sum())
        rows = order[starts[place] : starts[place + 1]]
        if not len(rows):
            continue
        if not mine.any():
            wrong[rows] = True
            continue
        overlaps = box_iou(boxes[rows], record.boxes[mine])
        taken = np.zeros(len(ignored), np.bool_)
        for row, best, value in zip(rows, overlaps.argmax(1), overlaps.max(1), strict=True):
            if value < overlap:
                wrong[row] = True
            elif not ignored[best]:
                (wrong if taken[best] else right)[row] = True
                taken[best] = True
    return right, wrong, total


def _curve(right: NDArray[np.bool_], wrong: NDArray[np.bool_], total: int) -> tuple[Floats, Floats]:
    """Returns recall and precision after each detection, both (N,)."""
    hits, misses = np.cumsum(right), np.cumsum(wrong)
    return hits / max(total, 1), hits / np.maximum(hits + misses, 1)


def average_precision_11_point(recall: Floats, precision: Floats) -> float:
    """Returns the mean, over recalls 0, 0.1, ..., 1, of the best precision at that recall or more.

    Args:
        recall: (N,), rising.
        precision: (N,).
    """
    # A tenth of a count is rarely a binary number; 3 of 10 objects must reach recall 0.3.
    levels = np.arange(11) / 10 - 1e-9
    best = [precision[recall >= level].max(initial=0.0) for level in levels]
    return float(np.mean(best))


def average_precision_all_point(recall: Floats, precision: Floats) -> float:
    """Returns the area under the curve after precision is made to fall monotonically.

    Args:
        recall: (N,), rising.
        precision: (N,).
    """
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.diff(recall, prepend=0.0)
    return float((steps * envelope).sum())


def _mean(values: dict[str, float]) -> float:
    """Returns the mean of those that are numbers, NaN if none is."""
    known = [value for value in values.values() if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
