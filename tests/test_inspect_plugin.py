"""Inspection of a representation that heatpoint does not know: discs, a centre and a radius."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from torch import Tensor

from heatpoint import plugins
from heatpoint.codecs import Codec, Encoded, Maps, MapSpec, Rows, Target, gathered
from heatpoint.codecs.peaks import read_cells, top_peaks
from heatpoint.errors import HeatpointError
from heatpoint.inspection.inspect import inspect
from heatpoint.networks import Network
from heatpoint.networks.features import PlainResNet, TopDownNeck
from heatpoint.networks.heads import MapHeads
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.views.fields import BOXES, LABELS, SCORES, Field
from heatpoint.zoo.detector import Detector


@dataclass(frozen=True, eq=False, kw_only=True)
class DiscsEncoded(Encoded):
    heatmap: Tensor
    shape: Tensor

    def preview(self) -> Tensor:
        return self.heatmap


@dataclass(frozen=True)
class InspectedDiscs(Codec):
    classes: int
    stride: int = 4
    most: int = 20

    place = "middle"

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        return (MapSpec("heatmap", self.classes, per="class"), MapSpec("shape", 3))

    @property
    def answer(self) -> tuple[Field, ...]:
        return (BOXES, SCORES, LABELS, Field("radius", (), "length"))

    @property
    def terms(self) -> tuple[str, ...]:
        return ("heatmap",)

    def rows(self, flip: bool = False) -> int:
        return self.most

    def encode(self, targets: Sequence[Target], size: tuple[int, int]) -> DiscsEncoded:
        height, width = size[0] // self.stride, size[1] // self.stride
        heatmap = torch.zeros(len(targets), self.classes, height, width)
        shape = torch.zeros(len(targets), 3, height, width)
        boxes, labels, images = gathered(targets)
        middles = (boxes[:, :2] + boxes[:, 2:]) / (2 * self.stride)
        column, row = middles.long().clamp(min=0).unbind(1)
        column, row = column.clamp(max=width - 1), row.clamp(max=height - 1)
        radius = (boxes[:, 2:] - boxes[:, :2]).mean(1) / 2
        heatmap[images, labels, row, column] = 1.0
        shape[images, :, row, column] = torch.cat((middles, radius[:, None]), 1)
        counts = torch.tensor([float(len(boxes))])
        return DiscsEncoded(map_size=(height, width), counts=counts, heatmap=heatmap, shape=shape)

    def loss(self, maps: Maps, encoded: Any) -> dict[str, Tensor]:
        return {"heatmap": (maps["heatmap"] - encoded.heatmap).square().mean()}

    def decode(self, maps: Maps) -> Rows:
        peaks = top_peaks(maps["heatmap"], self.most)
        values = read_cells(maps["shape"], peaks.cells)
        middles, radius = values[..., :2] * self.stride, values[..., 2:]
        boxes = torch.cat((middles - radius, middles + radius), -1)
        scores = peaks.values.clamp(0, 1)
        return {"boxes": boxes, "scores": scores, "labels": peaks.labels, "radius": radius[..., 0]}

    def unflip(self, maps: Maps) -> Maps:
        raise AssertionError("nothing here is mirrored")

    def merge_flipped(self, maps: Maps, mirrored: Maps) -> Maps:
        raise AssertionError("nothing here is mirrored")

    def ideal(self, encoded: Any) -> Maps:
        return {"heatmap": encoded.heatmap, "shape": encoded.shape}


def discs(names: Sequence[str], codec: Codec | None = None, pretrained: bool = False) -> Detector:
    codec = codec or InspectedDiscs(len(names))
    trunk = PlainResNet(stem=8, channels=(8, 8, 8, 8))
    neck = TopDownNeck(trunk.channels, widths=(8, 8, 8, 8))
    network = Network(trunk, neck, MapHeads(8, codec.maps, width=8), stride=4)
    return Detector(network, codec, tuple(names), {"architecture": "discs", "size": [96, 96]})


@pytest.fixture
def shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(plugins, "models", lambda: {"discs": discs})
    return write_shapes(tmp_path / "data", 6, (96, 96), seed=3)


def test_a_codec_of_a_plugin_has_oracle_charts_and_targets(shapes: Path, tmp_path: Path) -> None:
    found = inspect(shapes, model="discs", out=tmp_path / "out", samples=3, augment="none")
    assert [path.name for path in found.files] == ["report.json", "charts.png", "targets.png"]
    assert found.joints is None
    assert found.corners is None
    assert found.oracle is not None
    assert (found.oracle.place, found.oracle.max_detections) == ("middle", 20)
    assert (found.oracle.size, found.oracle.objects) == ((96, 96), found.data.objects)
    # Discs are round: boxes that are not square are found, but not exactly.
    assert found.oracle.ap50 == pytest.approx(1.0)
    assert 0.7 < found.oracle.ap < 1.0
    picture = cv2.imread(str(tmp_path / "out" / "targets.png"))
    assert picture is not None
    assert picture.shape == (384 + 8 + 384, 4 * 384 + 3 * 8, 3)
    assert picture.std() > 10, "something is drawn"


def test_the_report_speaks_of_its_places(shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HeatpointError, match="max_detections is no choice for discs"):
        inspect(shapes, model="discs", max_detections=2, out=None)

    def few(names: Sequence[str], codec: Codec | None, pretrained: bool) -> Detector:
        return discs(names, codec or InspectedDiscs(len(names), most=2))

    monkeypatch.setattr(plugins, "models", lambda: {"few": few})
    found = inspect(shapes, model="few", size=32, out=None)
    assert found.oracle is not None
    assert found.oracle.over_limit > 0
    text = "\n".join(found.oracle.lines())
    assert "more than 2 objects in one image" in text
    assert "raise what the codec decodes of an image" in text
    assert "with a middle of the same class in the next cell" in text
