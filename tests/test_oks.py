"""COCO's keypoint scores: cases worked out by hand and an obvious slow version."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.results import Detections
from heatpoint.data.skeleton import SKELETONS, Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.scoring.keypoints import (
    COCO_SIGMAS,
    OKS_NUMBERS,
    default_sigmas,
    oks_metrics,
    sizes_of,
)

COCO = SKELETONS["coco17"]
TWO = Skeleton(("a", "b"))


def truth(
    keypoints: list[list[list[float]]], crowd: list[bool] | None = None, side: float = 100.0
) -> Annotations:
    count = len(keypoints)
    record = ImageRecord(
        Path("1.jpg"),
        (500, 500),
        np.array([[0.0, 0, side, side]] * count),
        np.zeros(count, int),
        np.array(crowd or [False] * count),
        image_id=4,
        keypoints=np.array(keypoints, float),
    )
    return Annotations(("person",), [record], skeleton=TWO)


def found(keypoints: list[list[list[float]]], scores: list[float]) -> Detections:
    rows = np.array(keypoints, np.float32).reshape(-1, 2, 3)
    boxes, labels = np.zeros((len(rows), 4)), np.zeros(len(rows), int)
    return Detections(boxes, np.array(scores, np.float32), labels, ("person",), rows, TWO)


def test_a_perfect_result_scores_one() -> None:
    joints = [[[10.0, 20, 2], [60, 70, 2]]]
    scores = oks_metrics([found(joints, [0.9])], truth(joints))
    for name in ("ap", "ap50", "ap75", "ap_large", "ar", "ar50", "ar75", "ar_large"):
        assert getattr(scores, name) == pytest.approx(1.0), name
    assert math.isnan(scores.ap_medium)


@pytest.mark.parametrize("similarity", [0.52, 0.62, 0.77, 0.93])
def test_similarity_falls_with_distance_as_the_formula_says(similarity: float) -> None:
    # OKS = exp(-d^2 / (2 (2 sigma)^2 area)); both joints are off by the same distance.
    distance = math.sqrt(-2 * math.log(similarity) * (2 * 0.1) ** 2 * 100.0**2)
    labels = [[[100.0, 200, 2], [150, 270, 1]]]
    shifted = [[[x + distance, y, 1.0] for x, y, _ in labels[0]]]
    scores = oks_metrics([found(shifted, [0.9])], truth(labels))
    passed = sum(limit <= similarity for limit in np.arange(0.5, 0.951, 0.05))
    assert scores.ap == pytest.approx(passed / 10)
    # Unlabelled joints do not count: moved far away, the second changes nothing.
    one = [[[100.0, 200, 2], [0, 0, 0]]]
    shifted[0][1] = [-1e4, 1e4, 1.0]
    assert oks_metrics([found(shifted, [0.9])], truth(one)).ap == scores.ap
    # A larger sigma forgives more.
    assert oks_metrics([found(shifted, [0.9])], truth(one), [0.8, 0.8]).ap == 1.0


def test_cocos_sigmas_are_used_for_cocos_joints() -> None:
    sigmas, name = default_sigmas(COCO)
    assert (sigmas, name) == (COCO_SIGMAS, "coco17")
    assert [round(20 * s, 2) for s in sigmas[:3]] == [0.52, 0.5, 0.5]
    assert default_sigmas(TWO) == ((0.1, 0.1), "0.1 for every joint")
    rng = np.random.default_rng(0)
    records, results, similarities = [], [], []
    for image in range(40):
        joints = np.concatenate([rng.uniform(0, 300, (1, 17, 2)), np.full((1, 17, 1), 2.0)], 2)
        guess = joints + rng.normal(0, rng.uniform(1, 25), joints.shape) * [1, 1, 0]
        apart = ((guess - joints)[..., :2] ** 2).sum(-1)
        variances = (2 * np.array(COCO_SIGMAS)) ** 2
        similarities.append(np.exp(-apart / variances / 300**2 / 2).mean())
        records.append(
            ImageRecord(
                Path(f"{image}.jpg"),
                boxes=np.array([[0.0, 0, 300, 300]]),
                labels=np.zeros(1, int),
                image_id=image,
                keypoints=joints,
            )
        )
        results.append(
            Detections(np.zeros((1, 4)), np.ones(1), np.zeros(1, int), ("person",), guess, COCO)
        )
    scores = oks_metrics(results, Annotations(("person",), records, skeleton=COCO))
    # One subject and one result per image: recall is the share of similarities above the limit.
    limits = np.arange(0.5, 0.951, 0.05)
    recalls = [(np.array(similarities) >= limit).mean() for limit in limits]
    assert 0.1 < recalls[5] < 0.95
    assert scores.ar == pytest.approx(np.mean(recalls), abs=1e-9)
    assert scores.ar75 == pytest.approx(recalls[5], abs=1e-9)


def test_crowds_and_unlabelled_objects_count_neither_way() -> None:
    joints = [[[10.0, 20, 2], [60, 70, 2]], [[0.0, 0, 0], [0, 0, 0]], [[80, 90, 2], [20, 30, 2]]]
    annotations = truth(joints, [False, False, True])
    rows = found(
        [joints[0], [[50.0, 50, 1], [50, 50, 1]], [[80, 90, 1], [20, 30, 1]]], [0.5, 0.9, 0.8]
    )
    assert oks_metrics([rows], annotations).ap == pytest.approx(1.0)
    # The same false alarms without those regions cost precision.
    assert oks_metrics([rows], truth(joints[:1])).ap < 0.5


def test_classes_with_joints_of_their_own_are_scored_apart() -> None:
    """A person of COCO's joints, a dog of two and a tree of none, in one picture."""
    dog = Skeleton(("nose", "tail"))
    both = Skeleton.joined(("person", "dog", "tree"), (COCO, dog, None))
    assert both.joints[0] == "person_nose"
    sigmas, name = default_sigmas(both)
    assert sigmas == (*COCO_SIGMAS, 0.1, 0.1)
    assert name == "coco17, and 0.1 for 2 other joints"
    joints = np.zeros((3, 19, 3))
    joints[0, :17] = [(20.0 + 3 * i, 30.0 + 5 * (i % 4), 2) for i in range(17)]
    joints[1, 17:] = [(60, 70, 2), (80, 90, 1)]
    labels = np.arange(3)
    boxes = np.array([[0.0, 0, 100, 100]] * 3)
    record = ImageRecord(Path("1.jpg"), (200, 200), boxes, labels, image_id=1, keypoints=joints)
    names = ("person", "dog", "tree")
    data = Annotations(names, [record], category_ids=(1, 7, 9), skeleton=both)
    guess = joints.copy()
    guess[1, 17:, 0] += math.sqrt(-2 * math.log(0.77) * 0.2**2 * 100**2)  # OKS 0.77
    rows = Detections(boxes, np.full(3, 0.9), labels, names, guess, both)
    scores = oks_metrics([rows], data)
    assert scores.per_class["person"] == pytest.approx({"ap": 1.0, "ap50": 1.0})
    assert scores.per_class["dog"] == pytest.approx({"ap": 0.6, "ap50": 1.0})
    assert math.isnan(scores.per_class["tree"]["ap"])
    assert scores.ap == pytest.approx(0.8)
    written = rows.to_coco(1, data.category_ids)
    assert [len(row.get("keypoints", ())) for row in written] == [51, 6, 0]
    assert ["bbox" in row for row in written] == [False, False, True]
    assert oks_metrics(written, data) == pytest.approx(scores, nan_ok=True)


def test_whose_area_an_objects_size_is() -> None:
    data = truth([[[10.0, 20, 2], [60, 70, 2]]])
    assert sizes_of(data) == "box"
    data.images[0].areas *= 0.6
    assert sizes_of(data) == "annotation"


def test_nothing_found_and_nothing_to_find() -> None:
    joints = [[[10.0, 20, 2], [60, 70, 2]]]
    assert oks_metrics([found([], [])], truth(joints)).ap == 0.0
    empty = Annotations(("person",), [ImageRecord(Path("1.jpg"))], skeleton=TWO)
    nothing = oks_metrics([found([], [])], empty)
    assert all(math.isnan(getattr(nothing, name)) for name in OKS_NUMBERS)


def test_what_does_not_fit_is_named() -> None:
    joints = [[[10.0, 20, 2], [60, 70, 2]]]
    annotations = truth(joints)
    with pytest.raises(HeatpointError, match="1 annotated images, got 2"):
        oks_metrics([found([], [])] * 2, annotations)
    with pytest.raises(HeatpointError, match="17 joints, the annotations 2"):
        oks_metrics([Detections.empty(("person",), COCO)], annotations)
    with pytest.raises(HeatpointError, match="2 positive numbers"):
        oks_metrics([found([], [])], annotations, [0.1])
    with pytest.raises(HeatpointError, match="hold no keypoints"):
        oks_metrics([], Annotations(("person",), []))
    broken = truth([[[math.nan, 20, 2], [60, 70, 2]]])
    with pytest.raises(HeatpointError, match="not a finite"):
        oks_metrics([found([], [])], broken)
