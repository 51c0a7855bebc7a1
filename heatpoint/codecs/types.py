"""The types that cross the seam between network, codec and everything else.

Shape letters: B batch, C classes, K candidates, J joints, N objects of one image, P positives of
the batch, H W input pixels, h w cells. Boxes are ``xyxy`` and continuous: pixel ``i`` covers
``[i, i + 1)``. Sizes are ``(height, width)``, points are ``(x, y)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import Tensor

Maps = dict[str, "Tensor"]
"""One stack's output: name to ``(B, channels, h, w)``; logits where a probability is meant."""


@dataclass(frozen=True)
class MapSpec:
    """One map that a codec needs and a network must produce.

    Attributes:
        name: Key in ``Maps``.
        channels: Number of channels.
        bias: Initial bias of the last layer; -2.19 = -ln(0.9 / 0.1) for heatmaps of objects.
        branch: Name of the shared branch in front of the head (corner pooling, say); "" for none.
    """

    name: str
    channels: int
    bias: float = 0.0
    branch: str = ""


@dataclass
class Target:
    """What is to be found in one image.

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


class Candidates(NamedTuple):
    """What a codec decodes: a fixed number K of guesses per image, by descending score.

    Attributes:
        boxes: (B, K, 4) float32, xyxy in input pixels, not clipped.
        scores: (B, K) float32 in [0, 1]; 0 marks an empty row.
        labels: (B, K) int64, class index from 0.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class CornerCandidates(NamedTuple):
    """``Candidates`` that were found by their corners.

    Attributes:
        boxes: As in ``Candidates``.
        scores: As in ``Candidates``; the mean of both corners'.
        labels: As in ``Candidates``.
        corner_scores: (B, K, 2) float32, of the top-left and the bottom-right corner, which
            weight boxes that are merged; of mirrored corners, the upper and the lower one.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    corner_scores: Tensor


class JointCandidates(NamedTuple):
    """What a codec decodes for one subject per image: the best place of every joint.

    Attributes:
        points: (B, J, 2) float32, x and y in input pixels, continuous, not clipped.
        scores: (B, J) float32, height of the peak; linear maps may exceed 1 or stay below 0.
    """

    points: Tensor
    scores: Tensor


class Codec(Protocol):
    """One representation: which maps, what they should say, how wrong they are, what they mean.

    A codec is a frozen dataclass without weights. Each has a type of its own for what ``encode``
    returns, and decodes either objects (``Candidates``, ``CornerCandidates``) or joints
    (``JointCandidates``): whoever needs to know which asks ``Detector.box_codec`` or
    ``Detector.joint_codec``.
    """

    @property
    def stride(self) -> int:
        """Input pixels per cell."""

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """The maps a network must produce for this codec."""

    def encode(self, targets: Sequence[Target], size: tuple[int, int]) -> Any:
        """Turns the targets of a batch, ``size`` input pixels (H, W) large, into ``Encoded``."""

    def loss(self, maps: Maps, encoded: Any) -> dict[str, Tensor]:
        """Returns weighted fp32 terms by name; their sum is the loss of one stack."""

    def decode(self, maps: Maps) -> Candidates | CornerCandidates | JointCandidates:
        """Reads candidates off the maps of the last stack."""

    def unflip(self, maps: Maps) -> Maps:
        """Turns the maps of the mirrored image into maps of the image."""

    def merge_flipped(self, maps: Maps, mirrored: Maps) -> Maps:
        """Merges the maps of the image with those of its mirror image, not yet turned back."""

    def ideal(self, encoded: Any) -> Maps:
        """Returns the maps a perfect network would produce."""
