"""Scores that are computed again for other pictures: as COCO's evaluator does, copies included."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.quads import as_points
from heatpoint.data.results import Detections
from heatpoint.data.skeleton import Skeleton
from heatpoint.scoring.boxes import coco_metrics, score_quads
from heatpoint.scoring.judged import Judged, judge, judge_points, resampled
from heatpoint.scoring.keypoints import oks_metrics
from heatpoint.scoring.points import score_points

NAMES = ("a", "b", "c")
SKELETON = Skeleton(("nose", "tail", "ear"))
SIGMAS = (0.1, 0.1, 0.1)


def drawn(seed: int, images: int = 12) -> tuple[Annotations, list[Detections]]:
    """Returns boxes, corners and joints, and what a poor model finds of them."""
    rng = np.random.default_rng(seed)
    records, found = [], []
    for number in range(images):
        count = int(rng.integers(0, 9))
        places, sides = rng.uniform(0, 150, (count, 2)), rng.uniform(15, 60, (count, 2))
        boxes, labels = np.concatenate((places, places + sides), 1), rng.integers(0, 2, count)
        joints = np.concatenate(
            (
                places[:, None] + sides[:, None] * rng.random((count, 3, 2)),
                rng.integers(0, 3, (count, 3, 1)),
            ),
            2,
        )
        extra = {"crowd": rng.random(count) < 0.1, "keypoints": joints, "image_id": number + 1}
        record = ImageRecord(Path(f"{number}.jpg"), (200, 200), boxes, labels, **extra)
        records.append(replace(record, points=corners(boxes)))
        again = rng.integers(0, count, 2 * count) if count else np.zeros(0, int)
        moved = boxes[again] + rng.normal(0, 4, (len(again), 4))
        # Scores of several pictures are equal; of one picture, copies would take turns.
        scores = (rng.permutation(len(again)) / 20 + 0.1).astype(np.float32)
        wrong = np.where(rng.random(len(again)) < 0.2, 1 - labels[again], labels[again])
        seen = joints[again] + rng.normal(0, 5, (len(again), 3, 3)) * (1, 1, 0)
        found.append(
            Detections(
                moved.astype(np.float32),
                scores,
                wrong,
                NAMES,
                seen.astype(np.float32),
                SKELETON,
                {"quads": corners(moved).astype(np.float32)},
                own_boxes=True,
            )
        )
    return Annotations(NAMES, records, skeleton=SKELETON), found


def corners(boxes: np.ndarray) -> np.ndarray:
    return boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]


def boxed(truth: Annotations) -> Annotations:
    return replace(truth, images=[replace(record, points=None) for record in truth.images])


def copied(
    truth: Annotations, found: list[Detections], weights: np.ndarray
) -> tuple[Annotations, list[Detections]]:
    places = np.repeat(np.arange(len(weights)), weights)
    records = [replace(truth.images[p], image_id=n) for n, p in enumerate(places.tolist(), 1)]
    return replace(truth, images=records), [found[place] for place in places]


def of_kind(kind: str, truth: Annotations, found: list[Detections]) -> tuple[Judged, list[float]]:
    if kind == "boxes":
        coco = coco_metrics(found, boxed(truth))
        return judge(found, boxed(truth), None, False), [coco.ap, coco.ap50, coco.ap75]
    if kind == "quads":
        quads = score_quads(found, truth)
        return judge(found, truth, None, True), [quads.ap, quads.ap50, quads.ap75]
    if kind == "poses":
        oks = oks_metrics(found, boxed(truth), SIGMAS)
        return judge(found, boxed(truth), SIGMAS, False), [oks.ap, oks.ap50, oks.ap75]
    pointed = as_points(boxed(truth))
    within = score_points(found, pointed, (6.0,), 0.35).within["6"]
    return judge_points(found, pointed, 6.0, 0.35), [within.f1, within.ap]


@pytest.mark.parametrize("kind", ["boxes", "quads", "poses", "points"])
@pytest.mark.parametrize("seed", range(3))
def test_numbers_are_those_of_evaluate_and_of_copied_pictures(kind: str, seed: int) -> None:
    truth, found = drawn(seed)
    judged, expected = of_kind(kind, truth, found)
    assert list(judged.numbers().values()) == pytest.approx(expected, abs=1e-12)
    assert 0.05 < expected[0] < 0.95
    weights = np.random.default_rng(seed).integers(0, 4, len(truth))
    _, again = of_kind(kind, *copied(truth, found, weights))
    assert list(judged.numbers(weights).values()) == pytest.approx(again, abs=1e-12)


def test_the_spread_of_resampled_scores_is_that_of_other_pictures() -> None:
    judged, _ = of_kind("boxes", *drawn(0, 60))
    spread = resampled([judged, judged], 60, 200)
    assert np.array_equal(spread[:, 0], spread[:, 1])
    others = [of_kind("boxes", *drawn(seed, 60))[1][1] for seed in range(1, 31)]
    assert 0.6 < spread[:, 0, 1].std() / np.std(others) < 1.6
