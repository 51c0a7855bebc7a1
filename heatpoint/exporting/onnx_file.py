"""Writes detectors as ONNX files of standard operators."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from heatpoint.engines.description import KEY, Description
from heatpoint.errors import HeatpointError
from heatpoint.exporting.graph import Deployed, trace
from heatpoint.system.files import atomic_write

if TYPE_CHECKING:
    import onnx

OPSETS = (16, 17, 18, 19)
"""From 20 on TensorRT samples other pixels than ONNX says where a map is enlarged."""


def to_onnx(deployed: Deployed, description: Description, opset: int = 17) -> onnx.ModelProto:
    """Returns a detector as an ONNX graph with the input ``images`` and named outputs.

    Of PyTorch's two exporters this is the older, which writes a trace. The newer one cannot write
    an opset below 18, takes ten times as long, and its integer divisions go through float32, whose
    whole numbers end before the cells of a large heatmap; the graphs are equally fast.

    Args:
        deployed: The detector.
        description: Says whether size and batch are open, and becomes the file's metadata.
        opset: Version of the operators, one of ``OPSETS``.

    Raises:
        HeatpointError: The package onnx is not installed, the opset is another one, or the network
            cannot be written for any size.
    """
    if opset not in OPSETS:
        raise HeatpointError(
            f"opset must be one of {', '.join(map(str, OPSETS))}, not {opset}; 17 suits most "
            "runtimes, and from 20 on TensorRT enlarges maps wrongly"
        )
    try:
        import onnx
    except ImportError:
        raise HeatpointError(
            "export needs the package onnx; install it with pip install 'heatpoint[onnx]', or "
            "'heatpoint[openvino]' for OpenVINO"
        ) from None
    graph, example = trace(deployed, description)
    open_axes = {} if description.batch else {0: "batch"}
    sides = {2: "height", 3: "width"} if description.dynamic else {}
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        warnings.simplefilter("ignore")  # the exporter's own: it is the older, and verbose
        torch.onnx.export(
            graph,
            (example,),
            path,
            input_names=["images"],
            output_names=list(deployed.outputs),
            dynamic_axes={
                "images": open_axes | sides,
                **dict.fromkeys(deployed.outputs, open_axes),
            },
            opset_version=opset,
            dynamo=False,
        )
        model = onnx.load(path)
    with torch.no_grad():
        answer = graph(example)
    for info, values in zip(model.graph.output, answer, strict=True):
        _name_sides(info, tuple(values.shape), description)
    model.producer_name = "heatpoint"
    onnx.helper.set_model_props(model, {KEY: description.to_json()})
    onnx.checker.check_model(model, full_check=True)
    return model


def _name_sides(
    info: onnx.ValueInfoProto, shape: tuple[int, ...], description: Description
) -> None:
    """Says of an output's sides what is known, where the exporter invents names."""
    sides = info.type.tensor_type.shape.dim
    for index, (side, known) in enumerate(zip(sides, shape, strict=True)):
        side.Clear()
        if index == 0 and description.batch is None:
            side.dim_param = "batch"
        else:
            side.dim_value = known


def write_onnx(model: onnx.ModelProto, path: str | Path) -> None:
    """Writes a graph, atomically.

    Raises:
        HeatpointError: The file cannot be written.
    """
    with atomic_write(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
