"""Annotated subjects, their joints, the row that is meant for each, and how far off it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.results import Detections
from heatpoint.data.skeleton import Skeleton, name_side
from heatpoint.errors import HeatpointError
from heatpoint.geometry import box_iou
from heatpoint.scoring import Floats, Normaliser, known_mean

NORMALISERS: dict[Normaliser, str] = {
    "extent": "larger side of the box round the labelled joints",
    "torso": "distance from the left shoulder to the right hip",
    "box": "larger side of the annotated box",
    "head": "0.6 of the head box's diagonal",
}
"""The lengths that errors are measured by; LSP and FLIC use the torso, MPII the head."""

MATCH = 0.5
"""Overlap (IoU) from which a found box is that of an annotated subject."""


def is_subject(record: ImageRecord) -> NDArray[np.bool_]:
    """Returns (N,) bool: which objects of an image are subjects whose joints are scored."""
    if record.keypoints is None:
        return np.zeros(len(record), bool)
    return (record.keypoints[..., 2] > 0).any(1) & ~(record.crowd | record.difficult)


def joint_errors(predicted: NDArray[Any], truth: NDArray[Any]) -> Floats:
    """Returns the (N, J) distances in image pixels, NaN where the joint is not labelled.

    Args:
        predicted: (N, J, 2 or more) x and y in image pixels; infinite for a subject that was
            not found.
        truth: (N, J, 3) x, y in image pixels and visibility, 0 where not labelled.
    """
    apart = predicted[..., :2].astype(np.float64) - truth[..., :2].astype(np.float64)
    return np.where(truth[..., 2] > 0, np.linalg.norm(apart, axis=-1), np.nan)


def subject_lengths(
    normaliser: Normaliser,
    keypoints: Floats,
    boxes: Floats,
    heads: Floats | None,
    skeleton: Skeleton,
) -> Floats:
    """Returns the (N,) lengths by which errors are divided, NaN where one is unknown or 0.

    ``torso`` is the distance between the left shoulder and the right hip, both labelled (DeepPose,
    Toshev & Szegedy 2014, section 4.1, for LSP and FLIC).

    Args:
        normaliser: A name of ``NORMALISERS``.
        keypoints: (N, J, 3) truth in image pixels with visibility.
        boxes: (N, 4) annotated boxes, xyxy in image pixels.
        heads: (N,) head sizes, or None.
        skeleton: Whose joint names say where shoulder and hip are.

    Raises:
        HeatpointError: The skeleton has no shoulder or hip, or no head size is annotated.
    """
    if normaliser == "head":
        if heads is None:
            raise HeatpointError(
                "the annotations hold no head boxes, which the normaliser 'head' (PCKh) needs; "
                "use 'extent', 'torso' or 'box'"
            )
        lengths = heads.astype(np.float64)
    elif normaliser == "box":
        lengths = (boxes[:, 2:] - boxes[:, :2]).max(1, initial=0.0)
    elif normaliser == "torso":
        shoulder = keypoints[:, _find(skeleton, "left", "shoulder")]
        hip = keypoints[:, _find(skeleton, "right", "hip")]
        lengths = np.where(shoulder[:, 2] > 0, joint_errors(shoulder, hip), np.nan)
    else:
        labelled = keypoints[..., 2:] > 0
        low = np.where(labelled, keypoints[..., :2], np.inf).min(1)
        high = np.where(labelled, keypoints[..., :2], -np.inf).max(1)
        lengths = (high - low).max(1, initial=-np.inf)
    return np.where(np.isfinite(lengths) & (lengths > 0), lengths, np.nan)


def _find(skeleton: Skeleton, side: str, part: str) -> int:
    for place, name in enumerate(skeleton.joints):
        if name_side(name) == (side, part):
            return place
    raise HeatpointError(
        f"the normaliser 'torso' needs a {side} {part}, but the skeleton's joints are "
        f"{', '.join(skeleton.joints)}; use 'extent' or 'box'"
    )


class Subjects(NamedTuple):
    """The joints of N subjects, one after another, and how far off is what was found.

    Attributes:
        images: (N,) place of the picture.
        errors: (N, J) distances in image pixels, NaN where not labelled, infinite where the
            subject was not found.
        lengths: (N,) what errors are divided by, NaN where unknown.
        heads: (N,) head sizes, or None.
        missed: Subjects that were not found.
    """

    images: NDArray[np.int64]
    errors: Floats
    lengths: Floats
    heads: Floats | None
    missed: int

    @classmethod
    def of(
        cls, truth: Annotations, found: Sequence[Detections], in_order: bool, normaliser: Normaliser
    ) -> Subjects:
        """Returns the subjects of a data set.

        Args:
            truth: Annotations with a skeleton.
            found: One result per image, joints in the order of ``truth.skeleton``.
            in_order: Rows are those of the subjects in their order; else the overlap of their
                boxes says whose they are.
            normaliser: A name of ``NORMALISERS``.
        """
        assert truth.skeleton is not None
        joints = truth.skeleton.joints
        meant = [record.keep(is_subject(record)) for record in truth.images]
        rows = [_points(one, record, in_order) for one, record in zip(found, meant, strict=True)]
        nobody = np.zeros((0, len(joints), 3))
        labelled = [record.keypoints for record in meant if record.keypoints is not None]
        keypoints, predicted = np.concatenate([nobody, *labelled]), np.concatenate([nobody, *rows])
        boxes = np.concatenate([np.zeros((0, 4)), *(record.boxes for record in meant)])
        heads = None
        if any(record.heads is not None for record in meant):
            known = [np.full(len(r), np.nan) if r.heads is None else r.heads for r in meant]
            heads = np.concatenate(known)
        errors = joint_errors(predicted, keypoints)
        lengths = subject_lengths(normaliser, keypoints, boxes, heads, truth.skeleton)
        images = np.repeat(np.arange(len(meant)), [len(record) for record in meant])
        missed = int(np.isinf(predicted).all((1, 2)).sum())
        return cls(images, errors, lengths, heads, missed)


class JointRates(NamedTuple):
    """Which joints of which pictures are found, so that PCK can be computed for others.

    Attributes:
        images: (N,) place of the picture.
        labelled: (N, J) bool.
        hits: (N, J) bool by the name of the score.
    """

    images: NDArray[np.int64]
    labelled: NDArray[np.bool_]
    hits: dict[str, NDArray[np.bool_]]

    @classmethod
    def of(cls, subjects: Subjects, thresholds: Sequence[float]) -> JointRates:
        """Returns which joints are closer than each share of the subject's length."""
        images, errors, lengths, *_ = subjects
        labelled = np.isfinite(lengths)[:, None] & ~np.isnan(errors)
        shares = np.where(labelled, errors / lengths[:, None], np.inf)
        return cls(images, labelled, {f"pck@{each:g}": shares < each for each in thresholds})

    def numbers(self, weights: NDArray[np.int64] | None = None) -> dict[str, float]:
        """Returns the mean PCK over joints by name, pictures counting so often each, or once."""
        own = np.ones(len(self.images), np.int64) if weights is None else weights[self.images]
        with np.errstate(invalid="ignore", divide="ignore"):
            return {
                name: known_mean(own @ hits / (own @ self.labelled))
                for name, hits in self.hits.items()
            }


def _points(found: Detections, record: ImageRecord, in_order: bool) -> NDArray[np.float32]:
    """Returns (N, J, 3) of the row that is meant for each subject, infinite without one.

    If rows are not those of the subjects in their order, it is the one whose box overlaps the
    subject's most. They choose in their order, that of the scores of boxes, among subjects of
    their class, as COCO's matching has it.
    """
    assert found.keypoints is not None
    if in_order:
        return found.keypoints
    taken = np.full((len(record), *found.keypoints.shape[1:]), np.inf, np.float32)
    overlaps = box_iou(found.boxes.astype(np.float64), record.boxes)
    overlaps[found.labels[:, None] != record.labels] = 0.0
    for points, row in zip(found.keypoints, overlaps, strict=True):
        row[np.isfinite(taken[:, 0, 0])] = 0.0
        if row.max(initial=0.0) >= MATCH:
            taken[row.argmax()] = points
    return taken
