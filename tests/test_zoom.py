"""Looking again: first looks, where the next ones are, what becomes of both, in every runtime."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from runners import runner_of
from torch import nn

from heatpoint import evaluate, limits, predict, train
from heatpoint.data.readers import read
from heatpoint.errors import HeatpointError
from heatpoint.exporting.export import export
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.views import Whole
from heatpoint.views.fields import Arrays
from heatpoint.views.zoom import Zoom
from heatpoint.zoo.detector import Detector, build

SIZE = (256, 256)
TRAINING = {"model": "saccade_tiny", "workers": 0, "threads": 1, "accelerator": "cpu", "size": 128}


def part(places: list[list[float]], boxes: list[list[float]], scores: list[float]) -> Arrays:
    return {
        "boxes": np.array(boxes, float).reshape(-1, 4),
        "scores": np.array(scores),
        "labels": np.zeros(len(scores), int),
        "places": np.array(places, float).reshape(-1, 5),
    }


def around(x: float, y: float, zoom: float, score: float) -> list[float]:
    half = SIZE[0] / 2 / zoom
    return [x - half, y - half, x + half, y + half, score]


def test_first_looks_show_the_whole_picture() -> None:
    first, second = Zoom(SIZE).looks((500, 1000))
    box = np.array([0.0, 0, 1000, 500])
    np.testing.assert_allclose(first.to_input.boxes(box), [0, 64, 256, 192])
    side = 256 * 192 / 255
    assert second.to_input.boxes(box)[2] - second.to_input.boxes(box)[0] == pytest.approx(side)
    assert (first.turn, first.part) == (0, False)


def test_further_looks_are_the_best_places_once() -> None:
    view = Zoom(SIZE, crops=3)
    looks = list(view.looks((1000, 1000)))
    parts = [
        part(
            [
                around(300, 700, 1.0, 0.9),
                around(310, 705, 1.1, 0.8),  # the same place
                around(310, 705, 2.0, 0.7),  # closer, so another look
                around(1200, 100, 1.0, 0.95),  # outside
                around(500, 500, 1.0, 0.3),  # not above 0.3
                around(600, 100, 4.5, 0.9),  # too close
                around(800, 400, 1.0, 0.5),
            ],
            [[100, 100, 148, 148], [200, 200, 400, 300]],
            [0.6, 0.5],
        ),
        part([], [], []),
    ]
    more = view.again((1000, 1000), looks, parts)
    middles = [look.to_image.points(np.array([128.0, 128.0])).round(3).tolist() for look in more]
    assert middles == [[124, 124], [300, 700], [310, 705]]
    assert [round(look.to_input.matrix[0], 3) for look in more] == [round(64 / 48, 3), 1.0, 2.0]
    assert all(look.turn == 1 and look.part for look in more)
    assert view.again((1000, 1000), [*looks, *more], parts * 2) == ()
    assert view.full([*looks, *more])  # there may have been more places
    assert not Zoom(SIZE, crops=4).full([*looks, *more])
    rows = [{name: each[name] for name in ("boxes", "scores", "labels")} for each in parts]
    first, last = (rows[0] | {"scores": np.array([score, 0.2])} for score in (0.6, 0.1))
    shown = [first, rows[1], rows[1], rows[1], last]
    assert view.merge([*looks, *more], shown, (), 100)["scores"].tolist() == [0.6, 0.2, 0.1]
    assert Zoom(SIZE, crops=0).again((1000, 1000), looks, parts) == []


def test_small_pictures_are_not_looked_at_again_for_attention() -> None:
    view = Zoom(SIZE)
    looks = view.looks((60, 100))
    assert looks[0].to_input.matrix[0] == pytest.approx(2.56)
    found = view.again((60, 100), looks[:1], [part([around(50, 30, 2.56, 0.9)], [], [])])
    assert list(found) == []


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(HeatpointError, match=r"longest must be shares in \(0, 1\]"):
        Zoom(SIZE, longest=(2.0,))
    with pytest.raises(HeatpointError, match="must lie in"):
        Zoom(SIZE, attention=2)


def lively(name: str = "saccade_tiny") -> Detector:
    """Returns a detector that finds something everywhere."""
    torch.manual_seed(0)
    detector = build(name, ["a", "b"])
    detector.codec = replace(detector.codec, corners=40, max_detections=40)  # type: ignore[call-arg]
    heads = detector.network.heads
    for spec, last in heads.corners.last.items():  # type: ignore[union-attr]
        if spec in ("top_left", "bottom_right"):
            nn.init.normal_(last.weight, std=1.0)
    for head in heads.attention.values():  # type: ignore[union-attr, operator]
        nn.init.normal_(head[1].weight, std=1.0)
        nn.init.zeros_(head[1].bias)
    detector.network.eval()
    return detector


def picture(height: int, width: int) -> np.ndarray:
    coarse = np.random.default_rng(1).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return coarse.repeat(8, 0).repeat(8, 1)


def test_every_look_is_answered_and_places_are_no_results() -> None:
    runner = runner_of(lively(), score=0.0)
    job = runner.prepare(Whole(picture(480, 640)))
    runner.answer(job.asks)
    assert set(job.wanted) == {0, 1}
    found = runner.conclude(job)
    assert 2 < len(job.looks) <= 32
    assert len(job.parts) == len(job.looks)
    assert 0 < len(found) <= 100
    assert "places" not in found.columns
    assert runner.protocol()["view"] == "Zoom"
    assert runner.protocol()["soft_nms_sigma"] == 0.7


@pytest.mark.parametrize("crops", [2, 40])
def test_places_that_are_left_out_are_told(crops: int) -> None:
    runner = runner_of(lively(), score=1.0)  # no result is as sure
    runner.view = replace(runner.view, crops=crops)  # type: ignore[type-var]
    runner([picture(480, 640)])
    assert runner.full == (crops == 2)


def test_tiles_work_too_and_scales_do_not() -> None:
    image = picture(480, 640)
    assert "places" not in predict(lively(), [image], tiles=256, score=0.0)[0].columns
    with pytest.raises(HeatpointError, match="looks again by itself"):
        predict(lively(), [image], scales=(0.5, 1.0))


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["onnx", "xml"])
def test_exported_files_look_again(suffix: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime" if suffix == "onnx" else "openvino")
    detector, path = lively(), tmp_path / f"model.{suffix}"
    description = export(detector, path)
    assert (description.view, description.rows) == ("Zoom", 40)
    assert description.answer[-1].kind == "place"
    image = picture(480, 640)
    (wanted,), (found,) = (predict(each, [image], score=0.0) for each in (detector, path))
    assert len(wanted) == len(found) > 10
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-3)


def test_a_run_and_what_limits_it(tmp_path: Path) -> None:
    shapes = str(write_shapes(tmp_path / "shapes", 8, (256, 256), seed=3))
    chosen = {"epochs": 6, "batch_size": 8, "eval_every": 6, "lr": 3e-3, "pictures": False}
    result = train(shapes, shapes, out=str(tmp_path / "run"), **TRAINING, **chosen)  # type: ignore[arg-type]
    assert result.score is not None
    found = evaluate(str(result.best), shapes)
    assert found.protocol["view"] == "Zoom"
    perfect = limits(str(result.best), shapes).rows[-1]
    assert perfect.replaced == ("heatmap", "offset", "embedding", "attention")
    assert perfect.scores["ap"] > 0.9
    assert found.protocol["closer"] == 0
    with pytest.raises(HeatpointError, match="mosaic is an option of models that look at whole"):
        train(shapes, shapes, out=str(tmp_path / "b"), **TRAINING, mosaic=0.5)  # type: ignore[arg-type]


def test_limits_know_the_truth_of_closer_looks_too(tmp_path: Path) -> None:
    shapes = write_shapes(tmp_path / "shapes", 2, (512, 512), 3, (40, 60))
    detector = build("saccade_tiny", read(shapes).names)
    detector.network.eval()
    detector.meta["closer"] = 96.0  # or places in one row would be taken for one, as released
    rows = limits(detector, str(shapes), size=128).rows  # a first look shows 10 to 15 pixels
    assert rows[0].main < 0.1
    assert rows[-1].main > 0.9


def test_windows_of_training_are_the_size_of_closer_looks(tmp_path: Path) -> None:
    shapes = str(write_shapes(tmp_path / "shapes", 4, (256, 256), seed=3))
    chosen = {"epochs": 1, "batch_size": 4, "pictures": False, "window": {32: 1, 64: 1}}
    result = train(shapes, shapes, out=str(tmp_path / "run"), **TRAINING, **chosen)  # type: ignore[arg-type]
    runner = runner_of(Detector.load(result.last), score=0.0)
    assert runner.protocol()["closer"] == 64
    view = runner.view
    first = list(view.looks((512, 512)))
    places = [[112, 112, 144, 144, 0.9], [112, 400, 144, 432, 0.8]]  # one below the other
    told = [part(places, [], []), part([], [], [])]
    more = view.again((512, 512), first, told)
    assert [look.size for look in (*first, *more)] == [(128, 128)] * 2 + [(64, 64)] * 2
    assert view.sizes == ((128, 128), (64, 64))
    with pytest.raises(HeatpointError, match="closer be at least 0"):
        Zoom(SIZE, closer=-1)
