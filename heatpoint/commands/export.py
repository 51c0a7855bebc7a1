"""``heatpoint export``: writes a checkpoint as one file that runs without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from heatpoint.commands import parse
from heatpoint.options import Checkpoint, Data, File, Folder, Pictures, Size

if TYPE_CHECKING:
    from heatpoint.data import Annotations
    from heatpoint.inference.engines.description import Description

EXAMPLES = (
    "heatpoint export runs/train/best.safetensors model.onnx",
    "heatpoint export best.safetensors model.xml --precision int8 --calibrate val.json",
)


@dataclass
class Export:
    """Writes a checkpoint as one file that runs without PyTorch, and proves that it agrees."""

    checkpoint: Checkpoint
    """a checkpoint of train or convert, or the name of fetched weights"""

    out: File
    """file to write: .onnx, or .xml for OpenVINO (its weights go to .bin beside it)"""

    precision: Literal["fp32", "fp16", "bf16", "int8"] = "fp32"
    """numbers to store and compute with: .onnx fp32 only; fp16 halves the file, bf16 computes in 16
    bits where the processor can, int8 needs --calibrate"""

    calibrate: Data = ""
    """int8: data set, or pictures, to measure the ranges of numbers on; of a data set, the score
    before and after is compared too"""

    images: Folder = ""
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

    opset: int = 18
    """version of the operators of .onnx, 18 or 19"""

    check: Pictures = ""
    """picture, folder or pattern to compare file and checkpoint on; drawn ones by default"""


def run(words: Sequence[str]) -> int:
    """Exports, compares, and says what was written and how to run it."""
    options = parse(words, "export", Export, EXAMPLES)
    from heatpoint.exporting import export

    about = export(
        options.checkpoint,
        options.out,
        precision=options.precision,
        calibrate=_calibration(options),
        max_drop=options.max_drop,
        size=options.size,
        dynamic=options.dynamic,
        batch=options.batch,
        flip=options.flip,
        max_detections=options.max_detections,
        opset=options.opset,
        check=options.check or True,
        report=print,
    )
    files = [Path(options.out)]
    if files[0].suffix.lower() == ".xml":
        files.append(files[0].with_suffix(".bin"))
    for file in files:
        print(f"{file}: {file.stat().st_size / 2**20:.2f} MiB")
    for line in _ends(options.out, about):
        print(f"  {line}")
    print(f"run it: heatpoint predict {options.out} PICTURES")
    return 0


def _calibration(options: Export) -> Annotations | str | None:
    from heatpoint.data.readers import read
    from heatpoint.errors import HeatpointError

    if options.images and not options.calibrate:
        raise HeatpointError("--images is the folder of --calibrate's pictures; give both")
    if options.images:
        return read(options.calibrate, options.images)
    return options.calibrate or None


def _ends(path: str, about: Description) -> list[str]:
    """Returns a line about the input, and one about each output, as one run gives them."""
    import numpy as np

    from heatpoint.inference.engines import open_engine

    height, width = about.size
    sides = f"{height} x {width}"
    legal = "no other size"
    if about.dynamic:
        less = f" less {about.trim}" if about.trim else ""
        sides, legal = (
            "H x W",
            f"multiples of {about.multiple}{less}, {height} x {width} by default",
        )
    count = "B" if about.batch is None else str(about.batch)
    lines = [f"images: {count} x 3 x {sides} uint8, RGB; {legal}"]
    black = np.zeros((about.batch or 1, 3, height, width), np.uint8)
    for name, array in open_engine(path)(black).items():
        shape = " x ".join([count, *map(str, array.shape[1:])])
        lines.append(f"{name}: {shape} {array.dtype}")
    return lines
