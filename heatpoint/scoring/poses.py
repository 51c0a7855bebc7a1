"""PCK, PCKh, pixel errors and OKS of poses, in one object with the protocol of the measurement."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.data.annotations import Annotations, ImageRecord
from heatpoint.engines.timings import Timings
from heatpoint.geometry.affine import box_iou
from heatpoint.inference.poses import Poses
from heatpoint.scoring.evaluate import null_for_nan, percent
from heatpoint.scoring.oks import OksScores, oks_metrics
from heatpoint.scoring.pck import Normaliser, PckScores, joint_errors, pck, pckh, subject_lengths

MATCH = 0.5
"""Overlap (IoU) from which a detected box is that of an annotated subject."""


@dataclass(frozen=True, kw_only=True)
class PoseMetrics:
    """Scores and how they came about; NaN where there is nothing to find.

    Attributes:
        pck: By name: ``pck@0.1`` and so on, by the protocol's normaliser; and ``pckh@0.5`` where
            the annotations know the heads.
        oks: COCO's ten numbers of keypoints.
        mean_error: Mean distance in image pixels over the labelled joints of the subjects found.
        error_per_joint: The same for each joint by name.
        protocol: Size, padding, flip, boxes, normaliser, sigmas, version: what the numbers hold
            for.
        images: Number of images scored.
        subjects: Number of subjects in them: objects with a labelled joint, without crowd regions
            and difficult ones.
        missed: Subjects that no detected box overlaps enough; all their joints are misses of PCK.
        left_out: What is not counted, by reason.
        skipped: Path and reason of each unreadable image that ``skip_bad`` left out.
        timings: Seconds per stage and images per second.
    """

    pck: dict[str, PckScores]
    oks: OksScores
    mean_error: float
    error_per_joint: dict[str, float]
    protocol: dict[str, Any]
    images: int
    subjects: int
    missed: int
    left_out: dict[str, int]
    skipped: list[tuple[str, str]]
    timings: Timings

    @property
    def scores(self) -> dict[str, float]:
        """The mean of each PCK by name, and OKS's ``ap`` as ``oks_ap``."""
        return {name: each.mean for name, each in self.pck.items()} | {"oks_ap": self.oks.ap}

    def as_dict(self) -> dict[str, Any]:
        """Returns everything ready for JSON, with null for NaN."""
        plain: dict[str, Any] = {
            "pck": {name: each.as_dict() for name, each in self.pck.items()},
            "oks": dataclasses.asdict(self.oks),
            "skipped": [{"path": path, "reason": reason} for path, reason in self.skipped],
            "timings": self.timings.as_dict(),
        }
        for name in ("mean_error", "error_per_joint", "protocol", "images", "subjects", "missed"):
            plain[name] = getattr(self, name)
        plain["left_out"] = self.left_out
        cleaned: dict[str, Any] = null_for_nan(plain)
        return cleaned

    def summary(self) -> str:
        """Returns a few lines for people: scores in percent, joints by name, errors in pixels."""
        lines = [f"{self.images} images, {self.subjects} subjects"]
        if self.skipped:
            lines.append(f"skipped {len(self.skipped)} unreadable images")
        if self.missed:
            lines.append(f"missed {self.missed} subjects: no detected box on them")
        lines += [f"left out: {count} {reason}" for reason, count in self.left_out.items()]
        named = "  ".join(f"{name} {percent(each.mean)}" for name, each in self.pck.items())
        lines.append(f"{named}   (by the {self.protocol['normaliser']})")
        lines.append(
            f"OKS  ap {percent(self.oks.ap)}  ap50 {percent(self.oks.ap50)}  "
            f"ap75 {percent(self.oks.ap75)}  ar {percent(self.oks.ar)}   "
            f"(sigmas: {self.protocol['sigmas']})"
        )
        lines.append(f"mean error {self.mean_error:.2f} px")
        wide = max(map(len, self.error_per_joint), default=0)
        for joint, error in self.error_per_joint.items():
            each = "  ".join(
                f"{name} {percent(scores.per_joint[joint])}" for name, scores in self.pck.items()
            )
            lines.append(f"{joint:<{wide}}  {each}  error {error:6.2f} px")
        return "\n".join(lines)


def scored(record: ImageRecord) -> NDArray[np.bool_]:
    """Returns (N,) bool: which objects of an image are subjects to be scored."""
    if record.keypoints is None:
        return np.zeros(len(record), bool)
    return (record.keypoints[..., 2] > 0).any(1) & ~(record.crowd | record.difficult)


def score_poses(
    truth: Annotations,
    found: list[Poses],
    annotated: bool,
    normaliser: Normaliser,
    thresholds: Sequence[float],
    sigmas: Sequence[float] | None,
    protocol: dict[str, Any],
    skipped: list[tuple[str, str]],
    timings: Timings,
) -> PoseMetrics:
    """Returns the scores of poses.

    Args:
        truth: Annotations with a skeleton.
        found: One ``Poses`` per image, joints in the order of ``truth.skeleton``.
        annotated: The poses are those of the scored subjects in their order; else the overlap of
            their boxes says whose they are.
        normaliser: See ``evaluate_pose``, as for the next two.
        thresholds: Shares of the length.
        sigmas: OKS's.
        protocol: Stored with the numbers.
        skipped: Stored with the numbers.
        timings: Stored with the numbers.
    """
    assert truth.skeleton is not None
    joints = truth.skeleton.joints
    meant = [record.keep(scored(record)) for record in truth.images]
    poses = [
        _points(one) if annotated else _points_by_box(one, record)
        for one, record in zip(found, meant, strict=True)
    ]
    shape = (0, len(joints), 3)
    labelled = [record.keypoints for record in meant if record.keypoints is not None]
    keypoints = np.concatenate([np.zeros(shape), *labelled])
    predicted = np.concatenate([np.zeros(shape), *poses])
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
    return PoseMetrics(
        pck=scores,
        oks=oks_metrics(found, truth, sigmas),
        mean_error=_mean(measured),
        error_per_joint={name: _mean(measured[:, i]) for i, name in enumerate(joints)},
        protocol=protocol,
        images=len(truth),
        subjects=len(keypoints),
        missed=int(np.isinf(predicted).all((1, 2)).sum()),
        left_out={reason: count for reason, count in left_out.items() if count},
        skipped=skipped,
        timings=timings,
    )


def _points(poses: Poses) -> NDArray[np.float64]:
    return poses.keypoints.astype(np.float64)


def _points_by_box(poses: Poses, record: ImageRecord) -> NDArray[np.float64]:
    """Returns (N, J, 3) of the pose whose box overlaps each subject's most, infinite without one.

    Poses choose in the order of their boxes' scores, as COCO's matching has it.
    """
    points = np.full((len(record), len(poses.skeleton.joints), 3), np.inf)
    overlaps = box_iou(poses.boxes.astype(np.float64), record.boxes)
    for pose, row in zip(_points(poses), overlaps, strict=True):
        row = np.where(np.isinf(points[:, 0, 0]), row, 0.0)
        if len(row) and row.max() >= MATCH:
            points[row.argmax()] = pose
    return points


def _mean(values: NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else math.nan
