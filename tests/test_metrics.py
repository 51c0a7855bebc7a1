"""COCO's and VOC's scores: published numbers, obvious slow versions, cases worked out by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.results import Detections
from heatpoint.errors import HeatpointError
from heatpoint.scoring.boxes import (
    NUMBERS,
    average_precision_11_point,
    average_precision_all_point,
    coco_metrics,
    voc_metrics,
)

NAMES = ("cat", "dog")


def record(image_id: int, boxes: list[list[float]], labels: list[int], **flags: list[bool]):
    return ImageRecord(
        Path(f"{image_id}.jpg"),
        (200, 200),
        np.array(boxes, float),
        np.array(labels),
        np.array(flags.get("crowd", [False] * len(boxes))),
        np.array(flags.get("difficult", [False] * len(boxes))),
        image_id=image_id,
    )


def found(rows: list[tuple[list[float], float, int]]) -> Detections:
    if not rows:
        return Detections.empty(NAMES)
    boxes, scores, labels = zip(*rows, strict=True)
    return Detections(np.array(boxes), np.array(scores), np.array(labels), NAMES)


def random_case(seed: int, images: int = 12) -> tuple[Annotations, list[Detections]]:
    """Returns objects, some of them difficult or crowds, and noisy findings of them."""
    rng = np.random.default_rng(seed)
    records, results = [], []
    for image_id in range(images):
        count = int(rng.integers(0, 8))
        corner = rng.uniform(0, 100, (count, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(4, 90, (count, 2))], 1)
        labels = rng.integers(0, 2, count)
        records.append(
            ImageRecord(
                Path(f"{image_id}.jpg"),
                (200, 200),
                boxes,
                labels,
                rng.random(count) < 0.1,
                rng.random(count) < 0.2,
                image_id=image_id + 5,
            )
        )
        picks = rng.integers(0, count, count * 2) if count else np.zeros(0, int)
        extra = rng.uniform(0, 100, (3, 2))
        guesses = np.concatenate(
            [
                boxes[picks] + rng.normal(0, 4, (len(picks), 4)),
                np.concatenate([extra, extra + 30], 1),
            ]
        )
        results.append(
            Detections(
                guesses,
                rng.random(len(guesses)),
                np.concatenate([labels[picks], rng.integers(0, 2, 3)]),
                NAMES,
            )
        )
    return Annotations(NAMES, records), results


def coco_file(shared: Path) -> tuple[Annotations, list[dict]]:
    """Reads the ground truth with a reader of its own, so that only the score is tested."""
    folder = shared / "data" / "coco_eval"
    truth = json.loads((folder / "instances_val2014_100.json").read_text())
    rows = json.loads((folder / "instances_val2014_fakebbox100_results.json").read_text())
    ids = [category["id"] for category in truth["categories"]]
    by_image: dict[int, list[dict]] = {image["id"]: [] for image in truth["images"]}
    for row in truth["annotations"]:
        by_image[row["image_id"]].append(row)
    records = []
    for image in truth["images"]:
        objects = by_image[image["id"]]
        boxes = np.array([row["bbox"] for row in objects], float).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        records.append(
            ImageRecord(
                Path(image["file_name"]),
                (image["height"], image["width"]),
                boxes,
                np.array([ids.index(row["category_id"]) for row in objects]),
                np.array([bool(row["iscrowd"]) for row in objects]),
                areas=np.array([row["area"] for row in objects], float),
                image_id=image["id"],
            )
        )
    names = tuple(category["name"] for category in truth["categories"])
    return Annotations(names, records, category_ids=tuple(ids)), rows


COCO_EVAL = (
    "0.504581 0.696973 0.572982 0.585626 0.519400 0.501398 "
    "0.386813 0.593680 0.595353 0.639811 0.566421 0.564291"
)


def test_the_published_coco_scores_to_six_digits(shared: Path) -> None:
    annotations, rows = coco_file(shared)
    scores = coco_metrics(rows, annotations)
    assert " ".join(f"{getattr(scores, name):.6f}" for name in NUMBERS) == COCO_EVAL
    with_objects = [value["ap"] for value in scores.per_class.values() if value["ap"] >= 0]
    assert np.mean(with_objects) == pytest.approx(scores.ap, abs=1e-12)
    assert len(scores.per_class) == 80


def test_the_published_coco_scores_from_detections_in_memory(shared: Path) -> None:
    annotations, rows = coco_file(shared)
    results = []
    for image in annotations.images:
        mine = [row for row in rows if row["image_id"] == image.image_id]
        boxes = np.array([row["bbox"] for row in mine], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = [annotations.category_ids.index(row["category_id"]) for row in mine]
        scores = np.array([row["score"] for row in mine], np.float32)
        results.append(Detections(boxes, scores, np.array(labels, np.int64), annotations.names))
    scores = coco_metrics(results, annotations)
    for name, value in zip(NUMBERS, COCO_EVAL.split(), strict=True):
        # Boxes in float32 move an overlap across a threshold now and then, hence not 1e-6.
        assert getattr(scores, name) == pytest.approx(float(value), abs=1e-3), name


def test_perfect_results_score_one() -> None:
    annotations = Annotations(
        NAMES,
        [
            record(1, [[0, 0, 20, 20], [50, 50, 100, 100]], [0, 1]),
            record(2, [[10, 10, 150, 160]], [0]),
        ],
    )
    results = [
        found([([0.0, 0, 20, 20], 0.9, 0), ([50.0, 50, 100, 100], 0.8, 1)]),
        found([([10.0, 10, 150, 160], 0.7, 0)]),
    ]
    scores = coco_metrics(results, annotations)
    for name in NUMBERS:
        assert getattr(scores, name) == pytest.approx(1.0), name
    assert scores.per_class == {"cat": {"ap": 1, "ap50": 1}, "dog": {"ap": 1, "ap50": 1}}
    assert voc_metrics(results, annotations).ap50_all_point == 1.0


@pytest.mark.parametrize(
    ("objects", "recall"),
    [
        (100, 0.5),  # COCO counts the best hundred of a class in a picture
        (130, 1.0),  # which not even a perfect detector could live with here
    ],
)
def test_all_results_count_where_a_picture_holds_more_than_coco_counts(
    objects: int, recall: float
) -> None:
    y, x = np.mgrid[:10, :15].reshape(2, -1) * 20.0
    boxes = np.stack((x, y, x + 10, y + 10), 1).tolist()
    truth = Annotations(NAMES, [record(1, boxes[:objects], [0] * objects)])
    wrong = [(box, 0.9, 0) for box in (np.array(boxes[:50]) + 1000).tolist()]
    right = [(box, 0.5, 0) for box in boxes[:objects]]
    for results, found_all in (([*wrong, *right], recall), (right, 1.0)):
        scores = coco_metrics([found(results)], truth)
        assert scores.ar100 == pytest.approx(found_all)
        assert (scores.ap == pytest.approx(1.0)) == (results is right)
        assert scores.all_counted == (objects > 100)


def test_a_false_alarm_costs_what_the_formula_says() -> None:
    annotations = Annotations(NAMES, [record(1, [[0, 0, 50, 50], [100, 100, 150, 150]], [0, 0])])
    results = [
        found(
            [
                ([0.0, 0, 50, 50], 0.9, 0),
                ([60.0, 0, 90, 50], 0.8, 0),
                ([100.0, 100, 150, 150], 0.7, 0),
            ]
        )
    ]
    # Recall up to 0.5 at precision 1, the rest at 2/3: COCO reads 51 and 50 of 101 points.
    scores = coco_metrics(results, annotations)
    assert scores.ap == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert math.isnan(scores.per_class["dog"]["ap"])
    voc = voc_metrics(results, annotations)
    assert voc.class_all_point["cat"] == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert voc.class_11_point["cat"] == pytest.approx((6 + 5 * 2 / 3) / 11)
    assert math.isnan(voc.class_all_point["dog"])
    assert voc.ap50_all_point == voc.class_all_point["cat"]


@pytest.mark.parametrize("flag", ["crowd", "difficult"])
def test_ignored_objects_count_neither_way(flag: str) -> None:
    boxes, labels = [[0.0, 0, 50, 50], [100.0, 100, 190, 190]], [0, 0]
    annotations = Annotations(NAMES, [record(1, boxes, labels, **{flag: [False, True]})])
    hit, ignored = ([0.0, 0, 50, 50], 0.5, 0), ([100.0, 100, 190, 190], 0.9, 0)
    for rows in ([hit], [hit, ignored], [hit, ignored, ignored]):
        assert coco_metrics([found(rows)], annotations).ap == pytest.approx(1.0)
        assert voc_metrics([found(rows)], annotations).ap50_11_point == pytest.approx(1.0)


def test_size_ranges_go_by_the_annotated_area() -> None:
    wide = record(1, [[0, 0, 100, 100]], [0])
    thin = replace(wide, areas=np.array([500.0]))
    results = [found([([0.0, 0, 100, 100], 0.9, 0)])]
    assert coco_metrics(results, Annotations(NAMES, [wide])).ap_large == 1.0
    assert coco_metrics(results, Annotations(NAMES, [thin])).ap_small == 1.0
    assert math.isnan(coco_metrics(results, Annotations(NAMES, [thin])).ap_large)


def test_nothing_found_and_nothing_to_find() -> None:
    annotations = Annotations(NAMES, [record(1, [[0, 0, 50, 50]], [0]), record(2, [], [])])
    nothing = [Detections.empty(NAMES)] * 2
    assert coco_metrics(nothing, annotations).ap == 0.0
    assert coco_metrics([], annotations).ap == 0.0
    assert voc_metrics(nothing, annotations).ap50_all_point == 0.0
    bare = Annotations(NAMES, [record(1, [], []), record(2, [], [])])
    assert math.isnan(coco_metrics(nothing, bare).ap)
    assert math.isnan(voc_metrics(nothing, bare).ap50_all_point)


def slow_voc(results: list[Detections], annotations: Annotations, label: int) -> list[float]:
    """VOC's rules one detection at a time; returns 11-point and all-point AP."""
    queue, objects = [], {}
    for place, (result, image) in enumerate(zip(results, annotations.images, strict=True)):
        for box, score, mine in zip(result.boxes, result.scores, result.labels, strict=True):
            if mine == label:
                queue.append((-float(score), place, box.astype(np.float64).tolist()))
        objects[place] = [
            [box.tolist(), bool(crowd or difficult), False]
            for box, mine, crowd, difficult in zip(
                image.boxes, image.labels, image.crowd, image.difficult, strict=True
            )
            if mine == label
        ]
    total = sum(not entry[1] for entries in objects.values() for entry in entries)
    points, hits, misses = [(0.0, 1.0)], 0, 0
    for _, place, (x1, y1, x2, y2) in sorted(queue, key=lambda entry: entry[0]):
        best, owner = 0.0, None
        for entry in objects[place]:
            a1, b1, a2, b2 = entry[0]
            w, h = min(x2, a2) - max(x1, a1), min(y2, b2) - max(y1, b1)
            shared = max(w, 0) * max(h, 0)
            iou = shared / ((x2 - x1) * (y2 - y1) + (a2 - a1) * (b2 - b1) - shared)
            if iou > best:
                best, owner = iou, entry
        if owner is None or best < 0.5:
            misses += 1
        elif owner[1]:
            continue
        elif owner[2]:
            misses += 1
        else:
            owner[2] = True
            hits += 1
        points.append((hits / total, hits / (hits + misses)))
    eleven = sum(
        max((p for r, p in points[1:] if r >= step / 10 - 1e-12), default=0) for step in range(11)
    )
    area = 0.0
    for i in range(1, len(points)):
        area += (points[i][0] - points[i - 1][0]) * max(p for _, p in points[i:])
    return [eleven / 11, area]


@pytest.mark.parametrize("seed", range(5))
def test_voc_equals_the_slow_version(seed: int) -> None:
    annotations, results = random_case(seed)
    scores = voc_metrics(results, annotations)
    for label, name in enumerate(NAMES):
        expected = slow_voc(results, annotations, label)
        assert scores.class_11_point[name] == pytest.approx(expected[0], abs=1e-9)
        assert scores.class_all_point[name] == pytest.approx(expected[1], abs=1e-9)
    assert scores.ap50_11_point == pytest.approx(np.mean(list(scores.class_11_point.values())))


def test_voc_curves_worked_out_by_hand() -> None:
    recall, precision = np.array([0.2, 0.2, 0.4, 0.4]), np.array([1.0, 0.5, 2 / 3, 0.5])
    assert average_precision_11_point(recall, precision) == pytest.approx((3 + 2 * 2 / 3) / 11)
    assert average_precision_all_point(recall, precision) == pytest.approx(0.2 + 0.2 * 2 / 3)


def test_rows_and_detections_give_the_same() -> None:
    annotations, results = random_case(9)
    rows = []
    for image, result in zip(annotations.images, results, strict=True):
        rows += result.to_coco(image.image_id, annotations.category_ids)
    assert coco_metrics(rows, annotations) == coco_metrics(results, annotations)
    assert voc_metrics(rows[::-1], annotations).ap50_all_point == pytest.approx(
        voc_metrics(results, annotations).ap50_all_point
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 99}, "image_id 99"),
        ({"category_id": 7}, "category_id 7"),
        ({"bbox": [0, 0, 1]}, "five finite"),
        ({"score": math.nan}, "five finite"),
    ],
)
def test_rows_of_another_data_set_are_an_error(change: dict, message: str) -> None:
    annotations = Annotations(NAMES, [record(1, [[0, 0, 50, 50]], [0])])
    row = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5], "score": 0.5}
    coco_metrics([row], annotations)
    with pytest.raises(HeatpointError, match=message):
        coco_metrics([row | change], annotations)


def test_results_must_fit_images_and_classes() -> None:
    annotations = Annotations(NAMES, [record(1, [[0, 0, 50, 50]], [0])])
    with pytest.raises(HeatpointError, match="1 annotated images, got 2"):
        coco_metrics([Detections.empty(NAMES)] * 2, annotations)
    with pytest.raises(HeatpointError, match="classes are"):
        coco_metrics([Detections.empty(NAMES[::-1])], annotations)
    twice = Annotations(NAMES, [record(1, [], []), record(1, [], [])])
    with pytest.raises(HeatpointError, match="image id"):
        coco_metrics([Detections.empty(NAMES)] * 2, twice)
    broken = Annotations(NAMES, [record(1, [[0, 0, math.nan, 50]], [0])])
    with pytest.raises(HeatpointError, match="finite"):
        coco_metrics([Detections.empty(NAMES)], broken)
