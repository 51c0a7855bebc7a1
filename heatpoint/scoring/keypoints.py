"""Scores of joints: PCK by several normalisers, PCKh as published, pixel errors, COCO's OKS.

PCK compares a distance with ``threshold`` times a length of the subject, strictly: an error
of exactly the limit is a miss, as in the released evaluations of MPII.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from heatpoint.data import Annotations
from heatpoint.data.results import Detections
from heatpoint.data.skeleton import SKELETONS, Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.geometry import box_area
from heatpoint.scoring import Floats, Normaliser, Results, known_mean, tabulated
from heatpoint.scoring.boxes import compared, scores_by_class
from heatpoint.scoring.subjects import Subjects

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


def pck(
    errors: Floats,
    lengths: Floats,
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
    labelled = np.isfinite(lengths)[:, None] & ~np.isnan(errors)
    scored = np.array([name not in unscored for name in joints], bool)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = labelled & (errors / lengths[:, None] < threshold)
        hits, counts = found.sum(0), labelled.sum(0)
        rates, pooled_all = hits / counts, float(hits.sum() / counts.sum())
        pooled = float(hits[scored].sum() / counts[scored].sum())
    per_joint = dict(zip(joints, rates.tolist(), strict=True))
    known = dict(zip(joints, counts.tolist(), strict=True))
    return PckScores(known_mean(rates[scored]), pooled, pooled_all, per_joint, known)


def pckh(errors: Floats, heads: Floats, joints: Sequence[str], threshold: float = 0.5) -> PckScores:
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


COCO_SIGMAS = (
    *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072),
    *(0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
)
"""How far apart two people label each of COCO's 17 joints, relative to the object's size."""

OTHER_SIGMA = 0.1
"""The sigma of every joint of any other skeleton, which is DeepLabCut's choice for animals."""


@dataclass(frozen=True, kw_only=True)
class OksScores:
    """COCO's numbers for keypoints, from 0 to 1; NaN where there is nothing to find.

    Attributes:
        ap: Average precision, the mean over similarities (OKS) 0.50, 0.55, ..., 0.95.
        ap50: AP at 0.5.
        ap75: AP at 0.75.
        ap_medium: AP of objects from 32 x 32 to 96 x 96 square image pixels.
        ap_large: AP of objects above 96 x 96.
        ar: Average recall with 20 results per image, the mean over similarities.
        ar50: AR at 0.5.
        ar75: AR at 0.75.
        ar_medium: AR of medium objects.
        ar_large: AR of large objects.
        per_class: ``{"ap": ..., "ap50": ...}`` of each class by name.
    """

    ap: float
    ap50: float
    ap75: float
    ap_medium: float
    ap_large: float
    ar: float
    ar50: float
    ar75: float
    ar_medium: float
    ar_large: float
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)


OKS_NUMBERS = tuple(each.name for each in fields(OksScores) if each.name != "per_class")
"""COCO's ten numbers of keypoints, in its order."""


def default_sigmas(skeleton: Skeleton) -> tuple[tuple[float, ...], str]:
    """Returns a skeleton's sigmas and their name: COCO's for its 17 joints, 0.1 for any other.

    Where classes have joints of their own, COCO's are those of the classes with its 17 joints.
    """
    sigmas = np.full(len(skeleton), OTHER_SIGMA)
    for part in skeleton.slices or ((0, len(skeleton)),):
        own = skeleton.joints[slice(*part)]
        # A joint that several classes have is called after its class too.
        if len(own) == len(COCO_SIGMAS) and all(map(_is_called, own, SKELETONS["coco17"].joints)):
            sigmas[slice(*part)] = COCO_SIGMAS
    others = int((sigmas == OTHER_SIGMA).sum())
    name = f"{OTHER_SIGMA:g} for every joint"
    if others < len(sigmas):
        name = f"coco17, and {OTHER_SIGMA:g} for {others} other joints" if others else "coco17"
    return tuple(sigmas.tolist()), name


def _is_called(name: str, joint: str) -> bool:
    """Tells whether a name is that of a joint, with or without a class in front."""
    return name == joint or name.endswith(f"_{joint}")


def sizes_of(annotations: Annotations) -> str:
    """Returns whose area an object's size is in OKS: "annotation" or "box"."""
    own = all(np.allclose(each.areas, box_area(each.boxes)) for each in annotations.images)
    return "box" if own else "annotation"


def oks_metrics(
    results: Results, annotations: Annotations, sigmas: Sequence[float] | None = None
) -> OksScores:
    """Returns COCO's ten numbers of keypoints, the mean over classes where there are several.

    Crowd regions and objects without a labelled joint count neither for nor against, as COCO has
    it. An object's size is ``ImageRecord.areas``: for COCO files the mask's area, else the box's,
    which is larger, so that the same error costs less there (``sizes_of`` says which). A result's
    size is that of its joints' extent. Classes that have no joints are left aside.

    Args:
        results: See ``scoring.Results``.
        annotations: The truth, with keypoints.
        sigmas: One per joint, or None for ``default_sigmas``.

    Raises:
        HeatpointError: Another number of images, joints or sigmas than expected, a row is not
            complete, two images share an id, or an annotated box or joint is not a finite number.
    """
    skeleton = annotations.skeleton
    if skeleton is None:
        where = annotations.source or "the annotations"
        raise HeatpointError(f"{where} hold no keypoints; expected annotated joints to score")
    chosen = default_sigmas(skeleton)[0] if sigmas is None else tuple(sigmas)
    if len(chosen) != len(skeleton) or not all(0 < s < math.inf for s in chosen):
        raise HeatpointError(
            f"sigmas must be {len(skeleton)} positive numbers, one for each joint, not "
            f"{list(chosen)}"
        )
    found = tabulated(results, annotations, len(skeleton))
    evaluator, stats = compared(found, annotations, np.array(chosen))
    per_class = scores_by_class(evaluator, annotations.names)
    numbers = dict(zip(OKS_NUMBERS, stats[: len(OKS_NUMBERS)], strict=True))
    return OksScores(**numbers, per_class=per_class)


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

    pck: dict[str, PckScores] = field(default_factory=dict)
    oks: OksScores
    mean_error: float = math.nan
    error_per_joint: dict[str, float] = field(default_factory=dict)
    subjects: int
    missed: int = 0
    left_out: dict[str, int] = field(default_factory=dict)


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
        normaliser: A name of ``NORMALISERS``.
        thresholds: Shares of the length; none leaves PCK out.
        sigmas: OKS's, or None for those of the skeleton.
    """
    assert truth.skeleton is not None
    joints = truth.skeleton.joints
    _, errors, lengths, heads, missed = Subjects.of(truth, found, in_order, normaliser)
    scores = {f"pck@{share:g}": pck(errors, lengths, share, joints) for share in thresholds}
    if heads is not None and np.isfinite(heads).any():
        scores["pckh@0.5"] = pckh(errors, heads, joints)
    objects = sum(len(record) for record in truth.images)
    left_out = {
        "objects without a labelled joint, crowd regions or difficult": objects - len(errors),
        f"subjects without a length by {normaliser}": int(np.isnan(lengths).sum()),
    }
    return JointScores(
        pck=scores,
        oks=oks_metrics(found, truth, sigmas),
        mean_error=known_mean(errors),
        error_per_joint={name: known_mean(errors[:, i]) for i, name in enumerate(joints)},
        subjects=len(errors),
        missed=missed,
        left_out={reason: count for reason, count in left_out.items() if count},
    )
