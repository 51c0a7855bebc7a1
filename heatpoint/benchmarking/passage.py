"""One picture's way from disk to results, stage by stage: an engine's, and the naive one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from heatpoint.data.images import load_image
from heatpoint.data.results import Detections
from heatpoint.errors import HeatpointError
from heatpoint.geometry.affine import Image
from heatpoint.inference.engines.engine import Engine
from heatpoint.inference.options import KeepOptions, RunOptions
from heatpoint.inference.predict import open_runner
from heatpoint.inference.runner import Job, Runner
from heatpoint.inference.sources import Source
from heatpoint.views.base import Whole

if TYPE_CHECKING:
    from heatpoint.zoo.detector import Detector

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

    A model that looks at crops takes the whole picture as its one subject.

    Args:
        engine: Made with timings that are its own.
        size: Input (height, width) in pixels.
    """

    def __init__(self, engine: Engine, size: tuple[int, int]) -> None:
        self.runner = _runner(engine, size)

    def __call__(self, path: str) -> Row:
        """Returns the seconds of each stage for the picture of a file.

        Raises:
            HeatpointError: The picture cannot be read, or memory does not suffice.
        """
        laps, timings = Laps(), self.runner.timings
        content = Path(path).read_bytes()
        laps("read")
        image = load_image(content, path)
        laps("decode")
        job = self.runner.prepare(Whole(image), path=path)
        laps("prepare")
        network, maps = timings.network, timings.decode
        self.runner.answer([(job, number) for number in range(len(job.looks))])
        self.runner.conclude(job)
        laps("finish")
        # The engine measures what it does; the rest of the call is the runner's.
        laps.row["network"] = timings.network - network
        laps.row["maps"] = timings.decode - maps
        laps.row["finish"] -= laps.row["network"] + laps.row["maps"]
        return laps.row

    def rate(self, paths: Sequence[str], batch_size: int) -> float:
        """Returns pictures per second of a stream, read and prepared by threads meanwhile."""
        sources = [Source(Path(path), path) for path in paths]
        start = time.perf_counter()
        for _ in self.runner.stream(sources, batch_size=batch_size):
            pass
        return len(paths) / (time.perf_counter() - start)


class NaivePassage:
    """One picture at a time, eagerly in float32, channels first, batch norms and all stacks' heads.

    OpenCV reads and warps, NumPy normalises all pixels in float on the processor before the network
    sees them, as published programs do. Maps are decoded and rows finished as everywhere else, so
    that only what lies before them is naive.

    Args:
        detector: Used as it is.
        size: Input (height, width) in pixels.
    """

    def __init__(self, detector: Detector, size: tuple[int, int]) -> None:
        from heatpoint.inference.engines.torch import TorchEngine

        self.codec, self.network = detector.codec, detector.network.eval()
        self._mean, self._std = (value.numpy() for value in (self.network.mean, self.network.std))
        self.runner = _runner(TorchEngine(detector, device="cpu", precision="fp32"), size)

    def __call__(self, path: str) -> Row:
        """Returns the seconds of each stage for the picture of a file.

        Raises:
            HeatpointError: OpenCV cannot decode the picture.
        """
        laps = Laps()
        self.find(path, laps)
        return laps.row

    def find(self, path: str, laps: Laps) -> Detections:
        """Returns what is in the picture of a file, and measures the stages on the way.

        Raises:
            HeatpointError: OpenCV cannot decode the picture.
        """
        import torch

        content = np.frombuffer(Path(path).read_bytes(), np.uint8)
        laps("read")
        pixels = cv2.imdecode(content, cv2.IMREAD_COLOR)
        if pixels is None:
            raise HeatpointError(f"OpenCV cannot decode {path}; give JPEG or PNG pictures")
        image: Image = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)  # type: ignore[assignment]
        laps("decode")
        (look,) = self.runner.view.looks((image.shape[0], image.shape[1]))
        matrix = look.to_input.numpy()
        matrix[:, 2] += matrix[:, :2].sum(1) / 2 - 0.5  # OpenCV's pixels have their centre at 0
        height, width = look.size
        warped = cv2.warpAffine(image, matrix, (width, height)).astype(np.float32)
        planes = ((warped - self._mean) / self._std).transpose(2, 0, 1)[None]
        batch = torch.from_numpy(np.ascontiguousarray(planes))
        laps("prepare")
        with torch.no_grad():
            features = self.network.backbone(batch)
            stacks = self.network.heads(self.network.neck(features))
            maps = stacks[-1] if isinstance(stacks, list) else stacks
            laps("network")
            rows = {name: values.numpy() for name, values in self.codec.decode(maps).items()}
            laps("maps")
        job = Job(0, path, Whole(image), [look])
        self.runner.read(rows, [(job, 0)])
        found = self.runner.conclude(job)
        laps("finish")
        return found


def _runner(engine: Engine, size: tuple[int, int]) -> Runner:
    return open_runner(engine, RunOptions(size=size), KeepOptions(max_detections=_most(engine)), 0)


def _most(engine: Engine) -> int:
    """Returns how many results are asked for: what the engine gives, as far as 100."""
    return min(100, engine.description.rows)
