"""Scores of points, by cases that can be counted by hand and by a second way to pair them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.quads import as_points
from heatpoint.data.results import Detections
from heatpoint.scoring.points import PointScores, paired, score_points

NAMES = ("cell", "clump")
RADII = (2.0, 5.0)


def truth_of(*pictures: list[tuple[float, float, int]]) -> Annotations:
    """Returns pictures of points x, y and label."""
    images = [
        ImageRecord(
            Path(f"{number}.png"),
            (100, 100),
            np.array([(x, y, x, y) for x, y, _ in points]),
            np.array([label for *_, label in points]),
            image_id=number,
        )
        for number, points in enumerate(pictures)
    ]
    return as_points(Annotations(NAMES, images))


def found_of(*points: tuple[float, float, int, float]) -> Detections:
    """Returns what was found: x, y, label and score of each."""
    boxes = np.array([(x, y, x, y) for x, y, *_ in points], np.float32).reshape(-1, 4)
    labels = np.array([label for *_, label, _ in points], np.int64)
    return Detections(boxes, np.array([p[3] for p in points], np.float32), labels, NAMES)


def scored(found: list[Detections], truth: Annotations, sure: float = 0.3) -> PointScores:
    return score_points(found, truth, RADII, sure)


def test_what_can_be_counted_by_hand() -> None:
    truth = truth_of([(10, 10, 0), (50, 50, 0), (80, 80, 1)], [(30, 30, 0)])
    found = [
        # One is 1 px off, one 4 px, one is of the other class, one lies nowhere, one is unsure.
        found_of((11, 10, 0, 0.9), (50, 54, 0, 0.8), (80, 80, 0, 0.7), (5, 90, 1, 0.6)),
        found_of((30, 30, 0, 0.2)),
    ]
    scores = scored(found, truth)
    near, far = scores.within["2"], scores.within["5"]
    assert (near.precision, near.recall) == (1 / 4, 1 / 4)
    assert (far.precision, far.recall, far.f1) == (2 / 4, 2 / 4, 0.5)
    # Of cells: right, right, wrong, right within 5 px; of clumps none.
    assert scores.within_per_class["cell"]["5"].ap == pytest.approx((1 + 1 + 3 / 4) / 3)
    assert scores.within_per_class["cell"]["2"].ap == pytest.approx((1 + 2 / 4) / 3)
    assert scores.within_per_class["clump"]["5"].ap == 0
    assert far.ap == pytest.approx((1 + 1 + 3 / 4) / 6)
    assert (scores.error_median, scores.error_90) == (2.5, pytest.approx(3.7))
    assert (scores.counts.annotated, scores.counts.found) == (4, 4)
    # One too many in the first picture, one too few in the second.
    assert (scores.counts.mae, scores.counts.rmse, scores.counts.bias) == (1, 1, 0)
    clumps = scores.counts_per_class["clump"]
    assert (clumps.annotated, clumps.found, clumps.mae) == (1, 1, 0)
    assert scores.pictures == [[3, 4], [1, 0]]
    lower = scored(found, truth, sure=0.1)
    assert lower.within["5"].recall == 3 / 4
    assert scores.best_sure <= 0.2


def test_a_density_map_is_scored_by_its_sums() -> None:
    truth = truth_of([(10, 10, 0), (20, 20, 0), (30, 30, 1)], [(50, 50, 1)])
    found = [found_of((10, 10, 0, 0.9)), found_of()]
    assert scored(found, truth).density is None
    found[0].density, found[1].density = np.array([2.5, 0.5]), np.array([0.0, 3.0])
    scores = scored(found, truth)
    assert scores.density is not None
    assert (scores.density.annotated, scores.density.found) == (4, 6.0)
    assert scores.density.mae == pytest.approx(1.0)  # 3.0 for 3, 3.0 for 1
    assert scores.density.rmse == pytest.approx(2**0.5)
    assert scores.density.bias == pytest.approx(1.0)
    assert [each.mae for each in scores.density_per_class.values()] == pytest.approx([0.25, 1.25])
    assert scores.counts.mae == pytest.approx(1.5)
    turned = found[0].renamed(NAMES[::-1], np.array([1, 0]))
    assert turned.density is not None
    assert turned.density.tolist() == [0.5, 2.5]
    assert found[0][:0].density is found[0].density  # it is of the picture, not of its rows
    assert found[0].as_dict()["density"] == [2.5, 0.5]


def test_as_many_as_possible_are_paired() -> None:
    # The best lies nearest to the one point that the other could be paired with as well.
    truth = truth_of([(10, 10, 0), (14, 10, 0)])
    found = [found_of((11, 10, 0, 0.9), (6, 10, 0, 0.8))]
    scores = scored(found, truth)
    assert scores.within["5"].recall == 1
    assert scores.error_median == pytest.approx((3 + 4) / 2)


def test_two_at_one_point_are_one_too_many() -> None:
    truth = truth_of([(10, 10, 0)])
    found = [found_of((10, 10, 0, 0.9), (10, 10, 0, 0.8))]
    within = scored(found, truth).within["2"]
    assert (within.precision, within.recall, within.ap) == (0.5, 1, 1)


def test_crowds_and_difficult_ones_count_for_nothing() -> None:
    truth = truth_of([(10, 10, 0), (60, 60, 0), (30, 30, 0)])
    record = truth.images[0]
    record.crowd[1], record.difficult[2] = True, True
    record.boxes[1] = 50, 50, 70, 70
    found = [found_of((10, 10, 0, 0.9), (65, 51, 0, 0.8), (30, 31, 0, 0.8), (90, 90, 0, 0.5))]
    scores = scored(found, truth)
    assert (scores.within["5"].precision, scores.within["5"].recall) == (0.5, 1)
    assert scores.pictures == [[1, 2]]


def test_nothing_to_find_and_nothing_found() -> None:
    scores = scored([found_of(), found_of((5, 5, 0, 0.9))], truth_of([(1, 1, 0)], []))
    within = scores.within["2"]
    assert (within.precision, within.recall, within.f1) == (0, 0, 0)
    assert math.isnan(scores.within_per_class["clump"]["2"].ap)
    assert math.isnan(scores.error_median)
    empty = scored([found_of()], truth_of([]))
    assert math.isnan(empty.within["2"].f1)
    assert empty.counts.mae == 0


@pytest.mark.parametrize("seed", range(5))
def test_pairs_equal_those_of_a_second_way(seed: int) -> None:
    generator = np.random.default_rng(seed)
    true, places = generator.uniform(0, 40, (60, 2)), generator.uniform(0, 40, (70, 2))
    values = generator.permutation(70) / 70
    away = np.linalg.norm(places[:, None] - true, axis=2)
    close = away <= RADII[1]
    pairs = paired(*np.nonzero(close), np.argsort(-values))
    right = pairs >= 0
    assert close[np.flatnonzero(right), pairs[right]].all()
    assert len(set(pairs[right].tolist())) == right.sum()
    for least in (0.0, 0.3, 0.7):
        sure = values >= least
        most = maximum_bipartite_matching(csr_array(close[sure].astype(int)), "column")
        assert right[sure].sum() == (most >= 0).sum()
    truth = truth_of([(x, y, 0) for x, y in true])
    found = found_of(*((x, y, 0, score) for (x, y), score in zip(places, values, strict=True)))
    scores = scored([found], truth, sure=0)
    rows, columns = linear_sum_assignment(np.where(close, away, 1e4))
    distances = away[rows, columns][close[rows, columns]]
    assert len(distances) == right.sum() == round(scores.within["5"].recall * 60)
    assert scores.error_median == pytest.approx(np.median(distances), rel=1e-5)


def test_thousands_of_points_in_a_moment() -> None:
    generator = np.random.default_rng(0)
    true = generator.uniform(0, 1000, (3000, 2))
    near = true + generator.normal(0, 2, true.shape)
    wrong = generator.uniform(0, 1000, (2000, 2))
    rows = [(x, y, 0, 0.9) for x, y in near] + [(x, y, 0, 0.2) for x, y in wrong]
    scores = scored([found_of(*rows)], truth_of([(x, y, 0) for x, y in true]))
    assert scores.within["5"].recall > 0.95
    assert 0.9 <= scores.curves["5"]["f1"][25] <= 1
