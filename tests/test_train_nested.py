"""Objects of several classes with one middle, from the plan to exported files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from test_plan import drawn, said, surveyed
from test_train_quads import QUICK as QUADS

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.readers import read
from heatpoint.errors import HeatpointError
from heatpoint.exporting.export import export
from heatpoint.geometry import Image
from heatpoint.inference.evaluate import evaluate
from heatpoint.inference.limits import limits
from heatpoint.planning import plan
from heatpoint.synthetic import write_set
from heatpoint.training import train
from heatpoint.training.state import TrainResult
from heatpoint.zoo.detector import Detector

QUICK: dict[str, Any] = {**QUADS, "model": "centernet_tiny", "per_class": True}
NAMES = ("person", "vest", "badge")


def people(random: np.random.Generator) -> tuple[Image, ImageRecord]:
    """Draws two people in 96x96, each with a vest and a badge about its middle."""
    image = np.full((96, 96, 3), random.integers(160, 240, 3), np.uint8)
    boxes = []
    for left in (4, 52):
        width, height = random.integers(22, 38), random.integers(56, 84)
        x, y = left + int(random.integers(0, 40 - width)), int(random.integers(4, 92 - height))
        middle = np.array([x + width / 2, y + height / 2])
        for share, colour in ((1.0, (40, 60, 160)), (0.45, (230, 200, 30)), (0.2, (200, 30, 30))):
            sides = np.array([width * share**0.5, height * share]) / 2
            low, high = np.rint(middle - sides).astype(int), np.rint(middle + sides).astype(int)
            cv2.rectangle(image, low.tolist(), (high - 1).tolist(), colour, -1)
            boxes.append([*low, *high])
    record = ImageRecord(Path(), (96, 96), np.array(boxes, float), np.array([0, 1, 2] * 2))
    return image, record


@pytest.fixture(scope="module")
def nested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns eight pictures."""
    folder = tmp_path_factory.mktemp("nested")
    return write_set(folder, 8, (96, 96), 3, Annotations(NAMES, [], "drawn"), people)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, nested: Path) -> TrainResult:
    """Returns a run that learns the eight pictures by heart, stopped and resumed."""
    out = str(tmp_path_factory.mktemp("run") / "out")
    train(str(nested), str(nested), out=out, stop_after=40, **QUICK)
    return train(str(nested), str(nested), out=out, resume=True, **QUICK)


def test_boxes_within_each_other_are_learnt_by_heart(
    fitted: TrainResult, nested: Path, tmp_path: Path
) -> None:
    detector = Detector.load(fitted.best)
    assert detector.codec.as_dict()["per_class"] is True
    found = evaluate(fitted.best, read(nested), workers=0)
    assert found.scores["ap50"] > 0.95
    rows = limits(fitted.best, read(nested), workers=0).rows
    names = ("heatmap", "sides", "side_maps")
    assert [row.replaced for row in rows] == [names[:count] for count in range(4)]
    assert rows[-1].main > 0.9  # sides of one person share cells: true ones are not all exact
    shared = QUICK | {"per_class": None}
    other = train(str(nested), str(nested), out=str(tmp_path / "out"), **shared)
    assert evaluate(other.best, read(nested), workers=0).scores["ap50"] < 0.8


@pytest.mark.parametrize("suffix", ["onnx", "xml"])
def test_exported_files_find_the_same_boxes(
    suffix: str, fitted: TrainResult, nested: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime" if suffix == "onnx" else "openvino")
    truth, path = read(nested), tmp_path / f"nested.{suffix}"
    export(fitted.best, path, check=[record.path for record in truth.images])
    own, found = (evaluate(model, truth, workers=0).ap for model in (fitted.best, path))
    assert found == pytest.approx(own, abs=2e-3)


def test_boxes_of_classes_are_no_choice_for_weights_without(nested: Path, tmp_path: Path) -> None:
    few = QUICK | {"epochs": 1, "size": 64, "per_class": None}
    before = train(str(nested), str(nested), out=str(tmp_path / "a"), **few)
    with pytest.raises(HeatpointError, match=r"per_class=True needs .* leave that out"):
        train(
            str(nested),
            str(nested),
            out=str(tmp_path / "b"),
            weights=str(before.best),
            **few | {"per_class": True},
        )


def test_a_class_more_keeps_the_boxes_of_the_others(
    fitted: TrainResult, nested: Path, tmp_path: Path
) -> None:
    other = replace(read(nested), names=("helmet", *NAMES), category_ids=())
    for record in other.images:
        record.labels = record.labels + 1
    detector = Detector.load(fitted.best)
    before = {spec.name: spec.channels for spec in detector.codec.maps}
    detector.adapt(other.names)
    after = {spec.name: spec.channels for spec in detector.codec.maps}
    assert (before["sides"], after["sides"], after["side_heatmap"]) == (12, 16, 4)
    path = tmp_path / "more.safetensors"
    detector.save(path)
    own = evaluate(fitted.best, read(nested), workers=0).ap
    assert evaluate(path, other, workers=0).ap == pytest.approx(own, abs=0.02)


def test_a_plan_tells_boxes_of_classes_apart_that_have_one_middle(
    nested: Path, tmp_path: Path
) -> None:
    planned = plan(str(nested), out=str(tmp_path / "run"), backbone_weights="none")
    assert planned.recipe.per_class is True
    (why,) = (row.why for row in planned.rows if row.name == "per_class")
    assert "100% of the objects have the middle of one of another class" in why
    asked = plan(str(nested), out=str(tmp_path / "b"), backbone_weights="none", per_class=False)
    assert asked.recipe.per_class is False
    # What a perfect network reaches is said of the model that is planned.
    whys = ({row.name: row.why for row in each.rows}["size"] for each in (planned, asked))
    reached = [float(why.rsplit(" ", 1)[1]) for why in whys]
    assert reached[0] > reached[1] + 0.2

    data = drawn(100.0, per=2)
    assert said("per_class", surveyed(data)) is None  # beside each other
    for record in data.images:
        record.boxes[1] = record.boxes[0] + (30, 30, -30, -30)
    assert said("per_class", surveyed(data)) is True
    assert said("per_class", surveyed(data, model="ttfnet_tiny")) is True
    assert said("per_class", surveyed(data, model="cornernet_tiny")) is None
    assert surveyed(data).nested == 1
    for record in data.images[1:]:
        record.boxes[1] += 50
    assert surveyed(data).nested == pytest.approx(1 / len(data))
    for record in data.images:
        record.boxes[1] = record.boxes[0] + (1, 1, -1, -1)  # nearly one box
    assert surveyed(data).nested == 0
    for record in data.images:
        record.boxes[1] = record.boxes[0] + (30, 30, -30, -30)
        record.labels[:] = 0
    assert surveyed(data).nested == 0
