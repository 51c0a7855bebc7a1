"""Numbers of parameters beside those of the published networks, counted from their own code."""

from __future__ import annotations

import pytest
import torch

from heatpoint import zoo
from heatpoint.data.skeleton import SKELETONS

DEAD_OF_DLA = 1000 * 513 + (64 + 2) * 128 + (128 + 2) * 256
"""ImageNet's classifier, and projections of two trees that only their inner trees compute with."""

BOXES = {
    "centernet_resnet18": 15_820_372,
    "centernet_resnet101": 53_435_476,
    "centernet_resdcn18": 14_437_349,
    "centernet_resdcn101": 49_673_189,
    "centernet_dla34": 20_188_892 - DEAD_OF_DLA,
    "mmdet_resnet18": 14_219_092,
    "mmdet_resdcn18": 14_436_901,
    "centernet_hourglass104": 191_284_008,
    "centernet_hourglass52": 95_454_676,
    "cornernet_hourglass104": 201_035_212,
    "triplets_hourglass104": 210_062_960,
    "triplets_hourglass52": 104_844_152,
    "cornernet_squeeze": 31_771_852,
    "cornernet_saccade": 116_969_339,
}

UNUSED_RESIDUAL = 2 * (3 * 3 * 256 * 256 + 2 * 256)
"""Of mmpose, between a stack and one that is not there."""

JOINTS = [
    ("centerpose_dla34", "coco17", 20_625_346 - DEAD_OF_DLA),
    ("centerpose_hourglass104", "coco17", 194_811_124),
    ("hourglass_1stack", "mpii16", 3_586_960),
    ("hourglass_2stack", "mpii16", 6_730_912),
    ("hourglass_8stack", "mpii16", 25_594_624),
    ("princeton_hourglass_2stack", "mpii16", 6_570_400),
    ("princeton_hourglass_8stack", "mpii16", 25_434_112),
    ("mmpose_hourglass52", "coco17", 94_847_889 - UNUSED_RESIDUAL),
    ("mmpose_hourglass52", "mpii16", 94_847_632 - UNUSED_RESIDUAL),
]
"""The published networks' living parameters."""


@pytest.mark.parametrize(("name", "published"), BOXES.items())
def test_networks_of_boxes(name: str, published: int) -> None:
    with torch.device("meta"):
        network = zoo.build(name, [str(index) for index in range(80)]).network
    assert sum(parameter.numel() for parameter in network.parameters()) == published


@pytest.mark.parametrize(("name", "skeleton", "published"), JOINTS)
def test_networks_of_joints(name: str, skeleton: str, published: int) -> None:
    with torch.device("meta"):
        network = zoo.build(name, ["person"], skeleton=SKELETONS[skeleton]).network
    assert sum(parameter.numel() for parameter in network.parameters()) == published
