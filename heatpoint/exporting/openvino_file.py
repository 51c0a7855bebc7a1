"""Writes detectors for OpenVINO: the graph as .xml, the weights beside it as .bin."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from heatpoint.engines.description import KEY, Description
from heatpoint.engines.openvino_runtime import load_openvino
from heatpoint.exporting.onnx_file import to_onnx, write_onnx
from heatpoint.system.files import atomic_write

if TYPE_CHECKING:
    import openvino

    from heatpoint.exporting.graph import Deployed


def to_openvino(deployed: Deployed, description: Description) -> openvino.Model:
    """Returns a detector as an OpenVINO graph with the inputs and outputs of ``to_onnx``.

    Raises:
        HeatpointError: A package is not installed, or the network cannot be written for any size.
    """
    runtime = load_openvino()
    model = to_onnx(deployed, description)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_onnx(model, path)
        # Not ``convert_model``, which does the same and reports home about it.
        read: openvino.Model = runtime.Core().read_model(path)
        return read


def write_openvino(model: openvino.Model, description: Description, path: str | Path) -> None:
    """Writes a graph and its description as ``path``, and its weights as .bin beside it.

    Both are complete before either takes the place of an old one. With the precision "fp16" the
    weights are stored in half, and computed with in whatever the processor prefers.

    Args:
        model: Any graph with the outputs of the description's task, quantised or not.
        description: Becomes the file's metadata.
        path: Ends in .xml.

    Raises:
        HeatpointError: The files cannot be written.
    """
    runtime = load_openvino()
    path = Path(path)
    model.set_rt_info(description.to_json(), [KEY])
    with atomic_write(path) as graph, atomic_write(path.with_suffix(".bin")) as weights:
        try:
            runtime.save_model(model, graph, compress_to_fp16=description.precision == "fp16")
        except RuntimeError as error:
            # What the system refused is a matter of the file, which ``atomic_write`` explains.
            raise OSError(str(error).splitlines()[-1]) from error
        if not weights.exists():
            raise OSError(f"OpenVINO wrote no weights to {weights}")
