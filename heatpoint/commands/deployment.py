"""``heatpoint export``, ``benchmark`` and ``serve``: files without PyTorch, speed, a server."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from heatpoint.errors import EXIT_MISTAKE, HeatpointError
from heatpoint.options import Checkpoint, Data, File, Folder, Name, Pictures, Size, Words, passed
from heatpoint.serving import ServeOptions

if TYPE_CHECKING:
    from heatpoint.data import Annotations
    from heatpoint.inference.engines.description import Description


@dataclass
class Export:
    """Writes a checkpoint as one file that runs without PyTorch, and proves that it agrees.

    Examples:
        heatpoint export runs/train/best.safetensors model.onnx
        heatpoint export best.safetensors model.xml --precision int8 --calibrate val.json
    """

    checkpoint: Checkpoint
    """a checkpoint of train or convert, or the name of fetched weights"""

    out: File
    """file to write: .onnx, or .xml for OpenVINO (its weights go to .bin beside it)"""

    precision: Literal["fp32", "fp16", "bf16", "int8"] = "fp32"
    """numbers to store and compute with: .onnx fp32 only; fp16 halves the file, bf16 computes in 16
    bits where the processor can, int8 needs --calibrate"""

    calibrate: Data | None = None
    """int8: data set, or pictures, to measure the ranges of numbers on; of a data set, the score
    before and after is compared too"""

    images: Folder | None = None
    """folder of the pictures of --calibrate, if not beside the annotations"""

    max_drop: float = 0.01
    """int8: loss of AP (poses: of PCK) beyond which nothing is written"""

    size: Size | None = None
    """input size, 512 or 384x512 (height x width); the checkpoint's own by default"""

    dynamic: bool = True
    """accept every legal size, not this one only"""

    batch: int | None = None
    """number of pictures of every run; any by default"""

    flip: bool = False
    """average with the mirrored picture, inside the file"""

    max_detections: int = 100
    """most results per picture, at least"""

    opset: int | None = None
    """version of the operators of .onnx, 18 or 19; the lowest that the network needs by default"""

    check: Pictures | None = None
    """picture, folder or pattern to compare file and checkpoint on; drawn ones by default"""

    def run(self) -> None:
        """Exports, compares, and says what was written and how to run it."""
        from heatpoint.data.readers import read
        from heatpoint.exporting import export

        calibrate: str | Annotations | None = self.calibrate
        if self.images:
            if not self.calibrate:
                raise HeatpointError("--images is the folder of --calibrate's pictures; give both")
            calibrate = read(self.calibrate, self.images)
        about = export(
            self.checkpoint,
            self.out,
            calibrate=calibrate,
            check=self.check or True,
            report=print,
            **passed(self, "checkpoint", "out", "calibrate", "images", "check"),
        )
        files = [Path(self.out)]
        if files[0].suffix.lower() == ".xml":
            files.append(files[0].with_suffix(".bin"))
        for file in files:
            print(f"{file}: {file.stat().st_size / 2**20:.2f} MiB")
        for line in _ends(self.out, about):
            print(f"  {line}")
        print(f"run it: heatpoint predict {self.out} PICTURES")


def _ends(path: str, about: Description) -> list[str]:
    """Returns a line about the input, and one about each output, as one run gives them."""
    import numpy as np

    from heatpoint.geometry import RGB, less
    from heatpoint.inference.engines import open_engine

    height, width = about.size
    sides, legal = f"{height} x {width}", "no other size"
    if about.dynamic:
        legal = f"multiples of {about.multiple}{less(about.trim)}, {sides} by default"
        sides = "H x W"
    count = "B" if about.batch is None else str(about.batch)
    rgb = ", RGB" if about.bands == RGB else ""
    lines = [f"images: {count} x {about.channels} x {sides} {about.dtype}{rgb}; {legal}"]
    black = np.zeros((about.batch or 1, about.channels, height, width), about.dtype)
    for name, array in open_engine(path, device="cpu")(black).items():
        shape = " x ".join([count, *map(str, array.shape[1:])])
        lines.append(f"{name}: {shape} {array.dtype}")
    return lines


@dataclass
class Benchmark:
    """Times a model from a picture on disk to results, stage by stage and engine by engine.

    Examples:
        heatpoint benchmark runs/train/best.safetensors
        heatpoint benchmark model.onnx --size 320 --throughput
    """

    checkpoint: Checkpoint
    """a checkpoint of train or convert, the name of fetched weights, or a .onnx or .xml file of
    export, which is then timed alone"""

    engine: Words = ()
    """torch, onnx, openvino, several separated by commas; all that are installed by default"""

    precision: Words = ()
    """fp32, bf16, fp16, int8, several separated by commas; by default fp32 and, where the device
    multiplies it, bf16 or fp16; int8 is calibrated on a few of the pictures, for its speed only"""

    device: Name = "cpu"
    """where all run, as for predict: cpu, cuda, tensorrt, gpu, npu; engines without it are left
    out"""

    size: Size | None = None
    """input size, 512 or 384x512 (height x width); the checkpoint's own by default"""

    images: Pictures | None = None
    """a picture, a folder of pictures or a pattern; some of 640x480 are drawn without"""

    threads: int | None = None
    """threads of each contender; all cores by default"""

    rounds: int = 20
    """turns of each contender, of up to four pictures"""

    starts: int = 2
    """processes of each contender that are timed from their start, of which the quickest counts"""

    throughput: bool = False
    """measure pictures per second, too: one by one, in streams, and in batches of eight"""

    out: Folder = "runs/benchmark"
    """folder for benchmark.json, benchmark.png, exported files and drawn pictures"""

    def run(self) -> int:
        """Times, prints tables, and writes numbers and picture; 1 if a contender failed."""
        from heatpoint.benchmarking import benchmark
        from heatpoint.benchmarking.report import draw_chart
        from heatpoint.commands.display import Progress, print_table
        from heatpoint.system.files import write_json

        with Progress("preparing") as progress:
            report = benchmark(
                self.checkpoint,
                engines=self.engine,
                precisions=self.precision,
                progress=progress.step,
                **passed(self, "checkpoint", "engine", "precision"),
            )
        for columns, rows in (report.totals(), report.parts(), report.throughput()):
            if rows:
                print_table(columns, rows)
                print()
        for line in report.shares():
            print(line)
        numbers, picture = (Path(self.out, f"benchmark.{kind}") for kind in ("json", "png"))
        write_json(numbers, report.as_dict())
        draw_chart(picture, report)
        print(f"numbers and protocol: {numbers}; picture: {picture}")
        for name, reason in report.left_out.items():
            print(f"heatpoint benchmark: left out {name}: {reason}", file=sys.stderr)
        for name, reason in report.failed.items():
            print(f"heatpoint benchmark: {name} failed: {reason}", file=sys.stderr)
        return EXIT_MISTAKE if report.failed else 0


@dataclass
class Serve:
    """Answers requests over HTTP until Ctrl-C, and shows a page to try the model on.

    Examples:
        heatpoint serve model.onnx
        heatpoint serve runs/train/best.safetensors --host 0.0.0.0 --port 80 --score 0.5
    """

    how: ServeOptions

    def run(self) -> None:
        """Listens until a signal comes, and finishes what is under way."""
        from heatpoint.serving.server import serve

        serve(self.how, lambda text: print(text, flush=True))
        print("stopped; every request under way was answered")
