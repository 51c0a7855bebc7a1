"""A detector of bright spots made of convolutions, which can be quantised, and its pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from blobs import NAMES, SIDE, First, spot_image
from numpy.typing import NDArray
from torch import Tensor, nn

from heatpoint.codecs.center import CenterCodec
from heatpoint.data import Annotations, ImageRecord
from heatpoint.networks import Backbone, Network
from heatpoint.zoo.detector import Detector

SPOTS = [(40.0, 30.0), (92.0, 60.0), (31.0, 82.0)]
"""Where no spot lies between two cells that would be equally bright, at any size the tests use."""


class Layers(Backbone):
    """The mean of each 4 x 4 cell's red and green, by two convolutions of known weights."""

    channels = (2,)
    strides = (4,)
    multiple = 32
    mean = (0.0, 0.0, 0.0)
    std = (255.0, 255.0, 255.0)

    def __init__(self) -> None:
        super().__init__()
        self.halve = nn.Conv2d(3, 2, 2, stride=2)
        self.quarter = nn.Conv2d(2, 2, 2, stride=2)
        for layer in (self.halve, self.quarter):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
            for channel in range(2):
                nn.init.constant_(layer.weight[channel, channel], 0.25)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.quarter(torch.relu(self.halve(images)))]


class Heads(nn.Module):
    """As in ``blobs``: class 0 looks at green, class 1 at red; by a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.heatmap = nn.Conv2d(2, 2, 1)
        nn.init.constant_(self.heatmap.bias, -6.0)
        with torch.no_grad():
            self.heatmap.weight[:, :, 0, 0] = torch.tensor([[0.0, 8.0], [8.0, -8.0]])

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        two = torch.ones_like(features)
        return {"heatmap": self.heatmap(features), "size": two * (SIDE / 4), "offset": two * 0.5}


def layered_detector() -> Detector:
    network = Network(Layers(), First(), Heads(), stride=4)
    codec = CenterCodec(classes=2, max_detections=20)
    return Detector(network, codec, NAMES, {"architecture": "layers", "size": [128, 128]})


def squares(spots: list[tuple[float, float]]) -> NDArray[np.float64]:
    """Returns the (N, 4) boxes around spots."""
    centres = np.array(spots)
    return np.hstack([centres - SIDE / 2, centres + SIDE / 2])


def spot_pictures(folder: Path) -> Path:
    """Writes four pictures of spots, not square, to a new folder and returns it."""
    folder.mkdir()
    for number in range(4):
        moved = [(x + 3 * number, y) for x, y in SPOTS]
        image = spot_image((112, 144), moved, red=number % 2 == 1)
        cv2.imwrite(str(folder / f"{number}.png"), image[..., ::-1])
    return folder


def annotated(folder: Path) -> Annotations:
    """Returns what is in the pictures of the folder."""
    records = []
    for number, path in enumerate(sorted(folder.glob("*.png"))):
        boxes = squares([(x + 3 * number, y) for x, y in SPOTS])
        labels = np.full(len(boxes), number % 2)
        records.append(ImageRecord(path, (112, 144), boxes, labels, image_id=number + 1))
    return Annotations(NAMES, records, source="spots")
