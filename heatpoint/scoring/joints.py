"""Scores joints: PCK, PCKh, pixel errors and OKS, and says which objects are subjects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heatpoint.data.annotations import Annotations, ImageRecord
from heatpoint.data.results import Detections
from heatpoint.geometry.affine import box_iou
from heatpoint.scoring import Normaliser
from heatpoint.scoring.oks import OksScores, oks_metrics
from heatpoint.scoring.pck import PckScores, joint_errors, pck, pckh, subject_lengths

MATCH = 0.5
"""Overlap (IoU) from which a found box is that of an annotated subject."""


@dataclass(frozen=True, kw_only=True)
class JointScores:
    """Scores of joints, from 0 to 1; NaN where there is nothing to find.

    Attributes:
        pck: By name: ``pck@0.1`` and so on, by the protocol's normaliser; and ``pckh@0.5`` where
            the annotations know the heads. Empty for a file of results, whose rows do not say
            which subject they are about.
        oks: COCO's ten numbers of keypoints.
        mean_error: Mean distance in image pixels over the labelled joints of the subjects found.
        error_per_joint: The same for each joint by name.
        subjects: Number of subjects: objects with a labelled joint, without crowd regions and
            difficult ones.
        missed: Subjects that no found box overlaps enough; all their joints are misses of PCK.
        left_out: What is not counted, by reason.
    """

    pck: dict[str, PckScores]
    oks: OksScores
    mean_error: float
    error_per_joint: dict[str, float]
    subjects: int
    missed: int
    left_out: dict[str, int]


def is_subject(record: ImageRecord) -> NDArray[np.bool_]:
    """Returns (N,) bool: which objects of an image are subjects whose joints are scored."""
    if record.keypoints is None:
        return np.zeros(len(record), bool)
    return (record.keypoints[..., 2] > 0).any(1) & ~(record.crowd | record.difficult)


def score_joints(
    truth: Annotations,
    found: Sequence[Detections],
    in_order: bool,
    normaliser: Normaliser,
    thresholds: Sequence[float],
    sigmas: Sequence[float] | None,
) -> JointScores:
    """Returns the scores of joints.

    Args:
        truth: Annotations with a skeleton.
        found: One result per image, joints in the order of ``truth.skeleton``.
        in_order: Rows are those of the subjects in their order; else the overlap of their boxes
            says whose they are.
        normaliser: A name of ``pck.NORMALISERS``.
        thresholds: Shares of the length; none leaves PCK out.
        sigmas: OKS's, or None for those of the skeleton.
    """
    assert truth.skeleton is not None
    joints = truth.skeleton.joints
    meant = [record.keep(is_subject(record)) for record in truth.images]
    rows = [
        _points(one) if in_order else _points_by_box(one, record)
        for one, record in zip(found, meant, strict=True)
    ]
    shape = (0, len(joints), 3)
    labelled = [record.keypoints for record in meant if record.keypoints is not None]
    keypoints = np.concatenate([np.zeros(shape), *labelled])
    predicted = np.concatenate([np.zeros(shape), *rows])
    boxes = np.concatenate([np.zeros((0, 4)), *(record.boxes for record in meant)])
    heads = None
    if any(record.heads is not None for record in meant):
        known = [np.full(len(r), np.nan) if r.heads is None else r.heads for r in meant]
        heads = np.concatenate(known)
    errors = joint_errors(predicted, keypoints)
    lengths = subject_lengths(normaliser, keypoints, boxes, heads, truth.skeleton)
    scores = {f"pck@{share:g}": pck(errors, lengths, share, joints) for share in thresholds}
    if heads is not None and np.isfinite(heads).any():
        scores["pckh@0.5"] = pckh(errors, heads, joints)
    measured = np.where(np.isfinite(errors), errors, np.nan)
    objects = sum(len(record) for record in truth.images)
    left_out = {
        "objects without a labelled joint, crowd regions or difficult": objects - len(keypoints),
        f"subjects without a length by {normaliser}": int(np.isnan(lengths).sum()),
    }
    return JointScores(
        pck=scores,
        oks=oks_metrics(found, truth, sigmas),
        mean_error=_mean(measured),
        error_per_joint={name: _mean(measured[:, i]) for i, name in enumerate(joints)},
        subjects=len(keypoints),
        missed=int(np.isinf(predicted).all((1, 2)).sum()),
        left_out={reason: count for reason, count in left_out.items() if count},
    )


def _points(found: Detections) -> NDArray[np.float64]:
    assert found.keypoints is not None
    return found.keypoints.astype(np.float64)


def _points_by_box(found: Detections, record: ImageRecord) -> NDArray[np.float64]:
    """Returns (N, J, 3) of the row whose box overlaps each subject's most, infinite without one.

    Rows choose in their order, that of the scores of boxes, among subjects of their class, as
    COCO's matching has it.
    """
    points = _points(found)
    taken = np.full((len(record), *points.shape[1:]), np.inf)
    overlaps = box_iou(found.boxes.astype(np.float64), record.boxes)
    overlaps = np.where(found.labels[:, None] == record.labels, overlaps, 0.0)
    for one, row in zip(points, overlaps, strict=True):
        row = np.where(np.isinf(taken[:, 0, 0]), row, 0.0)
        if len(row) and row.max() >= MATCH:
            taken[row.argmax()] = one
    return taken


def _mean(values: NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else math.nan
