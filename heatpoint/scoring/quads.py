"""Scores of four corners: COCO's average precision, by the exact overlap of the polygons."""

from __future__ import annotations

from dataclasses import dataclass

from heatpoint.data import Annotations
from heatpoint.scoring import Results, tabulated
from heatpoint.scoring.boxes import compared, scores_by_class


@dataclass(frozen=True, kw_only=True)
class QuadScores:
    """Scores of four corners, from 0 to 1; NaN where there is nothing to find.

    Attributes:
        ap: Average precision, the mean over overlaps 0.50, 0.55, ..., 0.95 and over classes.
        ap50: AP at overlap 0.5.
        ap75: AP at overlap 0.75.
        per_class: ``{"ap": ..., "ap50": ...}`` of each class by name.
    """

    ap: float
    ap50: float
    ap75: float
    per_class: dict[str, dict[str, float]]


def score_quads(results: Results, truth: Annotations) -> QuadScores:
    """Returns the scores of what was found by four corners.

    The rules are COCO's for boxes, but the overlap is that of the polygons (``quad_iou``, which
    takes the hull of corners that cross), and all that is found in a picture counts, not the best
    hundred of a class. Crowd regions and difficult objects count neither way.

    Args:
        results: See ``scoring.Results``; COCO rows have their corners as ``segmentation``.
        truth: The annotations, with four corners.

    Raises:
        HeatpointError: Results and annotations do not belong together.
    """
    evaluator, stats = compared(tabulated(results, truth, quads=True), truth)
    per_class = scores_by_class(evaluator, truth.names)
    return QuadScores(ap=stats[0], ap50=stats[1], ap75=stats[2], per_class=per_class)
