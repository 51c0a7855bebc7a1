"""The files that contenders run: the checkpoint itself, and what is exported from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from heatpoint.benchmarking.contenders import Contender
from heatpoint.detector.detector import Detector
from heatpoint.engines.torch import describe
from heatpoint.errors import HeatpointError
from heatpoint.inference.sources import Source

CALIBRATION = 16
"""Pictures that ranges of 8-bit numbers are measured on: enough to time them, not to trust them."""


def export_all(
    checkpoint: Path,
    detector: Detector,
    contenders: Sequence[Contender],
    size: tuple[int, int],
    sources: Sequence[Source],
    out: Path,
) -> tuple[dict[Contender, Path], dict[str, str]]:
    """Writes what contenders need to ``out`` and returns the file of each.

    Args:
        checkpoint: What torch runs.
        detector: The same.
        contenders: All who take part.
        size: Input (height, width) in pixels.
        sources: Pictures to calibrate 8-bit numbers with, of which the first few are used.
        out: The folder.

    Returns:
        The files, and a sentence by name about contenders that none could be made for.
    """
    files: dict[Contender, Path] = {}
    failed: dict[str, str] = {}
    for contender in contenders:
        if contender.engine in ("naive", "torch"):
            files[contender] = checkpoint
            continue
        ending = ".onnx" if contender.engine == "onnx" else ".xml"
        path = out / ("model-int8" if contender.precision == "int8" else "model")
        path = path.with_suffix(ending)
        try:
            # One file in fp32 serves bf16 too, which is what the engine is told to compute in.
            if path not in files.values():
                _export(detector, path, size, contender.precision, sources)
        except HeatpointError as error:
            failed[contender.name] = str(error)
        else:
            files[contender] = path
    return files, failed


def _export(
    detector: Detector,
    path: Path,
    size: tuple[int, int],
    precision: str,
    sources: Sequence[Source],
) -> None:
    from heatpoint.exporting import export

    if precision != "int8":
        # An untrained model has a speed, but finds nothing that could be compared.
        export(detector, path, size=size, check=False)
        return
    from heatpoint.exporting.graph import Deployed
    from heatpoint.exporting.openvino_file import to_openvino, write_openvino
    from heatpoint.exporting.quantize import Calibration, to_int8

    about = replace(describe(detector), size=size, precision=precision)
    deployed = Deployed(detector, flip=False, max_detections=about.max_detections)
    model = to_openvino(deployed, about)
    chosen = Calibration(list(sources[:CALIBRATION]))
    write_openvino(to_int8(model, about, chosen), about, path)
