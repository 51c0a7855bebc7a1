"""Runs detectors: checkpoints with torch, exported files with ONNX Runtime or OpenVINO."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from heatpoint.errors import HeatpointError
from heatpoint.inference.engines.engine import Engine as Engine
from heatpoint.inference.engines.engine import Timings
from heatpoint.inference.engines.onnx import OnnxEngine
from heatpoint.inference.engines.openvino import OpenVinoEngine

if TYPE_CHECKING:
    import torch

    from heatpoint.networks.fast import Precision
    from heatpoint.zoo.detector import Detector

EXPORTED = (".onnx", ".xml")
"""Endings of exported files; everything else is a checkpoint or the name of published weights."""


def is_exported(model: object) -> TypeGuard[str | Path]:
    """Tells whether a model is named by the path of an exported file."""
    return isinstance(model, (str, Path)) and Path(model).suffix.lower() in EXPORTED


def open_engine(
    model: Detector | Engine | str | Path,
    *,
    flip: bool = False,
    max_detections: int = 100,
    device: str | torch.device = "auto",
    precision: Precision = "auto",
    streams: int = 1,
    threads: int | None = None,
    timings: Timings | None = None,
) -> Engine:
    """Returns what runs a model, which a file's ending tells: torch, ONNX Runtime or OpenVINO.

    Nothing of torch is imported for an exported file, whose flip test, precision and number of
    results were settled when it was made.

    Args:
        model: A detector, its checkpoint, the name of published weights, a .onnx or a .xml file;
            or an engine, which is returned as it is and had the other arguments when it was opened.
        flip: Averages the maps with those of the mirrored image.
        max_detections: Most boxes per image.
        device: "auto", "cpu", "cuda" or "cuda:N"; of checkpoints any other torch device too, of
            exported files "tensorrt", and Intel's "gpu" and "npu". One that is not there is an
            error, and "auto" takes the best that is.
        precision: "auto", "fp32", "bf16" or "fp16".
        streams: Batches under way at once; more than one takes an exported file.
        threads: Of an exported file, processor cores for all batches together; all that this
            process may use by default.
        timings: Filled as the engine works.

    Raises:
        HeatpointError: The file is missing, damaged or made by a newer version, its runtime is not
            installed or has no such device here, or it was not exported for what is asked.

    Example:
        >>> engine = open_engine("model.xml", streams=2)  # doctest: +SKIP
        >>> results = heatpoint.predict(engine, "photos/*.jpg")  # doctest: +SKIP
    """
    if isinstance(model, Engine):
        if (flip, str(device), precision, streams, timings) != (False, "auto", "auto", 1, None):
            raise HeatpointError(
                "the engine is open already; give flip, device, precision, streams and timings to "
                "open_engine"
            )
        engine = model
    elif streams < 1:
        raise HeatpointError(f"streams must be at least 1, not {streams}")
    elif is_exported(model):
        kind = OnnxEngine if Path(model).suffix.lower() == ".onnx" else OpenVinoEngine
        chosen = None if precision == "auto" else precision
        engine = kind(
            model,
            streams=streams,
            threads=threads,
            precision=chosen,
            device=device,
            timings=timings,
        )
        if flip and not engine.description.flip:
            raise HeatpointError(
                f"{model} was exported without the mirrored image; export it with --flip"
            )
    elif streams > 1:
        raise HeatpointError(
            f"{streams} streams need an exported file, because torch shares one pool of threads; "
            "see heatpoint export"
        )
    else:
        from heatpoint.inference.engines.torch import TorchEngine
        from heatpoint.zoo.detector import Detector

        detector = model if isinstance(model, Detector) else Detector.load(model)
        return TorchEngine(
            detector,
            flip=flip,
            max_detections=max_detections,
            device=device,
            precision=precision,
            timings=timings,
        )
    about = engine.description
    if 1 < about.rows < max_detections and not about.view_type.returns:
        raise HeatpointError(
            f"{about.called} gives {about.rows} results per image, not {max_detections}; "
            f"export it with --max-detections {max_detections}"
        )
    return engine
