"""COCO's scores, computed by faster-coco-eval, which gives pycocotools' numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.data.annotations import Annotations
from heatpoint.errors import HeatpointError
from heatpoint.scoring.rows import Results, box_rows, image_ids


@dataclass(frozen=True, kw_only=True)
class CocoScores:
    """COCO's numbers, from 0 to 1; NaN where there is nothing to find (COCO writes -1).

    Attributes:
        ap: Average precision, the mean over overlaps 0.50, 0.55, ..., 0.95 and over classes.
        ap50: AP at overlap 0.5.
        ap75: AP at overlap 0.75.
        ap_small: AP of objects below 32 x 32 square image pixels.
        ap_medium: AP of objects from 32 x 32 to 96 x 96.
        ap_large: AP of objects above 96 x 96.
        ar1: Average recall with 1 detection per image.
        ar10: With 10.
        ar100: With 100.
        ar_small: With 100, small objects.
        ar_medium: With 100, medium objects.
        ar_large: With 100, large objects.
        per_class: ``{"ap": ..., "ap50": ...}`` of each class by name.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar1: float
    ar10: float
    ar100: float
    ar_small: float
    ar_medium: float
    ar_large: float
    per_class: dict[str, dict[str, float]]


NUMBERS = tuple(each.name for each in fields(CocoScores) if each.name != "per_class")
"""COCO's twelve numbers, in its order."""


def coco_metrics(results: Results, annotations: Annotations) -> CocoScores:
    """Returns COCO's twelve numbers and the AP of every class.

    Crowd regions count neither for nor against a detector, as COCO has it; VOC's difficult objects
    are treated the same way, the only one in which COCO's evaluator can leave an object out. Size
    ranges go by ``ImageRecord.areas``, which for COCO files is the mask's area.

    Args:
        results: See ``rows.Results``.
        annotations: The truth.

    Raises:
        HeatpointError: The results do not belong to these images or classes, or two images share
            an id.
    """
    found = [
        {**row, "area": row["bbox"][2] * row["bbox"][3]} for row in box_rows(results, annotations)
    ]
    evaluator, stats = compared(found, annotations)
    # (overlaps, recalls, classes, sizes, limits); 0: all sizes, -1: 100 detections.
    precision = evaluator.eval["precision"][:, :, :, 0, -1]
    places = {category: place for place, category in enumerate(evaluator.params.catIds)}
    per_class = {
        name: {
            "ap": _score(precision[:, :, places[category]].mean()),
            "ap50": _score(precision[0, :, places[category]].mean()),
        }
        for name, category in zip(annotations.names, annotations.category_ids, strict=True)
    }
    return CocoScores(**dict(zip(NUMBERS, stats[: len(NUMBERS)], strict=True)), per_class=per_class)


def compared(
    rows: Sequence[dict[str, Any]],
    annotations: Annotations,
    sigmas: NDArray[np.float64] | None = None,
) -> tuple[Any, list[float]]:
    """Returns COCO's evaluator after its work, and its numbers, NaN where nothing is to be found.

    Args:
        rows: Result rows, with ``area``.
        annotations: The truth.
        sigmas: (J,) to compare joints; None compares boxes.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    truth = COCO(_truth(annotations, sigmas is not None))
    numbered = [{**row, "id": index + 1, "iscrowd": 0} for index, row in enumerate(rows)]
    shared = {key: truth.dataset[key] for key in ("images", "categories")}
    evaluator = COCOeval_faster(
        truth,
        COCO({**shared, "annotations": numbered}),
        iouType="bbox" if sigmas is None else "keypoints",
        kpt_oks_sigmas=sigmas,
        print_function=_silent,
    )
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    return evaluator, [_score(value) for value in evaluator.stats]


def _truth(annotations: Annotations, joints: bool) -> dict[str, Any]:
    """Returns the annotations as the dictionary a COCO file holds."""
    ids = image_ids(annotations)
    objects: list[dict[str, Any]] = []
    for record in annotations.images:
        keypoints = record.keypoints if joints else None
        if joints and keypoints is None:
            continue
        ignored = record.crowd if joints else record.crowd | record.difficult
        sides = record.boxes[:, 2:] - record.boxes[:, :2]
        bboxes = np.concatenate([record.boxes[:, :2], sides], 1)
        if not (np.isfinite(bboxes).all() and (keypoints is None or np.isfinite(keypoints).all())):
            raise HeatpointError(
                f"{record.path} has a box or joint that is not a finite number; heatpoint.data."
                "validate.clean leaves such boxes out and counts them"
            )
        for place, label in enumerate(record.labels.tolist()):
            row = {
                "id": len(objects) + 1,
                "image_id": record.image_id,
                "category_id": annotations.category_ids[label],
                "bbox": bboxes[place].tolist(),
                "area": float(record.areas[place]),
                "iscrowd": int(ignored[place]),
            }
            if keypoints is not None:
                row["keypoints"] = keypoints[place].ravel().tolist()
                row["num_keypoints"] = int((keypoints[place, :, 2] > 0).sum())
            objects.append(row)
    return {
        "images": [{"id": image_id} for image_id in ids],
        "categories": [
            {"id": category, "name": name}
            for category, name in zip(annotations.category_ids, annotations.names, strict=True)
        ],
        "annotations": objects,
    }


def _score(value: float) -> float:
    """Returns COCO's number, NaN in place of its -1 for "nothing to find"."""
    return float(value) if value > -1 else math.nan


def _silent(*_: object) -> None:
    """Takes the evaluator's progress lines and says nothing."""
