"""Labels that are likely wrong: planted ones are found and named, sound ones are left in peace."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import pytest

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.suspects import label_findings, split_findings
from heatpoint.data.validate import validate
from heatpoint.synthetic.pictures import write_shapes

FRAME = (480, 640)
Box = tuple[float, float, float, float]


def herd(count: int = 30, width: float = 60, height: float = 40) -> list[ImageRecord]:
    """Returns images of one object each, whose sides and places vary by a few per cent."""
    rng = np.random.default_rng(0)
    records = []
    for number in range(count):
        w, h = np.array((width, height)) * rng.uniform(0.9, 1.1, 2)
        x, y = rng.uniform(200, 280, 2)
        records.append(record(f"{number}.jpg", (x, y, x + w, y + h)))
    return records


def record(name: str, *boxes: Box, labels: tuple[int, ...] = ()) -> ImageRecord:
    return ImageRecord(Path(name), FRAME, np.array(boxes), np.array(labels or (0,) * len(boxes)))


def told(*records: ImageRecord, names: tuple[str, ...] = ("cat", "dog")) -> list[tuple[str, ...]]:
    annotations = Annotations(names, list(records), "by hand")
    found = label_findings(annotations, [one.size for one in records])
    return [(f.kind, f.image, f.detail) for f in found if f.kind != "class without objects"]


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ((100, 100, 580, 420), "its side is 8 times that of the median cat"),
        ((200, 200, 212, 208), "its side is 0.2 times that of the median cat"),
        ((300, 100, 320, 230), "width over height is 0.154, of the median cat 1.49"),
        ((570, 430, 630, 470), "its middle lies at 0.94 of x, of the median cat at 0.43"),
    ],
)
def test_a_box_unlike_its_class_is_named_with_numbers(box: Box, said: str) -> None:
    (found,) = told(*herd(), record("odd.jpg", box))
    assert found[:2] == ("box unlike its class", "odd.jpg")
    shown = ", ".join(str(value) for value in box)
    start, _, rest = found[2].partition(": ")
    assert start == f"cat at ({shown})"
    words, wanted = rest.split(), said.split()
    assert [w for w in words if w.isalpha()] == [w for w in wanted if w.isalpha()]
    numbers = [float(w.rstrip(",")) for w in words if w[0].isdigit()]
    assert numbers == pytest.approx([float(w.rstrip(",")) for w in wanted if w[0].isdigit()], 0.05)


def test_what_the_picture_cuts_off_is_small_for_a_reason_but_not_large() -> None:
    assert told(*herd(), record("cut.jpg", (0, 100, 6, 140))) == []
    (found,) = told(*herd(), record("whole.jpg", (0, 0, 640, 480)))
    assert found[:2] == ("box unlike its class", "whole.jpg")


def test_few_objects_and_wide_classes_have_no_outliers() -> None:
    assert told(*herd(18), record("odd.jpg", (100, 100, 580, 420))) == []
    rng = np.random.default_rng(1)
    sides = np.exp(rng.uniform(np.log(4), np.log(400), 200))
    places = rng.uniform(2, (238, 78), (200, 2))
    wide = [
        record(f"{i}.jpg", (x, y, x + side, y + side))
        for i, (side, (x, y)) in enumerate(zip(sides, places, strict=True))
    ]
    assert told(*wide) == []


def test_slivers_are_found_where_the_class_is_none() -> None:
    assert told(*herd(3), record("a.jpg", (100, 100, 101.5, 140))) == [
        ("sliver of a box", "a.jpg", "cat at (100, 100, 101.5, 140): 1.5 x 40 pixels")
    ]
    assert told(*herd(3), record("b.jpg", (100, 100, 300, 108)))[0][2].endswith("200 x 8 pixels")
    ropes = [record(f"{i}.jpg", (10, 10 * i, 600, 10 * i + 5)) for i in range(1, 6)]
    specks = [record(f"{i}.jpg", (10, 10, 11.5, 11.5)) for i in range(5)]
    assert told(*ropes) == told(*specks) == []


def test_one_object_labelled_twice() -> None:
    box = (100.0, 100.0, 200.0, 200.0)
    near, beside = (101.0, 100.0, 201.0, 200.0), (104.0, 100.0, 204.0, 200.0)
    assert told(record("a.jpg", box, near, labels=(0, 1))) == [
        ("two classes in one place", "a.jpg", "dog at (101, 100, 201, 200): also labelled cat")
    ]
    assert told(record("a.jpg", box, near)) == [
        ("nearly the same box", "a.jpg", "cat at (101, 100, 201, 200): overlaps another by 0.980")
    ]
    # 96 of 104 columns in common: one place, but two boxes.
    assert told(record("a.jpg", box, beside)) == []
    assert told(record("a.jpg", box, beside, labels=(0, 1)))[0][0] == "two classes in one place"
    assert told(record("a.jpg", box), record("b.jpg", near, labels=(1,))) == []
    crowd = record("a.jpg", box, near, labels=(0, 1))
    crowd.crowd[1] = True
    assert told(crowd) == []
    equal = record("a.jpg", box, box, box, labels=(0, 0, 1))
    assert [kind for kind, *_ in told(equal)] == ["two classes in one place"]
    assert validate(Annotations(("cat", "dog"), [equal])).counts() == {
        "missing image": 1,
        "duplicate box": 1,
        "two classes in one place": 1,
    }


@pytest.mark.parametrize(
    ("names", "alike"),
    [
        (("Car", "car"), "'Car' and 'car' may be meant as one"),
        (("traffic light", "traffic_light"), "'traffic light' and 'traffic_light' may be meant"),
        (("bus", "dog", "Buses."), "'bus' and 'Buses.' may be meant as one"),
        (("puppy", "puppies"), "'puppy' and 'puppies' may be meant as one"),
        (("a", "A", "b"), None),
        (("class 1", "class 2", "+1", "-1", "1.5", "15"), None),
        (("glass", "grass", "bus", "bush", "box"), None),
    ],
)
def test_names_that_mean_one_class(names: tuple[str, ...], alike: str | None) -> None:
    found = [d for kind, _, d in told(*herd(1), names=names) if kind == "class names alike"]
    assert len(found) == (alike is not None)
    assert all(str(alike) in detail for detail in found)


def test_classes_that_one_split_lacks() -> None:
    train = Annotations(("cat", "dog"), [record("a.jpg", (1, 1, 9, 9))], "train")
    val = Annotations(("cat", "emu"), [record("b.jpg", (1, 1, 9, 9), labels=(1,))], "val")
    assert [f.detail for f in split_findings(train, val)] == [
        "cat: 1 object in train, none in val",
        "emu: 1 object in val, none in train",
    ]
    assert [f.detail for f in label_findings(train, [FRAME])] == ["dog"]


def test_a_visible_joint_in_the_corner_is_an_error_of_the_tool() -> None:
    one = record("a.jpg", (10, 10, 90, 90))
    one.keypoints = np.array([[(0.5, 0.5, 2), (0, 0, 0), (40, 0.5, 2), (0, 0, 1)]], float)
    report = validate(Annotations(("cat",), [one]))
    assert report.counts() == {"missing image": 1, "joint at (0, 0)": 2}
    assert "joint 0 of object 1 at (0.5, 0.5)" in report.summary()


def test_drawn_data_has_no_suspects(tmp_path: Path) -> None:
    from heatpoint.data.readers import read

    assert validate(read(write_shapes(tmp_path, 60))).problems() == {}


@pytest.mark.filterwarnings("error")
def test_boxes_beyond_all_bounds_do_no_harm() -> None:
    huge, tiny = (-1e308, -1e308, 1e308, 1e308), (5.0, 5.0, 5.0 + 1e-15, 6.0)
    kinds = {kind for kind, *_ in told(*herd(), record("a.jpg", huge, huge, tiny))}
    assert "sliver of a box" in kinds
    nothing = Annotations(("cat",), [record("a.jpg", (1, math.nan, 2, 2), (5, 5, 4, 9))])
    assert [f.kind for f in label_findings(nothing, [None])] == []
    assert label_findings(Annotations(("cat",), []), [])[0].kind == "class without objects"


def test_many_boxes_take_little_time() -> None:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 4000, (40_000, 2))
    one = ImageRecord(
        Path("a.jpg"), (4096, 4096), np.hstack((low, low + 30)), np.zeros(len(low), int)
    )
    start = time.process_time()
    label_findings(Annotations(("cell",), [one]), [one.size])
    assert time.process_time() - start < 2
