"""Inspection: numbers that can be counted by hand, and mistakes that must be named."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from heatpoint.codecs.center import CenterCodec
from heatpoint.data import Annotations, ImageRecord
from heatpoint.errors import HeatpointError
from heatpoint.inspection.inspect import Inspection, inspect
from heatpoint.inspection.oracle import OracleReport, oracle
from heatpoint.inspection.report import Spread, measure, window_side
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.views.pictures import Picture

SIZE = (64, 64)


def record(number: int, boxes: list[tuple[float, ...]], labels: list[int]) -> ImageRecord:
    return ImageRecord(
        Path(f"{number}.png"), SIZE, np.array(boxes, float).reshape(-1, 4), np.array(labels, int),
        image_id=number,
    )  # fmt: skip


def judge(records: list[ImageRecord], **choices: int) -> OracleReport:
    annotations = Annotations(("cat", "dog"), records, "by hand")
    return oracle(annotations, CenterCodec(2, **choices), Picture(SIZE))


def around(x: float, y: float, side: float = 12) -> tuple[float, ...]:
    return (x - side / 2, y - side / 2, x + side / 2, y + side / 2)


def test_easy_data_is_perfect() -> None:
    found = judge([record(1, [around(10, 10), around(40, 40, 20)], [0, 1]), record(2, [], [])])
    assert found.ap == pytest.approx(1.0)
    assert (found.images, found.objects, found.missed) == (2, 2, 0)
    assert found.remedy is None
    assert "all 2 objects can be found" in "\n".join(found.lines())


def test_objects_of_one_class_in_one_cell_are_lost() -> None:
    # Both centres lie in cell (2, 2), [8, 12) pixels, with boxes that overlap by less than half.
    found = judge([record(1, [around(9, 9, 8), around(11, 11, 16), around(40, 40)], [0, 0, 0])])
    assert (found.same_class_cell, found.other_class_cell, found.missed) == (1, 0, 1)
    assert found.ap < 0.99
    assert found.ap50 == pytest.approx(2 / 3, abs=0.01)
    # At stride 4 and 1.25 times the size, rounded up to 96, the centres are 13.5 and 16.5.
    assert found.remedy == (96, 96)
    assert found.remedy_lost == 0
    text = "\n".join(found.lines())
    assert "1 of 3 objects cannot be found" in text
    assert "another object of the same class (1)" in text
    assert "try --size 96: there, 0 objects" in text


def test_objects_of_two_classes_in_one_cell_share_a_size() -> None:
    found = judge([record(1, [around(9, 9, 8), around(11, 11, 16)], [0, 1])])
    assert (found.same_class_cell, found.other_class_cell, found.missed) == (0, 1, 1)
    # Of equal size and centre, one size serves both.
    found = judge([record(1, [around(10, 10), around(10, 10)], [0, 1])])
    assert (found.other_class_cell, found.missed) == (1, 0)
    assert found.ap == pytest.approx(1.0)
    assert "all 2 objects can be found; in the way" in "\n".join(found.lines())


def test_three_objects_in_one_cell_count_twice() -> None:
    found = judge([record(1, [around(9, 9), around(10, 10), around(11, 11)], [0, 1, 0])])
    assert (found.same_class_cell, found.other_class_cell) == (1, 1)


def test_neighbouring_centres_of_one_class() -> None:
    boxes = [around(10, 10), around(14, 14), around(18, 40), around(40, 40)]
    assert judge([record(1, boxes, [0, 0, 0, 0])]).neighbours == 2
    assert judge([record(1, boxes, [0, 1, 0, 0])]).neighbours == 0


def test_objects_below_a_cell_and_above_the_limit() -> None:
    boxes = [around(10, 10, 3), (30, 30, 33.5, 60), around(50, 10, 4), around(10, 50)]
    found = judge([record(1, boxes, [0, 1, 0, 1])], max_detections=3)
    assert (found.below_cell, found.over_limit, found.missed) == (2, 1, 1)
    assert found.max_detections == 3
    text = "\n".join(found.lines())
    assert "more than 3 objects in one image (1)" in text
    assert "2 objects narrower or lower than a cell (4 input pixels)" in text
    assert "raise max_detections" in text


def test_sizes_that_are_advised_are_those_that_the_model_takes() -> None:
    twins = [record(1, [around(9, 9, 8), around(11, 11, 16)], [0, 0])]
    annotations = Annotations(("cat", "dog"), twins, "by hand")
    for multiple, trim, side in ((1, 0, 96), (4, 0, 96), (32, 0, 96), (128, 0, 128), (128, 1, 127)):
        found = oracle(annotations, CenterCodec(2), Picture(SIZE, multiple, trim))
        assert found.remedy == (side, side)
        assert f"try --size {side}:" in "\n".join(found.lines())


def test_crowd_and_difficult_objects_are_not_sought() -> None:
    crowded = record(1, [around(10, 10), around(30, 30), around(50, 50)], [0, 0, 1])
    crowded.crowd[1] = True
    crowded.difficult[2] = True
    found = judge([crowded])
    assert (found.objects, found.missed) == (1, 0)
    assert found.ap == pytest.approx(1.0)


def test_no_objects_at_all() -> None:
    found = judge([record(1, [], [])])
    assert math.isnan(found.ap)
    assert found.as_dict()["ap"] is None
    assert json.dumps(found.as_dict(), allow_nan=False)
    assert found.lines() == ["at 64 px and stride 4 there is no object to be found on 1 image"]


def test_batches_do_not_change_the_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [record(i, [around(9, 9 + i), around(11, 30 + i)], [0, 1]) for i in range(7)]
    whole = judge(records)
    monkeypatch.setattr("heatpoint.inspection.report._CELLS", 1)
    told: list[tuple[int, int]] = []
    annotations = Annotations(("cat", "dog"), records, "by hand")
    assert oracle(annotations, CenterCodec(2), Picture(SIZE), lambda *n: told.append(n)) == whole
    assert told == [(i, 7) for i in range(1, 8)]


def test_report_counts_and_measures() -> None:
    crowded = record(1, [around(20, 20, 16), (0, 0, 40, 10), around(30, 30)], [0, 1, 0])
    crowded.crowd[2] = True
    report, measured = measure(
        Annotations(("cat", "dog", "emu"), [crowded, record(2, [], [])], "by hand"),
        Picture((128, 128)),
    )
    assert (report.images, report.empty, report.objects, report.crowd) == (2, 1, 2, 1)
    assert report.classes == {"cat": 1, "dog": 1, "emu": 0}
    assert report.sides == Spread(16, 18, 20)
    assert measured.sides.tolist() == [32, 40], "the letterbox enlarges 64 to 128"
    assert measured.aspects.tolist() == [1, 4]
    assert measured.per_image.tolist() == [2, 0]
    assert report.by_area == {"small": 2, "medium": 0, "large": 0}
    text = "\n".join(report.lines())
    assert "no object at all of 1 class: emu" in text
    assert json.dumps(report.as_dict(), allow_nan=False)


def test_spread_reads_well() -> None:
    assert str(Spread(480, 480, 480)) == "480"
    assert str(Spread(1.234, 20, 1024)) == "1.23 to 1024 (median 20)"
    assert Spread.of(np.zeros(0)) == Spread(0, 0, 0)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shapes(tmp_path_factory.mktemp("shapes"), 12, (96, 128), seed=2)


@pytest.fixture(scope="module")
def inspection(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Inspection:
    return inspect(shapes, size=128, out=tmp_path_factory.mktemp("out"), samples=4)


def test_files_are_written_and_readable(inspection: Inspection) -> None:
    assert [path.name for path in inspection.files] == ["report.json", "charts.png", "targets.png"]
    saved = json.loads(inspection.files[0].read_text())
    assert saved.pop("written_by").startswith("heatpoint ")
    assert saved == inspection.as_dict()
    assert saved["oracle"]["ap"] > 0.98
    assert saved["data"]["images"] == 12
    for path in inspection.files[1:]:
        picture = cv2.imread(str(path))
        assert min(picture.shape[:2]) > 300
        assert picture.std() > 10, "something is drawn"


def test_summary_says_what_matters(inspection: Inspection) -> None:
    text = inspection.summary()
    assert "12 images" in text
    assert "no problems found" in text
    assert "a perfect network reaches AP" in text
    assert "targets.png" in text


def test_bad_data_is_reported_not_raised(shapes: Path, tmp_path: Path) -> None:
    document = json.loads(shapes.read_text())
    document["images"][0]["file_name"] = "images/gone.jpg"
    kept = next(a for a in document["annotations"] if a["image_id"] > 2)
    kept["bbox"][2] = -3
    path = shapes.with_name("bad.json")
    path.write_text(json.dumps(document))
    found = inspect(path, size=(96, 128), out=tmp_path, samples=1)
    counts = found.problems.counts()
    assert counts["missing image"] == 1
    assert counts["degenerate box"] == 1
    assert found.data.images == 11
    saved = json.loads((tmp_path / "report.json").read_text())
    assert saved["problems"]["counts"] == counts
    assert any("gone.jpg" in finding["image"] for finding in saved["problems"]["findings"])
    assert "gone.jpg" in found.summary()


def test_the_other_split_is_compared(shapes: Path, tmp_path: Path) -> None:
    document = json.loads(shapes.read_text())
    document["annotations"] = [a for a in document["annotations"] if a["category_id"] != 1]
    path = shapes.with_name("val.json")
    path.write_text(json.dumps(document))
    found = inspect(shapes, val=path, size=128, out=None).problems
    assert found.problems() == {"picture in both splits": 12, "class of one split only": 1}
    assert "no problems found" not in found.summary()
    named = [finding.detail for finding in found.findings if "class" in finding.kind]
    assert named[0].startswith("disc: ")
    assert named[0].endswith(f"objects in {shapes}, none in {path}")


def test_limit_takes_images_evenly_and_nothing_is_written_unasked(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    steps: list[tuple[str, int, int]] = []
    found = inspect(shapes, size=128, out=None, limit=5, progress=lambda *step: steps.append(step))
    assert found.oracle.images == 5
    assert found.data.images == 12
    assert found.files == ()
    assert list(tmp_path.iterdir()) == []
    assert {name for name, _, _ in steps} == {"checking", "comparing", "measuring", "scoring"}
    assert steps[-1] == ("scoring", 5, 5)


def test_wrong_arguments_are_explained(shapes: Path) -> None:
    with pytest.raises(HeatpointError, match="divisible by 4: the next legal size is 132"):
        inspect(shapes, size=130, out=None)
    with pytest.raises(HeatpointError, match="limit must be at least 1"):
        inspect(shapes, limit=0, out=None)
    with pytest.raises(HeatpointError, match="augment"):
        inspect(shapes, augment="wild", out=None)  # type: ignore[arg-type]


def test_model_decides_representation_and_size(shapes: Path) -> None:
    found = inspect(shapes, model="centernet_tiny", out=None)
    with pytest.raises(HeatpointError, match="works at stride 4, not 8"):
        inspect(shapes, model="centernet_tiny", stride=8, out=None)
    assert found.oracle.stride == 4
    assert found.oracle.size[0] % 32 == 0


def test_windows_are_proposed_for_small_objects_in_large_inputs_only() -> None:
    small = np.full(100, 39.0)
    assert window_side(small, (640, 640)) == 96
    assert window_side(np.append(small, np.full(20, 51.0)), (640, 640)) == 96
    assert window_side(np.append(small, np.full(20, 70.0)), (640, 640)) == 128
    assert window_side(small, (96, 128)) is None  # no room
    assert window_side(np.zeros(0), (640, 640)) is None
    assert window_side(small, (511, 511), 128, 1) == 127  # as the model takes it
    for count, side in ((24, 96), (30, None)):  # they cover 9 and 11 %
        crowd = record(1, [around(32, 32, 3.9)] * count, [0] * count)
        report, _ = measure(Annotations(("cat",), [crowd], "by hand"), Picture((640, 640)))
        assert report.window == side
