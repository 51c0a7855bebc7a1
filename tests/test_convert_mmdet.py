"""The codec that the documentation gives for mmdet's CornerNet, beside mmdet's own numbers."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from heatpoint.codecs.corners import CornerCodec
from heatpoint.codecs.types import Maps, Target

DOCUMENT = Path(__file__).parents[1] / "docs" / "published-weights.md"

CORNERS = (("top_left", "topleft"), ("bottom_right", "bottomright"))
"""Names of the corners here and in the golden file."""


def documented() -> CornerCodec:
    (block,) = re.findall(r"```python\n(.*?CornerCodec\(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    names: dict[str, CornerCodec] = {}
    exec(block, names)  # the documentation's own lines
    return names["codec"]


@pytest.fixture
def mmdet(golden: Path) -> dict[str, Tensor]:
    data = np.load(golden / "functions" / "mmdet.npz")
    return {key: torch.from_numpy(data[key]) for key in data}


def test_the_documented_weights_give_the_loss_of_mmdet(mmdet: dict[str, Tensor]) -> None:
    assert documented().classes == 80
    # The golden maps have 3 classes and sides that are whole cells.
    codec = replace(documented(), classes=3, trim=0)
    height, width = (int(side) for side in mmdet["input_height_width"])
    targets = [Target(mmdet[f"boxes{i}"], mmdet[f"labels{i}"]) for i in range(2)]
    encoded = codec.encode(targets, (height, width))
    generator = torch.Generator().manual_seed(0)
    maps: Maps = {}
    for spec in codec.maps:
        shape = (2, spec.channels, height // 4, width // 4)
        maps[spec.name] = torch.randn(shape, generator=generator).double()
    for corner in ("top_left", "bottom_right"):
        maps[f"{corner}_embedding"] = mmdet[f"{corner}_embedding"].double()
    # Two stacks with the same maps, of which training takes the mean.
    found = codec.loss(maps, encoded)
    stacks = 2

    # mmdet adds its stacks up and weighs an embedding loss by 0.1.
    for name in ("pull", "push"):
        own = sum(mmdet[f"{name}{image}"].item() for image in range(2))
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

    # The second image's objects share no cell: mmdet divides offsets by the number of cells.
    encoded = codec.encode(targets[1:], (height, width))
    found = codec.loss({name: values[1:] for name, values in maps.items()}, encoded)
    offset = 0.0
    for corner, name in CORNERS:
        cells = (mmdet[f"corner_{name}_heatmap"][1] == 1).any(0)
        assert cells.sum() == len(targets[1].labels) == 3
        gap = (maps[f"{corner}_offset"][1] - mmdet[f"corner_{name}_offset"][1].double()).abs()
        smooth = torch.where(gap < 1, gap.square() / 2, gap - 0.5)
        offset += ((smooth * cells).sum() / cells.sum()).item() / 2
    assert found["offset"].item() == pytest.approx(stacks * offset, rel=1e-4)
