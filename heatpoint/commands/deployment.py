"""``heatpoint export``, ``benchmark`` and ``serve``: files without PyTorch, speed, a server."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from heatpoint.benchmarking import BenchmarkOptions
from heatpoint.errors import EXIT_MISTAKE
from heatpoint.exporting import ExportOptions
from heatpoint.options import as_keywords
from heatpoint.serving import ServeOptions

if TYPE_CHECKING:
    from heatpoint.inference.engines.description import Description


@dataclass
class Export:
    """Writes a checkpoint as one file that runs without PyTorch, and proves that it agrees.

    Examples:
        heatpoint export runs/train/best.safetensors model.onnx
        heatpoint export best.safetensors model.xml --precision int8 --calibrate val.json
    """

    options: ExportOptions

    def run(self) -> None:
        """Exports, compares, and says what was written and how to run it."""
        from heatpoint.exporting.export import export

        about = export(**as_keywords(self.options), report=print)
        out = str(self.options.path)
        files = [Path(out)]
        if files[0].suffix.lower() == ".xml":
            files.append(files[0].with_suffix(".bin"))
        for file in files:
            print(f"{file}: {file.stat().st_size / 2**20:.2f} MiB")
        for line in _ends(out, about):
            print(f"  {line}")
        print(f"run it: heatpoint predict {out} PICTURES")


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

    options: BenchmarkOptions

    def run(self) -> int:
        """Times, prints tables, and writes numbers and picture; 1 if a contender failed."""
        from heatpoint.benchmarking.benchmark import benchmark
        from heatpoint.benchmarking.report import draw_chart
        from heatpoint.commands.display import Progress, print_table
        from heatpoint.system.files import write_json

        with Progress("preparing") as progress:
            report = benchmark(**as_keywords(self.options), progress=progress.step)
        for columns, rows in (report.totals(), report.parts(), report.throughput()):
            if rows:
                print_table(columns, rows)
                print()
        for line in report.shares():
            print(line)
        numbers, picture = (Path(self.options.out, f"benchmark.{kind}") for kind in ("json", "png"))
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
