"""From candidates to results: the one path that evaluation, prediction and exports share."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from heatpoint.errors import HeatpointError
from heatpoint.geometry import clip_boxes
from heatpoint.prepare import Frame
from heatpoint.results import Detections
from heatpoint.suppress import nms as hard_nms
from heatpoint.suppress import soft_nms as gaussian_soft_nms
from heatpoint.types import Candidates


def finish(
    candidates: Candidates,
    frames: Sequence[Frame],
    names: Sequence[str],
    score_threshold: float = 0.0,
    nms: float | None = None,
    max_detections: int = 100,
    soft_nms: float | None = None,
) -> list[Detections]:
    """Turns the candidates of a batch into one result per image.

    Boxes are mapped to image pixels and clipped to the image. Left out are empty rows (score 0),
    rows below the threshold, boxes that lie wholly outside the image (in the letterbox's margin,
    say) and, if asked for, what NMS removes. CenterNet needs no NMS; large objects with double
    peaks do.

    Args:
        candidates: Of B images, in input pixels.
        frames: One per image.
        names: Class names of the detector.
        score_threshold: Rows with a score of at least this stay.
        nms: Overlap above which the worse of two boxes of one class is removed, or None.
        max_detections: At most this many rows stay, the best.
        soft_nms: Width sigma of a gaussian soft-NMS, which lowers the scores of boxes that overlap
            better ones before the threshold is applied, or None.

    Returns:
        B results on the CPU, each by descending score, equal scores in the codec's order.

    Raises:
        HeatpointError: A candidate is not a finite number, or an argument is out of range.
    """
    check_thresholds(score_threshold, nms, max_detections)
    if len(candidates.boxes) != len(frames):
        raise ValueError(f"{len(candidates.boxes)} images of candidates, {len(frames)} frames")
    names = tuple(names)
    results = []
    moved = (tensor.cpu() for tensor in candidates)
    for boxes, scores, labels, frame in zip(*moved, frames, strict=True):
        if not (torch.isfinite(scores).all() and torch.isfinite(boxes[scores > 0]).all()):
            raise HeatpointError(
                f"the network's answer for {frame.path or 'an image'} is not a finite number; "
                "its weights are damaged or its training diverged, or try precision='fp32'"
            )
        mapped = clip_boxes(frame.to_image.boxes(boxes.double()), frame.image_size).float()
        inside = (mapped[:, 2] > mapped[:, 0]) & (mapped[:, 3] > mapped[:, 1])
        stay = (scores > 0) & inside
        found = Detections(mapped[stay], scores[stay], labels[stay], names)
        if soft_nms is not None:
            found = softened(found, soft_nms)
        found = found[found.scores >= score_threshold]
        results.append(select(found, nms, max_detections))
    return results


def softened(found: Detections, sigma: float) -> Detections:
    """Returns the rows with the scores that gaussian soft-NMS leaves them."""
    rows, scores = gaussian_soft_nms(found.boxes, found.scores, found.labels, sigma=sigma)
    return Detections(found.boxes[rows], scores, found.labels[rows], found.names)


def select(found: Detections, nms: float | None, max_detections: int) -> Detections:
    """Returns the rows that NMS leaves (all of them for None), the best ``max_detections``."""
    if nms is not None:
        found = found[hard_nms(found.boxes, found.scores, found.labels, nms)]
    order = torch.sort(found.scores, descending=True, stable=True).indices
    return found[order[:max_detections]]


def check_thresholds(score_threshold: float, nms: float | None, max_detections: int) -> None:
    """Makes sure that the three numbers are in range.

    Raises:
        HeatpointError: One is not; names it.
    """
    if not 0.0 <= score_threshold <= 1.0:
        raise HeatpointError(f"score_threshold must lie in [0, 1], not {score_threshold}")
    if nms is not None and not 0.0 < nms <= 1.0:
        raise HeatpointError(f"nms must be an overlap in (0, 1] or None, not {nms}")
    if max_detections < 1:
        raise HeatpointError(f"max_detections must be at least 1, not {max_detections}")
