"""A detector whose answers are known: it finds bright spots, so geometry can be tested exactly."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from heatpoint.codecs.center import CenterCodec
from heatpoint.geometry import Image
from heatpoint.networks import Backbone, Network
from heatpoint.zoo.detector import Detector

NAMES = ("spot", "red spot")
SIDE = 24.0
"""Side in input pixels of every box the detector gives."""


class Brightness(Backbone):
    """Mean of each cell's pixels, three channels, stride 4."""

    channels = (3,)
    strides = (4,)
    multiple = 32
    mean = (0.0, 0.0, 0.0)
    std = (255.0, 255.0, 255.0)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [functional.avg_pool2d(images, 4)]


class First(nn.Module):
    def forward(self, features: list[Tensor]) -> Tensor:
        return features[0]


class SpotHeads(nn.Module):
    """Logits grow with brightness: class 0 looks at green, class 1 at red."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(8.0))

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        red, green = features[:, :1], features[:, 1:2]
        heatmap = self.gain * torch.cat([green, red - green], 1) - 6
        two = torch.ones_like(features[:, :2])
        return {"heatmap": heatmap, "size": two * (SIDE / 4), "offset": two * 0.5}


def spot_detector(size: tuple[int, int] = (128, 128)) -> Detector:
    torch.manual_seed(0)
    network = Network(Brightness(), First(), SpotHeads(), stride=4)
    codec = CenterCodec(classes=2, max_detections=20)
    return Detector(network, codec, NAMES, {"architecture": "spots", "size": list(size)})


def spot_image(
    size: tuple[int, int], spots: list[tuple[float, float]], radius: float = 8.0, red: bool = False
) -> Image:
    """Returns a black (H, W, 3) image with round spots around (x, y) points."""
    height, width = size
    y, x = np.mgrid[:height, :width] + 0.5
    light = np.zeros(size)
    for cx, cy in spots:
        light = np.maximum(light, np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * radius**2)))
    image = np.zeros((height, width, 3), np.uint8)
    image[...] = np.rint(255 * light)[..., None]
    if red:
        image[..., 1:] = 0
    return image
