"""What runs a network, what it answers, and where the time of a prediction goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from heatpoint.inference.engines.description import Description
from heatpoint.wording import amount


@dataclass
class Timings:
    """Where the time goes, in seconds; loading and preparing overlap with the network.

    Attributes:
        load: Reading and decoding image files, summed over threads.
        prepare: Resizing to the network's input, summed over threads.
        network: The network, transfer to its device included.
        decode: From maps to candidates, merging mirrored maps included.
        finish: From candidates to results.
        images: Number of images.
        wall: From the first image to the last result.
    """

    load: float = 0.0
    prepare: float = 0.0
    network: float = 0.0
    decode: float = 0.0
    finish: float = 0.0
    images: int = 0
    wall: float = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time spent inside to the stage ``name``."""
        start = time.perf_counter()
        yield
        spent = time.perf_counter() - start
        with _LOCK:
            setattr(self, name, getattr(self, name) + spent)

    def as_dict(self) -> dict[str, float]:
        """Returns the numbers and ``images_per_second``, ready for JSON."""
        rate = self.images / self.wall if self.wall > 0 else 0.0
        return asdict(self) | {"images_per_second": rate}

    def summary(self) -> str:
        """Returns one line of milliseconds per image and stage."""
        plain, each = self.as_dict(), max(self.images, 1)
        stages = ", ".join(f"{name} {plain[name] / each * 1e3:.1f}" for name in list(plain)[:5])
        rate = plain["images_per_second"]
        return f"{amount(self.images, 'image')}, {rate:.1f} images/s; ms per image: {stages}"


_LOCK = threading.Lock()  # of the sums of all timings, which threads share

Answer = dict[str, NDArray[Any]]
"""What a network says about B images, in input pixels: each field of its description by name.

``(B, K, *tail)``; scores of boxes descend, and a score of 0 marks an empty row.
"""

Pixels = NDArray[np.unsignedinteger[Any]]
"""(B, 3, H, W) uint8 RGB, contiguous; (B, C, H, W) uint8 or uint16 of other bands."""


@runtime_checkable
class Engine(Protocol):
    """A network made ready to run in one fixed way.

    Attributes:
        description: What it is and accepts.
        name: "torch", "onnx" or "openvino", for protocols.
        device: What it runs on, for protocols: "cpu", "cuda"; in order of preference where a
            runtime divides the network: "tensorrt, cuda, cpu".
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
