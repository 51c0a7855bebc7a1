"""Boxes and joints of several classes in whole pictures: from training to an exported file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heatpoint.data import Annotations
from heatpoint.data.combining import select
from heatpoint.data.readers import read
from heatpoint.data.readers.coco import write_coco
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.exporting.export import export
from heatpoint.inference.evaluate import evaluate
from heatpoint.inference.limits import limits
from heatpoint.inference.predict import iter_predict, predict, write_results
from heatpoint.inspection.inspect import inspect
from heatpoint.synthetic.figures import FIGURE, write_figures
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.training import train
from heatpoint.training.state import TrainResult
from heatpoint.zoo.detector import Detector

QUICK: dict[str, Any] = {
    "model": "centerpose_tiny",
    "size": 64,
    "epochs": 1,
    "batch_size": 4,
    "workers": 0,
    "threads": 1,
    "accelerator": "cpu",
    "pictures": False,
    "augment": "none",
    "cache": 0.1,
}

TALL = Skeleton(("head", "neck", "left_wrist", "right_wrist"), ((0, 1),), ((2, 3),))
SHORT = Skeleton(("left_ankle", "right_ankle"), ((0, 1),), ((0, 1),))


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Annotations:
    """Returns eight crowds in which tall and short figures are classes with joints of their own."""
    folder = tmp_path_factory.mktemp("crowd")
    data = read(write_figures(folder, 8, (96, 96), seed=3, crowd=True))
    both = Skeleton.joined(("tall", "short"), (TALL, SHORT))
    place = {name: joint for joint, name in enumerate(FIGURE.joints)}
    order = [place[name] for name in both.joints]
    images = []
    for record in data.images:
        heights = record.boxes[:, 3] - record.boxes[:, 1]
        labels = (heights < 36).astype(np.int64)
        assert record.keypoints is not None
        joints = record.keypoints[:, order]
        joints[labels == 0, 4:] = joints[labels == 1, :4] = 0
        images.append(replace(record, labels=labels, keypoints=joints, heads=None))
    path = folder / "two.json"
    write_coco(Annotations(("tall", "short"), images, skeleton=both), path)
    return read(path)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, crowd: Annotations) -> TrainResult:
    """Returns a run that learns the eight pictures by heart, stopped and resumed."""
    out = str(tmp_path_factory.mktemp("run"))
    choice = {**QUICK, "epochs": 40, "batch_size": 8, "eval_every": 20, "pictures": True}
    train(crowd, crowd, out=out, lr=1e-2, seed=1, ema=0.95, stop_after=20, **choice)
    return train(crowd, crowd, out=out, lr=1e-2, seed=1, ema=0.95, resume=True, **choice)


def test_boxes_and_joints_are_learnt_by_heart(fitted: TrainResult, crowd: Annotations) -> None:
    assert fitted.finished
    assert fitted.score_name == "oks_ap"
    metrics = evaluate(fitted.best, crowd)
    assert metrics.main == "oks_ap"
    assert metrics.scores["oks_ap"] == fitted.score > 0.6
    assert metrics.scores["ap50"] > 0.6
    assert set(metrics.joints.oks.per_class) == set(metrics.boxes.per_class) == {"tall", "short"}
    assert metrics.protocol["oks_area"] == "box"
    assert {"ap", "oks", "pck", "subjects", "objects"} <= set(metrics.as_dict())
    assert "tall   OKS ap" in metrics.summary()
    assert (fitted.out / "val_predictions.png").is_file()


def test_a_file_of_results_has_both_and_scores_the_same(
    fitted: TrainResult, crowd: Annotations, tmp_path: Path
) -> None:
    saved = tmp_path / "rows.json"
    direct = evaluate(fitted.best, crowd, save_results=saved)
    again = evaluate(None, crowd, results=saved)
    assert (again.main, again.joints.oks) == ("oks_ap", direct.joints.oks)
    assert again.scores["ap"] == direct.scores["ap"]
    paths = [record.path for record in crowd.images]
    found = list(iter_predict(fitted.best, paths, score=0.3))
    write_results(tmp_path / "found.json", found)
    rows = json.loads((tmp_path / "found.json").read_text())
    assert {row["category_name"]: len(row["keypoints"]) for row in rows} == {"tall": 12, "short": 6}
    assert all(len(row["bbox"]) == 4 for row in rows)
    assert len(rows) == sum(len(one.detections) for one in found) > 20
    for one in (each.detections for each in found):
        assert one.keypoints is not None
        assert not one.keypoints[one.labels == 1, :4, 2].any(), "nobody has the other's joints"
        drawn = one.plot(np.zeros((96, 96, 3), np.uint8))
        assert drawn.any() == bool(len(one))


def test_an_exported_file_finds_the_same(
    fitted: TrainResult, crowd: Annotations, tmp_path: Path
) -> None:
    export(fitted.best, tmp_path / "model.onnx")
    paths = [record.path for record in crowd.images[:2]]
    for one, other in zip(
        predict(fitted.best, paths, score=0.3),
        predict(tmp_path / "model.onnx", paths, score=0.3),
        strict=True,
    ):
        assert one.skeleton == other.skeleton
        assert len(one) > 2
        np.testing.assert_allclose(other.boxes, one.boxes, atol=0.02)
        np.testing.assert_allclose(other.keypoints, one.keypoints, atol=0.02)


def test_limits_and_inspection_name_both_scores(fitted: TrainResult, crowd: Annotations) -> None:
    found = limits(fitted.best, crowd)
    assert list(found.rows[0].scores) == ["oks_ap", "ap"]
    assert found.rows[-1].scores["ap"] > found.rows[0].scores["ap"]
    boxes = ("heatmap", "sides", "side_maps")
    assert found.rows[-1].replaced == (*boxes, "displacement", "joint_heatmap", "joint_offset")
    seen = inspect(crowd, model=fitted.best, out=None)
    assert seen.oracle is not None
    assert seen.oracle.oks_ap == pytest.approx(found.rows[-1].main, abs=0.02)
    assert seen.oracle.ap == pytest.approx(found.rows[-1].scores["ap"], abs=0.02)
    text = seen.summary()
    assert "of joints OKS AP" in text
    assert "labelled joints on 40 objects" in text
    assert "never labelled" not in text


def test_what_is_known_by_name_is_kept(
    fitted: TrainResult, crowd: Annotations, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Classes and joints of another data set that the weights know go on as they were."""
    dog = Skeleton(("nose", "tail"))
    other = select(crowd, ("short",))
    joined = Skeleton.joined(("dog", "short"), (dog, SHORT))
    images = [
        replace(r, labels=r.labels + 1, keypoints=np.pad(r.keypoints, ((0, 0), (2, 0), (0, 0))))  # type: ignore[arg-type]
        for r in other.images
    ]
    other = Annotations(("dog", "short"), images, "dogs", skeleton=joined)
    choice = {**QUICK, "lr": 1e-7, "weights": str(fitted.best), "out": str(tmp_path)}
    result = train(other, other, **choice)
    said = capsys.readouterr().out
    started = said.split("initialised anew for this data: ")[1].splitlines()[0].split(", ")
    parts = {name.split(".last.")[1].split(".")[0] for name in started if ".last." in name}
    assert parts == {"heatmap", "displacement", "joint_heatmap"}
    detector = Detector.load(result.last)
    assert detector.skeleton == joined
    metrics = evaluate(detector, other)
    assert metrics.joints.oks.per_class["short"]["ap"] > 0.4
    assert metrics.boxes.per_class["short"]["ap50"] > 0.4


def test_data_that_does_not_fit_is_one_sentence(crowd: Annotations, tmp_path: Path) -> None:
    out = {"out": str(tmp_path / "run")}
    shapes = str(write_shapes(tmp_path / "shapes", 4, (64, 64)))
    with pytest.raises(HeatpointError, match="has no joints, which a model of joints learns from"):
        train(shapes, shapes, **out, **QUICK)
    unnamed = replace(crowd, skeleton=None)
    with pytest.raises(HeatpointError, match="does not name its 6 joints"):
        train(unnamed, unnamed, **out, **QUICK)
    blank = [replace(r, keypoints=np.zeros_like(r.keypoints)) for r in crowd.images]  # type: ignore[arg-type]
    with pytest.raises(HeatpointError, match=r"no joint of an object of .* is labelled"):
        train(replace(crowd, images=blank), crowd, **out, **QUICK)
    with pytest.raises(HeatpointError, match=r"joints; only in .*left_ankle"):
        train(crowd, select(crowd, ("tall",)), **out, **QUICK)
    with pytest.raises(HeatpointError, match=r"classes of .* have joints of their own.*--classes"):
        train(crowd, crowd, **out, **{**QUICK, "model": "pose_tiny"})
    with pytest.raises(HeatpointError, match="padding is an option of models that look at crops"):
        train(crowd, crowd, padding=1.5, **out, **QUICK)


def test_joints_without_boxes_are_subjects_too(tmp_path: Path) -> None:
    """Boxes around the joints are taken where a file has none, and counted."""
    path = write_figures(tmp_path, 4, (64, 64), seed=3)
    content = json.loads(path.read_text())
    for item in content["annotations"]:
        del item["bbox"]
    (tmp_path / "bare.json").write_text(json.dumps(content))
    data = read(tmp_path / "bare.json")
    number = len(content["annotations"])
    assert [each.kind for each in data.findings] == ["joints read as their box"] * number
    assert data.objects == number
    result = train(data, data, out=str(tmp_path / "run"), **QUICK)
    assert result.score_name == "oks_ap"
