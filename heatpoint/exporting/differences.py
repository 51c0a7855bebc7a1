"""Tells the results of two engines apart, row by row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heatpoint.geometry.affine import box_iou
from heatpoint.inference.results import Detections

_SAME = 0.5  # overlap from which two boxes of one class are taken for the same result


@dataclass(frozen=True)
class Differences:
    """Differences of one picture's results, one row each: infinite where one is missing.

    Attributes:
        scores: (N,) the higher of the two scores.
        pixels: (N,) distance in image pixels.
        overlaps: (N,) of two boxes; 0 for joints, which have none.
        apart: (N,) difference of the scores.
        before: (A,) scores of all results of the checkpoint.
        after: (B,) those of the exported file.
    """

    scores: NDArray[np.float64]
    pixels: NDArray[np.float64]
    overlaps: NDArray[np.float64]
    apart: NDArray[np.float64]
    before: NDArray[np.float64]
    after: NDArray[np.float64]


def box_differences(first: Detections, second: Detections) -> Differences:
    """Returns the differences of two results: of each row of either to its like in the other.

    Rows are alike if they are of one class and overlap by half or more; the best overlap counts.
    """
    parts = [_one_way(first, second), _one_way(second, first)]
    scores, pixels, overlaps, apart = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    before, after = first.scores.astype(np.float64), second.scores.astype(np.float64)
    return Differences(scores, pixels, overlaps, apart, before, after)


def _one_way(first: Detections, second: Detections) -> tuple[NDArray[np.float64], ...]:
    """Returns the first four fields of the differences, for the rows of ``first``."""
    count = len(first)
    scores = first.scores.astype(np.float64)
    if not count or not len(second):
        return scores, np.full(count, np.inf), np.zeros(count), np.full(count, np.inf)
    overlaps = box_iou(first.boxes.astype(np.float64), second.boxes.astype(np.float64))
    overlaps[first.labels[:, None] != second.labels[None, :]] = 0.0
    apart = np.abs(scores[:, None] - second.scores[None, :])
    # Of several that overlap alike (double peaks) the one of the nearest score is meant.
    like = np.lexsort((apart, -overlaps.round(3)), axis=1)[:, 0]
    rows = np.arange(count)
    best = overlaps[rows, like]
    found = best >= _SAME
    pixels = np.abs(first.boxes - second.boxes[like]).max(1)
    return (
        np.where(found, np.maximum(scores, second.scores[like]), scores),
        np.where(found, pixels, np.inf),
        best,
        np.where(found, apart[rows, like], np.inf),
    )


def joint_differences(first: NDArray[np.float32], second: NDArray[np.float32]) -> Differences:
    """Returns the differences of the joints of two equal lists of subjects, (N, J, 3) each."""
    mine, theirs = (each.reshape(-1, 3).astype(np.float64) for each in (first, second))
    return Differences(
        scores=np.maximum(mine[:, 2], theirs[:, 2]),
        pixels=np.linalg.norm(mine[:, :2] - theirs[:, :2], axis=1),
        overlaps=np.zeros(len(mine)),
        apart=np.abs(mine[:, 2] - theirs[:, 2]),
        before=mine[:, 2],
        after=theirs[:, 2],
    )
