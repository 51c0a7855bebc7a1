"""What is known of one published checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from heatpoint.weights.download import cache_folder

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Pixels:
    """What a published network sees of a picture: ``(value / 255 - mean) / std`` per channel.

    ``heatpoint convert`` builds it into the network, which then takes RGB from 0 to 255.
    """

    channels: Literal["bgr", "rgb"]
    mean: Triple
    std: Triple


@dataclass(frozen=True)
class Published:
    """One published checkpoint.

    Attributes:
        name: What ``heatpoint fetch`` and every checkpoint argument take.
        architecture: Name in ``zoo.build``.
        layout: Name in ``convert.LAYOUTS``.
        data: What it was trained on; the class names or joints are this data set's.
        classes: Number of classes, or of joints.
        size: Input (height, width) in pixels.
        pixels: Order and normalisation of the channels it was trained with.
        file: The publisher's name of the file.
        address: Where the file is, or "" where a program cannot get it.
        page: The publisher's page.
        by_hand: How to get the file from the page where there is no address.
        sha256: First digits of the publisher's SHA-256, or "" where none is published.
        licence: Licence of the publishing repository.
        score: The published score.
        protocol: Data and test procedure of the score.
        reported: Where the score is published.
        sigma: Width of a joint's target in cells, where it is not the layout's.
    """

    name: str
    architecture: str
    layout: str
    data: Literal["COCO", "VOC 07+12", "COCO keypoints", "MPII"]
    classes: int
    size: tuple[int, int]
    pixels: Pixels
    file: str
    page: str
    licence: str
    score: str
    protocol: str
    reported: str
    address: str = ""
    by_hand: str = ""
    sha256: str = ""
    sigma: float | None = None

    @property
    def cached(self) -> Path:
        """Where ``heatpoint fetch`` puts the converted checkpoint."""
        return cache_folder() / "weights" / f"{self.name}.safetensors"

    @property
    def original(self) -> Path:
        """Where the publisher's file is downloaded to, and looked for first."""
        return cache_folder() / "downloads" / self.name / self.file
