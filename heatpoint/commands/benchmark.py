"""``heatpoint benchmark``: times a model stage by stage, engine by engine."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from heatpoint.commands import parse
from heatpoint.options import Checkpoint, Folder, Pictures, Size

EXAMPLES = (
    "heatpoint benchmark runs/train/best.safetensors",
    "heatpoint benchmark model.onnx --size 320 --throughput",
)


@dataclass
class BenchmarkOptions:
    """Times a model from a picture on disk to results, stage by stage and engine by engine."""

    checkpoint: Checkpoint
    """a checkpoint of train or convert, the name of fetched weights, or a .onnx or .xml file of
    export, which is then timed alone"""

    engine: str = ""
    """torch, onnx, openvino, several separated by commas; all that are installed by default"""

    precision: str = ""
    """fp32, bf16, int8, several separated by commas; by default fp32 and, where the processor
    multiplies it, bf16; int8 is calibrated on a few of the pictures, for its speed only"""

    size: Size | None = None
    """input size, 512 or 384x512 (height x width); the checkpoint's own by default"""

    images: Pictures = ""
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


def run(words: Sequence[str]) -> int:
    """Times, prints tables, and writes numbers and picture; 1 if a contender failed."""
    options = parse(words, "benchmark", BenchmarkOptions, EXAMPLES)
    from pathlib import Path

    from heatpoint.benchmarking import benchmark
    from heatpoint.benchmarking.report import draw_chart
    from heatpoint.cli import EXIT_MISTAKE
    from heatpoint.commands.display import Progress, print_table
    from heatpoint.system.files import write_json

    with Progress("preparing") as progress:
        report = benchmark(
            options.checkpoint,
            engines=_names(options.engine),
            precisions=_names(options.precision),
            size=options.size,
            images=options.images or None,
            threads=options.threads,
            rounds=options.rounds,
            starts=options.starts,
            throughput=options.throughput,
            out=options.out,
            progress=progress.step,
        )
    for columns, rows in (report.totals(), report.parts(), report.throughput()):
        if rows:
            print_table(columns, rows)
            print()
    for line in report.shares():
        print(line)
    numbers, picture = (Path(options.out) / f"benchmark.{kind}" for kind in ("json", "png"))
    write_json(numbers, report.as_dict())
    draw_chart(picture, report)
    print(f"numbers and protocol: {numbers}; picture: {picture}")
    for name, reason in report.left_out.items():
        print(f"heatpoint benchmark: left out {name}: {reason}", file=sys.stderr)
    for name, reason in report.failed.items():
        print(f"heatpoint benchmark: {name} failed: {reason}", file=sys.stderr)
    return EXIT_MISTAKE if report.failed else 0


def _names(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
