"""Where labels and a model differ: each kind is named with its numbers, worst first."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from heatpoint import zoo
from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.quads import as_points
from heatpoint.data.results import Detections
from heatpoint.data.skeleton import Skeleton
from heatpoint.inference.doubts import Doubted
from heatpoint.inference.engines import Engine, open_engine
from heatpoint.inference.match import Match
from heatpoint.inspection.disagreement import Disagreement, disputed, write_disputed
from heatpoint.inspection.inspect import inspect
from heatpoint.synthetic.pictures import write_shapes

NAMES = ("cat", "dog")
ARM = Skeleton(("nose", "left_wrist", "right_wrist"), pairs=((1, 2),))
Box = tuple[float, ...]
HERE, THERE, FAR = (10.0, 10, 50, 50), (100.0, 10, 140, 50), (200.0, 100, 240, 140)


def labels(name: str, *objects: tuple[Box, int]) -> ImageRecord:
    boxes = np.array([box for box, _ in objects], float).reshape(-1, 4)
    return ImageRecord(
        Path(name), (200, 300), boxes, np.array([label for _, label in objects], int)
    )


def found(*objects: tuple[Box, int, float]) -> Detections:
    boxes = np.array([box for box, *_ in objects], np.float32).reshape(-1, 4)
    scores = np.array([score for *_, score in objects], np.float32)
    return Detections(boxes, scores, np.array([label for _, label, _ in objects], int), NAMES)


def judge(*pairs: tuple[ImageRecord, Detections]) -> list[tuple[str, str, str, float]]:
    truth = Annotations(NAMES, [record for record, _ in pairs], "by hand")
    match = Match(truth, True, False, False, np.arange(2), ())
    return [
        (each.record.path.name, doubt.kind, doubt.reason, round(doubt.suspicion, 3))
        for each in disputed(match, pairs)
        for doubt in each.doubts
    ]


def test_points_are_compared_by_their_distance() -> None:
    def at(*places: tuple[float, float, int]) -> list[tuple[tuple[float, ...], int]]:
        return [((x, y, x, y), label) for x, y, label in places]

    def judged(true: ImageRecord, *seen: tuple[float, float, int]) -> list[tuple[str, str]]:
        rows = [(box, label, 0.9) for box, label in at(*seen)]
        truth = as_points(Annotations(NAMES, [true], "by hand"))
        match = Match(truth, False, False, False, np.arange(2), (), points=True)
        disputes = disputed(match, [(truth.images[0], found(*rows))])
        return [(doubt.kind, doubt.reason) for each in disputes for doubt in each.doubts]

    true = labels("a", *at((20, 20, 0), (60, 60, 1)))
    assert judged(true, (24, 20, 0), (60, 62, 1)) == []
    told = judged(true, (30, 20, 0), (60, 62, 0), (90, 90, 1))
    assert [kind for kind, _ in told] == ["other class", "unlabelled", "misplaced"]
    assert told[2][1].endswith("found with 0.90, but beside its label")


def test_agreement_leaves_no_doubt() -> None:
    near = (12.0, 10, 52, 50)
    assert judge((labels("a", (HERE, 0)), found((near, 0, 0.06), (THERE, 1, 0.29)))) == []
    assert judge((labels("a"), found())) == []


def test_each_kind_is_named_and_the_most_suspicious_comes_first() -> None:
    beside = (30.0, 10, 70, 50)  # a third in common with HERE
    assert judge(
        (labels("lost.jpg", (HERE, 0)), found()),
        (labels("kept.jpg", (HERE, 0), (THERE, 0)), found((HERE, 0, 0.9), (THERE, 0, 0.1))),
        (labels("more.jpg"), found((FAR, 1, 0.8), (THERE, 0, 0.4))),
        (labels("other.jpg", (HERE, 0)), found((HERE, 1, 0.95), (HERE, 0, 0.05))),
        (labels("moved.jpg", (HERE, 1)), found((beside, 1, 0.6))),
    ) == [
        ("other.jpg", "other class", "dog found with 0.95, labelled cat", 0.9),
        ("more.jpg", "unlabelled", "dog found with 0.80 where nothing is labelled", 0.8),
        ("more.jpg", "unlabelled", "cat found with 0.40 where nothing is labelled", 0.4),
        (
            "lost.jpg",
            "missed",
            "cat labelled where nothing is found (75% of all cat are found)",
            0.75,
        ),
        (
            "moved.jpg",
            "misplaced",
            "dog found with 0.60, but only 0.33 of it and its label in common",
            0.4,
        ),
    ]


def test_crowds_are_nobodys_concern() -> None:
    record = labels("a", ((0, 0, 300, 200), 0))
    record.crowd[0] = True
    assert judge((record, found((HERE, 0, 0.9), (FAR, 1, 0.9)))) == []


def test_a_small_box_of_another_class_within_a_wrong_one_is_about_it() -> None:
    inner = (15.0, 15, 40, 40)  # 0.39 of HERE
    (only,) = judge((labels("a", (HERE, 1)), found((inner, 0, 0.7))))
    assert only[1:] == ("other class", "cat found with 0.70, labelled dog", 0.7)


def joints(*points: Box) -> Doubted | None:
    """Judges a subject of 100 pixels that is found at (0, 0), (0, 100) and (100, 100)."""
    keypoints = np.array([points], float)
    record = ImageRecord(
        Path("a"), (200, 200), np.array([(0, 0, 100, 100.0)]), np.array([0]), keypoints=keypoints
    )
    truth = Annotations(("person",), [record], skeleton=ARM)
    seen = np.array([[(0, 0, 0.9), (0, 100, 0.8), (100, 100, 0.6)]], np.float32)
    boxes, scores = record.boxes.astype(np.float32), np.ones(1, np.float32)
    results = Detections(boxes, scores, np.array([0]), ("person",), seen, ARM)
    match = Match(truth, False, True, True, np.zeros(1, np.int64), (0, 1, 2))
    return next(iter(disputed(match, [(record, results)])), None)


def test_joints_far_from_where_they_are_found() -> None:
    assert joints((0, 15, 2), (0, 100, 2), (100, 100, 1)) is None
    assert joints((0, 0, 2), (0, 0, 0), (100, 100, 1)) is None
    far = joints((30, 0, 2), (0, 100, 2), (100, 100, 2))
    assert far is not None
    (doubt,) = far.doubts
    assert doubt.reason == "nose found with 0.90, 30% of the subject's extent from its label"
    assert doubt.suspicion == pytest.approx(0.9 * 0.3)
    assert doubt.box.tolist() == [0, 0, 30, 0]
    swapped = joints((0, 0, 2), (100, 100, 2), (0, 100, 2))
    assert swapped is not None
    (doubt,) = swapped.doubts
    assert doubt.reason == "left and right of subject 1 seem to be swapped"
    assert doubt.suspicion == pytest.approx(0.7)


class Page(HTMLParser):
    """Collects what a page loads, its elements and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_page_holds_its_pictures_and_shows_names_as_they_are(tmp_path: Path) -> None:
    image = np.full((200, 300, 3), 120, np.uint8)
    cv2.imwrite(str(tmp_path / "<b>.jpg"), image)
    names = ("<script>alert(1)</script>", "猫 & dog")
    record = labels(str(tmp_path / "<b>.jpg"), (HERE, 0), (THERE, 0))
    seen = found((HERE, 1, 0.93), (FAR, 1, 0.8)).renamed(names, np.arange(2))
    truth = Annotations(names, [record], "by hand")
    match = Match(truth, True, False, False, np.arange(2), ())
    result = Disagreement(1, truth, disputed(match, [(record, seen)]))
    write_disputed(tmp_path / "page.html", "a<b", "m&m", result)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert "猫 & dog found with 0.93, labelled <script>alert(1)</script>" in page.words
    assert "Labels of a<b and findings of m&m" in page.words
    assert "color-scheme: light dark" in text
    assert [load[:23] for load in page.loads] == ["data:image/jpeg;base64,"] * 2
    assert json.dumps(result.as_dict(), allow_nan=False)


def test_inspect_compares_a_checkpoint_with_the_labels(tmp_path: Path) -> None:
    data = write_shapes(tmp_path / "data", 4, (64, 96))
    detector = zoo.build("centernet_tiny", ["disc", "ring", "triangle", "star", "cross"])
    for weights in detector.network.heads.parameters():
        if weights.ndim == 4:
            weights.data.zero_()  # the same score of 0.1 everywhere, of boxes without extent
    detector.save(tmp_path / "m.safetensors")
    got = inspect(data, model=tmp_path / "m.safetensors", size=64, out=tmp_path / "out")
    assert got.disagreement is not None
    assert got.disagreement.images == 4
    # Where nothing is ever found, nothing is suspicious about a label.
    doubts = [doubt for each in got.disagreement.disputed for doubt in each.doubts]
    assert {(doubt.kind, doubt.suspicion) for doubt in doubts} == {("missed", 0.0)}
    assert len(doubts) == got.data.objects
    assert f"{len(doubts)} labels that nothing was found for" in got.summary()
    assert got.files[-1].name == "disagreements.html"
    saved = json.loads(got.files[0].read_text())
    assert len(saved["disagreement"]["pictures"]) == 4
    assert inspect(data, model="centernet_tiny", size=64, out=None).disagreement is None
    zoo.build("centernet_tiny", ["cat"]).save(tmp_path / "cat.safetensors")
    other = inspect(data, model=tmp_path / "cat.safetensors", size=64, out=tmp_path / "other")
    assert "not looked for: the detector's 1 classes are not" in other.summary()
    assert [path.name for path in other.files] == ["report.json", "charts.png", "targets.png"]


def test_an_exported_file_judges_at_its_own_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_shapes(tmp_path / "data", 2, (64, 96))
    detector = zoo.build("centernet_tiny", ["disc", "ring", "triangle", "star", "cross"])
    detector.meta["size"] = [64, 96]
    opened: list[str] = []

    def engine(path: str) -> Engine:
        opened.append(path)
        return open_engine(detector)

    monkeypatch.setattr("heatpoint.inspection.representation.open_engine", engine)
    got = inspect(data, model="m.onnx", out=None)
    assert opened == ["m.onnx"]
    assert got.oracle is not None
    assert got.oracle.size == (64, 96)
    assert got.disagreement is not None
    assert got.disagreement.images == 2
