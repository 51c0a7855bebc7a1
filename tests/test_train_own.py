"""A codec that the package has never heard of trains by what it declares, and by nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from heatpoint import plugins, zoo
from heatpoint.codecs import Codec, Encoded, Maps, MapSpec, Part, Rows, Target, check_size
from heatpoint.data.readers import read
from heatpoint.errors import HeatpointError
from heatpoint.inference.evaluate import evaluate
from heatpoint.synthetic.figures import write_figures
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.training import train
from heatpoint.views import View
from heatpoint.views.fields import BOXES, LABELS, SCORES, Field
from heatpoint.views.pictures import Crops
from heatpoint.zoo.detector import Detector
from heatpoint.zoo.rows import Model

QUICK = {
    "size": 64,
    "epochs": 1,
    "batch_size": 4,
    "workers": 0,
    "threads": 1,
    "accelerator": "cpu",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class GridEncoded(Encoded):
    """The middle of every object as a one in its cell.

    Attributes:
        heat: (B, C, h, w) float32.
        shapes: Shape of each target's keypoints, None where it has none.
    """

    heat: Tensor
    shapes: list[tuple[int, ...] | None]

    def preview(self) -> Tensor:
        return self.heat


@dataclass(frozen=True)
class GridCodec(Codec):
    """Whether the middle of an object is in a cell; every box is one cell."""

    classes: int
    stride: int = 4
    spread: float = 1.0

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        return (MapSpec("grid", self.classes, bias=-2.0, per="class"),)

    @property
    def answer(self) -> tuple[Field, ...]:
        return (BOXES, SCORES, LABELS)

    @property
    def terms(self) -> tuple[str, ...]:
        return ("grid",)

    def rows(self, flip: bool = False) -> int:
        return 5

    def encode(self, targets: Sequence[Target], size: tuple[int, int]) -> GridEncoded:
        height, width = check_size(size, self.stride)
        heat = torch.zeros(len(targets), self.classes, height, width)
        for image, target in enumerate(targets):
            for (x1, y1, x2, y2), label in zip(
                target.boxes.tolist(), target.labels.tolist(), strict=True
            ):
                row, column = (y1 + y2) / 2 // self.stride, (x1 + x2) / 2 // self.stride
                heat[image, label, int(row), int(column)] = 1
        shapes = [None if t.keypoints is None else tuple(t.keypoints.shape) for t in targets]
        return GridEncoded(
            map_size=(height, width), counts=heat.sum().reshape(1), heat=heat, shapes=shapes
        )

    def loss(self, maps: Maps, encoded: GridEncoded) -> dict[str, Tensor]:
        each = functional.binary_cross_entropy_with_logits(
            maps["grid"].float(), encoded.heat, reduction="sum"
        )
        return {"grid": each / encoded.counts[0].clamp(min=1)}

    def decode(self, maps: Maps) -> Rows:
        heat = maps["grid"].sigmoid()
        width = heat.shape[-1]
        scores, place = heat.flatten(1).topk(5)
        cell = place % (heat.shape[-2] * width)
        corner = torch.stack((cell % width, cell // width), -1) * float(self.stride)
        labels = place // (heat.shape[-2] * width)
        return {"boxes": torch.cat((corner, corner + self.stride), -1), "scores": scores} | {
            "labels": labels
        }

    def unflip(self, maps: Maps) -> Maps:
        return {"grid": maps["grid"].flip(-1)}

    def merge_flipped(self, maps: Maps, mirrored: Maps) -> Maps:
        return {"grid": (maps["grid"] + self.unflip(mirrored)["grid"]) / 2}

    def ideal(self, encoded: GridEncoded) -> Maps:
        return {"grid": (encoded.heat * 2 - 1) * 20}


@dataclass(frozen=True)
class GridJointCodec(GridCodec):
    """The same, with the joints of all subjects of a whole picture: all in the box's corner."""

    learns: ClassVar[frozenset[Part]] = frozenset({"boxes", "keypoints"})
    seen: ClassVar[list[tuple[int, ...] | None]] = []

    joints: int = 1

    @property
    def answer(self) -> tuple[Field, ...]:
        return (*super().answer, Field("keypoints", (self.joints, 3), "points"))

    def decode(self, maps: Maps) -> Rows:
        rows = super().decode(maps)
        point = torch.cat((rows["boxes"][..., :2], rows["scores"][..., None]), -1)
        return rows | {"keypoints": point[:, :, None].expand(-1, -1, self.joints, -1)}

    def encode(self, targets: Sequence[Target], size: tuple[int, int]) -> GridEncoded:
        encoded = super().encode(targets, size)
        self.seen.extend(encoded.shapes)
        return encoded


@dataclass(frozen=True)
class GridCropCodec(GridCodec):
    """Where the one subject of a crop is: the surest cell. It learns boxes alone."""

    view: ClassVar[type[View]] = Crops

    @property
    def answer(self) -> tuple[Field, ...]:
        return (BOXES, SCORES)

    def rows(self, flip: bool = False) -> int:
        return 1

    def decode(self, maps: Maps) -> Rows:
        rows = super().decode(maps)
        return {name: rows[name][:, :1] for name in ("boxes", "scores")}


def grid(kind: type[GridCodec], **fields: Any) -> Model:
    """Returns a model of the codec, on the network of a small one."""

    def usual(names: Sequence[str], skeleton: Any) -> Codec:
        return kind(len(names), **{name: len(skeleton) for name in fields})

    small = zoo.find("centernet_tiny")
    assert isinstance(small, Model)
    return Model("a grid", kind, usual, small.network, (64, 64), imagenet=False)


@pytest.fixture
def figures(tmp_path, monkeypatch):
    table = {"grid": grid(GridCodec), "grid_joints": grid(GridJointCodec, joints=0)}
    table["grid_crops"] = grid(GridCropCodec)
    monkeypatch.setattr(plugins, "models", lambda: table)
    return str(write_figures(tmp_path / "figures", 8, (96, 96), seed=3))


def test_boxes_in_whole_pictures(figures, tmp_path):
    out = tmp_path / "run"
    result = train(figures, figures, model="grid", out=str(out), mosaic=0.3, stop_after=1, **QUICK)
    assert result.updates == 2
    assert result.score_name == "ap"
    assert "loss/grid" in result.history[0]
    assert (out / "val_predictions.png").is_file()
    detector = Detector.load(result.last)
    assert detector.codec == GridCodec(1)
    result = train(figures, figures, model="grid", out=str(tmp_path / "b"), **QUICK)
    assert result.finished


def test_a_stopped_run_goes_on(figures, tmp_path):
    straight, stopped = str(tmp_path / "a"), str(tmp_path / "b")
    choice = {**QUICK, "epochs": 2, "pictures": False}
    train(figures, figures, model="grid", out=straight, **choice)
    train(figures, figures, model="grid", out=stopped, stop_after=1, **choice)
    train(figures, figures, model="grid", out=stopped, resume=True, **choice)
    one, two = ((tmp_path / x / "last.safetensors").read_bytes() for x in "ab")
    assert one == two


def test_joints_in_whole_pictures(figures, tmp_path):
    GridJointCodec.seen.clear()
    out = {"out": str(tmp_path / "run"), "pictures": False}
    data = read(figures)
    result = train(data, data, model="grid_joints", flip=1.0, **out, **QUICK)
    joints = len(data.skeleton)
    assert [shape[1:] for shape in GridJointCodec.seen] == [(joints, 3)] * 8
    detector = Detector.load(result.last)
    assert detector.skeleton == data.skeleton
    assert detector.codec == GridJointCodec(1, joints=joints)
    with pytest.raises(HeatpointError, match="padding is an option of models that look at crops"):
        train(data, data, model="grid_joints", padding=1.5, **out, **QUICK)
    blank = replace(data, images=[replace(r, keypoints=None) for r in data.images], skeleton=None)
    with pytest.raises(HeatpointError, match="has no joints"):
        train(blank, blank, model="grid_joints", **out, **QUICK)
    names = ("dog", *data.names[1:])
    with pytest.raises(HeatpointError, match=r"different classes; only in .*dog"):
        train(data, replace(data, names=names), model="grid_joints", **out, **QUICK)


@pytest.mark.parametrize("write", [write_figures, write_shapes])
def test_boxes_in_crops(figures, tmp_path, write):
    """A subject needs no joints where none are learnt, whether the data has some or not."""
    data = read(write(tmp_path / "data", 8, (96, 96), seed=3))
    bare = replace(data, images=[replace(r, keypoints=None) for r in data.images], skeleton=None)
    out = {"out": str(tmp_path / "run"), "model": "grid_crops"}
    result = train(bare, data, padding=1.5, **out, **QUICK)
    assert result.score_name == "ap"
    assert (tmp_path / "run" / "val_predictions.png").is_file()
    detector = Detector.load(result.last)
    assert detector.names == (data.names if len(data.names) == 1 else ("subject",))
    assert detector.codec == GridCropCodec(1)
    assert detector.meta["padding"] == 1.5
    assert evaluate(detector, data).ap == result.history[0]["ap"]
    with pytest.raises(HeatpointError, match="half_body is for models of joints"):
        train(bare, data, half_body=0.5, **{**out, "out": str(tmp_path / "other")}, **QUICK)


def test_a_codec_s_field_is_no_option_of_its_neighbour(figures, tmp_path):
    with pytest.raises(HeatpointError, match="radius is no choice for grid, whose codec is a Grid"):
        train(figures, figures, model="grid", radius="fixed", out=str(tmp_path / "run"), **QUICK)


def test_ideal_maps_are_read_again():
    boxes = torch.tensor([[8.0, 4.0, 12.0, 8.0], [40.0, 40.0, 44.0, 44.0]])
    codec = GridCodec(2)
    encoded = codec.encode([Target(boxes, torch.tensor([0, 1]))], (64, 64))
    found = codec.decode(codec.ideal(encoded))
    order = np.argsort(found["labels"][0, :2].numpy())
    np.testing.assert_allclose(found["boxes"][0, :2].numpy()[order], boxes)
