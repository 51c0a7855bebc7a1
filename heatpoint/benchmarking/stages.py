"""Times the stages of one picture's way through an engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from heatpoint.data.images import load_image
from heatpoint.engines.engine import Engine
from heatpoint.geometry.affine import Image
from heatpoint.inference.pose_runner import PoseRunner
from heatpoint.inference.runner import Runner
from heatpoint.inference.sources import Source

STAGES = {
    "read": "read file",
    "decode": "decode JPEG",
    "prepare": "prepare",
    "network": "network",
    "maps": "decode maps",
    "finish": "finish",
}
"""Name and title of each stage, in order; exported files decode their maps within the network."""

Row = dict[str, float]
"""Seconds by stage of one picture."""


class Passage(Protocol):
    """One picture's way from disk to results."""

    def __call__(self, path: str) -> Row:
        """Returns the seconds of each stage for the picture of a file."""


class Laps:
    """Measures stages that follow each other without a gap."""

    def __init__(self) -> None:
        self.row: Row = dict.fromkeys(STAGES, 0.0)
        self._last = time.perf_counter()

    def __call__(self, name: str) -> None:
        """Ends the stage ``name``."""
        now = time.perf_counter()
        self.row[name] += now - self._last
        self._last = now


class EnginePassage:
    """The way that ``heatpoint predict`` takes, one picture at a time without threads.

    A model of joints takes the whole picture as its one subject.

    Args:
        engine: Made with timings that are its own.
        size: Input (height, width) in pixels.
    """

    def __init__(self, engine: Engine, size: tuple[int, int]) -> None:
        self.timings = engine.timings
        self._prepare: Callable[[Image, str], Any]
        self._detect: Callable[[Sequence[Any]], Any]
        self._stream: Callable[[Sequence[Source], int], Iterator[Any]]
        if engine.description.task == "pose":
            poses = PoseRunner(engine, size=size)
            self._prepare = lambda image, path: poses.prepare(image, None, path)
            self._detect = poses.detect
            self._stream = lambda sources, count: poses.stream(sources, batch_size=count)
        else:
            boxes = Runner(engine, size=size)
            self._prepare = boxes.prepare
            self._detect = boxes.detect
            self._stream = boxes.stream

    def __call__(self, path: str) -> Row:
        """Returns the seconds of each stage for the picture of a file.

        Raises:
            HeatpointError: The picture cannot be read, or memory does not suffice.
        """
        laps = Laps()
        content = Path(path).read_bytes()
        laps("read")
        image = load_image(content, path)
        laps("decode")
        inputs = self._prepare(image, path)
        laps("prepare")
        network, maps = self.timings.network, self.timings.decode
        self._detect([inputs])
        laps("finish")
        # The engine measures what it does; the rest of the call is the runner's.
        laps.row["network"] = self.timings.network - network
        laps.row["maps"] = self.timings.decode - maps
        laps.row["finish"] -= laps.row["network"] + laps.row["maps"]
        return laps.row

    def rate(self, paths: Sequence[str], batch_size: int) -> float:
        """Returns pictures per second of a stream, read and prepared by threads meanwhile."""
        sources = [Source(Path(path), path) for path in paths]
        start = time.perf_counter()
        for _ in self._stream(sources, batch_size):
            pass
        return len(paths) / (time.perf_counter() - start)
