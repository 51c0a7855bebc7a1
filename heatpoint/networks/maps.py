"""What networks give: maps by name, and the specification of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Maps = dict[str, Tensor]
"""One stack's output: name to ``(B, channels, h, w)``; logits where a probability is meant."""


@dataclass(frozen=True)
class MapSpec:
    """One map that a codec needs and a network must produce.

    Attributes:
        name: Key in ``Maps``.
        channels: Number of channels.
        bias: Initial bias of the last layer; -2.19 = -ln(0.9 / 0.1) for heatmaps of objects.
        branch: Name of the shared branch in front of the head (corner pooling, say); "" for none.
        per: What the channels are about, in equal shares: "class", "joint", or "" for neither.
            When classes or joints change, the channels of those that stay are kept.
        std: Spread of the last layer's initial weights; None for PyTorch's own way.
        stride: Input pixels per cell; 0 for the codec's.
    """

    name: str
    channels: int
    bias: float = 0.0
    branch: str = ""
    per: Literal["", "class", "joint"] = ""
    std: float | None = None
    stride: int = 0
