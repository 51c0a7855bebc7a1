"""Four corners: which data has them, how they are put in order, and how exactly they overlap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from quad_reference import reference_iou
from sample_quads import dota_quads

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.draw import write_picture
from heatpoint.data.quads import NONE, as_learnt, as_points, as_quads, clockwise, settled, upright
from heatpoint.data.readers import read
from heatpoint.data.validate import clean, validate
from heatpoint.errors import HeatpointError
from heatpoint.geometry.polygons import polygon_area, quad_iou

Quads = NDArray[np.float64]

SQUARE = np.array([[[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]]])
DIAMOND = np.array([[[2.0, -1.0], [5.0, 2.0], [2.0, 5.0], [-1.0, 2.0]]])


def turned(rng: np.random.Generator, count: int, largest: float = 60.0) -> Quads:
    """Draws rectangles, clockwise from their own upper left corner on."""
    middles, half = rng.uniform(0, 100, (count, 1, 2)), rng.uniform(0.5, largest / 2, (count, 2))
    angle = rng.uniform(0, 2 * np.pi, count)
    along = np.stack((np.cos(angle), np.sin(angle)), 1) * half[:, :1]
    down = np.stack((-np.sin(angle), np.cos(angle)), 1) * half[:, 1:]
    corners = np.stack((-along - down, along - down, along + down, down - along), 1)
    return np.asarray(middles + corners)


def test_overlaps_that_are_counted_by_hand() -> None:
    moved = SQUARE + np.array([2.0, 0.0])
    # The diamond of area 18 lacks four corners of the square, each half of a unit square.
    for other, wanted in ((SQUARE, 1.0), (moved, 8 / 24), (DIAMOND, 14 / 20), (SQUARE + 4, 0.0)):
        for form in (other, other[:, ::-1], np.roll(other, 1, 1)):
            assert quad_iou(SQUARE, form)[0, 0] == pytest.approx(wanted, abs=1e-12)
    # Within the left half of the square: 8 square pixels, and of the other one 0 or 7.
    left = np.array([0.0, 0.0, 2.0, 4.0])
    assert quad_iou(SQUARE, moved, left)[0, 0] == 0
    assert quad_iou(SQUARE, DIAMOND, left)[0, 0] == pytest.approx(7 / 8)
    nothing = np.zeros((1, 4, 2))
    assert quad_iou(nothing, nothing)[0, 0] == 0
    assert quad_iou(SQUARE[:0], SQUARE).shape == (0, 1)


@pytest.mark.parametrize("kind", ["rectangles", "whole numbers", "far away", "any four points"])
def test_overlaps_are_those_of_the_reference(kind: str) -> None:
    rng = np.random.default_rng(0)
    quads = turned(rng, 60)
    if kind == "whole numbers":
        boxes = rng.integers(0, 9, (60, 2, 2)).astype(float).cumsum(1).reshape(60, 4)
        boxes[:, 2:] += 1
        quads = upright(boxes)
    elif kind == "far away":
        quads = np.concatenate((quads, quads[:20] + 1e-9, np.roll(quads[:20], 2, 1))) + 20_000
    elif kind == "any four points":
        quads = rng.uniform(0, 100, (60, 4, 2))
    assert np.abs(quad_iou(quads, quads) - reference_iou(quads, quads)).max() < 1e-9


def test_corners_go_clockwise_from_their_first_one_on() -> None:
    crossing = SQUARE[:, [0, 2, 1, 3]]
    quads = np.concatenate((SQUARE, SQUARE[:, [2, 1, 0, 3]], crossing, SQUARE[:, [3, 1, 2, 0]]))
    ordered, crossed = clockwise(quads)
    assert crossed.tolist() == [False, False, True, True]
    assert (polygon_area(ordered) == 16).all()
    assert (ordered[:, 0] == quads[:, 0]).all()
    assert (ordered[0] == SQUARE[0]).all()


def data_of(*corners: NDArray[np.float64] | None, crowd: int = -1) -> Annotations:
    """Returns data as readers collect it; None stands for a box."""
    lacking = np.full((4, 2), np.nan)
    points = np.array([lacking if each is None else each for each in corners])
    boxes = np.array([[0.0, 0, 4, 4]] * len(corners))
    marks = np.arange(len(corners)) == crowd
    labels = np.zeros(len(corners), np.int64)
    record = ImageRecord(Path("a.png"), (9, 9), boxes, labels, marks, points=points)
    return Annotations(("cat",), [record], "data")


def test_data_has_four_corners_where_every_object_has_and_one_is_turned() -> None:
    data = settled(data_of(DIAMOND[0], None, SQUARE[0, ::-1]))
    assert data.cornered
    assert not data.pointed
    (record,) = data.images
    assert record.quads is not None
    assert (record.quads[1] == SQUARE[0]).all()
    assert record.boxes[0].tolist() == [-1, -1, 5, 5]
    assert record.areas.tolist() == [18, 16, 16]
    assert not settled(data_of(SQUARE[0], None)).cornered
    mixed = settled(data_of(DIAMOND[0], NONE))
    assert not mixed.cornered
    assert [each.kind for each in mixed.findings] == ["four corners among other outlines"]
    crowded = settled(data_of(DIAMOND[0], NONE, crowd=1))
    assert crowded.cornered
    assert crowded.images[0].boxes[1].tolist() == [0, 0, 4, 4]


def test_crossing_corners_are_mended_and_flat_ones_left_out() -> None:
    flat = np.array([[0.0, 0], [4, 4], [8, 8], [2, 2]])
    data = settled(data_of(DIAMOND[0, [0, 2, 1, 3]], flat))
    assert data.left_out == {"four corners without area": 1}
    assert [each.kind for each in data.findings][:1] == ["corners swapped"]
    assert len(data.images[0]) == 1


def test_boxes_become_corners_and_corners_boxes_or_points() -> None:
    data = settled(data_of(DIAMOND[0], None))
    boxed = as_learnt(data, {"boxes"})
    assert boxed.images[0].points is None
    assert boxed.images[0].areas[0] == 18
    assert as_points(data).images[0].points[0].tolist() == [[2, 2]]  # type: ignore[index]
    plain = Annotations(("cat",), [ImageRecord(Path("a.png"), None, [[1, 2, 5, 4]], [0])])
    quads = as_learnt(plain, {"quads"})
    assert quads.images[0].quads[0].tolist() == [[1, 2], [5, 2], [5, 4], [1, 4]]  # type: ignore[index]
    assert [each.kind for each in quads.findings] == ["boxes taken as four corners"]
    assert as_quads(data) is data


def test_corners_may_lie_outside_of_their_picture(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    data = settled(data_of(DIAMOND[0], DIAMOND[0] + 4))
    data.images[0].path = tmp_path / "a.png"
    assert "box outside the image" in validate(data).counts()
    cleaned, counts = clean(data)
    assert counts["box outside the image"] == 1
    assert cleaned.images[0].boxes.tolist() == [[-1, -1, 5, 5]]


def test_dota_as_it_comes(tmp_path: Path) -> None:
    folder = dota_quads(tmp_path / "set")
    file = folder / "train" / "labelTxt" / "a.txt"
    lines = file.read_text().splitlines()
    more = ["1 2 9 2 9 8 1 8 owl", "1 2 9 3 9 8 1 8 dog 1", ""]
    file.write_text("\r\n".join([*lines, *more]), encoding="utf-8")
    (folder / "train" / "labelTxt-hbb").mkdir()
    (folder / "train" / "labelTxt" / "b.txt").rename(folder / "train" / "labelTxt" / "x.txt")
    data = read(f"{folder}:train")
    assert data.format == "DOTA"
    assert data.names == ("cat", "dog", "owl")
    assert data.left_out == {"unused label file": 1, "image without annotation file": 1}
    (record,) = data.images
    assert record.difficult.tolist() == [False, False, False, True]
    assert record.labels.tolist() == [0, 1, 2, 1]
    with pytest.raises(HeatpointError, match=r"has no split 'test'.* it has train, val"):
        read(f"{folder}:test")
    file.write_text("1 2 3 4 5 6 7 cat 0\n", encoding="utf-8")
    with pytest.raises(HeatpointError, match=r"a\.txt:1: expected x1 y1 .* got '1 2 3"):
        read(folder)


def test_tables_with_eight_coordinates(tmp_path: Path) -> None:
    heading = "picture,class,score,x1,y1,x2,y2,x3,y3,x4,y4\n"
    row = ",".join(map(str, DIAMOND.ravel() + 3))
    (tmp_path / "found.csv").write_text(f"{heading}a.png,cat,0.9,{row}\n", encoding="utf-8")
    write_picture(tmp_path / "a.png", np.zeros((9, 9, 3), np.uint8))
    (record,) = read(tmp_path / "found.csv").images
    assert record.quads is not None
    assert (record.quads == DIAMOND + 3).all()
