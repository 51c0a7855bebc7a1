"""COCO's keypoint scores, computed by faster-coco-eval, which gives pycocotools' numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from heatpoint.data.annotations import Annotations
from heatpoint.data.skeleton import SKELETONS, Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.inference.poses import Poses

OKS_NUMBERS = (
    "ap",
    "ap50",
    "ap75",
    "ap_medium",
    "ap_large",
    "ar",
    "ar50",
    "ar75",
    "ar_medium",
    "ar_large",
)
"""COCO's ten numbers of keypoints, in its order; fields of ``OksScores``."""

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


def default_sigmas(skeleton: Skeleton) -> tuple[tuple[float, ...], str]:
    """Returns a skeleton's sigmas and their name: COCO's for its 17 joints, 0.1 for any other."""
    if skeleton.joints == SKELETONS["coco17"].joints:
        return COCO_SIGMAS, "coco17"
    return (OTHER_SIGMA,) * len(skeleton.joints), f"{OTHER_SIGMA:g} for every joint"


def oks_metrics(
    results: Sequence[Poses],
    annotations: Annotations,
    sigmas: Sequence[float] | None = None,
) -> OksScores:
    """Returns COCO's ten numbers of keypoints.

    Crowd regions and objects without a labelled joint count neither for nor against, as COCO has
    it. An object's size is ``ImageRecord.areas``: for COCO files the mask's area, else the box's,
    which is larger, so that the same error costs less there.

    Args:
        results: One ``Poses`` per image, in the order of ``annotations.images``.
        annotations: The truth, with keypoints.
        sigmas: One per joint, or None for ``default_sigmas``.

    Raises:
        HeatpointError: Another number of images, joints or sigmas than expected, two images share
            an id, or an annotated box or joint is not a finite number.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    skeleton = annotations.skeleton
    if skeleton is None:
        raise HeatpointError(f"{annotations.source or 'the annotations'} hold no keypoints")
    chosen = default_sigmas(skeleton)[0] if sigmas is None else tuple(sigmas)
    if len(chosen) != len(skeleton.joints) or not all(0 < s < math.inf for s in chosen):
        raise HeatpointError(
            f"sigmas must be {len(skeleton.joints)} positive numbers, one for each joint, not "
            f"{list(chosen)}"
        )
    truth = COCO(_truth(annotations, skeleton))
    shared = {key: truth.dataset[key] for key in ("images", "categories")}
    found = COCO({**shared, "annotations": _results(results, annotations, skeleton)})
    evaluator = COCOeval_faster(
        truth,
        found,
        iouType="keypoints",
        kpt_oks_sigmas=np.array(chosen),
        print_function=_silent,
    )
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    stats = [float(value) for value in evaluator.stats[: len(OKS_NUMBERS)]]
    return OksScores(
        **{
            name: value if value > -1 else math.nan
            for name, value in zip(OKS_NUMBERS, stats, strict=True)
        }
    )


def _truth(annotations: Annotations, skeleton: Skeleton) -> dict[str, Any]:
    """Returns the annotations as the dictionary a COCO file holds, all subjects of one category."""
    ids = [record.image_id for record in annotations.images]
    if len(set(ids)) != len(ids):
        raise HeatpointError(
            f"{annotations.source or 'the annotations'} give one image id to several images; "
            "results could not be told apart"
        )
    objects: list[dict[str, Any]] = []
    for record in annotations.images:
        if record.keypoints is None:
            continue
        if not (np.isfinite(record.boxes).all() and np.isfinite(record.keypoints).all()):
            raise HeatpointError(
                f"{record.path} has a box or joint that is not a finite number; heatpoint.data."
                "validate.clean leaves such boxes out and counts them"
            )
        for box, keypoints, area, crowd in zip(
            record.boxes, record.keypoints, record.areas, record.crowd, strict=True
        ):
            objects.append(
                {
                    "id": len(objects) + 1,
                    "image_id": record.image_id,
                    "category_id": 1,
                    "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                    "area": float(area),
                    "iscrowd": int(crowd),
                    "keypoints": keypoints.ravel().tolist(),
                    "num_keypoints": int((keypoints[:, 2] > 0).sum()),
                }
            )
    return {
        "images": [{"id": image_id} for image_id in ids],
        "categories": [{"id": 1, "name": "subject", "keypoints": list(skeleton.joints)}],
        "annotations": objects,
    }


def _results(
    results: Sequence[Poses], annotations: Annotations, skeleton: Skeleton
) -> list[dict[str, Any]]:
    """Returns the rows of a COCO file of results; a pose's size is that of its joints' extent."""
    if len(results) != len(annotations):
        raise HeatpointError(
            f"expected one result for each of the {len(annotations)} annotated images, got "
            f"{len(results)}"
        )
    rows: list[dict[str, Any]] = []
    for record, poses in zip(annotations.images, results, strict=True):
        if len(poses.skeleton.joints) != len(skeleton.joints):
            raise HeatpointError(
                f"the results have {len(poses.skeleton.joints)} joints, the annotations "
                f"{len(skeleton.joints)}"
            )
        keypoints = poses.keypoints.astype(np.float64)
        for points, score in zip(keypoints, poses.scores.tolist(), strict=True):
            low, high = points[:, :2].min(0), points[:, :2].max(0)
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": record.image_id,
                    "category_id": 1,
                    "keypoints": points.ravel().tolist(),
                    "score": score,
                    "bbox": [*low.tolist(), *(high - low).tolist()],
                    "area": float(np.prod(high - low)),
                    "iscrowd": 0,
                }
            )
    return rows


def _silent(*_: object) -> None:
    """Takes the evaluator's progress lines and says nothing."""
