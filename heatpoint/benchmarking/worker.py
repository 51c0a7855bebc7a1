"""One picture's way from disk to results, stage by stage: an engine's, and the naive one."""

from __future__ import annotations

import json
import os
import sys
import time
import timeit
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np

from heatpoint.data.images import load_image
from heatpoint.data.results import Detections
from heatpoint.errors import HeatpointError
from heatpoint.geometry import Image
from heatpoint.inference import KeepOptions, RunOptions
from heatpoint.inference.engines.engine import Engine, Timings
from heatpoint.inference.engines.onnx import OnnxEngine
from heatpoint.inference.engines.openvino import OpenVinoEngine
from heatpoint.inference.predict import open_runner
from heatpoint.inference.runner import Job
from heatpoint.inference.sources import Source
from heatpoint.views import Whole

if TYPE_CHECKING:
    from heatpoint.networks import Network
    from heatpoint.networks.fast import Precision
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


class Passage(ABC):
    """One picture's way from disk to results.

    A model that looks at crops takes the whole picture as its one subject.

    Args:
        engine: Says what is found; made with timings that are its own.
        size: Input (height, width) in pixels.
    """

    def __init__(self, engine: Engine, size: Sequence[int]) -> None:
        about = engine.description
        keep = KeepOptions(max_detections=min(about.most, about.rows))
        self.runner = open_runner(engine, RunOptions(size=size), keep, 0.0)

    def __call__(self, path: str) -> Row:
        """Returns the seconds of each stage for the picture of a file.

        Raises:
            HeatpointError: The picture cannot be read, or memory does not suffice.
        """
        laps = Laps()
        self.find(path, laps)
        return laps.row

    @abstractmethod
    def find(self, path: str, laps: Laps) -> Detections:
        """Returns what is in the picture of a file, and measures the stages on the way.

        Raises:
            HeatpointError: As a call.
        """

    def rate(self, paths: Sequence[str], batch_size: int) -> float:
        """Returns pictures per second of a stream, read and prepared by threads meanwhile."""
        sources = [Source(Path(path), path) for path in paths]
        start = time.perf_counter()
        for _ in self.runner.stream(sources, batch_size=batch_size):
            pass
        return len(paths) / (time.perf_counter() - start)


class EnginePassage(Passage):
    """The way that ``heatpoint predict`` takes, one picture at a time without threads."""

    def find(self, path: str, laps: Laps) -> Detections:
        """Returns what is in the picture of a file, and measures the stages on the way."""
        timings = self.runner.timings
        content = Path(path).read_bytes()
        laps("read")
        image = load_image(content, path, bands=self.runner.engine.description.bands)
        laps("decode")
        job = self.runner.prepare(Whole(image), path=path)
        laps("prepare")
        network, maps = timings.network, timings.decode
        self.runner.answer(job.asks)
        found = self.runner.conclude(job)
        laps("finish")
        # The engine measures what it does; the rest of the call is the runner's.
        laps.row["network"] = timings.network - network
        laps.row["maps"] = timings.decode - maps
        laps.row["finish"] -= laps.row["network"] + laps.row["maps"]
        return found


class NaivePassage(Passage):
    """One picture at a time, eagerly in float32, channels first, batch norms and all stacks' heads.

    OpenCV reads and warps, NumPy normalises all pixels in float on the processor before the network
    sees them, deformable convolutions are torchvision's operator, as in published programs. Maps
    are decoded and rows finished as everywhere else, so that only what lies before them is naive.

    Args:
        detector: Used as it is.
        size: Input (height, width) in pixels.
        device: Where the network runs.
    """

    def __init__(self, detector: Detector, size: Sequence[int], device: str = "cpu") -> None:
        from heatpoint.inference.engines.torch import TorchEngine
        from heatpoint.networks.deformable import by_operator, set_way

        network = detector.network.eval()
        self._mean, self._std = (value.numpy() for value in (network.mean, network.std))
        engine = TorchEngine(detector, device=device, precision="fp32", timings=Timings())
        super().__init__(engine, size)
        self.codec, self.network = detector.codec, network.to(engine.network.mean.device)
        self._wait = engine.wait
        set_way(self.network, by_operator)

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
        looks = list(self.runner.view.looks((image.shape[0], image.shape[1])))
        planes = []
        for look in looks:
            matrix = look.to_input.numpy()
            matrix[:, 2] += matrix[:, :2].sum(1) / 2 - 0.5  # OpenCV's pixels have their centre at 0
            height, width = look.size
            warped = cv2.warpAffine(image, matrix, (width, height)).astype(np.float32)
            planes.append(((warped - self._mean) / self._std).transpose(2, 0, 1))
        batch = torch.from_numpy(np.ascontiguousarray(planes))
        laps("prepare")
        with torch.no_grad():
            features = self.network.backbone(batch.to(self.network.mean.device))
            stacks = self.network.heads(self.network.neck(features))
            maps = stacks[-1] if isinstance(stacks, list) else stacks
            self._wait()
            laps("network")
            rows = {name: values.cpu().numpy() for name, values in self.codec.decode(maps).items()}
            laps("maps")
        job = Job(0, path, Whole(image), looks)
        self.runner.read(rows, job.asks)
        found = self.runner.conclude(job)
        laps("finish")
        return found


@dataclass(frozen=True)
class Task:
    """What a process is to run.

    Attributes:
        engine: Of the contender.
        precision: Of the contender.
        path: The checkpoint or exported file.
        device: Where the network runs.
        size: Input height and width in pixels.
        threads: Of the network and of OpenCV.
        picture: The first one.
    """

    engine: str
    precision: str
    path: str
    device: str
    size: Sequence[int]
    threads: int
    picture: str

    def open(self, streams: int = 1) -> Passage:
        """Returns the contender's way from a picture to results; imports what its engine needs."""
        if self.engine in ("onnx", "openvino"):
            kind = OnnxEngine if self.engine == "onnx" else OpenVinoEngine
            engine = kind(
                self.path,
                streams=streams,
                threads=self.threads,
                # Of other files the engine knows itself what is to be between the layers.
                precision=self.precision if self.precision in kind.choices else None,
                device=self.device,
                timings=Timings(),
            )
            return EnginePassage(engine, self.size)
        import torch

        from heatpoint.inference.engines.torch import TorchEngine
        from heatpoint.zoo.detector import Detector

        torch.set_num_threads(self.threads)
        detector, precision = Detector.load(self.path), cast("Precision", self.precision)
        if self.engine == "naive":
            return NaivePassage(detector, self.size, self.device)
        run = TorchEngine(detector, device=self.device, precision=precision, timings=Timings())
        return EnginePassage(run, self.size)


def main() -> int:
    """Serves one contender and returns the exit status."""
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    task = Task(**json.loads(sys.argv[1]))
    try:
        cv2.setNumThreads(task.threads)
        passage = task.open()
        say({"ready": True})
        passage(task.picture)
        say({"first": True})
        for line in sys.stdin:
            say(answer_to(json.loads(line), task, passage))
    except HeatpointError as error:
        say({"error": str(error)})
        return 1
    return 0


def answer_to(request: dict[str, Any], task: Task, passage: Passage) -> dict[str, Any]:
    """Returns what a request asks for; its ``do`` says which of them it is.

    Raises:
        HeatpointError: A picture cannot be read, or memory does not suffice.
    """
    pictures: list[str] = request.get("pictures", [])
    if request["do"] == "round":
        passage(pictures[0])  # other contenders have used the processor's caches since
        return {"rows": [passage(picture) for picture in pictures]}
    if request["do"] == "memory":
        return {"memory": peak_memory()}
    if request["do"] == "rates":
        return {"rates": rates(task, passage, pictures)}
    assert isinstance(passage, NaivePassage)
    return operations(passage.network, task.size, request["precisions"])


def rates(task: Task, passage: Passage, pictures: Sequence[str]) -> dict[str, float]:
    """Returns pictures per second by way of running, as far as the contender has it."""
    if task.engine == "naive":
        return {"one": len(pictures) / sum(sum(passage(each).values()) for each in pictures)}
    found = {"one": passage.rate(pictures, 1), "batch": passage.rate(pictures, 8)}
    if task.engine != "torch" and task.threads > 1:
        several = task.open(streams=task.threads)
        several(pictures[0])
        found["streams"] = several.rate(pictures, 1)
    return found


_SIDE, _TIMES = 2048, 5
"""Rows of the matrices whose product gives the peak, and how often they are multiplied."""


def operations(network: Network, size: Sequence[int], precisions: Sequence[str]) -> dict[str, Any]:
    """Returns the operations of one image, with and without unused heads, and the peaks.

    Counted are matrix products and convolutions, in which practically all the work is; a
    multiplication and an addition are two. A peak is the operations per second of the product of
    two large matrices, the best of some.

    Args:
        network: In evaluation mode.
        size: Input (height, width) in pixels.
        precisions: Those to measure the peak of, as far as torch multiplies in them.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from heatpoint.networks.deformable import by_taps, set_way
    from heatpoint.networks.fast import fast

    set_way(network, by_taps)  # torch counts no operations of torchvision
    found: dict[str, Any] = {"peaks": {}}
    for name, each in (("naive", network), ("network", fast(network, "fp32"))):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            each(torch.zeros((1, len(network.mean), *size), dtype=torch.uint8))
        found[name] = int(counter.get_total_flops())
    square = torch.rand((_SIDE, _SIDE), generator=torch.Generator().manual_seed(0))
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        if name in precisions:
            known = {"one": square.to(dtype)}
            seconds = timeit.repeat("one @ one", number=1, repeat=_TIMES, globals=known)
            found["peaks"][name] = 2 * _SIDE**3 / min(seconds)
    return found


def peak_memory() -> int | None:
    """Returns the most bytes of memory this process has had, None where no one tells (Windows)."""
    status = Path("/proc/self/status")
    if status.is_file():
        # Not getrusage, which on Linux begins with what the parent process had.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


if __name__ == "__main__":
    raise SystemExit(main())
