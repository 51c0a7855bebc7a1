"""The page about an evaluation: what it holds, what it refuses, and the score that it sets."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from seeing import SeeingEngine

from heatpoint import zoo
from heatpoint.cli import main
from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.readers import read
from heatpoint.data.readers.coco import write_coco
from heatpoint.errors import HeatpointError
from heatpoint.inference.engines import Engine
from heatpoint.inference.engines.description import Description
from heatpoint.inference.engines.torch import describe
from heatpoint.inference.evaluate import evaluate
from heatpoint.inference.loaded import load
from heatpoint.inference.metrics import Metrics
from heatpoint.inference.predict import predict
from heatpoint.synthetic.cells import write_cells
from heatpoint.synthetic.figures import write_figures
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.synthetic.slips import write_slips
from heatpoint.training.recipe import Recipe
from heatpoint.training.start import build_detector
from heatpoint.zoo.detector import Detector

NAMES = ("<b>cat</b>", "dog & $co$")
SIDE = 256
Box = tuple[int, int, int, int]
Found = tuple[Box, int, float]
"""A box, its class and its score."""


class Seeing(SeeingEngine):
    """Sees bright rectangles, whose class is in the second channel."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__(names=NAMES, size=(SIDE, SIDE))
        self.factor = factor

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        rows = super().__call__(images)
        for image, boxes, labels in zip(images, rows["boxes"], rows["labels"], strict=True):
            for row in np.flatnonzero(boxes[:, 2]):
                x, y = boxes[row, :2].astype(int) + 2
                labels[row] = image[1, y, x] > 100
        return {**rows, "scores": rows["scores"] * np.float32(self.factor)}


def data_of(folder: Path, *pictures: tuple[list[tuple[Box, int]], list[Found]]) -> Annotations:
    """Returns pictures with labels, in which a model sees something else."""
    records = []
    for number, (labels, found) in enumerate(pictures):
        image = np.zeros((SIDE, SIDE, 3), np.uint8)
        for (x1, y1, x2, y2), label, score in found:
            image[y1:y2, x1:x2] = (0, 255 * label, round(255 * score))
        path = folder / f"<i>{number}.png"
        cv2.imwrite(str(path), image)
        boxes = np.array([box for box, _ in labels], float).reshape(-1, 4)
        kinds = np.array([label for _, label in labels], int)
        records.append(ImageRecord(path, (SIDE, SIDE), boxes, kinds, image_id=number + 1))
    return Annotations(NAMES, records, "a <drawn> set")


A, B, C, D = (10, 10, 60, 60), (100, 10, 150, 60), (10, 100, 60, 150), (100, 100, 150, 150)


@pytest.fixture
def data(tmp_path: Path) -> Annotations:
    """Returns five pictures, in each of which one thing is wrong, and one in which nothing is."""
    near = (10, 120, 60, 170)  # three seventh of the overlap with C
    return data_of(
        tmp_path,
        ([(A, 0), (B, 1)], [(A, 0, 0.9), (B, 0, 0.8)]),  # a dog taken for a cat
        ([(A, 0), (C, 1)], [(A, 0, 0.95), (near, 1, 0.7)]),  # badly placed
        ([(A, 0), (C, 1)], [(A, 0, 0.9), (near, 0, 0.45)]),  # both
        ([(A, 0)], [(A, 0, 0.85), (D, 1, 0.6)]),  # background
        ([(A, 0), (B, 1)], [(A, 0, 0.9)]),  # missed
        ([(A, 0), (B, 1)], [(A, 0, 0.5), (B, 1, 0.4)]),
    )


class Page(HTMLParser):
    """Collects what a page loads, its elements, its text, and the kinds of its pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.kinds: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        self.kinds += [value or "" for name, value in attrs if name == "data-kinds"]

    def handle_data(self, data: str) -> None:
        self.words += data


def reported(data: Annotations, out: Path, **options: Any) -> tuple[Metrics, Page, str]:
    engine: Engine = Seeing()
    metrics = evaluate(engine, data, report=out, **options)
    text = (out / "report.html").read_text(encoding="utf-8")
    return metrics, Page(text), text


def test_the_page_holds_all_it_shows(data: Annotations, tmp_path: Path) -> None:
    metrics, page, text = reported(data, tmp_path / "out")
    assert all(
        load.startswith(("data:image/png;base64,", "data:image/jpeg;base64,"))
        for load in page.loads
    )
    rest = re.sub(r"data:image/\w+;base64,[A-Za-z0-9+/=]+", "", text)
    assert not re.search(r"//|url\(|@import|<link|fetch", rest)
    assert page.tags.count("script") == 1
    assert not {"b", "i", "drawn"} & set(page.tags)
    assert "<b>cat</b> found with 0.80, labelled dog & $co$" in page.words
    assert "on a <drawn> set" in page.words
    assert "color-scheme: light dark" in text
    # One picture for each mistake.
    assert sorted(page.kinds) == [
        "background",
        "badly placed",
        "missed",
        "wrong class",
        "wrong class and badly placed|missed",
    ]
    assert page.loads[-1].startswith("data:image/jpeg")
    assert len([load for load in page.loads if "jpeg" in load]) == 2 * len(page.kinds)
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert found["mistakes"] == metrics.report["mistakes"]
    assert list(found["mistakes"].values()) == [1, 1, 1, 0, 1, 2]
    assert sum(found["lost"].values()) == pytest.approx(1 - found["scores"]["ap50"])
    assert found["scores"]["ap"] == pytest.approx(metrics.ap, abs=1e-12)
    assert found["metrics"]["ap"] == metrics.ap
    assert found["best_score"] == 0.4
    low, high = found["intervals"]["ap"]
    assert low < metrics.ap < high
    assert "95 % interval" in metrics.summary()
    # What heatpoint wrote, it may write again.
    assert reported(data, tmp_path / "out")[1].kinds == page.kinds


def test_a_model_is_as_good_as_itself(data: Annotations, tmp_path: Path) -> None:
    engine: Engine = Seeing()
    metrics, page, _ = reported(data, tmp_path / "out", against=engine)
    assert set(map(tuple, metrics.report["against"]["differences"].values())) == {(0.0, 0.0)}
    assert "which may be chance (95 % interval +0.0 to +0.0)" in page.words
    worse: Engine = Seeing(0.9)  # other scores, the same order
    assert (
        metrics.report["against"]["scores"]
        == evaluate(engine, data, against=worse).report["scores"]
    )


def test_a_better_model_is_told_from_a_worse_one(tmp_path: Path) -> None:
    # In every second picture a sure result is wrong; with its score lowered, it is the last one.
    right, wrong = ([(A, 0)], [(A, 0, 0.8)]), ([(A, 0)], [(A, 0, 0.8), (D, 0, 1.0)])
    data = data_of(tmp_path, *[right, wrong] * 20)

    class Careful(Seeing):
        def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
            rows = super().__call__(images)
            return {**rows, "scores": np.where(rows["scores"] > 0.9, 0.1, rows["scores"])}

    engine: Engine = Seeing()
    careful: Engine = Careful()
    metrics = evaluate(engine, data, against=careful)
    low, high = metrics.report["against"]["differences"]["ap50"]
    assert 0 < low < 1 - metrics.report["scores"]["ap50"] < high
    assert "is better on such pictures" in metrics.summary()


def test_nothing_found_and_nothing_to_find(tmp_path: Path) -> None:
    metrics, page, _ = reported(data_of(tmp_path, ([(A, 0)], [])), tmp_path / "none")
    assert metrics.report["best_score"] is None
    assert page.kinds == ["missed"]
    metrics, page, _ = reported(data_of(tmp_path, ([], [(A, 0, 0.9)])), tmp_path / "all")
    assert metrics.report["lost"] == dict.fromkeys(metrics.report["lost"])
    assert page.kinds == ["background"]
    metrics, page, _ = reported(data_of(tmp_path, ([], [])), tmp_path / "empty")
    assert math.isnan(metrics.ap)
    assert page.kinds == []


def test_what_cannot_be_done_is_said_before_any_work(data: Annotations, tmp_path: Path) -> None:
    engine: Any = Seeing()
    own = tmp_path / "own"
    own.mkdir()
    (own / "report.html").write_text("mine")
    with pytest.raises(HeatpointError, match="was not written as such by heatpoint"):
        evaluate(engine, data, report=own)
    assert (own / "report.html").read_text() == "mine"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(HeatpointError, match="is no folder"):
        evaluate(engine, data, report=tmp_path / "file")
    with pytest.raises(HeatpointError, match="limits is a part of the report"):
        evaluate(engine, data, limits=True)
    with pytest.raises(HeatpointError, match="limits needs a checkpoint"):
        evaluate(engine, data, limits=True, report=tmp_path / "out")
    with pytest.raises(HeatpointError, match="give the checkpoint's path"):
        evaluate(engine, data, set_threshold=True)
    pose = zoo.build("points_tiny", NAMES)
    with pytest.raises(HeatpointError, match="against compares models by the same score"):
        evaluate(engine, data, against=pose)
    rows = tmp_path / "rows.json"
    rows.write_text("[]")
    with pytest.raises(HeatpointError, match="report looks at what a model finds"):
        evaluate(None, data, results=rows, report=tmp_path / "out")
    assert engine.shapes == []
    assert not (tmp_path / "out").exists()


@pytest.fixture
def guessing(tmp_path: Path) -> tuple[Path, Path]:
    """Returns an untrained checkpoint, and labels that are what it finds first in each picture."""
    names = ["disc", "ring", "triangle", "star", "cross"]
    zoo.build("centernet_tiny", names).save(tmp_path / "m.safetensors")
    pictures = sorted((write_shapes(tmp_path / "data", 4, (96, 96)).parent / "images").iterdir())
    records = []
    for number, one in enumerate(predict(tmp_path / "m.safetensors", pictures, score=0.0, size=96)):
        best = one[:5]
        sides = best.boxes.astype(float)
        assert (sides[:, 2:] > sides[:, :2]).all()
        records.append(
            ImageRecord(pictures[number], (96, 96), sides, best.labels, image_id=number + 1)
        )
    write_coco(Annotations(tuple(names), records), tmp_path / "val.json")
    return tmp_path / "m.safetensors", tmp_path / "val.json"


def test_the_score_that_is_set_is_the_one_of_predict(
    guessing: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data = guessing
    before = Detector.load(model)
    assert "least_score" not in before.meta
    arguments = ["evaluate", str(model), str(data), "--images", str(tmp_path / "data" / "images")]
    assert (
        main([*arguments, "--size", "96", "--set-threshold", "--report", str(tmp_path / "r")]) == 0
    )
    said = capsys.readouterr().out
    after = Detector.load(model)
    score = after.meta["least_score"]
    assert f"predict returns results from score {score:g} on" in said
    assert {**before.meta, "least_score": score} == after.meta
    weights = after.network.state_dict()
    assert all(
        (weights[name] == value).all() for name, value in before.network.state_dict().items()
    )
    pictures = sorted((tmp_path / "data" / "images").iterdir())
    every = predict(model, pictures, size=96, score=0.0)
    kept = [int((one.scores >= np.float32(score)).sum()) for one in every]
    assert 0 < sum(kept) < sum(map(len, every))
    assert [len(one) for one in predict(model, pictures, size=96)] == kept
    assert [len(load(model, size=96)(picture)) for picture in pictures] == kept
    # What is given goes before, scores are those of all results, and exported files know it.
    anew = predict(model, pictures, size=96, score=0.0)
    assert [len(one) for one in anew] == [len(one) for one in every]
    assert evaluate(model, data, size=96).protocol["score"] == 0.0
    recipe = Recipe(data, data, weights=str(model))
    assert "least_score" not in build_detector(recipe, read(data))[0].meta  # new weights, new score
    about = describe(after)
    assert about.least == Description.from_json(about.to_json(), "m.onnx").least == score


def test_a_score_is_set_in_checkpoints_only(guessing: tuple[Path, Path], tmp_path: Path) -> None:
    model, _ = guessing
    record = ImageRecord(tmp_path / "black.png", (96, 96), [[0.0, 0, 2, 95]], [0])
    cv2.imwrite(str(record.path), np.zeros((96, 96, 3), np.uint8))
    names = Detector.load(model).names
    content = model.read_bytes()
    with pytest.raises(HeatpointError, match="is right, so no score can be set"):
        evaluate(model, Annotations(names, [record]), size=96, set_threshold=True)
    assert model.read_bytes() == content
    damaged = Detector.load(model)
    damaged.meta["least_score"] = 7
    damaged.save(tmp_path / "d.safetensors")
    with pytest.raises(HeatpointError, match="least_score is 7"):
        Detector.load(tmp_path / "d.safetensors")


@pytest.mark.parametrize(
    ("model", "draw"),
    [
        ("pose_tiny", write_figures),
        ("centerpose_tiny", write_figures),
        ("points_tiny", write_cells),
        ("quads_tiny", write_slips),
    ],
)
def test_every_kind_of_model_has_a_page(model: str, draw: Any, tmp_path: Path) -> None:
    data = read(draw(tmp_path / "data", 3, (128, 128)))
    detector = zoo.build(model, data.names, skeleton=data.skeleton)
    metrics = evaluate(
        detector, data, size=128, report=tmp_path / "out", limits=True, against=detector
    )
    again = metrics.report["scores"]
    shared = again.keys() & metrics.scores.keys()
    assert metrics.main in again
    assert {name: metrics.scores[name] for name in shared} == pytest.approx(
        {name: again[name] for name in shared}, abs=1e-12
    )
    assert "too narrow, for so few pictures" in metrics.summary()
    assert metrics.report["limits"]["rows"][-1][metrics.main] > 0.5
    words = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8")).words
    assert "What limits the model" in words
    assert ("Joints" in words) == (data.skeleton is not None)
    assert ("Confusion" in words) == (model != "pose_tiny")
