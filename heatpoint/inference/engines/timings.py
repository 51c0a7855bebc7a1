"""Where the time of a prediction goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


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
    _lock: Any = field(default_factory=threading.Lock, repr=False, compare=False)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time spent inside to the stage ``name``."""
        start = time.perf_counter()
        yield
        spent = time.perf_counter() - start
        with self._lock:
            setattr(self, name, getattr(self, name) + spent)

    def as_dict(self) -> dict[str, float]:
        """Returns the numbers and ``images_per_second``, ready for JSON."""
        stages = ("load", "prepare", "network", "decode", "finish", "images", "wall")
        return {name: getattr(self, name) for name in stages} | {
            "images_per_second": self.images / self.wall if self.wall > 0 else 0.0
        }

    def summary(self) -> str:
        """Returns one line of milliseconds per image and stage."""
        each = max(self.images, 1)
        stages = ", ".join(
            f"{name} {getattr(self, name) / each * 1e3:.1f}"
            for name in ("load", "prepare", "network", "decode", "finish")
        )
        rate = self.as_dict()["images_per_second"]
        return f"{self.images} images, {rate:.1f} images/s; ms per image: {stages}"
