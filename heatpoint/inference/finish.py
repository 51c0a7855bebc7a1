"""From candidates to results: the one path that evaluation, prediction and exports share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from heatpoint.engines.engine import Answer
from heatpoint.errors import HeatpointError, check_choice
from heatpoint.geometry.affine import clip_boxes
from heatpoint.inference.results import Detections
from heatpoint.inference.suppress import SoftNms, soften
from heatpoint.inference.suppress import nms as hard_nms
from heatpoint.views.picture import Frame


class Mapped(NamedTuple):
    """The boxes of one image in image pixels, before anything is suppressed.

    Attributes:
        found: All rows that are not empty.
        corner_scores: (N, 2), of the top-left and the bottom-right corner; the score of the whole
            box twice where it was not found by its corners.
    """

    found: Detections
    corner_scores: NDArray[np.float32]


def finish(
    answer: Answer,
    frames: Sequence[Frame],
    names: Sequence[str],
    score_threshold: float = 0.0,
    nms: float | None = None,
    max_detections: int = 100,
    soft_nms: SoftNms = "none",
    sigma: float = 0.5,
) -> list[Detections]:
    """Turns a network's answer to a batch into one result per image.

    Boxes are mapped to image pixels and clipped to the image. Left out are empty rows (score 0),
    rows below the threshold, boxes that lie wholly outside the image (in the letterbox's margin,
    say) and, if asked for, what NMS removes. CenterNet needs no NMS; large objects with double
    peaks do.

    Args:
        answer: About B images, in input pixels.
        frames: One per image.
        names: Class names of the detector.
        score_threshold: Rows with a score of at least this stay.
        nms: Overlap above which the worse of two boxes of one class is removed, or None.
        max_detections: At most this many rows stay, the best.
        soft_nms: Kind of soft-NMS, which lowers the scores of boxes that overlap better ones
            before the threshold is applied; see ``soften``.
        sigma: Width of its gaussian decay.

    Returns:
        B results, each by descending score, equal scores in the codec's order.

    Raises:
        HeatpointError: The answer holds something that is no finite number, or an argument is out
            of range.
    """
    check_thresholds(score_threshold, nms, max_detections)
    check_choice("soft_nms", soft_nms, get_args(SoftNms))
    return [
        conclude(mapped, score_threshold, nms, max_detections, soft_nms, sigma)
        for mapped in map_to_images(answer, frames, names)
    ]


def map_to_images(answer: Answer, frames: Sequence[Frame], names: Sequence[str]) -> list[Mapped]:
    """Returns the boxes of B images in pixels of these, clipped; arguments as for ``finish``.

    Raises:
        HeatpointError: The answer holds something that is no finite number.
    """
    if len(answer["boxes"]) != len(frames):
        raise ValueError(f"an answer about {len(answer['boxes'])} images, {len(frames)} frames")
    names = tuple(names)
    corner_scores = answer.get("corner_scores")
    if corner_scores is None:
        corner_scores = np.repeat(answer["scores"][..., None], 2, axis=-1)
    columns = (answer["boxes"], answer["scores"], answer["labels"], corner_scores)
    results = []
    for boxes, scores, labels, corners, frame in zip(*columns, frames, strict=True):
        if not (np.isfinite(scores).all() and np.isfinite(boxes[scores > 0]).all()):
            raise HeatpointError(
                f"the network's answer for {frame.path or 'an image'} is not a finite number; "
                "its weights are damaged or its training diverged, or try precision='fp32'"
            )
        exact = frame.to_image.boxes(boxes.astype(np.float64))
        mapped = clip_boxes(exact, frame.image_size).astype(np.float32)
        inside = (mapped[:, 2] > mapped[:, 0]) & (mapped[:, 3] > mapped[:, 1])
        stay = (scores > 0) & inside
        found = Detections(mapped[stay], scores[stay], labels[stay], names)
        results.append(Mapped(found, corners[stay].astype(np.float32)))
    return results


def conclude(
    mapped: Mapped,
    score_threshold: float,
    nms: float | None,
    max_detections: int,
    soft_nms: SoftNms,
    sigma: float,
) -> Detections:
    """Returns what suppression and threshold leave; arguments as for ``finish``."""
    found = mapped.found
    if soft_nms != "none":
        boxes, scores, labels = soften(
            found.boxes,
            found.scores,
            found.labels,
            mapped.corner_scores,
            kind=soft_nms,
            sigma=sigma,
            max_detections=max_detections,
        )
        found = Detections(boxes, scores, labels, found.names)
    return select(found[found.scores >= score_threshold], nms, max_detections)


def joined(parts: Sequence[Mapped], most: int) -> Mapped:
    """Returns the rows of several test scales, the ``most`` best of each, scale by scale."""
    best = [np.argsort(-part.found.scores, kind="stable")[:most] for part in parts]
    rows = [part.found[order] for part, order in zip(parts, best, strict=True)]
    found = Detections(
        np.concatenate([row.boxes for row in rows]),
        np.concatenate([row.scores for row in rows]),
        np.concatenate([row.labels for row in rows]),
        rows[0].names,
    )
    corners = [part.corner_scores[order] for part, order in zip(parts, best, strict=True)]
    return Mapped(found, np.concatenate(corners))


def select(found: Detections, nms: float | None, max_detections: int) -> Detections:
    """Returns the rows that NMS leaves (all of them for None), the best ``max_detections``."""
    if nms is not None:
        found = found[hard_nms(found.boxes, found.scores, found.labels, nms)]
    order = np.argsort(-found.scores, kind="stable")
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
