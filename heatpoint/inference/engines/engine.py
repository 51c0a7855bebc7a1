"""What runs a network, seen from outside: pixels in, arrays out, whatever computes in between."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from heatpoint.inference.engines.description import Description
from heatpoint.inference.engines.timings import Timings

Answer = dict[str, NDArray[Any]]
"""What a network says about B images, in input pixels: each field of its description by name.

``(B, K, *tail)``; scores of boxes descend, and a score of 0 marks an empty row.
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
        precision: The numbers it computes in, for protocols: "fp32", "bf16", "fp16", "int8".
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
