"""Four corners that are found: scores, suppression, tiles, and the forms they are given in."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision
from numpy.typing import NDArray

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.draw import draw_quads, draw_truth
from heatpoint.data.quads import around, upright
from heatpoint.data.results import Detections
from heatpoint.errors import HeatpointError
from heatpoint.geometry import Affine
from heatpoint.inference.evaluate import evaluate
from heatpoint.inference.finish import Keep, conclude, nms, soften
from heatpoint.scoring.boxes import coco_metrics, score_quads
from heatpoint.views import Look
from heatpoint.views.fields import BOXES, LABELS, QUADS, SCORES
from heatpoint.views.tiles import Tiles

Quads = NDArray[np.float64]
FIELDS = (BOXES, QUADS, SCORES, LABELS)


def bar(x: float, y: float, length: float, width: float, degrees: float) -> Quads:
    """Returns a rectangle about a middle, clockwise from its own upper left corner on."""
    turn = math.radians(degrees)
    along, down = (
        np.array([math.cos(turn), math.sin(turn)]),
        np.array([-math.sin(turn), math.cos(turn)]),
    )
    corners = [
        a * length / 2 * along + b * width / 2 * down
        for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]
    return np.array([x, y]) + np.array(corners)


CROSS = np.stack((bar(50, 50, 80, 10, 45), bar(50, 50, 80, 10, -45)))
"""Two bars that make an X: their upright boxes are the same."""


def truth_of(*quads: Quads, **marks: Any) -> Annotations:
    corners = np.array(quads)
    labels = np.zeros(len(corners), np.int64)
    record = ImageRecord(
        Path("a.png"), (100, 100), around(corners), labels, points=corners, **marks
    )
    return Annotations(("bar",), [record], "bars", (7,))


def found_of(quads: Any, scores: Any) -> Detections:
    corners = np.array(quads, np.float32).reshape(-1, 4, 2)
    labels = np.zeros(len(corners), np.int64)
    sure = np.array(scores, np.float32)
    return Detections(around(corners), sure, labels, ("bar",), columns={"quads": corners})


def test_average_precision_that_is_counted_by_hand() -> None:
    truth = truth_of(*CROSS)
    perfect = score_quads([found_of(CROSS, (0.9, 0.8))], truth)
    assert (perfect.ap, perfect.ap50, perfect.ap75) == (1, 1, 1)
    # The same bar twice: half is found, and the other row is wrong, though boxes cannot tell.
    twice = found_of(CROSS[[0, 0]], (0.9, 0.8))
    half = score_quads([twice], truth)
    assert half.ap == pytest.approx(51 / 101)  # recalls 0, 0.01, ..., 0.5
    assert coco_metrics([twice], truth).ap == 1
    # Moved along by a sixth of its length, a bar overlaps by 5/7: right for 5 of 10 overlaps.
    step = 80 / 6 * np.array([math.cos(math.pi / 4), math.sin(math.pi / 4)])
    moved = score_quads([found_of([CROSS[0] + step, CROSS[1]], (0.9, 0.8))], truth)
    assert moved.ap50 == 1
    wrong_first = (51 * 0.5) / 101  # what is right comes second: precision 1/2 up to recall 1/2
    assert moved.ap == pytest.approx((5 * 1 + 5 * wrong_first) / 10)
    assert moved.per_class["bar"]["ap"] == moved.ap


def test_crowds_and_difficult_objects_count_neither_way_and_nothing_is_cut_off() -> None:
    truth = truth_of(CROSS[0], CROSS[1], difficult=np.array([False, True]))
    alone = score_quads([found_of(CROSS[[1, 0]], (0.9, 0.8))], truth)
    assert alone.ap == 1
    crowd = truth_of(
        upright(np.array([[0.0, 0, 30, 30]]))[0], CROSS[0], crowd=np.array([True, False])
    )
    inside = [bar(8 + i, 10, 6, 2, 30) for i in range(3)]
    assert score_quads([found_of([*inside, CROSS[0]], (0.9, 0.8, 0.7, 0.6))], crowd).ap == 1
    many = [bar(10 * (i % 15) + 5, 10 * (i // 15) + 5, 8, 4, i) for i in range(150)]
    assert score_quads([found_of(many, np.linspace(1, 0.5, 150))], truth_of(*many)).ap == 1
    nothing = score_quads([Detections.empty(["bar"])], truth_of(*CROSS))
    assert nothing.ap == 0


def test_files_of_results_are_scored_by_their_polygons(tmp_path: Path) -> None:
    truth, found = truth_of(*CROSS), found_of(CROSS[[0, 0]], (0.9, 0.8))
    rows = found.to_coco(0, truth.category_ids)
    assert rows[0]["segmentation"] == [found.columns["quads"][0].ravel().tolist()]
    assert rows[0]["bbox"] == pytest.approx([*found.boxes[0, :2], *np.ptp(CROSS[0], 0)], abs=1e-4)
    (tmp_path / "found.json").write_text(json.dumps(rows))
    with pytest.raises(HeatpointError, match="radii is for points"):
        evaluate(None, truth, results=str(tmp_path / "found.json"), radii=(3,))
    metrics = evaluate(None, truth, results=str(tmp_path / "found.json"))
    assert metrics.main == "quad_ap"
    assert metrics.scores["quad_ap"] == pytest.approx(51 / 101)
    assert "by the overlap of the polygons" in metrics.summary()
    assert metrics.as_dict()["quads"]["ap50"] == pytest.approx(51 / 101)
    with pytest.raises(HeatpointError, match="result 0 has segmentation"):
        score_quads([rows[0] | {"segmentation": [[1, 2, 3]]}], truth)
    with pytest.raises(HeatpointError, match="no column 'quads'"):
        score_quads([replace(found, columns={})], truth)


def test_polygons_not_their_boxes_suppress_each_other() -> None:
    near = np.concatenate((CROSS, CROSS + 1.0))
    boxes, scores, labels = around(near), np.array([0.9, 0.8, 0.7, 0.6]), np.zeros(4, np.int64)
    assert nms(boxes, scores, labels, 0.5, near).tolist() == [0, 1]
    assert nms(boxes, scores, labels, 0.5).tolist() == [0]
    assert nms(boxes, scores, np.array([0, 1, 2, 3]), 0.5, near).tolist() == [0, 1, 2, 3]
    order, _, lowered = soften(boxes, scores, labels, np.ones((4, 2)), quads=near)
    assert order[:2].tolist() == [0, 1]
    assert lowered[1] > 0.75
    assert lowered[2] < 0.4
    rows = {"boxes": boxes, "quads": near, "scores": scores, "labels": labels}
    found = conclude(rows, FIELDS, ("bar",), None, Keep(nms=0.5))
    assert found.quads is not None
    assert found.quads.tolist() == CROSS.astype(np.float32).tolist()
    with pytest.raises(HeatpointError, match="choose gaussian"):
        conclude(rows, FIELDS, ("bar",), None, Keep(soft_nms="merge"))


def merged(*parts: tuple[Quads, list[float]]) -> dict[str, NDArray[Any]]:
    """Returns the rows of two tiles of 100 pixels that share 40, put together."""
    view = Tiles((100, 100), tile=(100, 100), overlap=0.4)
    looks: list[Look] = list(view.looks((100, 160)))
    assert [look.box for look in looks] == [(0, 0, 100, 100), (60, 0, 160, 100)]
    rows = [
        {
            "boxes": around(quads).clip(0, 160),
            "quads": quads,
            "scores": np.array(scores),
            "labels": np.zeros(len(quads), np.int64),
        }
        for quads, scores in parts
    ]
    return view.merge(looks, rows, FIELDS, 100)


def test_tiles_tell_crossing_bars_apart_and_join_pieces() -> None:
    cross = np.stack((bar(80, 50, 30, 4, 45), bar(80, 50, 30, 4, -45)))
    # By boxes, the first ones of both tiles would be one; of four rows, one of each must remain.
    found = merged((cross, [0.9, 0.6]), (cross[[1, 0]], [0.8, 0.7]))
    assert sorted(found["scores"].tolist()) == [0.8, 0.9]
    assert found["quads"][found["scores"].argsort()].tolist() == cross[[1, 0]].tolist()
    cut = [bar(49.8, 47.4, 100, 12, 5), bar(110.2, 52.6, 100, 12, 5)]
    found = merged((np.stack(cut[:1]), [0.9]), (np.stack(cut[1:]), [0.8]))
    assert len(found["scores"]) == 1
    (joined,) = found["quads"]
    assert np.abs(joined - bar(80, 50, 160.6, 12, 5)).max() < 0.2


def test_forms_of_results(tmp_path: Path) -> None:
    found = found_of(CROSS, (0.9, 0.8))
    assert np.shape(found.as_dict()["quads"]) == (2, 4, 2)
    shown = found.to_supervision()
    assert isinstance(shown, supervision.Detections)
    assert (shown.data["xyxyxyxy"] == found.columns["quads"]).all()
    black = np.zeros((100, 100, 3), np.uint8)
    drawn = supervision.OrientedBoxAnnotator().annotate(black.copy(), shown)
    assert drawn[22:28, 22:28].any()
    own = found.plot(black)
    assert own[50, 50].sum() == 0  # the middle of both bars lies within their outlines
    assert own[22:28, 18:30].any()
    assert (draw_truth(black, truth_of(*CROSS).images[0], ["bar"]) > 0).any()
    first = draw_quads(black, CROSS[:1], np.zeros(1, np.int64), [""])
    x, y = CROSS[0, 0].astype(int)
    assert first[y - 1 : y + 2, x - 1 : x + 2].any(-1).all()


def test_corners_go_along_when_a_picture_is_enlarged() -> None:
    quads = np.arange(8, dtype=np.float64).reshape(1, 4, 2)
    boxes, labels = np.array([[0.0, 1.0, 6.0, 7.0]]), np.zeros(1, np.int64)
    record = ImageRecord(Path("a.png"), (9, 9), boxes, labels, points=quads)
    found = Detections(
        boxes.astype(np.float32),
        np.ones(1, np.float32),
        labels,
        ("a",),
        columns={"quads": quads.astype(np.float32), "depth": np.ones(1, np.float32)},
    )
    twice = Affine.scale(2, 2)
    for moved in (record.moved(twice), found.moved(twice)):
        assert moved.quads is not None
        np.testing.assert_allclose(moved.quads, 2 * quads)
        np.testing.assert_allclose(moved.boxes, 2 * boxes)
    assert found.moved(twice).columns["depth"] == 1
