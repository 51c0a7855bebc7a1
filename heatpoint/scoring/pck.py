"""Which share of joints is found: PCK by several normalisers, PCKh as published, pixel errors.

All of it compares a distance with ``threshold`` times a length of the subject, strictly: an error
of exactly the limit is a miss, as in the released evaluations of MPII.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.data.skeleton import Skeleton, name_side
from heatpoint.errors import HeatpointError
from heatpoint.scoring import Normaliser

NORMALISERS: dict[Normaliser, str] = {
    "extent": "larger side of the box round the labelled joints",
    "torso": "distance from the left shoulder to the right hip",
    "box": "larger side of the annotated box",
    "head": "0.6 of the head box's diagonal",
}
"""The lengths that errors are measured by; LSP and FLIC use the torso, MPII the head."""

UNSCORED = frozenset({"pelvis", "thorax"})
"""Joints of MPII that the published mean leaves out: other joints all but determine them."""


@dataclass(frozen=True)
class PckScores:
    """Shares of correct joints, from 0 to 1; NaN where no joint is labelled.

    Attributes:
        mean: Mean over the scored joints, each with the same weight: the papers' number.
        pooled: Correct joints over labelled joints, the scored ones together.
        pooled_all: The same over every joint of the skeleton.
        per_joint: Share of each joint by name, those left out of the means included.
        labelled: Number of labelled joints by name.
    """

    mean: float
    pooled: float
    pooled_all: float
    per_joint: dict[str, float]
    labelled: dict[str, int]


def joint_errors(predicted: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.float64]:
    """Returns the (N, J) distances in image pixels, NaN where the joint is not labelled.

    Args:
        predicted: (N, J, 2 or more) x and y in image pixels; infinite for a subject that was
            not found.
        truth: (N, J, 3) x, y in image pixels and visibility, 0 where not labelled.
    """
    apart = predicted[..., :2].astype(np.float64) - truth[..., :2].astype(np.float64)
    distances = np.sqrt((apart**2).sum(-1))
    return np.where(truth[..., 2] > 0, distances, np.nan)


def pck(
    errors: NDArray[np.float64],
    lengths: NDArray[np.float64],
    threshold: float,
    joints: Sequence[str],
    unscored: frozenset[str] = frozenset(),
) -> PckScores:
    """Returns the share of joints closer than ``threshold`` lengths to the truth.

    Args:
        errors: (N, J) distances in pixels, NaN where not labelled.
        lengths: (N,) the subjects' lengths in pixels; NaN leaves a subject out.
        threshold: Share of the length below which, strictly, a joint is found.
        joints: The J names.
        unscored: Names that count in ``per_joint`` and ``pooled_all`` only.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = errors / lengths[:, None]
    labelled = np.isfinite(lengths)[:, None] & ~np.isnan(errors)
    found = labelled & (shares < threshold)
    hits, counts = found.sum(0), labelled.sum(0)
    rates = [_share(int(hit), int(count)) for hit, count in zip(hits, counts, strict=True)]
    scored = np.array([name not in unscored for name in joints], bool)
    known = [rate for rate, use in zip(rates, scored, strict=True) if use and not math.isnan(rate)]
    return PckScores(
        mean=float(np.mean(known)) if known else math.nan,
        pooled=_share(int(hits[scored].sum()), int(counts[scored].sum())),
        pooled_all=_share(int(hits.sum()), int(counts.sum())),
        per_joint=dict(zip(joints, rates, strict=True)),
        labelled=dict(zip(joints, counts.tolist(), strict=True)),
    )


def pckh(
    errors: NDArray[np.float64],
    heads: NDArray[np.float64],
    joints: Sequence[str],
    threshold: float = 0.5,
) -> PckScores:
    """Returns PCKh (Andriluka et al. 2014): distances below half the head's size.

    The head's size is 0.6 of its box's diagonal. As in the published evaluation, the mean is over
    the joints other than pelvis and thorax and does not weigh them by how often they are
    labelled; ``pooled`` does (other papers), and ``pooled_all`` includes the two
    (pytorch_stacked_hourglass), which is why its 90 % stands beside 88 % elsewhere.

    Args:
        errors: (N, J) distances in image pixels, NaN where not labelled.
        heads: (N,) 0.6 of the head box's diagonal in image pixels, NaN where unknown.
        joints: The J names; ``pelvis`` and ``thorax`` are known by them.
        threshold: 0.5; 0.1 and 0.2 are published too.
    """
    return pck(errors, heads, threshold, joints, UNSCORED)


def subject_lengths(
    normaliser: Normaliser,
    keypoints: NDArray[np.float64],
    boxes: NDArray[np.float64],
    heads: NDArray[np.float64] | None,
    skeleton: Skeleton,
) -> NDArray[np.float64]:
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
        shoulder, hip = _find(skeleton, "left", "shoulder"), _find(skeleton, "right", "hip")
        apart = keypoints[:, shoulder, :2] - keypoints[:, hip, :2]
        both = (keypoints[:, shoulder, 2] > 0) & (keypoints[:, hip, 2] > 0)
        lengths = np.where(both, np.sqrt((apart**2).sum(1)), np.nan)
    else:
        labelled = keypoints[..., 2:] > 0
        low = np.where(labelled, keypoints[..., :2], np.inf).min(1)
        high = np.where(labelled, keypoints[..., :2], -np.inf).max(1)
        lengths = (high - low).max(1, initial=-np.inf)
    return np.where(np.isfinite(lengths) & (lengths > 0), lengths, np.nan)


def _share(hits: int, count: int) -> float:
    return hits / count if count else math.nan


def _find(skeleton: Skeleton, side: str, part: str) -> int:
    for place, name in enumerate(skeleton.joints):
        if name_side(name) == (side, part):
            return place
    raise HeatpointError(
        f"the normaliser 'torso' needs a {side} {part}, but the skeleton's joints are "
        f"{', '.join(skeleton.joints)}; use 'extent' or 'box'"
    )
