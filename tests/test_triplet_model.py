"""A triplet model from data to results, through the same doors as any other model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from test_export import (
    assert_exports,
    assert_same,
    expected,
    lively_detector,
    pictures,
    run_onnx,
    run_openvino,
)

from heatpoint import evaluate, limits, train, zoo
from heatpoint.codecs.corners import CornerCodec
from heatpoint.codecs.triplets import TripletCodec
from heatpoint.errors import HeatpointError
from heatpoint.exporting.export import export
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.zoo.detector import Detector

pytestmark = pytest.mark.usefixtures("shared_graphs")

CHOSEN = {
    "model": "triplets_tiny",
    "size": 96,
    "batch_size": 8,
    "epochs": 70,
    "optimizer": "adamw",  # seventy updates are few for Muon at this rate
    "lr": 6e-3,
    "seed": 1,
    "cache": 0.1,
    "eval_every": 70,
    "workers": 0,
    "threads": 1,
    "accelerator": "cpu",
    "pictures": False,
    "augment": "none",
}


def test_eight_pictures_are_learnt_by_heart(tmp_path: Path) -> None:
    shapes = str(write_shapes(tmp_path / "shapes", 8, (96, 96), seed=3))
    result = train(shapes, shapes, out=str(tmp_path / "run"), **CHOSEN)
    assert result.ap is not None
    assert result.ap > 0.9
    detector = Detector.load(result.best)
    assert isinstance(detector.codec, TripletCodec)
    assert set(result.history[-1]) >= {f"loss/{name}" for name in detector.codec.terms}
    assert evaluate(str(result.best), shapes, flip=True).ap > 0.8
    found = limits(str(result.best), shapes)
    assert found.rows[1].replaced == ("centre",)
    assert found.rows[-1].replaced == ("centre", "heatmap", "offset", "embedding")
    assert found.rows[-1].main > 0.99


def test_files_of_one_size_say_what_the_detector_says(tmp_path: Path) -> None:
    detector, size = lively_detector("triplets_tiny"), (128, 192)
    images = pictures(2, *size)
    wanted = expected(detector, images, flip=True)
    for name, run in (("a.onnx", run_onnx), ("a.xml", run_openvino)):
        export(detector, tmp_path / name, size=size, dynamic=False, batch=2, flip=True)
        assert_same(run(tmp_path / name, images), wanted)


@pytest.mark.slow
def test_files_of_any_size_say_what_the_detector_says(tmp_path: Path) -> None:
    assert_exports(lively_detector("triplets_tiny"), tmp_path, flip=True)


def test_any_backbone_finds_triplets() -> None:
    detector = zoo.build("triplets_topdown:resnet10t", ["cat", "dog"])
    with torch.no_grad():
        maps = detector.network.eval()(torch.zeros(1, 3, 64, 64))[-1]
    assert {name: values.shape[1] for name, values in maps.items()} == {
        spec.name: spec.channels for spec in detector.codec.maps
    }


def test_pairs_without_centres_are_no_triplets() -> None:
    message = "is made for a TripletCodec, not for a CornerCodec"
    with pytest.raises(HeatpointError, match=re.escape(message)):
        zoo.build("triplets_tiny", ["cat"], codec=CornerCodec(1))
