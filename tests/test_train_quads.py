"""Four corners from training to exported files: what every command does with such a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heatpoint.data import Annotations
from heatpoint.data.readers import read
from heatpoint.errors import HeatpointError
from heatpoint.exporting.export import export
from heatpoint.geometry.polygons import quad_iou
from heatpoint.inference.evaluate import evaluate
from heatpoint.inference.limits import limits
from heatpoint.inference.predict import predict
from heatpoint.inspection.inspect import inspect
from heatpoint.planning import plan
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.synthetic.slips import draw_slips, write_slips
from heatpoint.training import train
from heatpoint.training.data import training_set
from heatpoint.training.recipe import Recipe
from heatpoint.training.start import build_detector
from heatpoint.training.state import TrainResult
from heatpoint.zoo.detector import Detector

QUICK: dict[str, Any] = {
    "model": "quads_tiny",
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
def slips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns eight pictures of slips that lie over each other."""
    return write_slips(tmp_path_factory.mktemp("slips"), 8, (96, 96), seed=5)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, slips: Path) -> TrainResult:
    """Returns a run that learns the eight pictures by heart, stopped and resumed."""
    out = str(tmp_path_factory.mktemp("run") / "out")
    train(str(slips), str(slips), out=out, stop_after=40, **QUICK)
    return train(str(slips), str(slips), out=out, resume=True, **QUICK)


def found_again(model: Path, truth: Annotations) -> float:
    """Returns the share of the quads that a model finds, to an overlap of 0.5."""
    paths, found, wanted = [record.path for record in truth.images], 0, 0
    for one, record in zip(predict(model, paths, score=0.3, workers=0), truth.images, strict=True):
        assert record.quads is not None
        overlaps = quad_iou(record.quads, one.columns["quads"].astype(np.float64))
        overlaps *= record.labels[:, None] == one.labels
        found += int((overlaps.max(1, initial=0) > 0.5).sum())
        wanted += len(record)
    return found / wanted


def test_four_corners_are_learnt_by_heart(fitted: TrainResult, slips: Path) -> None:
    assert found_again(fitted.best, read(slips)) > 0.9
    rows = limits(fitted.best, read(slips), workers=0).rows
    names = ("heatmap", "outline", "corner_heatmap", "corner_offset")
    assert [row.replaced for row in rows] == [names[:count] for count in range(5)]
    assert rows[-1].main == pytest.approx(1.0, abs=0.02)


def test_a_resumed_run_is_the_run_that_never_stopped(slips: Path, tmp_path: Path) -> None:
    few = {**QUICK, "epochs": 4, "eval_every": 2, "size": 64, "rotate": 30.0}
    whole = train(str(slips), str(slips), out=str(tmp_path / "a"), **few)
    train(str(slips), str(slips), out=str(tmp_path / "b"), stop_after=2, **few)
    again = train(str(slips), str(slips), out=str(tmp_path / "b"), resume=True, **few)
    states = [Detector.load(run.last).network.state_dict() for run in (whole, again)]
    assert all(bool((states[0][name] == states[1][name]).all()) for name in states[0])


def test_what_has_a_first_corner_is_mirrored_only_if_asked_for(slips: Path) -> None:
    def chance(order: Any, flip: float | None = None) -> float:
        choice = Recipe(str(slips), str(slips), model="quads_tiny", order=order, flip=flip)
        data = read(slips)
        return training_set(choice, data, build_detector(choice, data)[0]).augment.flip

    assert (chance(""), chance("any"), chance("own")) == (0.5, 0.5, 0.0)
    assert (chance("any", 0.25), chance("own", 0.25)) == (0.25, 0.25)


def test_boxes_are_learnt_as_upright_corners_and_corners_as_boxes(
    slips: Path, tmp_path: Path
) -> None:
    few = {**QUICK, "epochs": 1, "size": 64}
    shapes = write_shapes(tmp_path / "shapes", 4, (64, 64))
    result = train(str(shapes), str(shapes), out=str(tmp_path / "a"), order="own", **few)
    codec = Detector.load(result.best).codec
    assert (codec.learns, codec.as_dict()["order"]) == ({"quads"}, "own")
    out = str(tmp_path / "d")
    with pytest.raises(HeatpointError, match=r"order=any needs .* leave that out"):
        train(str(shapes), str(shapes), out=out, weights=str(result.best), order="any", **few)
    boxes = few | {"model": "centernet_tiny"}
    result = train(str(slips), str(slips), out=str(tmp_path / "b"), **boxes)
    assert Detector.load(result.best).codec.learns == {"boxes"}
    with pytest.raises(HeatpointError, match="learns boxes, which cannot lie turned"):
        train(str(slips), str(slips), out=str(tmp_path / "c"), rotate=30, **boxes)


def test_a_plan_chooses_four_corners_by_the_data(slips: Path, tmp_path: Path) -> None:
    drawn = plan(str(slips), out=str(tmp_path / "run"), backbone_weights="none")
    assert drawn.recipe.model == "quads_tiny"
    assert "four corners are labelled" in str(drawn)


def test_inspect_scores_a_perfect_network(slips: Path, tmp_path: Path) -> None:
    found = inspect(slips, size=96, out=tmp_path, samples=2)
    assert found.oracle is not None
    assert found.oracle.place == "middle"
    assert found.oracle.reached > 0.9
    assert (tmp_path / "targets.png").is_file()


@pytest.mark.parametrize("suffix", ["onnx", "xml"])
def test_exported_files_find_the_same_corners(
    suffix: str, fitted: TrainResult, slips: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime" if suffix == "onnx" else "openvino")
    truth = read(slips)
    path = tmp_path / f"quads.{suffix}"
    export(fitted.best, path, check=[record.path for record in truth.images])
    assert found_again(path, truth) == found_again(fitted.best, truth)


@pytest.mark.slow
def test_eight_bits_cost_next_to_nothing(tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    few, other = (write_slips(tmp_path / str(seed), 320, (96, 96), seed=seed) for seed in (1, 2))
    result = train(str(few), str(other), out=str(tmp_path / "out"), **QUICK | {"epochs": 8})
    path, truth = tmp_path / "quads.xml", read(other)
    export(result.best, path, precision="int8", calibrate=read(few))
    own, eight = (evaluate(model, truth, workers=0).scores for model in (result.best, path))
    assert own["quad_ap50"] > 0.7
    assert eight["quad_ap50"] == pytest.approx(own["quad_ap50"], abs=0.01)
    assert eight["quad_ap"] == pytest.approx(own["quad_ap"], abs=0.01)


def test_slips_are_where_they_are_said_to_be() -> None:
    slips = draw_slips((192, 256), np.random.default_rng(1))
    again = draw_slips((192, 256), np.random.default_rng(1))
    assert (slips.image == again.image).all()
    assert slips.quads.shape == (len(slips.labels), 4, 2)
    last = slips.quads[-1].mean(0)  # nothing lies over it
    column, row = last.astype(int)
    colour = slips.image[row, column].astype(int)
    assert np.ptp(colour) > 60  # vivid, or a dark stripe of it
    with pytest.raises(HeatpointError, match="32x32 pixels or more"):
        draw_slips((16, 64), np.random.default_rng(0))
