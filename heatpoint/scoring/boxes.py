"""Scores of boxes: COCO's, by faster-coco-eval, and Pascal VOC's by the rules of its kit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations
from heatpoint.data.readers.coco import as_coco
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.geometry import box_iou
from heatpoint.geometry.polygons import quad_overlaps
from heatpoint.scoring import Floats, Results, Table, known_mean, tabulated


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
        all_counted: Whether all results counted, not the best 100 of a class in a picture: there is
            one that holds more objects of a class, so that no detector could find them all.
            ``ar100`` and those by size are then with all results, too.
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
    all_counted: bool = False


NUMBERS = tuple(f.name for f in fields(CocoScores) if f.name not in ("per_class", "all_counted"))
"""COCO's twelve numbers, in its order."""

COUNTED = 100
"""Results of a class in a picture that COCO counts, the best."""


def coco_metrics(results: Results, annotations: Annotations) -> CocoScores:
    """Returns COCO's twelve numbers and the AP of every class.

    Crowd regions count neither for nor against a detector, as COCO has it; VOC's difficult objects
    are treated the same way, the only one in which COCO's evaluator can leave an object out. Size
    ranges go by ``ImageRecord.areas``, which for COCO files is the mask's area.

    Args:
        results: See ``scoring.Results``.
        annotations: The truth.

    Raises:
        HeatpointError: The results do not belong to these images or classes, or two images share
            an id.
    """
    evaluator, stats = compared(tabulated(results, annotations), annotations)
    per_class = scores_by_class(evaluator, annotations.names)
    numbers = dict(zip(NUMBERS, stats[: len(NUMBERS)], strict=True))
    return CocoScores(**numbers, per_class=per_class, all_counted=_is_crowded(annotations))


@dataclass(frozen=True, kw_only=True)
class QuadScores:
    """Scores of four corners, from 0 to 1; NaN where there is nothing to find.

    Attributes:
        ap: Average precision, the mean over overlaps 0.50, 0.55, ..., 0.95 and over classes.
        ap50: AP at overlap 0.5.
        ap75: AP at overlap 0.75.
        per_class: ``{"ap": ..., "ap50": ...}`` of each class by name.
    """

    ap: float
    ap50: float
    ap75: float
    per_class: dict[str, dict[str, float]]


def score_quads(results: Results, truth: Annotations) -> QuadScores:
    """Returns the scores of what was found by four corners.

    The rules are COCO's for boxes, but the overlap is that of the polygons (``quad_iou``, which
    takes the hull of corners that cross), and all that is found in a picture counts, not the best
    hundred of a class. Crowd regions and difficult objects count neither way.

    Args:
        results: See ``scoring.Results``; COCO rows have their corners as ``segmentation``.
        truth: The annotations, with four corners.

    Raises:
        HeatpointError: Results and annotations do not belong together.
    """
    evaluator, stats = compared(tabulated(results, truth, quads=True), truth)
    per_class = scores_by_class(evaluator, truth.names)
    return QuadScores(ap=stats[0], ap50=stats[1], ap75=stats[2], per_class=per_class)


def scores_by_class(evaluator: Any, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Returns ``{"ap": ..., "ap50": ...}`` of each class by name, from the evaluator's work."""
    # (overlaps, recalls, classes, sizes, limits); 0: all sizes, -1: the highest limit.
    precision = evaluator.eval["precision"][:, :, :, 0, -1]
    scores = {name: {"ap": math.nan, "ap50": math.nan} for name in names}
    for place, category in enumerate(evaluator.params.catIds):
        own = precision[:, :, place]
        scores[names[category - 1]] = {"ap": _score(own.mean()), "ap50": _score(own[0].mean())}
    return scores


def compared(
    found: Table, annotations: Annotations, sigmas: Floats | None = None
) -> tuple[Any, list[float]]:
    """Returns COCO's evaluator after its work, and its numbers, NaN where nothing is to be found.

    Args:
        found: Boxes, joints or four corners. Of these all are compared, and of boxes where a
            picture holds more than ``COUNTED`` of a class, else the best of a class in a picture.
        annotations: The truth.
        sigmas: (J,) to compare joints; None compares boxes or corners.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    quads = found.values.shape[1:] == (4, 2)
    kind = "keypoints" if sigmas is not None else "segmentation" if quads else "bbox"
    numbers, skeleton = image_numbers(annotations), annotations.skeleton
    if skeleton is not None:  # objects of all classes have the same number of joints here
        annotations = replace(annotations, skeleton=replace(skeleton, slices=()))
    truth = COCO(_truth(annotations, numbers, sigmas is not None))
    rows: list[dict[str, Any]] = []
    for place, label, score, values in zip(*found, strict=True):
        sides = np.ptp(values, 0) if quads else values[2:]
        if sigmas is not None and skeleton is not None:
            own = values[skeleton.joints_of(label), :2]
            if not len(own):
                continue  # what has no joints is no subject
            sides = np.ptp(own, 0)
            # Joints of other classes must not decide whether a row is about an unlabelled object.
            values = np.where(_owned(skeleton, label)[:, None], values, [*own.mean(0), 0])
        row = {
            "id": len(rows) + 1,
            "image_id": numbers[place],
            "category_id": int(label) + 1,
            kind: values.ravel().tolist(),
            "score": float(score),
            "area": float(sides[0] * sides[1]),
            "iscrowd": 0,
        }
        rows.append(row)
    evaluator = COCOeval_faster(
        truth,
        COCO(truth.dataset | {"annotations": rows}),
        iouType="bbox" if sigmas is None else "keypoints",
        kpt_oks_sigmas=sigmas,
        print_function=_silent,
    )
    if quads:
        evaluator.computeIoU = partial(_polygons, evaluator)
    if quads or (sigmas is None and _is_crowded(annotations)):
        evaluator.params.maxDets = [1, 10, max(COUNTED, len(rows))]
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    return evaluator, [_score(value) for value in evaluator.stats]


def _is_crowded(truth: Annotations) -> bool:
    """Tells whether a picture holds more objects of a class than COCO counts results of it."""
    labels = (record.labels[~(record.crowd | record.difficult)] for record in truth.images)
    return any(np.bincount(own).max(initial=0) > COUNTED for own in labels)


def _polygons(evaluator: Any, image: int, category: int) -> Floats:
    """Returns the overlaps (D, G) of found corners, best first, and true ones, in place of boxes'.

    With crowd regions it is the share of what was found that they cover.
    """
    sets = (evaluator.dt_dataset, evaluator.gt_dataset)
    found, true = (each.get_instances([image], [category], True)[0][0] for each in sets)
    order = np.argsort([-one["score"] for one in found], kind="stable")
    mine, theirs = (
        np.array([one["segmentation"] for one in each]).reshape(-1, 4, 2) for each in (found, true)
    )
    common, area, other = quad_overlaps(mine[order], theirs)
    crowd = np.array([one["iscrowd"] for one in true], np.bool_)
    whole = np.where(crowd, area[:, None], area[:, None] + other - common)
    return np.asarray(common / whole.clip(np.finfo(np.float64).tiny))


def _owned(skeleton: Skeleton, label: int) -> NDArray[np.bool_]:
    """Returns (J,) bool: which joints a class has."""
    owned = np.zeros(len(skeleton), np.bool_)
    owned[skeleton.joints_of(label)] = True
    return owned


def image_numbers(annotations: Annotations) -> list[int]:
    """Returns a number for each image, as the evaluator wants: its id, if all ids are numbers.

    Of equal scores that of the image with the lower number counts first.
    """
    ids = [record.image_id for record in annotations.images]
    numbers = [number for number in ids if not isinstance(number, str)]
    return numbers if len(numbers) == len(ids) else list(range(1, len(ids) + 1))


def _truth(annotations: Annotations, numbers: Sequence[int], joints: bool) -> dict[str, Any]:
    """Returns the content of a COCO file, joints in image pixels, of what is compared.

    Args:
        annotations: The truth.
        numbers: What to call each image; classes are called 1 to C.
        joints: Whether joints are compared.
    """
    images = []
    for number, record in zip(numbers, annotations.images, strict=True):
        if not joints:
            record = replace(record, crowd=record.crowd | record.difficult, keypoints=None)
        elif record.keypoints is None:
            record = record.keep(np.zeros(len(record), np.bool_))
        told = (record.boxes, record.keypoints, record.quads)
        places = [values for values in told if values is not None]
        if not all(np.isfinite(values).all() for values in places):
            raise HeatpointError(
                f"{record.path} has a box or joint that is not a finite number; heatpoint.data."
                "validate.clean leaves such boxes out and counts them"
            )
        images.append(replace(record, image_id=number))
    return as_coco(replace(annotations, images=images, category_ids=()), shift=0.0)


def _score(value: float) -> float:
    """Returns COCO's number, NaN in place of its -1 for "nothing to find"."""
    return float(value) if value > -1 else math.nan


def _silent(*_: object) -> None:
    """Takes the evaluator's progress lines and says nothing."""


@dataclass(frozen=True)
class VocScores:
    """VOC's numbers, from 0 to 1; NaN where there is nothing to find.

    Attributes:
        ap50_11_point: Mean over classes of the 11-point AP (VOC 2007).
        ap50_all_point: Mean over classes of the area under the curve (VOC 2010 on).
        class_11_point: The 11-point AP of each class.
        class_all_point: The area under the curve of each class.
    """

    ap50_11_point: float = math.nan
    ap50_all_point: float = math.nan
    class_11_point: dict[str, float] = field(default_factory=dict)
    class_all_point: dict[str, float] = field(default_factory=dict)


def voc_metrics(results: Results, annotations: Annotations, overlap: float = 0.5) -> VocScores:
    """Returns VOC's two average precisions, overall and of every class.

    A detection belongs to the object of its class that it overlaps most, free or taken: the first
    to reach ``overlap`` is right, the next ones are wrong. One that belongs to a difficult object
    (or a crowd region) counts neither way. The development kit counts the last pixel of a box
    inside; our continuous boxes hold it already, so that its "+ 1" is not needed.

    Args:
        results: See ``scoring.Results``.
        annotations: The truth.
        overlap: Least intersection over union of a right detection.

    Raises:
        HeatpointError: As ``coco_metrics``.
    """
    labels, right, wrong = _judged(tabulated(results, annotations), annotations, overlap)
    counted = [record.labels[~(record.crowd | record.difficult)] for record in annotations.images]
    totals = np.bincount(np.concatenate([labels[:0], *counted]), minlength=len(annotations.names))
    eleven: dict[str, float] = {}
    area: dict[str, float] = {}
    for label, name in enumerate(annotations.names):
        mine, total = labels == label, totals[label]
        hits, misses = np.cumsum(right[mine]), np.cumsum(wrong[mine])
        recall, precision = hits / max(total, 1), hits / np.maximum(hits + misses, 1)
        eleven[name] = average_precision_11_point(recall, precision) if total else math.nan
        area[name] = average_precision_all_point(recall, precision) if total else math.nan
    return VocScores(known_mean([*eleven.values()]), known_mean([*area.values()]), eleven, area)


def _judged(
    found: Table, annotations: Annotations, overlap: float
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Says of every detection, by descending score, if it is right or wrong.

    Returns:
        (N,) labels, (N,) right, (N,) wrong. Those of ignored objects are neither.
    """
    order = np.argsort(-found.scores, kind="stable")
    images, labels, boxes = found.images[order], found.labels[order], found.values[order]
    boxes[:, 2:] += boxes[:, :2]
    right, wrong = np.zeros((2, len(order)), np.bool_)
    by_image = np.argsort(images, kind="stable")
    starts = np.searchsorted(images[by_image], np.arange(len(annotations)))
    for record, own in zip(annotations.images, np.split(by_image, starts)[1:], strict=True):
        if not len(record):
            wrong[own] = True
            continue
        overlaps = box_iou(boxes[own], record.boxes)
        overlaps[labels[own, None] != record.labels] = -1.0
        ignored, taken = record.crowd | record.difficult, np.zeros(len(record), np.bool_)
        for row, best, value in zip(own, overlaps.argmax(1), overlaps.max(1), strict=True):
            if value < overlap:
                wrong[row] = True
            elif not ignored[best]:
                (wrong if taken[best] else right)[row] = True
                taken[best] = True
    return labels, right, wrong


def average_precision_11_point(recall: Floats, precision: Floats) -> float:
    """Returns the mean, over recalls 0, 0.1, ..., 1, of the best precision at that recall or more.

    Args:
        recall: (N,), rising.
        precision: (N,).
    """
    # A tenth of a count is rarely a binary number; 3 of 10 objects must reach recall 0.3.
    levels = np.arange(11) / 10 - 1e-9
    best = [precision[recall >= level].max(initial=0.0) for level in levels]
    return float(np.mean(best))


def average_precision_all_point(recall: Floats, precision: Floats) -> float:
    """Returns the area under the curve after precision is made to fall monotonically.

    Args:
        recall: (N,), rising.
        precision: (N,).
    """
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.diff(recall, prepend=0.0)
    return float((steps * envelope).sum())
