"""The codecs for mmdet's CornerNet, as documented, and CenterNet, beside mmdet's own numbers."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from golden_files import cases, tensors
from torch import Tensor

from heatpoint.codecs import Maps, Target
from heatpoint.codecs.corners import CornerCodec
from heatpoint.zoo.rows import MMDET

DOCUMENT = Path(__file__).parents[1] / "docs" / "published-weights.md"

CORNERS = (("top_left", "topleft"), ("bottom_right", "bottomright"))
"""Names of the corners here and in the golden file."""


def documented() -> CornerCodec:
    (block,) = re.findall(r"```python\n(.*?CornerCodec\(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    names: dict[str, CornerCodec] = {}
    exec(block, names)  # the documentation's own lines
    return names["codec"]


@pytest.fixture
def mmdet() -> dict[str, Tensor]:
    return tensors("mmdet")


def test_the_documented_weights_give_the_loss_of_mmdet(mmdet: dict[str, Tensor]) -> None:
    assert documented().classes == 80
    # Sides of the golden maps are whole cells.
    batch, classes, *size = mmdet["corner_topleft_heatmap"].shape
    codec = replace(documented(), classes=classes, trim=0)
    height, width = (int(side) for side in mmdet["input_height_width"])
    images = cases("mmdet", r"boxes(\d+)$")
    targets = [Target(mmdet[f"boxes{i}"], mmdet[f"labels{i}"]) for i in images]
    encoded = codec.encode(targets, (height, width))
    generator = torch.Generator().manual_seed(0)
    maps: Maps = {}
    for spec in codec.maps:
        maps[spec.name] = torch.randn(batch, spec.channels, *size, generator=generator).double()
    for corner in ("top_left", "bottom_right"):
        maps[f"{corner}_embedding"] = mmdet[f"{corner}_embedding"].double()
    # Two stacks with the same maps, of which training takes the mean.
    found = codec.loss(maps, encoded)
    stacks = 2

    # mmdet adds its stacks up and weighs an embedding loss by 0.1.
    for name in ("pull", "push"):
        own = sum(mmdet[f"{name}{image}"].item() for image in images)
        assert found[name].item() == pytest.approx(stacks * 0.1 * own, rel=1e-6)
    # It halves the sum over the two corners of everything else.
    heat = 0.0
    for corner, name in CORNERS:
        target = mmdet[f"corner_{name}_heatmap"].double()
        p = maps[corner].sigmoid()
        peaks = target == 1
        there = (-(1 - p).square() * p.log())[peaks].sum()
        elsewhere = (-((1 - target) ** 4) * p.square() * (1 - p).log())[~peaks].sum()
        heat += ((there + elsewhere) / peaks.sum()).item() / 2
    assert found["heatmap"].item() == pytest.approx(stacks * heat, rel=1e-5)

    # mmdet divides offsets by the number of cells: the same for objects with cells of their own.
    for image, target in enumerate(targets):
        match = mmdet[f"corner_match{images[image]}"]
        cells = match[..., 0] * size[1] + match[..., 1]  # (objects, corners)
        alone = (cells[:, None] == cells).sum(1).eq(1).all(1)
        own = Target(target.boxes[alone], target.labels[alone])
        encoded = codec.encode([own], (height, width))
        found = codec.loss({name: values[[image]] for name, values in maps.items()}, encoded)
        offset = 0.0
        for number, (corner, name) in enumerate(CORNERS):
            at = (image, slice(None), *match[alone, number].unbind(1))
            gap = (maps[f"{corner}_offset"][at] - mmdet[f"corner_{name}_offset"][at].double()).abs()
            smooth = torch.where(gap < 1, gap.square() / 2, gap - 0.5)
            offset += smooth.sum().item() / int(alone.sum()) / 2
        assert found["offset"].item() == pytest.approx(stacks * offset, rel=1e-4)


def test_targets_and_heatmap_loss_of_the_centre_codec_are_mmdets(mmdet: dict[str, Tensor]) -> None:
    height, width = (int(side) for side in mmdet["input_height_width"])
    classes = mmdet["center_heatmap"].shape[1]
    targets = [
        Target(mmdet[f"boxes{i}"], mmdet[f"labels{i}"]) for i in cases("mmdet", r"boxes(\d+)$")
    ]
    codec = replace(MMDET, classes=classes)
    encoded = codec.encode(targets, (height, width))
    expected = mmdet["center_heatmap"]
    torch.testing.assert_close(encoded.preview(), expected, rtol=0, atol=1e-6)
    ideal = codec.ideal(encoded)
    for name in ("size", "offset"):
        torch.testing.assert_close(ideal[name], mmdet[f"center_{name}"], rtol=0, atol=1e-5)
    maps = {**ideal, "heatmap": mmdet["logits"].double().requires_grad_()}
    loss = codec.loss(maps, encoded)["heatmap"]
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(mmdet["focal_value"].item(), rel=1e-6)
    gradient = mmdet["focal_gradient"]
    assert (maps["heatmap"].grad - gradient).abs().max() <= 1e-6 * gradient.abs().max()


def test_decoding_of_the_centre_codec_is_mmdets(mmdet: dict[str, Tensor]) -> None:
    maps = {name: mmdet[f"decode_{name}"].double() for name in ("heatmap", "size", "offset")}
    maps["heatmap"] = torch.logit(maps["heatmap"])
    boxes, labels = mmdet["decoded_boxes_top60"], mmdet["decoded_labels_top60"]
    codec = replace(MMDET, classes=maps["heatmap"].shape[1], max_detections=boxes.shape[1])
    found = codec.decode(maps)
    torch.testing.assert_close(found["scores"], boxes[..., 4], rtol=0, atol=1e-5)
    assert torch.equal(found["labels"], labels)
    torch.testing.assert_close(found["boxes"], boxes[..., :4], rtol=0, atol=1e-3)
