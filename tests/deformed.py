"""A small detector with deformable convolutions, whose taps lie here and there and off the map."""

from __future__ import annotations

import torch
from layered import Layers
from torch import Tensor, nn

from heatpoint.codecs.center import CenterCodec
from heatpoint.networks import Network
from heatpoint.networks.deformable import DeformConv
from heatpoint.networks.heads import MapHeads
from heatpoint.zoo.detector import Detector


class Neck(nn.Module):
    """Two deformable convolutions, with a batch norm between them, and without a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = DeformConv(2, 8), nn.BatchNorm2d(8)
        self.second = DeformConv(8, 8, bias=False)

    def forward(self, features: list[Tensor]) -> Tensor:
        last: Tensor = self.second(torch.relu(self.norm(self.first(features[0]))))
        return last


def spread(layer: DeformConv) -> None:
    """Moves the taps by some cells, the first one by 40 to the left."""
    nn.init.normal_(layer.offset.weight, std=0.5)
    nn.init.normal_(layer.offset.bias, std=2.0)  # type: ignore[arg-type]
    with torch.no_grad():
        layer.offset.bias[1] = -40.0  # type: ignore[index]


def deformed_detector() -> Detector:
    torch.manual_seed(0)
    codec = CenterCodec(classes=2)
    network = Network(Layers(), Neck(), MapHeads(8, codec.maps, width=8), stride=4)
    for module in network.modules():
        if isinstance(module, DeformConv):
            spread(module)
    meta = {"architecture": "deformed", "size": [64, 64]}
    return Detector(network.eval(), codec, ("cat", "dog"), meta)
