"""COCO's scores, computed by faster-coco-eval, which gives pycocotools' numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from heatpoint.data.annotations import Annotations
from heatpoint.errors import HeatpointError
from heatpoint.inference.results import Detections

NUMBERS = (
    "ap",
    "ap50",
    "ap75",
    "ap_small",
    "ap_medium",
    "ap_large",
    "ar1",
    "ar10",
    "ar100",
    "ar_small",
    "ar_medium",
    "ar_large",
)
"""COCO's twelve numbers, in its order; fields of ``CocoScores``."""


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


def coco_metrics(
    results: Sequence[Detections] | Sequence[Mapping[str, Any]], annotations: Annotations
) -> CocoScores:
    """Returns COCO's twelve numbers and the AP of every class.

    Crowd regions count neither for nor against a detector, as COCO has it; VOC's difficult objects
    are treated the same way, the only one in which COCO's evaluator can leave an object out. Size
    ranges go by ``ImageRecord.areas``, which for COCO files is the mask's area.

    Args:
        results: One ``Detections`` per image, in the order of ``annotations.images`` and with its
            names; or COCO result rows with the ids of ``annotations``, in full precision.
        annotations: The truth.

    Raises:
        HeatpointError: The results do not belong to these images or classes, or two images share
            an id.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    rows = result_rows(results, annotations)
    truth = COCO(_truth(annotations))
    found = COCO(
        {
            **{key: truth.dataset[key] for key in ("images", "categories")},
            "annotations": [
                {**row, "id": index + 1, "iscrowd": 0, "area": row["bbox"][2] * row["bbox"][3]}
                for index, row in enumerate(rows)
            ],
        }
    )
    evaluator = COCOeval_faster(truth, found, iouType="bbox", print_function=_silent)
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    numbers = dict(zip(NUMBERS, map(_score, evaluator.stats[: len(NUMBERS)]), strict=True))
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
    return CocoScores(**numbers, per_class=per_class)


def result_rows(
    results: Sequence[Detections] | Sequence[Mapping[str, Any]], annotations: Annotations
) -> list[dict[str, Any]]:
    """Returns COCO result rows with image_id, category_id, bbox (x, y, width, height) and score.

    Raises:
        HeatpointError: As ``coco_metrics``.
    """
    ids = [record.image_id for record in annotations.images]
    if len(set(ids)) != len(ids):
        raise HeatpointError(
            f"{annotations.source or 'the annotations'} give one image id to several images; "
            "results could not be told apart"
        )
    rows: list[dict[str, Any]] = []
    if results and all(isinstance(result, Detections) for result in results):
        if len(results) != len(ids):
            raise HeatpointError(
                f"expected one result for each of the {len(ids)} annotated images, got "
                f"{len(results)}"
            )
        for image_id, result in zip(ids, results, strict=True):
            if not isinstance(result, Detections):
                continue
            if result.names != annotations.names:
                raise HeatpointError(
                    f"the results' classes are {result.names}, the annotations' "
                    f"{annotations.names}; map them first"
                )
            rows += result.to_coco(image_id, annotations.category_ids)
        return rows
    known_images, known_classes = set(ids), set(annotations.category_ids)
    for place, row in enumerate(results):
        if not isinstance(row, Mapping):
            raise TypeError("results are either all Detections or all COCO result rows")
        _check_row(row, place, known_images, known_classes)
        rows.append({key: row[key] for key in ("image_id", "category_id", "bbox", "score")})
    return rows


def _check_row(row: Mapping[str, Any], place: int, images: set[int], classes: set[int]) -> None:
    missing = [key for key in ("image_id", "category_id", "bbox", "score") if key not in row]
    if missing:
        raise HeatpointError(
            f"result {place} lacks {', '.join(missing)}; expected COCO result rows with image_id, "
            "category_id, bbox and score"
        )
    for key, known in (("image_id", images), ("category_id", classes)):
        if row[key] not in known:
            raise HeatpointError(
                f"result {place} has {key} {row[key]!r}, which the annotations do not; are the "
                "results those of another data set?"
            )
    values = [*row["bbox"], row["score"]]
    if len(values) != 5 or not all(
        isinstance(value, (int, float)) and math.isfinite(value) for value in values
    ):
        raise HeatpointError(
            f"result {place} has bbox {row['bbox']} and score {row['score']}; expected five finite "
            "numbers"
        )


def _truth(annotations: Annotations) -> dict[str, Any]:
    """Returns the annotations as the dictionary a COCO file holds."""
    objects: list[dict[str, Any]] = []
    for record in annotations.images:
        ignored = record.crowd | record.difficult
        sides = record.boxes[:, 2:] - record.boxes[:, :2]
        bboxes = np.concatenate([record.boxes[:, :2], sides], 1)
        finite = np.isfinite(bboxes).all(1)
        if not finite.all():
            raise HeatpointError(
                f"{record.path} has a box that is not four finite numbers; heatpoint.data.validate."
                "clean leaves such boxes out and counts them"
            )
        for bbox, label, area, ignore in zip(
            bboxes.tolist(), record.labels.tolist(), record.areas.tolist(), ignored, strict=True
        ):
            objects.append(
                {
                    "id": len(objects) + 1,
                    "image_id": record.image_id,
                    "category_id": annotations.category_ids[label],
                    "bbox": bbox,
                    "area": area,
                    "iscrowd": int(ignore),
                }
            )
    return {
        "images": [{"id": record.image_id} for record in annotations.images],
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
