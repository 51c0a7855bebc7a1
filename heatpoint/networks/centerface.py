"""The network of CenterFace (Xu et al. 2019), its norms in the convolutions' biases.

The published file holds no batch norms but those behind transposed convolutions: the others were
multiplied into the convolutions. What is lost is their running statistics, so the network has none
either. It predicts the same and trains on from these weights; it is not made to start from nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from heatpoint.networks.features import TimmBackbone


class FoldedMobileNetV2(TimmBackbone):
    """MobileNetV2 with biases instead of batch norms, and ReLUs without an upper bound.

    Feature maps of strides 4 to 32; pixels go in as they are, from 0 to 255.
    """

    def __init__(self) -> None:
        super().__init__("mobilenetv2_100", strides=(4, 8, 16, 32))
        self.mean, self.std = (0.0,) * 3, (1.0,) * 3
        for module in list(self.model.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.BatchNorm2d):
                    linear = isinstance(child.act, nn.Identity)
                    setattr(module, name, nn.Identity() if linear else nn.ReLU(inplace=True))
                elif isinstance(child, nn.Conv2d):
                    child.bias = nn.Parameter(torch.zeros(child.out_channels))


class TransposedTopDownNeck(nn.Module):
    """Adds coarse features to fine ones at one width, enlarged by learnt 2x2 kernels.

    Args:
        in_channels: Channels of the backbone's feature maps, fine to coarse, strides doubling.
        width: Channels of the neck; 24 as published.
    """

    def __init__(self, in_channels: Sequence[int], width: int = 24) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(each, width, 1) for each in in_channels)
        self.steps = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose2d(width, width, 2, 2, bias=False),
                nn.BatchNorm2d(width, eps=1e-3),
                nn.ReLU(inplace=True),
            )
            for _ in in_channels[1:]
        )
        self.last = nn.Conv2d(width, width, 3, padding=1)
        self.out_channels = width

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Returns (B, width, h, w) at the stride of the finest feature map."""
        fused = functional.relu(self.laterals[-1](features[-1]))
        for level in range(len(self.steps) - 1, -1, -1):
            beside = functional.relu(self.laterals[level](features[level]))
            fused = self.steps[level](fused) + beside
        return functional.relu(self.last(fused))
