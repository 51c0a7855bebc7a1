"""COCO's keypoint scores, computed by faster-coco-eval, which gives pycocotools' numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from heatpoint.data.annotations import Annotations
from heatpoint.data.results import Detections
from heatpoint.data.skeleton import SKELETONS, Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.scoring.coco import compared
from heatpoint.scoring.rows import check_results, image_ids

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


OKS_NUMBERS = tuple(each.name for each in fields(OksScores))
"""COCO's ten numbers of keypoints, in its order."""


def default_sigmas(skeleton: Skeleton) -> tuple[tuple[float, ...], str]:
    """Returns a skeleton's sigmas and their name: COCO's for its 17 joints, 0.1 for any other."""
    if skeleton.joints == SKELETONS["coco17"].joints:
        return COCO_SIGMAS, "coco17"
    return (OTHER_SIGMA,) * len(skeleton.joints), f"{OTHER_SIGMA:g} for every joint"


def oks_metrics(
    results: Sequence[Detections],
    annotations: Annotations,
    sigmas: Sequence[float] | None = None,
) -> OksScores:
    """Returns COCO's ten numbers of keypoints, the mean over classes where there are several.

    Crowd regions and objects without a labelled joint count neither for nor against, as COCO has
    it. An object's size is ``ImageRecord.areas``: for COCO files the mask's area, else the box's,
    which is larger, so that the same error costs less there. A result's size is that of its
    joints' extent.

    Args:
        results: One per image, in the order of ``annotations.images`` and with its names.
        annotations: The truth, with keypoints.
        sigmas: One per joint, or None for ``default_sigmas``.

    Raises:
        HeatpointError: Another number of images, joints or sigmas than expected, two images share
            an id, or an annotated box or joint is not a finite number.
    """
    skeleton = annotations.skeleton
    if skeleton is None:
        raise HeatpointError(f"{annotations.source or 'the annotations'} hold no keypoints")
    chosen = default_sigmas(skeleton)[0] if sigmas is None else tuple(sigmas)
    if len(chosen) != len(skeleton) or not all(0 < s < math.inf for s in chosen):
        raise HeatpointError(
            f"sigmas must be {len(skeleton)} positive numbers, one for each joint, not "
            f"{list(chosen)}"
        )
    check_results(results, annotations)
    rows = []
    for image_id, found in zip(image_ids(annotations), results, strict=True):
        joints = 0 if found.skeleton is None else len(found.skeleton)
        if found.keypoints is None or joints != len(skeleton):
            raise HeatpointError(
                f"the results have {joints} joints, the annotations {len(skeleton)}"
            )
        keypoints = found.keypoints.astype(np.float64)
        for points, score, label in zip(
            keypoints, found.scores.tolist(), found.labels.tolist(), strict=True
        ):
            own = points[skeleton.joints_of(label), :2]
            low, high = own.min(0), own.max(0)
            rows.append(
                {
                    "image_id": image_id,
                    "category_id": annotations.category_ids[label],
                    "keypoints": points.ravel().tolist(),
                    "score": score,
                    "bbox": [*low.tolist(), *(high - low).tolist()],
                    "area": float(np.prod(high - low)),
                }
            )
    stats = compared(rows, annotations, np.array(chosen))[1]
    return OksScores(**dict(zip(OKS_NUMBERS, stats[: len(OKS_NUMBERS)], strict=True)))
