"""The networks of CornerNet-Lite, narrow ones: what they compute, learn and export."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_files import manifest
from torch import nn

from heatpoint import plugins, train
from heatpoint.codecs import Codec
from heatpoint.convert import convert
from heatpoint.errors import HeatpointError
from heatpoint.exporting.export import export
from heatpoint.exporting.graph import Deployed
from heatpoint.inference.engines import open_engine
from heatpoint.networks import Network
from heatpoint.networks.fast import fast
from heatpoint.networks.features import EveryLevel
from heatpoint.networks.heads import CornerHeads, StackHeads
from heatpoint.networks.hourglasses import DetectionHourglass
from heatpoint.networks.lite import AttentionHeads, EveryStack, Fire, fire_hourglass
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.zoo.detector import Detector, build
from heatpoint.zoo.rows import SACCADE, SQUEEZE, row


def squeeze(codec: Codec, pretrained: bool = False) -> Network:
    # Sixteen channels at least: the backward pass of a 1x1 convolution of stride 2 with fewer goes
    # beyond its memory in PyTorch 2.15, channels last, on processors with AVX-512 (8 with AVX2).
    trunk = DetectionHourglass(
        2, 16, (16, 16, 24), (1, 1, 1), trim=1, make=fire_hourglass, halvings=2
    )
    each = [CornerHeads(16, codec.maps, pooled=8, width=16, kernel=1) for _ in range(2)]
    return Network(trunk, EveryLevel(), StackHeads(each), stride=8)


def saccade(codec: Codec, pretrained: bool = False) -> Network:
    trunk = DetectionHourglass(2, 16, (16, 16, 24, 24), (1,) * 4, trim=1, every_level=True)
    each = [AttentionHeads(trunk.channels[:4], codec.maps, pooled=8, width=16) for _ in range(2)]
    return Network(trunk, EveryStack(4), StackHeads(each), stride=4)


NAMES = pytest.mark.parametrize("name", ["small_squeeze", "small_saccade"])


@pytest.fixture(autouse=True)
def small_models(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {
        "small_squeeze": row("", SQUEEZE, squeeze, (95, 95)),
        "small_saccade": row("", SACCADE, saccade, (95, 95)),
    }
    monkeypatch.setattr(plugins, "models", lambda: own)


def lively(name: str) -> Detector:
    """Returns a detector whose heatmaps vary around zero, and whose pairs agree."""
    torch.manual_seed(0)
    detector = build(name, ["a", "b"])
    detector.codec = dataclasses.replace(detector.codec, threshold=5.0)  # type: ignore[type-var]
    heads = detector.network.heads.stacks[-1]  # type: ignore[index, union-attr]
    for name, last in getattr(heads, "corners", heads).last.items():
        if "_" not in name.replace("top_left", "").replace("bottom_right", ""):
            nn.init.normal_(last.weight, std=2.0)
            nn.init.zeros_(last.bias)
    detector.network.eval()
    return detector


def test_fire_modules_add_their_input_where_its_shape_stays() -> None:
    images = torch.rand(2, 8, 8, 12)
    kept = Fire(8, 8).eval()
    nn.init.zeros_(kept.norm2.weight)
    torch.testing.assert_close(kept(images), images)
    assert Fire(8, 12, 2)(images).shape == (2, 12, 4, 6)
    assert not Fire(8, 8, 2).adds


@NAMES
def test_copies_compute_the_same(name: str) -> None:
    detector = lively(name)
    images = torch.randint(0, 256, (2, 3, 63, 95), dtype=torch.uint8)
    with torch.no_grad():
        wanted = detector.network(images)[-1]
        found = fast(detector.network, "fp32")(images)[-1]
    for each, values in wanted.items():
        torch.testing.assert_close(found[each], values, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("small_squeeze", "onnx"),
        pytest.param("small_squeeze", "xml", marks=pytest.mark.slow),
        pytest.param("small_saccade", "onnx", marks=pytest.mark.slow),
        pytest.param("small_saccade", "xml", marks=pytest.mark.slow),
    ],
)
def test_exported_files_say_the_same(name: str, suffix: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime" if suffix == "onnx" else "openvino")
    detector = lively(name)
    export(detector, tmp_path / f"model.{suffix}")
    engine = open_engine(tmp_path / f"model.{suffix}")
    own = Deployed(detector, flip=False, max_detections=100)
    for height, width in ((63, 95), (127, 63)):
        images = torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8)
        with torch.inference_mode():
            rows = own(images)[: len(own.outputs)]
            wanted = dict(zip(own.outputs, rows, strict=True))
        found = engine(images.numpy())
        np.testing.assert_allclose(found["scores"], wanted["scores"].numpy(), atol=1e-4)
        assert int((wanted["scores"] > 0.1).sum()) > 10


@NAMES
def test_a_run_learns(name: str, tmp_path: Path) -> None:
    shapes = str(write_shapes(tmp_path / "shapes", 4, (96, 96), seed=3))
    chosen = {"epochs": 12, "batch_size": 4, "eval_every": 12, "augment": "none", "lr": 3e-3}
    chosen |= {"workers": 0, "threads": 1, "accelerator": "cpu", "pictures": False}
    result = train(shapes, shapes, out=str(tmp_path / "run"), model=name, recompute=True, **chosen)  # type: ignore[arg-type]
    with open(tmp_path / "run" / "log.csv", encoding="utf-8") as file:
        losses = [float(line["loss"]) for line in csv.DictReader(file)]
    assert losses[-1] < 0.8 * losses[0]
    found = Detector.load(result.best)
    assert found.codec.stride == found.network.stride


def test_attention_that_is_missing_in_a_checkpoint_is_named() -> None:
    with torch.device("meta"):
        tensors = {
            key: torch.zeros(shape)
            for key, shape in manifest("cornernet_saccade").items()
            if not key.startswith("att_modules")
        }
    with pytest.raises(HeatpointError, match=r"nearest is cornernet_saccade, .* att_modules\.0"):
        convert(tensors)
