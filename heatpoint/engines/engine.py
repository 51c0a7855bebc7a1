"""What runs a network, seen from outside: pixels in, arrays out, whatever computes in between."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from heatpoint.engines.description import Description
from heatpoint.engines.timings import Timings

Answer = dict[str, NDArray[Any]]
"""What a network says about B images, in input pixels.

Of boxes, ``boxes`` (B, K, 4) float32 xyxy, ``scores`` (B, K) float32 in [0, 1] by descending score
with 0 for empty rows, ``labels`` (B, K) int64 and, of pairs of corners, ``corner_scores``
(B, K, 2) float32 besides: the fields of ``Candidates`` and ``CornerCandidates``.
Of joints, ``points`` (B, J, 2) and ``scores`` (B, J) float32, those of ``JointCandidates``.
"""

Pixels = NDArray[np.uint8]
"""(B, 3, H, W) RGB, contiguous."""


@runtime_checkable
class Engine(Protocol):
    """A network made ready to run in one fixed way.

    Attributes:
        description: What it is and accepts.
        name: "torch", "onnx" or "openvino", for protocols.
        device: What it runs on, for protocols: "cpu", "cuda".
        precision: The numbers it computes in, for protocols: "fp32", "bf16", "int8", "auto".
        streams: How many calls may be under way at once; each has its share of the processor.
        timings: Its ``network`` and ``decode`` grow with every call.
    """

    description: Description
    name: str
    device: str
    precision: str
    streams: int
    timings: Timings

    def __call__(self, images: Pixels) -> Answer:
        """Returns what the network says about a batch; safe in as many threads as ``streams``.

        Raises:
            HeatpointError: The images do not fit, or memory does not suffice.
        """
