"""The options of benchmark, which times a model from a picture on disk to results.

Each contender is a process of its own, so this package imports nothing: a process loads what its
engine needs and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from heatpoint.options import Checkpoint, Folder, Name, Pictures, Size, Words

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class BenchmarkOptions:
    """Times a model from a picture on disk to results, stage by stage and engine by engine."""

    model: Checkpoint | Path
    """a checkpoint of train or convert, the name of fetched weights, or a .onnx or .xml file of
    export, which is then timed alone"""

    engines: Words | Sequence[str] = field(default=(), metadata={"alias": "engine"})
    """torch, onnx, openvino, several separated by commas; all that are installed by default"""

    precisions: Words | Sequence[str] = field(default=(), metadata={"alias": "precision"})
    """fp32, bf16, fp16, int8, several separated by commas; by default fp32 and, where the device
    multiplies it, bf16 or fp16; int8 is calibrated on a few of the pictures, for its speed only"""

    device: Name = "cpu"
    """where all run, as for predict: cpu, cuda, tensorrt, gpu, npu; engines without it are left
    out"""

    size: Size | Sequence[int] | None = None
    """input size, 512 or 384x512 (height x width); the checkpoint's own by default"""

    images: Pictures | Path | Sequence[Pictures | Path] | None = None
    """a picture, a folder of pictures or a pattern; some of 640x480 are drawn without"""

    threads: int | None = None
    """threads of each contender; all cores by default"""

    rounds: int = 20
    """turns of each contender, of up to four pictures"""

    starts: int = 2
    """processes of each contender that are timed from their start, of which the quickest counts:
    the first one finds its program still on disk"""

    throughput: bool = False
    """measure pictures per second, too: one by one, in streams, and in batches of eight"""

    out: Folder | Path = "runs/benchmark"
    """folder for benchmark.json, benchmark.png, exported files and drawn pictures"""
