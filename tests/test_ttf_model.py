"""TTFNet's networks: what they learn, and that their upsampling is the same in every runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from heatpoint import train
from heatpoint.codecs.ttf import TTFCodec
from heatpoint.data.readers import read
from heatpoint.errors import HeatpointError
from heatpoint.exporting.export import export
from heatpoint.exporting.graph import Deployed
from heatpoint.inference.engines import open_engine
from heatpoint.networks import Network
from heatpoint.networks.features import PlainResNet
from heatpoint.networks.ttfnet import ShortcutNeck, TowerHeads
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.zoo.detector import Detector

QUICK = {"model": "ttfnet_tiny", "size": 96, "workers": 0, "threads": 1, "accelerator": "cpu"}

SLOW = (("onnx", False), ("xml", False), ("xml", True))


def shortcut_detector(per_class: bool) -> Detector:
    """Returns a narrow TTFNet whose deformable convolutions are plain ones."""
    torch.manual_seed(0)
    codec = TTFCodec(2, per_class=per_class)
    trunk = PlainResNet(stem=8, channels=(8, 8, 16, 16))
    neck = ShortcutNeck(trunk.channels, (16, 8, 8))
    for step in neck.steps:
        deformed = step[0]  # type: ignore[index]
        outputs, inputs = deformed.weight.shape[:2]
        step[0] = nn.Conv2d(inputs, outputs, 3, padding=1)  # type: ignore[operator]
    heads = TowerHeads(8, codec.maps, {"heatmap": (16, 2), "sides": (8, 1)})
    for last in heads.last.values():
        nn.init.normal_(last.weight, std=0.2)
    for name in ("heatmap", "sides"):
        for module in heads.hidden[name].modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
    network = Network(trunk, neck, heads, stride=4)
    return Detector(network.eval(), codec, ("a", "b"), {"size": [64, 64]})


@pytest.mark.parametrize(
    ("suffix", "per_class"),
    [("onnx", True), *(pytest.param(*each, marks=pytest.mark.slow) for each in SLOW)],
)
def test_files_of_any_size(suffix: str, per_class: bool, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime" if suffix == "onnx" else "openvino")
    detector = shortcut_detector(per_class)
    export(detector, tmp_path / f"model.{suffix}", flip=True)
    engine, own = (
        open_engine(tmp_path / f"model.{suffix}"),
        Deployed(detector, flip=True, max_detections=100),
    )
    for height, width in ((64, 96), (160, 32)):
        images = torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8)
        with torch.inference_mode():
            rows = own(images)[: len(own.outputs)]
            wanted = dict(zip(own.outputs, rows, strict=True))
        found = engine(images.numpy())
        np.testing.assert_allclose(found["scores"], wanted["scores"].numpy(), atol=1e-4)
        sure = (wanted["scores"] > 0.01).numpy()
        assert sure.sum() > 10
        boxes = wanted["boxes"].numpy()[sure]
        np.testing.assert_allclose(found["boxes"][sure], boxes, atol=1e-3 * np.abs(boxes).max())


def test_the_published_initial_values() -> None:
    fresh = TowerHeads(8, TTFCodec(80).maps, {"heatmap": (128, 2), "sides": (64, 1)})
    for name, std in (("heatmap", 0.01), ("sides", 0.001)):
        weights = [m.weight for m in fresh.hidden[name].modules() if isinstance(m, nn.Conv2d)]
        for weight in (*weights, fresh.last[name].weight):
            assert weight.std().item() == pytest.approx(std, rel=0.15)  # type: ignore[arg-type]
    assert torch.sigmoid(fresh.last["heatmap"].bias)[0].item() == pytest.approx(0.01)  # type: ignore[arg-type]


def test_eight_pictures_are_learnt_by_heart(tmp_path: Path) -> None:
    shapes = str(write_shapes(tmp_path / "shapes", 8, (96, 96), seed=3))
    chosen = {"epochs": 100, "batch_size": 8, "eval_every": 100, "augment": "none", "lr": 6e-3}
    chosen |= {"optimizer": "adamw"}  # a hundred updates are few for Muon at this rate
    chosen |= {"seed": 1, "cache": 0.1, "pictures": False, "alpha": 0.6, "beta": 0.5}
    result = train(shapes, shapes, out=str(tmp_path / "run"), **QUICK, **chosen)  # type: ignore[arg-type]
    assert result.score is not None
    assert result.score > 0.9
    codec = Detector.load(result.best).codec
    assert codec == TTFCodec(len(read(shapes).names), alpha=0.6, beta=0.5)


def test_options_of_other_centres_are_refused(tmp_path: Path) -> None:
    shapes = str(write_shapes(tmp_path / "shapes", 2, (96, 96), seed=3))
    out = str(tmp_path / "run")
    with pytest.raises(HeatpointError, match="radius is no choice for ttfnet_tiny"):
        train(shapes, shapes, out=out, radius="fixed", **QUICK)  # type: ignore[arg-type]
    with pytest.raises(HeatpointError, match=r"alpha is a share above 0, at most 1, not 1\.5"):
        train(shapes, shapes, out=out, alpha=1.5, **QUICK)  # type: ignore[arg-type]
