"""What is to be found in one look at a picture: the truth that a network learns from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor

Part = Literal["boxes", "keypoints"]
"""Parts of a ``Target`` that a codec may learn from."""


@dataclass
class Target:
    """What is to be found in one look at an image.

    Attributes:
        boxes: (N, 4) float32, xyxy in input pixels.
        labels: (N,) int64, class index from 0.
        keypoints: (N, J, 3) float32, x and y in input pixels and visibility 0, 1 or 2; or None.
    """

    boxes: Tensor
    labels: Tensor
    keypoints: Tensor | None = None

    def to(self, device: Any) -> Target:
        """Returns the target with every tensor on ``device``."""
        return Target(
            self.boxes.to(device, non_blocking=True),
            self.labels.to(device, non_blocking=True),
            None if self.keypoints is None else self.keypoints.to(device, non_blocking=True),
        )
