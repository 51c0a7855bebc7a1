"""The options of export, which writes detectors as files that run without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from heatpoint.options import Checkpoint, Data, File, Folder, Pictures, Size

if TYPE_CHECKING:
    from pathlib import Path

    from heatpoint.data import Annotations
    from heatpoint.inference.sources import Images
    from heatpoint.zoo.detector import Detector

ExportPrecision = Literal["fp32", "fp16", "bf16", "int8"]


@dataclass
class ExportOptions:
    """Writes a checkpoint as one file that runs without PyTorch, and proves that it agrees."""

    detector: Checkpoint | Path | Detector
    """a checkpoint of train or convert, or the name of fetched weights"""

    path: File | Path
    """file to write: .onnx, or .xml for OpenVINO (its weights go to .bin beside it)"""

    precision: ExportPrecision = "fp32"
    """numbers to store and compute with: .onnx fp32 only; fp16 halves the file, bf16 computes in 16
    bits where the processor can, int8 needs --calibrate"""

    calibrate: Data | Path | Annotations | None = None
    """int8: data set, or pictures, to measure the ranges of numbers on; of a data set, the score
    before and after is compared too"""

    images: Folder | Path | None = None
    """folder of the pictures of --calibrate, if not beside the annotations"""

    max_drop: float = 0.01
    """int8: loss of AP (poses: of PCK) beyond which nothing is written"""

    size: Size | Sequence[int] | None = None
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

    check: Pictures | Images | bool | None = None
    """picture, folder or pattern to compare file and checkpoint on; by default some of --calibrate,
    or drawn ones"""
