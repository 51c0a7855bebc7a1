"""Writes detectors as files for other runtimes: ONNX, and OpenVINO's .xml with .bin beside it."""

from __future__ import annotations

import ast
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from heatpoint.errors import HeatpointError
from heatpoint.exporting.graph import Deployed, written
from heatpoint.inference.engines.description import KEY, Description
from heatpoint.inference.engines.openvino import load_openvino
from heatpoint.system.files import atomic_write

if TYPE_CHECKING:
    import onnx
    import openvino

OPSETS = (18, 19)
"""PyTorch writes none below; from 20 on TensorRT samples other pixels where a map is enlarged."""

_SCOPES = "pkg.torch.onnx.name_scopes"
"""What the exporter notes of a node: the modules it is in, from the outermost, and its own name."""


def to_onnx(
    deployed: Deployed, description: Description, opset: int = OPSETS[0]
) -> onnx.ModelProto:
    """Returns a detector as an ONNX graph with the input ``images`` and named outputs.

    Nodes are named after the modules that they belong to, such as /network/heads/last/size/Conv.

    Args:
        deployed: The detector.
        description: Says whether size and batch are open, and becomes the file's metadata.
        opset: Version of the operators, one of ``OPSETS``.

    Raises:
        HeatpointError: A package is not installed, the opset is another one, or the network
            cannot be written, or not for any size.
    """
    if opset not in OPSETS:
        raise HeatpointError(
            f"opset must be one of {', '.join(map(str, OPSETS))}, not {opset}; PyTorch writes none "
            "below, and from 20 on TensorRT enlarges maps wrongly"
        )
    try:
        import onnx
        from onnxscript import optimizer
    except ImportError as error:
        raise HeatpointError(
            f"export needs the package {error.name}; install it with pip install "
            "'heatpoint[onnx]', or 'heatpoint[openvino]' for OpenVINO"
        ) from None
    program, names = written(deployed, description)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's own, about itself
            exported = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=["images"],
                output_names=names,
                opset_version=opset,
                custom_translation_table={torch.ops.aten.div.Tensor_mode: _quotient},
                # Its rewriting of patterns takes as long as all the rest where corners are pooled,
                # and makes no runtime faster; folding is what counts.
                optimize=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise HeatpointError(
            f"{description.called} cannot be written as ONNX ({reason}); its network and its "
            "codec's decode should use operators that ONNX has"
        ) from error
    assert exported is not None
    optimizer.fold_constants(exported.model)
    optimizer.remove_unused_nodes(exported.model)
    model: onnx.ModelProto = exported.model_proto
    _tidy(model)
    _name_sides(model.graph, description)
    model.producer_name = "heatpoint"
    onnx.helper.set_model_props(model, {KEY: description.to_json()})
    onnx.checker.check_model(model, full_check=True)
    return model


def _quotient(dividend: Any, divisor: Any, rounding_mode: str | None = None) -> Any:
    """Writes a division of whole numbers as one.

    The exporter's own goes through float32, whose whole numbers end before the cells of a large
    heatmap.
    """
    from onnxscript import opset18
    from onnxscript.function_libs.torch_lib.ops import core

    if rounding_mode == "trunc" and dividend.dtype.is_integer():
        return opset18.Div(dividend, divisor)
    return core.aten_div_mode(dividend, divisor, rounding_mode)


def _tidy(model: onnx.ModelProto) -> None:
    """Names nodes after their modules, and drops the exporter's notes, such as paths of sources."""
    taken: Counter[str] = Counter()
    for node in model.graph.node:
        notes = {note.key: note.value for note in node.metadata_props}
        scopes = ast.literal_eval(notes.get(_SCOPES, "['']"))
        module = scopes[-2].replace(".", "/") if len(scopes) > 1 else ""
        name = f"/{module}/{node.op_type}" if module else f"/{node.op_type}"
        node.name = f"{name}_{taken[name]}" if taken[name] else name
        taken[name] += 1
    graph = model.graph
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer, graph, model):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    # Shapes between nodes are in the exporter's names of sides; runtimes infer them anyway.
    graph.ClearField("value_info")


def _name_sides(graph: onnx.GraphProto, description: Description) -> None:
    """Names the open sides of input and outputs, which the exporter gives names of its own."""
    batch = {0: "batch"} if description.batch is None else {}
    sides = {2: "height", 3: "width"} if description.dynamic else {}
    named = [(graph.input[0], batch | sides), *((output, batch) for output in graph.output)]
    for info, names in named:
        for index, name in names.items():
            info.type.tensor_type.shape.dim[index].dim_param = name


def write_onnx(model: onnx.ModelProto, path: str | Path) -> None:
    """Writes a graph, atomically.

    Raises:
        HeatpointError: The file cannot be written.
    """
    with atomic_write(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


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
        # Not ``convert_model``, which does the same and reports home about it. From the program
        # itself it takes seconds instead of hundredths, and loses the names of modules.
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
