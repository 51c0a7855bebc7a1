"""A pose detector whose answers are known: a subject is a square of colours that say where it is.

Red grows from left to right through a subject's box and green from top to bottom, so that a joint
is the place of one colour, whatever the crop; its map is a perfect gaussian. Blue says that a cell
is not mixed with the background. Where red falls the picture is mirrored, and the network exchanges
left and right, as a good one would.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from heatpoint.codecs.joints import JointCodec
from heatpoint.data.skeleton import Skeleton
from heatpoint.geometry import Image
from heatpoint.networks import Backbone, Network
from heatpoint.zoo.detector import Detector

SKELETON = Skeleton(
    ("nose", "left_hand", "right_hand", "tail"), ((0, 1), (0, 2), (0, 3)), pairs=((1, 2),)
)
PLACES = np.array([[0.47, 0.31], [0.74, 0.42], [0.22, 0.55], [0.38, 0.78]])
"""Where each joint is, as shares of the subject's box."""

LOW, SPAN = 16.0, 224.0


class Colours(Backbone):
    """Mean colour of each cell."""

    channels = (3,)
    strides = (4,)
    multiple = 32
    mean = (0.0, 0.0, 0.0)
    std = (1.0, 1.0, 1.0)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [functional.avg_pool2d(images, 4)]


class First(nn.Module):
    def forward(self, features: list[Tensor]) -> Tensor:
        return features[0]


class Peaks(nn.Module):
    """A gaussian of about one cell round the place where each joint's colour is."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted = nn.Parameter(torch.tensor(LOW + SPAN * PLACES, dtype=torch.float32))

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        apart = features[:, None, :2] - self.wanted[None, :, :, None, None]
        maps = torch.exp(-(apart**2).sum(2) / (2 * (1.2 * SPAN * 1.25 * 4 / 128) ** 2))
        maps = maps * (features[:, 2:] > 250)
        half = features.shape[-1] // 2
        inner = features[:, 0, half - 6 : half + 6, half - 6 : half + 6]
        mirrored = inner[..., :6].mean((1, 2)) > inner[..., 6:].mean((1, 2))
        swapped = maps[:, list(SKELETON.flip)]
        return {"joints": torch.where(mirrored[:, None, None, None], swapped, maps)}


def ramp_detector(padding: float = 1.25) -> Detector:
    network = Network(Colours(), First(), Peaks(), stride=4)
    codec = JointCodec(joints=4, flip=SKELETON.flip)
    meta = {"architecture": "ramps", "size": [128, 128], "padding": padding}
    return Detector(network, codec, ("person",), meta, skeleton=SKELETON)


def ramp_image(size: tuple[int, int], boxes: list[tuple[float, float, float, float]]) -> Image:
    """Returns a black (H, W, 3) image with a subject in each box, xyxy in image pixels."""
    image = np.zeros((*size, 3), np.uint8)
    rows, columns = np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5
    for x1, y1, x2, y2 in boxes:
        across, down = (columns > x1) & (columns < x2), (rows > y1) & (rows < y2)
        red = np.rint(LOW + SPAN * (columns[across] - x1) / (x2 - x1)).astype(np.uint8)
        green = np.rint(LOW + SPAN * (rows[down] - y1) / (y2 - y1)).astype(np.uint8)
        inside = image[np.ix_(down, across)]
        inside[..., 0], inside[..., 1], inside[..., 2] = red, green[:, None], 255
        image[np.ix_(down, across)] = inside
    return image


def joints_of(box: tuple[float, float, float, float]) -> NDArray[np.float64]:
    """Returns the (4, 2) joints of the subject in a box, in image pixels."""
    x1, y1, x2, y2 = box
    joints: NDArray[np.float64] = np.array([x1, y1]) + PLACES * [x2 - x1, y2 - y1]
    return joints
