"""Inspection for corners: numbers that can be counted by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from heatpoint.codecs.corners import CornerCodec
from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.augment import Augment
from heatpoint.inspection.corners import CornerReport, inspect_corners
from heatpoint.inspection.inspect import inspect
from heatpoint.synthetic.pictures import write_shapes


def look(
    *images: tuple[list[list[float]], list[int]], augment: Augment | None = None
) -> CornerReport:
    records = [
        ImageRecord(Path(f"{i}.png"), (64, 64), np.array(b, float).reshape(-1, 4), np.array(n, int))
        for i, (b, n) in enumerate(images)
    ]
    data = Annotations(("cat", "dog"), records, "by hand")
    return inspect_corners(data, CornerCodec(2), (64, 64), augment or Augment.none(), "none", 0)


def test_shared_cells_count_per_corner_and_class() -> None:
    boxes = [[8.0, 8, 30, 30], [10, 10, 50, 50], [11, 9, 51, 51], [40, 4, 51, 51]]
    found = look((boxes, [0, 0, 1, 1]))
    # The two cats share their top-left cell, the two dogs their bottom-right one.
    assert (found.top_left_shared, found.bottom_right_shared) == (1, 1)
    text = found.lines()[0]
    assert "1 top-left and 1 bottom-right corners of 4 objects lie in the cell" in text
    alone = look(([[8, 8, 30, 30], [40, 4, 60, 20]], [0, 0]))
    assert alone.lines()[0] == "no two corners of one kind and class share a cell"


def test_wrong_pairs_are_those_that_make_a_box() -> None:
    # Left to right on a diagonal: the first's top-left goes with the others' bottom-right, and so
    # on; never the other way round. Overlapping boxes pair both ways.
    diagonal = [[2.0, 2, 10, 10], [20, 20, 30, 30], [40, 40, 60, 60]]
    overlapping = [[10.0, 10, 40, 40], [20, 20, 50, 50]]
    beside = [[10.0, 40, 20, 60], [30, 5, 60, 30]]  # right of each other, but above
    found = look((diagonal, [0, 0, 0]), (overlapping, [1, 1]), (beside, [0, 0]), ([], []))
    assert (found.wrong_pairs, found.wrong_most, found.wrong_images) == (3 + 2, 3, 2)
    assert (found.images, found.objects) == (4, 7)
    line = found.lines()[-1]
    assert "in 2 of 4 images" in line
    assert "1.2 wrong pairs per image beside 1.8 right ones, 3 at most" in line
    apart = look((diagonal, [0, 1, 0]), (overlapping, [0, 1]))
    assert apart.wrong_pairs == 1
    assert look((overlapping, [0, 1])).lines()[-1].startswith("no two objects of one class")


def test_corners_outside_of_training_views_are_counted() -> None:
    boxes = [[0.0, 0, 64, 64], [28, 28, 36, 36]]
    assert look((boxes, [0, 1])).outside == 0, "the border itself is inside"
    zoomed = replace(Augment.none(), crop=True, scale_low=0.5, scale_high=0.5)
    found = look(*([(boxes, [0, 1])] * 20), augment=zoomed)
    assert found.viewed > 20
    assert found.outside >= 20, "no view of half the side shows all of the large one"
    share = f"{found.outside / found.viewed:.0%} of the objects have a corner outside"
    assert share in found.lines()[1]


def test_nothing_to_find() -> None:
    found = look(([], []))
    assert (found.objects, found.viewed, found.wrong_most) == (0, 0, 0)
    assert found.lines() == ["there is no object, so no corner"]


@pytest.mark.parametrize("model", ["cornernet_tiny", "centernet_tiny"])
def test_the_report_has_it_for_models_of_corners(tmp_path: Path, model: str) -> None:
    data = write_shapes(tmp_path / "data", 6, (96, 96), seed=3)
    found = inspect(data, model=model, size=96, out=tmp_path / "out", samples=0)
    saved = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (found.corners is not None) == (model == "cornernet_tiny")
    if found.corners is None:
        assert saved["corners"] is None
        return
    assert saved["corners"] == found.corners.as_dict()
    assert found.corners.objects == found.oracle.objects  # type: ignore[union-attr]
    assert 0 < found.corners.outside < found.corners.viewed
    assert "corners:" in found.summary()
    assert found.corners.lines()[1] in found.verdict()
