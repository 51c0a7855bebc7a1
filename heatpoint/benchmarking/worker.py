"""The process of one contender: ``python -m heatpoint.benchmarking.worker TASK``.

It says that it is ready, runs one picture, says so, and then does what it reads from standard
input, one JSON object per line in and out, until that is closed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import cv2

from heatpoint.benchmarking.passage import EnginePassage, NaivePassage, Passage
from heatpoint.errors import HeatpointError
from heatpoint.inference.engines.timings import Timings

if TYPE_CHECKING:
    import torch

    from heatpoint.inference.engines.engine import Engine
    from heatpoint.networks.network import Network


_SIDE, _TIMES = 2048, 5
"""Rows of the matrices whose product gives the peak, and how often they are multiplied."""


class Task(TypedDict):
    """What a process is to run.

    Attributes:
        engine: Of the contender.
        precision: Of the contender.
        path: The checkpoint or exported file.
        size: Input [height, width] in pixels.
        threads: Of the network and of OpenCV.
        picture: The first one.
    """

    engine: str
    precision: str
    path: str
    size: list[int]
    threads: int
    picture: str


def main() -> int:
    """Serves one contender and returns the exit status."""
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    task: Task = json.loads(sys.argv[1])
    try:
        cv2.setNumThreads(task["threads"])
        passage = open_passage(task)
        say({"ready": True})
        passage(task["picture"])
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
    if request["do"] == "round":
        pictures: list[str] = request["pictures"]
        passage(pictures[0])  # other contenders have used the processor's caches since
        return {"rows": [passage(picture) for picture in pictures]}
    if request["do"] == "memory":
        return {"memory": peak_memory()}
    if request["do"] == "rates":
        return {"rates": rates(task, passage, request["pictures"])}
    return operations(task, request["precisions"])


def open_passage(task: Task) -> Passage:
    """Returns the contender's way from a picture to results; imports what its engine needs."""
    size = (task["size"][0], task["size"][1])
    if task["engine"] != "naive":
        return EnginePassage(open_one(task, streams=1), size)
    import torch

    from heatpoint.zoo.detector import Detector

    torch.set_num_threads(task["threads"])
    return NaivePassage(Detector.load(task["path"]), size)


def open_one(task: Task, streams: int) -> Engine:
    """Returns the contender's engine, with as many threads as the task says."""
    path, threads, precision = task["path"], task["threads"], task["precision"]
    if task["engine"] == "onnx":
        from heatpoint.inference.engines.onnx import OnnxEngine

        return OnnxEngine(path, streams=streams, threads=threads, timings=Timings())
    if task["engine"] == "openvino":
        from heatpoint.inference.engines.openvino import OpenVinoEngine

        return OpenVinoEngine(
            path,
            streams=streams,
            threads=threads,
            # Of other files the engine knows itself what is to be between the layers.
            precision="bf16" if precision == "bf16" else "fp32" if precision == "fp32" else None,
            timings=Timings(),
        )
    import torch

    from heatpoint.inference.engines.torch import TorchEngine
    from heatpoint.zoo.detector import Detector

    torch.set_num_threads(threads)
    return TorchEngine(
        Detector.load(path),
        device="cpu",
        precision="bf16" if precision == "bf16" else "fp32",
        timings=Timings(),
    )


def rates(task: Task, passage: Passage, pictures: Sequence[str]) -> dict[str, float]:
    """Returns pictures per second by way of running, as far as the contender has it."""
    if not isinstance(passage, EnginePassage):
        rows = [passage(picture) for picture in pictures]
        return {"one": len(rows) / sum(sum(row.values()) for row in rows)}
    found = {"one": passage.rate(pictures, 1), "batch": passage.rate(pictures, 8)}
    if task["engine"] != "torch" and task["threads"] > 1:
        several = EnginePassage(
            open_one(task, streams=task["threads"]), (task["size"][0], task["size"][1])
        )
        several(pictures[0])
        found["streams"] = several.rate(pictures, 1)
    return found


def operations(task: Task, precisions: Sequence[str]) -> dict[str, Any]:
    """Returns the operations of the network, with and without unused heads, and the peaks."""
    import torch

    from heatpoint.networks.fast import fast
    from heatpoint.zoo.detector import Detector

    size, network = (task["size"][0], task["size"][1]), Detector.load(task["path"]).network
    types = {"fp32": torch.float32, "bf16": torch.bfloat16}
    return {
        "naive": count_operations(network, size),
        "network": count_operations(fast(network, "fp32"), size),
        "peaks": {name: measure_peak(types[name]) for name in precisions if name in types},
    }


def count_operations(network: Network, size: tuple[int, int]) -> int:
    """Returns the floating point operations of one image, a multiplication and an addition as two.

    Counted are matrix products and convolutions, in which practically all the work is.

    Args:
        network: In evaluation mode.
        size: Input (height, width) in pixels.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros((1, 3, *size), dtype=torch.uint8))
    return int(counter.get_total_flops())


def measure_peak(dtype: torch.dtype) -> float:
    """Returns the operations per second of the product of two large matrices, the best of some."""
    import torch

    one = torch.rand((_SIDE, _SIDE), generator=torch.Generator().manual_seed(0)).to(dtype)
    best = float("inf")
    for _ in range(_TIMES):
        start = time.perf_counter()
        torch.matmul(one, one)
        best = min(best, time.perf_counter() - start)
    return 2 * _SIDE**3 / best


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
