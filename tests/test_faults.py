"""Known mistakes of every kind: each is named, counted by hand, and what they cost adds up."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from test_judged import drawn, of_kind

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.quads import as_points
from heatpoint.data.results import Detections
from heatpoint.scoring.faults import KINDS, Curves, Faults, calibration
from heatpoint.scoring.judged import Judged, judge, judge_points

NAMES = ("cat", "dog")


def at(x: float, label: int = 0, score: float = 0.9, shift: float = 0.0) -> tuple[float, ...]:
    """Returns a box of 40 x 40 pixels, its class and its score."""
    return x + shift, 10, x + shift + 40, 50, label, score


def record_of(
    number: int, *rows: tuple[float, ...], difficult: tuple[int, ...] = ()
) -> ImageRecord:
    values = np.array(rows).reshape(-1, 6)
    hard = np.isin(np.arange(len(values)), difficult)
    size, labels = (100, 600), values[:, 4].astype(int)
    path = Path(f"{number}.jpg")
    return ImageRecord(path, size, values[:, :4], labels, difficult=hard, image_id=number)


def found_of(*rows: tuple[float, ...]) -> Detections:
    values = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(values[:, :4], values[:, 5], values[:, 4].astype(int), NAMES)


TRUTH = Annotations(
    NAMES,
    [
        record_of(1, at(0), at(100, 1), at(200), at(300, 1), at(400), at(500, 1), difficult=(5,)),
        record_of(2),
        record_of(3, at(0), at(200, 1)),
    ],
)
FOUND = [
    found_of(
        at(0, 0, 0.95),  # right
        at(0, 0, 0.91, 4),  # double
        at(100, 0, 0.85, 2),  # a dog taken for a cat
        at(200, 0, 0.80, 20),  # a third of both in common: badly placed
        at(300, 0, 0.75, 20),  # the same beside a dog
        at(500, 1, 0.70),  # difficult: counts neither way
        at(450, 1, 0.65, 0),  # nothing there of which it has a tenth in common
    ),
    found_of(at(0, 1, 0.6)),  # an empty picture
    found_of(at(200, 1, 0.55), at(0, 0, 0.2)),
]


@pytest.fixture(scope="module")
def judged() -> Judged:
    return judge(FOUND, TRUTH, None, False)


def test_each_kind_is_counted(judged: Judged) -> None:
    faults = Faults.of(judged)
    told = [KINDS[kind] if kind >= 0 else "" for kind in faults.kinds.tolist()]
    assert told == [
        "",
        "double",
        "wrong class",
        "badly placed",
        "wrong class and badly placed",
        "",
        "background",
        "background",
        "",
        "",
    ]
    assert faults.targets.tolist() == [-1, 0, 1, 2, 3, -1, -1, -1, -1, -1]
    # The dog at 300 and the cat at 400 are missed, whatever the score.
    assert list(faults.counts(0.0).values()) == [1, 1, 1, 1, 2, 2]
    # Without the last row, the cat of the third picture is missed, too.
    assert list(faults.counts(0.5).values()) == [1, 1, 1, 1, 2, 3]
    # Alone the first three rows are left: the cat at 200 and the dog of the third picture as well.
    assert list(faults.counts(0.82).values()) == [1, 0, 0, 1, 0, 5]


def test_the_confusion_has_each_object_and_each_result_once(judged: Judged) -> None:
    # Of four cats one is found, of three dogs one is found and one is taken for a cat.
    expected = [[1, 0, 3], [1, 1, 1], [3, 2, 0]]
    assert Faults.of(judged).confusion(0.5).tolist() == expected


def test_shares_add_up_and_are_those_of_mending_one_kind_where_there_is_one(
    judged: Judged,
) -> None:
    shares = Faults.of(judged).shares()
    assert sum(shares.values()) == pytest.approx(1 - judged.numbers()["ap50"], abs=1e-12)
    assert min(shares.values()) > 0
    truth = Annotations(NAMES, [record_of(1, at(0), at(100, 0))])
    for mistake, kind in (
        (at(100, 0, 0.8, 20), "badly placed"),
        (at(100, 1, 0.8), "wrong class"),
    ):
        only = judge([found_of(at(0), mistake)], truth, None, False)
        cost = {name: share for name, share in Faults.of(only).shares().items() if share}
        assert cost == {kind: pytest.approx(1 - only.numbers()["ap50"])}
    lone = judge([found_of(at(0))], truth, None, False)
    costs = Faults.of(lone).shares()
    assert costs["missed"] == pytest.approx(1 - 51 / 101)
    nothing = judge([found_of(at(0))], Annotations(NAMES, [record_of(1)]), None, False)
    assert all(map(math.isnan, Faults.of(nothing).shares().values()))
    assert Faults.of(nothing).counts(0)["background"] == 1


@pytest.mark.parametrize("kind", ["boxes", "quads", "poses", "points"])
def test_shares_add_up_for_whatever_is_found(kind: str) -> None:
    judged, numbers = of_kind(kind, *drawn(3, 30))
    faults = Faults.of(judged)
    shares = faults.shares()
    assert sum(shares.values()) == pytest.approx(1 - numbers[1], abs=1e-9)
    assert min(shares.values()) > -1e-9
    for score in (0.0, 0.4):
        table = faults.confusion(score)
        assert table[:-1].sum() == judged.annotated.sum()
        sure = judged.counted[0] & (judged.scores >= score)
        assert table[:, :-1].sum() == sure.sum()


def test_points_are_placed_badly_beyond_their_radius() -> None:
    truth = as_points(Annotations(NAMES, [record_of(1, at(0), at(100), at(200))]))
    found = [found_of(at(0, 0, 0.9, 3), at(100, 0, 0.8, 6), at(200, 1, 0.7, 1), at(300, 0, 0.6))]
    counts = Faults.of(judge_points(found, truth, 4.0, 0.3)).counts(0.3)
    assert counts == dict(zip(KINDS, (1, 1, 0, 0, 1, 0), strict=True))


@pytest.mark.parametrize("seed", range(4))
def test_the_best_score_is_the_best_of_all_scores(seed: int) -> None:
    judged, _ = of_kind("boxes", *drawn(seed, 20))
    best, f1 = Curves.of(judged).best()

    def f1_at(least: float) -> float:
        sure = judged.counted[0] & (judged.scores >= least)
        return 2 * float(judged.right[0][sure].sum() / (sure.sum() + judged.annotated.sum()))

    every = [f1_at(least) for least in np.linspace(0, 1, 2001)]
    assert f1 == f1_at(best) == max(every)
    assert best == round(best, 2)
    nothing = judge([found_of()], Annotations(NAMES, [record_of(1, at(0))]), None, False)
    assert math.isnan(Curves.of(nothing).best()[0])


def test_calibration_counts_by_hand(judged: Judged) -> None:
    count, means, shares, error = calibration(judged, 0.5)
    assert count.tolist() == [0, 0, 0, 0, 0, 1, 2, 1, 2, 2]
    assert shares[[5, 6, 7, 8, 9]].tolist() == [1, 0, 0, 0, 0.5]
    assert means[9] == pytest.approx(0.93)
    off = 0.45 + (0.65 + 0.6) + 0.75 + (0.85 + 0.8) + 2 * abs(0.93 - 0.5)
    assert error == pytest.approx(off / 8)
