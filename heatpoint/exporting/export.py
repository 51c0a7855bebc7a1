"""Writes a detector as a file: its graph, the comparison with the detector, and then the name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from heatpoint.data.readers import read
from heatpoint.errors import HeatpointError, check_choice
from heatpoint.exporting import ExportOptions, ExportPrecision
from heatpoint.exporting.graph import OPSETS, Deployed, to_onnx, to_openvino
from heatpoint.exporting.parity import check_parity
from heatpoint.exporting.quantize import Calibration, check_accuracy, read_calibration, to_int8
from heatpoint.inference.engines.description import KEY, Description
from heatpoint.inference.engines.openvino import OpenVinoEngine
from heatpoint.inference.engines.torch import describe
from heatpoint.options import keywords
from heatpoint.system.files import atomic_write, partial_name
from heatpoint.system.outputs import check_outputs
from heatpoint.views import input_size
from heatpoint.zoo.detector import Detector

if TYPE_CHECKING:
    import onnx

SHOWN = 16
"""Pictures of a calibration set, at most, that a file is compared with its checkpoint on."""


@keywords(ExportOptions, positional=2)
def export(options: ExportOptions, *, report: Callable[[str], None] | None = None) -> Description:
    """Writes a detector with its normalisation and decoding as one file, uint8 pixels to boxes.

    The file gets its name when it has been compared with the detector; until then an older one of
    that name stays. It needs neither PyTorch nor a checkpoint to run; ``open_engine`` and
    everything above it take it like one.

    Args:
        options: Say what is written where, and how; with ``check`` False nothing is compared.
        report: Called with a line about each comparison.

    Returns:
        What the file says about itself.

    Raises:
        HeatpointError: An argument is out of range, a package is not installed, the network
            cannot be written for any size, the file cannot be written, or its results are not
            those of the detector.

    Example:
        >>> import heatpoint
        >>> heatpoint.export("best.safetensors", "model.onnx").size  # doctest: +SKIP
        (512, 512)
    """
    _check(options)
    path, detector, calibrate = Path(options.path), options.detector, options.calibrate
    if options.images:
        if not isinstance(calibrate, str):
            raise HeatpointError("--images is the folder of --calibrate's pictures; give both")
        calibrate = read(calibrate, options.images)
    files = [path] if path.suffix.lower() == ".onnx" else [path, path.with_suffix(".bin")]
    source = getattr(calibrate, "source", calibrate)
    check_outputs({"exported": files}, [detector, source, options.check])
    if not isinstance(detector, Detector):
        detector = Detector.load(detector)
    flip, most = options.flip, options.max_detections
    network = detector.network
    description = replace(
        describe(detector, flip=flip, max_detections=most),
        size=input_size(options.size, detector.size, network.multiple, network.trim),
        dynamic=options.dynamic,
        batch=options.batch,
        precision=options.precision,
    )
    calibration = None if calibrate is None else read_calibration(calibrate, detector.bands)
    deployed = Deployed(detector, flip=flip, max_detections=most)
    graph = to_onnx(deployed, description, options.opset)
    say = report or (lambda line: None)
    with drafted(path) as draft:
        write(graph, description, draft, calibration)
        pictures = None if isinstance(options.check, bool) else options.check
        if pictures is None and calibration is not None:
            pictures = [source.content for source in calibration.sources[:SHOWN]]
        if options.check is not False:
            say(check_parity(detector, draft, pictures).summary())
        if calibration is not None and calibration.truth is not None:
            accuracy = check_accuracy(detector, draft, calibration.truth, options.max_drop)
            say(accuracy.summary() if accuracy else "no score: the pictures hold nothing to find")
    return description


def write(
    graph: onnx.ModelProto,
    description: Description,
    path: Path,
    calibration: Calibration | None = None,
) -> None:
    """Writes a graph in the format that the ending of ``path`` tells; weights of .xml go to .bin.

    Args:
        graph: Of ``to_onnx``; it may serve several files, one after the other.
        description: Becomes the file's metadata.
        path: Ends in .onnx or .xml.
        calibration: Pictures to measure the ranges of 8-bit numbers on; None for other numbers.

    Raises:
        HeatpointError: A package is not installed, or the network cannot be quantised.
        OSError: The system refuses.
    """
    if path.suffix.lower() == ".onnx":
        from onnx.helper import set_model_props

        set_model_props(graph, {KEY: description.to_json()})
        path.write_bytes(graph.SerializeToString())
        return
    model = to_openvino(graph)
    if calibration is not None:
        model = to_int8(model, description, calibration)
    model.set_rt_info(description.to_json(), [KEY])
    half = description.precision == "fp16"  # stored so, and computed with in what the CPU prefers
    try:
        OpenVinoEngine.library().save_model(model, path, compress_to_fp16=half)
    except RuntimeError as error:
        raise OSError(str(error).splitlines()[-1]) from error
    if not path.with_suffix(".bin").exists():
        raise OSError("OpenVINO wrote no weights")


@contextmanager
def drafted(path: Path) -> Iterator[Path]:
    """Yields where to write a file first; what is there at the end is moved to ``path``.

    Raises:
        HeatpointError: The system refuses.
    """
    with atomic_write(path) as whole:
        folder = partial_name(whole.parent / "export")
        folder.mkdir()
        try:
            yield (draft := folder / path.name)
            weights = draft.with_suffix(".bin")
            if weights.exists():  # first: an .xml file is looked for by its own name
                with atomic_write(path.with_suffix(".bin")) as whole_weights:
                    os.replace(weights, whole_weights)
            os.replace(draft, whole)
        except HeatpointError as error:  # of a check of the draft, which the user does not know
            raise HeatpointError(str(error).replace(str(draft), str(path))) from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _check(options: ExportOptions) -> None:
    """Raises HeatpointError for what can be refused before any work is done."""
    path, precision, opset = Path(options.path), options.precision, options.opset
    suffix, calibrated = path.suffix.lower(), options.calibrate is not None
    if suffix not in (".onnx", ".xml"):
        raise HeatpointError(
            f"{path} should end in .onnx, or in .xml for OpenVINO; choose a name that does"
        )
    check_choice("precision", precision, get_args(ExportPrecision))
    if suffix == ".onnx" and precision != "fp32":
        raise HeatpointError(
            f"an .onnx file computes in fp32, not {precision}; leave precision out or write an "
            ".xml file"
        )
    if opset not in (None, *OPSETS):
        raise HeatpointError(
            f"opset must be one of {', '.join(map(str, OPSETS))}, not {opset}; PyTorch writes none "
            "below, and from 20 on TensorRT enlarges maps wrongly"
        )
    if suffix == ".xml" and opset is not None:
        raise HeatpointError(f"opset {opset} is of .onnx files; leave it out for {path}")
    if options.batch is not None and options.batch < 1:
        raise HeatpointError(
            f"batch must be at least 1, or None for any number, not {options.batch}"
        )
    if options.max_detections < 1:
        raise HeatpointError(f"max_detections must be at least 1, not {options.max_detections}")
    if precision == "int8" and not calibrated:
        raise HeatpointError(
            "int8 needs pictures to measure the ranges of its numbers on; give a data set or "
            "pictures with --calibrate"
        )
    if precision != "int8" and calibrated:
        raise HeatpointError(
            f"--calibrate is for --precision int8, not {precision}; leave it out for {path}"
        )
    if not 0.0 <= options.max_drop <= 1.0:
        raise HeatpointError(f"max_drop must lie in [0, 1], not {options.max_drop}")
    if suffix == ".xml":
        OpenVinoEngine.library()  # which says how to install it
