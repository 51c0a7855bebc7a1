"""Points from training to exported files: what every command does with a model of points."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from heatpoint.cli import main
from heatpoint.data.draw import write_picture
from heatpoint.data.images import load_image
from heatpoint.data.quads import as_points
from heatpoint.data.readers import read
from heatpoint.errors import HeatpointError
from heatpoint.exporting.export import export
from heatpoint.inference.evaluate import evaluate
from heatpoint.inference.limits import limits
from heatpoint.inference.predict import predict
from heatpoint.inspection.inspect import inspect
from heatpoint.planning import plan
from heatpoint.synthetic.cells import NAMES, draw_cells, write_cells
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.training import train
from heatpoint.training.state import TrainResult
from heatpoint.views.tiles import Tiles
from heatpoint.zoo import build
from heatpoint.zoo.detector import Detector

QUICK: dict[str, Any] = {
    "model": "points_tiny",
    "size": 96,
    "epochs": 80,
    "batch_size": 8,
    "eval_every": 40,
    "lr": 1e-2,
    "seed": 1,
    "ema": 0.95,
    "workers": 0,
    "threads": 1,
    "accelerator": "cpu",
    "augment": "none",
    "cache": 0.1,
}


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns eight pictures of cells that touch."""
    return write_cells(tmp_path_factory.mktemp("cells"), 8, (96, 96), seed=5)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, cells: Path) -> TrainResult:
    """Returns a run that learns the eight pictures by heart, stopped and resumed."""
    out, how = str(tmp_path_factory.mktemp("run") / "out"), {**QUICK, "density": 10.0}
    train(str(cells), str(cells), out=out, stop_after=40, **how)
    return train(str(cells), str(cells), out=out, resume=True, **how)


def test_points_are_learnt_by_heart(fitted: TrainResult, cells: Path) -> None:
    assert fitted.score_name == "f1@8"
    metrics = evaluate(fitted.best, read(cells), workers=0)
    assert metrics.boxes is metrics.joints is None
    assert metrics.points is not None
    assert metrics.main == "f1@8"
    assert metrics.scores["f1@4"] > 0.9
    assert metrics.points.error_median < 1.5
    assert abs(metrics.points.counts.bias) < 2
    assert metrics.full == 0
    assert metrics.points.density is not None
    assert metrics.points.density.mae < 2
    assert "density, pale" in metrics.summary()
    assert json.loads(json.dumps(metrics.as_dict()))["points"]["within"]["4"]["f1"] > 0.9
    assert "per picture off by" in metrics.summary()
    rows = limits(fitted.best, read(cells), workers=0).rows
    assert [row.replaced for row in rows] == [(), ("heatmap",), ("heatmap", "offset")]
    assert rows[-1].main == pytest.approx(1.0, abs=0.02)


def test_boxes_are_learnt_as_the_points_in_their_middle(tmp_path: Path) -> None:
    shapes = write_shapes(tmp_path / "shapes", 4, (64, 64))
    few = {**QUICK, "epochs": 1, "size": 64, "pictures": True}
    result = train(str(shapes), str(shapes), points=True, out=str(tmp_path / "run"), **few)
    assert Detector.load(result.best).codec.learns == {"points"}
    assert (result.out / "val_predictions.png").is_file()
    with pytest.raises(HeatpointError, match="points is an option of models that find points"):
        train(str(shapes), str(shapes), points=True, out="x", **few | {"model": "centernet_tiny"})
    data = as_points(read(shapes))
    with pytest.raises(HeatpointError, match="holds points, of which no size can be learnt"):
        train(data, data, out=str(tmp_path / "other"), **few | {"model": "centernet_tiny"})


def test_a_plan_chooses_points_by_the_data(cells: Path, tmp_path: Path) -> None:
    drawn = plan(str(cells), out=str(tmp_path / "run"), backbone_weights="none")
    assert drawn.recipe.model == "points_tiny"
    assert "pixels apart" in str(drawn)
    shapes = write_shapes(tmp_path / "shapes", 4, (64, 64))
    for asked, model in ((False, "centernet_tiny"), (True, "points_tiny")):
        chosen = plan(str(shapes), points=asked, out=str(tmp_path / "b"), backbone_weights="none")
        assert chosen.recipe.model == model


def test_inspect_says_what_the_maps_cannot_tell_apart(cells: Path, tmp_path: Path) -> None:
    found = inspect(cells, size=96, out=tmp_path, samples=2)
    assert found.oracle is not None
    assert found.oracle.place == "point"
    assert found.oracle.f1 > 0.97
    assert "a perfect network reaches F1" in found.summary()
    coarse = inspect(as_points(read(cells)), size=96, stride=16, out=None)
    assert coarse.oracle is not None
    assert coarse.oracle.same_class_cell > 0
    assert coarse.oracle.f1 < found.oracle.f1
    assert coarse.oracle.missed > 0


def test_predict_writes_draws_and_counts(
    fitted: TrainResult, cells: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures, truth = cells.parent / "images", read(cells)
    names = {"json": "a.json", "csv": "a.csv", "draw": "drawn", "heatmap": "heat"}
    options = [word for name, file in names.items() for word in (f"--{name}", str(tmp_path / file))]
    assert main(["predict", str(fitted.best), str(pictures), *options]) == 0
    rows = json.loads((tmp_path / "a.json").read_text())
    assert all(row["bbox"][:2] == row["points"] and row["bbox"][2:] == [0, 0] for row in rows)
    with (tmp_path / "a.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(rows)
    assert abs(len(rows) - truth.objects) < 0.1 * truth.objects
    assert {row["class"] for row in table} == set(NAMES)
    again = read(tmp_path / "a.csv", pictures)
    assert again.pointed
    assert again.objects == len(rows)
    for folder in ("drawn", "heat"):
        assert len(list((tmp_path / folder).iterdir())) == 8
    # A second run may replace its own files.
    assert main(["predict", str(fitted.best), str(pictures), *options]) == 0
    capsys.readouterr()
    assert main(["predict", str(fitted.best), str(pictures)]) == 0
    printed = capsys.readouterr().out
    assert "pale, density" in printed
    assert f"{len(rows)} points in 8 pictures" in printed
    results = ["evaluate", "--results", str(tmp_path / "a.json")]
    with pytest.raises(SystemExit, match="2"):
        main([*results, "none", str(cells)])  # not both
    assert "one word too many" in capsys.readouterr().err
    assert main([*results, str(cells)]) == 0
    assert "within 4 px" in capsys.readouterr().out
    curves = ["--curves", str(tmp_path / "curves.png"), "--radii", "3,6"]
    assert main(["evaluate", str(fitted.best), str(cells), *curves]) == 0
    assert "within 6 px" in capsys.readouterr().out
    assert (tmp_path / "curves.png").is_file()


def test_files_of_results_and_models_of_boxes_are_scored_as_points(
    fitted: TrainResult, cells: Path, tmp_path: Path
) -> None:
    truth = read(cells)
    found = predict(fitted.best, [record.path for record in truth.images], workers=0)
    for one, record in zip(found, truth.images, strict=True):
        assert one.columns["points"].shape == (len(one), 2)
        np.testing.assert_array_equal(one.columns["points"], one.boxes[:, :2])
        assert sum(one.counts.values()) == len(one)
        assert one.plot(record.path).shape == (96, 96, 3)
    shapes = write_shapes(tmp_path, 2, (64, 64))
    blind = build("centernet_tiny", read(shapes).names)
    metrics = evaluate(blind, read(shapes), metric=("points",), radii=(3,), workers=0)
    assert metrics.boxes is None
    assert metrics.main == "f1@3"
    curves = tmp_path / "curves.png"
    with pytest.raises(HeatpointError, match="curves is for points, and boxes are scored as such"):
        evaluate(blind, read(shapes), curves=curves, workers=0)
    evaluate(blind, read(shapes), metric=("points",), curves=curves, workers=0)
    assert curves.is_file()
    boxes = build("centernet_tiny", NAMES)
    metrics = evaluate(boxes, truth, workers=0)  # it knows nothing yet
    assert metrics.boxes is None
    assert metrics.points is not None
    assert metrics.scores["f1@8"] < 0.5


def test_many_tiles_count_every_point_once(
    fitted: TrainResult, cells: Path, tmp_path: Path
) -> None:
    truth = read(cells)
    pictures = [load_image(record.path) for record in truth.images]
    rows = [np.concatenate(pictures[start : start + 4], axis=1) for start in (0, 4)]
    whole = np.concatenate(rows)
    write_picture(tmp_path / "large.png", whole)
    places = []
    for number, record in enumerate(truth.images):
        assert record.points is not None
        places.append(record.points[:, 0] + (96 * (number % 4), 96 * (number // 4)))
    true = np.concatenate(places)
    each = [one.density for one in predict(fitted.best, pictures, workers=0)]
    alone = sum(float(density.sum()) for density in each if density is not None)
    for overlap in (0.2, 0.5):
        how = {"tiles": 96, "overlap": overlap, "workers": 0}
        (found,) = predict(fitted.best, tmp_path / "large.png", **how)  # type: ignore[arg-type]
        assert found.density is not None
        assert found.density.sum() == pytest.approx(alone, rel=0.1)  # all tiles: 1.9 times it
        away = np.linalg.norm(found.boxes[:, None, :2] - true, axis=2)
        assert abs(len(found) - len(true)) < 0.1 * len(true)
        assert (away.min(0) < 4).mean() > 0.9
        # Two points that near are two peaks of one tile, as it is seen by itself; no seam doubles.
        looks = Tiles((96, 96), 32, 0, (96, 96), overlap).looks((192, 384))
        apart = np.linalg.norm(found.boxes[:, None, :2] - found.boxes[:, :2], axis=2)
        for place in found.boxes[(apart < 3).sum(1) > 1, :2]:
            most = 0
            for left, top, right, bottom in (map(round, look.box) for look in looks):
                if left <= place[0] < right and top <= place[1] < bottom:
                    (own,) = predict(fitted.best, whole[top:bottom, left:right], workers=0)
                    near = np.linalg.norm(own.boxes[:, :2] + (left, top) - place, axis=1) < 3
                    most = max(most, int(near.sum()))
            assert most > 1


def test_what_an_answer_has_no_room_for_is_told(
    fitted: TrainResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    detector = Detector.load(fitted.best)
    detector.codec = replace(detector.codec, max_detections=100)  # type: ignore[type-var]
    detector.save(tmp_path / "few.safetensors")
    cells = draw_cells((512, 512), np.random.default_rng(4), density=2.0)
    assert len(cells.points) > 200
    write_picture(tmp_path / "large.png", cells.image)
    for model, told in ((tmp_path / "few.safetensors", 1), (fitted.best, 0)):
        words = ["predict", str(model), str(tmp_path / "large.png"), "--keep-resolution"]
        assert main(words) == 0
        printed = capsys.readouterr().out
        assert printed.count("1 picture or tile holds as many sure results") == told
        assert ("100 points in 1 picture" in printed) == bool(told)


@pytest.mark.parametrize("suffix", ["onnx", "xml"])
def test_exported_files_find_the_same_points(
    suffix: str, fitted: TrainResult, cells: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime" if suffix == "onnx" else "openvino")
    truth = read(cells)
    pictures = [record.path for record in truth.images]
    told: list[str] = []
    path = tmp_path / f"points.{suffix}"
    about = export(fitted.best, path, check=pictures, report=told.append)
    assert about.counts
    assert about.most == 2000
    assert "sure results in" in told[0]
    scores, own = (evaluate(model, truth, workers=0) for model in (path, fitted.best))
    assert scores.scores["f1@4"] == pytest.approx(own.scores["f1@4"], abs=0.01)
    assert scores.points is not None
    assert scores.points.density is not None
    assert own.points is not None
    assert own.points.density is not None
    assert scores.points.density.found == pytest.approx(own.points.density.found, rel=1e-3)


@pytest.mark.slow
def test_eight_bits_cost_next_to_nothing(fitted: TrainResult, cells: Path, tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    told: list[str] = []
    path = tmp_path / "points.xml"
    export(fitted.best, path, precision="int8", calibrate=read(cells), report=told.append)
    assert any(line.startswith("F1@8 on 8 pictures") for line in told)
    truth = read(cells)
    own, eight = (evaluate(model, truth, workers=0).scores for model in (fitted.best, path))
    assert eight["f1@8"] == pytest.approx(own["f1@8"], abs=0.01)


def test_cells_are_where_they_are_said_to_be() -> None:
    cells = draw_cells((192, 256), np.random.default_rng(0), density=2.0)
    again = draw_cells((192, 256), np.random.default_rng(0), density=2.0)
    assert (cells.image == again.image).all()
    assert cells.points.shape == (len(cells.labels), 2)
    assert ((cells.points > 0) & (cells.points < (256, 192))).all()
    assert 0 < cells.labels.sum() < len(cells.labels)
    grey = cv2.cvtColor(cells.image, cv2.COLOR_RGB2GRAY).astype(float)
    usual = np.median(grey)
    inside = [grey[int(y), int(x)] for x, y in cells.points[cells.labels == 1]]
    assert np.mean(inside) < 0.8 * usual
    with pytest.raises(HeatpointError, match="32x32 pixels or more"):
        draw_cells((16, 64), np.random.default_rng(0))
