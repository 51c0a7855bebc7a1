"""What labels and a model disagree about in a picture, and how joints are compared for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import ImageRecord
from heatpoint.data.results import Detections
from heatpoint.geometry import box_iou
from heatpoint.inference.match import Match
from heatpoint.inference.predict import SCORE
from heatpoint.scoring.subjects import joint_errors, subject_lengths

SAME = 0.5
"""Overlap from which a result is about a label."""

_OFF = 0.2  # share of the subject's extent that a joint may lie off
_SWAPPED = 0.5  # share of the error that is left when left and right change places


class Doubt(NamedTuple):
    """One thing about which labels and model disagree.

    Attributes:
        kind: A word for it, such as "missed".
        reason: What labels and model say, in words.
        suspicion: How much it is worth a look, from 0 to 1.
        box: Where, xyxy in image pixels.
    """

    kind: str
    reason: str
    suspicion: float
    box: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Doubted:
    """A picture that labels and model disagree about.

    Attributes:
        record: Its labels.
        found: What the model finds, without what is not sure enough.
        doubts: What they disagree about, the most suspicious first.
    """

    record: ImageRecord
    found: Detections
    doubts: tuple[Doubt, ...]


def joint_doubts(
    match: Match, record: ImageRecord, found: Detections, in_order: bool
) -> Iterator[Doubt]:
    """Yields the joints that are found far from their labels, or all on the other side.

    Args:
        match: Says what is compared.
        record: Labels of a picture.
        found: What was found in it, with the joints of the labels.
        in_order: Results are those of the labelled subjects in their order.
    """
    truth, skeleton = record.keep(match.wanted(record)), match.truth.skeleton
    if truth.keypoints is None or found.keypoints is None or skeleton is None:
        return
    pairs = list(zip(range(len(truth)), range(len(found)), strict=False))
    if not in_order:
        overlaps = box_iou(truth.boxes, found.boxes.astype(np.float64))
        best = overlaps.argmax(1) if len(found) else np.zeros(0, np.int64)
        pairs = [(row, int(b)) for row, b in enumerate(best) if overlaps[row, b] >= SAME]
    rows, others = np.array(pairs, np.int64).reshape(-1, 2).T
    labelled, seen = truth.keypoints[rows], found.keypoints[others]
    lengths = subject_lengths("extent", labelled, truth.boxes[rows], None, skeleton)[:, None]
    errors = joint_errors(seen, labelled) / lengths
    mirrored = joint_errors(seen, labelled[:, list(skeleton.flip)]) / lengths
    paired = np.array(skeleton.flip) != np.arange(len(skeleton))
    for row in range(len(rows)):
        sure = seen[row, :, 2].clip(0, 1)
        both = paired & np.isfinite(errors[row]) & np.isfinite(mirrored[row])
        own, turned = errors[row, both].sum(), mirrored[row, both].sum()
        if own > _OFF * both.sum() and turned < _SWAPPED * own:
            suspicion = float(sure[both].mean() * (1 - turned / own))
            reason = f"left and right of subject {rows[row] + 1} seem to be swapped"
            yield Doubt("sides", reason, suspicion, truth.boxes[rows[row]])
            continue
        for joint in np.flatnonzero((errors[row] > _OFF) & (sure >= SCORE)).tolist():
            error, height = float(errors[row, joint]), float(sure[joint])
            ends = np.stack((labelled[row, joint, :2], seen[row, joint, :2]))
            box = np.concatenate((ends.min(0), ends.max(0)))
            reason = (
                f"{skeleton.joints[joint]} found with {height:.2f}, {error:.0%} of the subject's "
                "extent from its label"
            )
            yield Doubt("joint", reason, height * min(1.0, error), box)
