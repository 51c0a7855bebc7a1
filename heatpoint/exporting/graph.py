"""What is exported, a network from pixels to rows, as a program, as ONNX and as OpenVINO."""

from __future__ import annotations

import ast
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torchvision  # noqa: F401  (registers its operators before a program is written)
from torch import Tensor, nn
from torch.export import Dim, export

from heatpoint.codecs import with_honest_scores
from heatpoint.codecs.peaks import portable
from heatpoint.errors import HeatpointError
from heatpoint.inference.engines.description import Description
from heatpoint.inference.engines.openvino import OpenVinoEngine, openvino_core
from heatpoint.networks.corner_pool import at_most
from heatpoint.networks.deformable import DeformConv, by_operator
from heatpoint.networks.fast import fast
from heatpoint.zoo.detector import Detector

if TYPE_CHECKING:
    import onnx
    import openvino


OPSETS = (18, 19)
"""PyTorch writes none below; from 20 on TensorRT samples other pixels where a map is enlarged.

Deformable convolutions are of 19.
"""

SIDES = ((2, 3), (3, 1))
"""Height and width, in multiples, of the images that a program is made and tried with."""

LONGEST = 65536
"""Most pixels of a side of images of any size: more than image files have."""

INNER = "map_"
"""What the names of maps begin with in a graph, which holds them for whoever looks inside."""

AGREEMENT = 1e-4
"""Largest difference, relative to the largest value, of a program and what it stands for."""


class Deployed(nn.Module):
    """A detector as one program of standard operators, all of whose shapes follow its input.

    The network is a copy with folded batch norms that computes in float32 and gives the maps of
    the last stack only.

    Args:
        detector: Left as it is.
        flip: Runs the mirrored images too, in the same batch, and merges their maps.
        max_detections: Rows at least; the codec's own number may be larger.

    Attributes:
        outputs: Names of what is returned, in order: the fields of the codec's answer.
        inner: Names in the graph of the maps, which are returned behind them; see ``INNER``.
        opset: Lowest of ``OPSETS`` with all operators of the network.
    """

    def __init__(self, detector: Detector, *, flip: bool, max_detections: int) -> None:
        super().__init__()
        network = fast(detector.network, "fp32", "cpu")
        self.network = network.to(memory_format=torch.contiguous_format)
        self.opset = OPSETS[0]
        for module in self.network.modules():
            # What writes into its input is taken apart into many operators first, and slowly so.
            if hasattr(module, "inplace"):
                setattr(module, "inplace", False)  # noqa: B010  (modules are typed by tensors)
            if isinstance(module, DeformConv):
                module.way, self.opset = by_operator, OPSETS[1]
        self.codec, self.flip = detector.codec.with_rows(max_detections), flip
        self.outputs = tuple(field.name for field in self.codec.answer)
        self.inner = tuple(INNER + spec.name for spec in self.codec.maps)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Returns the fields of the codec's answer, then its maps.

        Scores are NaN where a map is not finite.

        Args:
            images: (B, C, H, W) of the detector's bands.
        """
        if not self.flip:
            maps = self.network(images)[-1]
        else:
            both = self.network(torch.cat((images, images.flip(-1))))[-1]
            batch = images.shape[0]
            mirrored = {name: values[batch:] for name, values in both.items()}
            maps = {name: values[:batch] for name, values in both.items()}
            maps = self.codec.merge_flipped(maps, mirrored)
        rows = with_honest_scores(self.codec.decode(maps), maps)
        return (
            *(rows[name] for name in self.outputs),
            *(maps[spec.name] for spec in self.codec.maps),
        )


def written(deployed: Deployed, description: Description) -> torch.export.ExportedProgram:
    """Writes down what a detector computes, and makes sure that it holds for what is promised.

    A program follows one example; a network that decides by the example's numbers what to do
    would become one that is wrong for others. So a program for any size or batch has to say about
    another one what the detector itself says.

    Args:
        deployed: The detector.
        description: Says whether size and batch are open.

    Returns:
        The program of images (B, C, H, W) of the detector's bands.

    Raises:
        HeatpointError: The network depends on the size, the batch or the numbers in ways that
            cannot be written down.
    """
    multiple, trim, size = description.multiple, description.trim, description.size
    sizes, longest, sides = [size, size], max(size), {}
    if description.dynamic:
        sizes = [(high * multiple - trim, wide * multiple - trim) for high, wide in SIDES]
        longest = LONGEST
        high, wide = (Dim(name, min=1, max=LONGEST // multiple) for name in ("high", "wide"))
        sides = {2: high * multiple - trim, 3: wide * multiple - trim}
    batches, batch = (2, 1), {0: Dim("batch")}
    if description.batch is not None:
        batches, batch = (description.batch,) * 2, {}
    chance, bands = torch.Generator().manual_seed(0), description.bands
    example, other = (
        torch.randint(0, bands.largest + 1, (count, bands.channels, *each), generator=chance).to(
            getattr(torch, bands.dtype)
        )
        for count, each in zip(batches, sizes, strict=True)
    )
    # Corner pooling compares no more often than the longest side takes.
    with torch.no_grad(), portable(), at_most(-(-longest // deployed.codec.stride)):
        expected = deployed(other)
        try:
            program = export(deployed, (example,), dynamic_shapes=(batch | sides,))
            # Its guards refuse sides of one multiple, where it is right as well: see what it says.
            found = program.module(check_guards=False)(other)
        except (RuntimeError, ValueError, AssertionError) as error:
            raise _refusal(description, str(error).splitlines()[0]) from error
    if not _agree(found, expected):
        raise _refusal(description, "its answers differ from those of the detector")
    return program


def _agree(found: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    """Returns whether a program says what the detector itself says."""
    return all(
        one.shape == another.shape
        and bool((one - another).abs().max() <= AGREEMENT * another.abs().max().clamp(min=1))
        for one, another in zip(found, expected, strict=True)
    )


def _refusal(description: Description, reason: str) -> HeatpointError:
    if description.dynamic or description.batch is None:
        return HeatpointError(
            f"{description.called} computes something else for every size of images, which one "
            f"file cannot hold ({reason}); export it for one size and batch, with --no-dynamic and "
            "--batch 1"
        )
    return HeatpointError(
        f"{description.called} cannot be exported ({reason}); its network and its codec's decode "
        "should do the same operations whatever the numbers are"
    )


_SCOPES = "pkg.torch.onnx.name_scopes"
"""What the exporter notes of a node: the modules it is in, from the outermost, and its own name."""


def to_onnx(
    deployed: Deployed, description: Description, opset: int | None = None
) -> onnx.ModelProto:
    """Returns a detector as an ONNX graph with the input ``images`` and named outputs.

    Nodes are named after the modules that they belong to, such as /network/heads/last/size/Conv.

    Args:
        deployed: The detector.
        description: Says whether size and batch are open.
        opset: Version of the operators, one of ``OPSETS``; the lowest that will do without.

    Raises:
        HeatpointError: A package is not installed, or the network cannot be written, or not for
            any size or with that opset.
    """
    least = deployed.opset
    if opset is not None and opset < least:
        raise HeatpointError(
            f"{description.called} has deformable convolutions, which opset {opset} has not; leave "
            f"opset out or choose {least}"
        )
    try:
        import onnx
        from onnxscript import optimizer
    except ImportError as error:
        raise HeatpointError(
            f"export needs the package {error.name}; install it with pip install "
            "'heatpoint[onnx]', or 'heatpoint[openvino]' for OpenVINO"
        ) from None
    program = written(deployed, description)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's own, about itself
            exported = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=["images"],
                output_names=[*deployed.outputs, *deployed.inner],
                opset_version=opset or least,
                custom_translation_table={
                    torch.ops.aten.div.Tensor_mode: _quotient,
                    torch.ops.torchvision.deform_conv2d.default: _deformed,
                },
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
    del exported.model.graph.outputs[len(deployed.outputs) :]  # what is left are their names
    optimizer.remove_unused_nodes(exported.model)
    model: onnx.ModelProto = exported.model_proto
    _tidy(model)
    _name_sides(model.graph, description)
    model.producer_name = "heatpoint"
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


def _deformed(
    features: Any,
    weight: Any,
    offset: Any,
    mask: Any,
    bias: Any,
    down: int,
    across: int,
    above: int,
    beside: int,
    apart_down: int,
    apart_across: int,
    groups: int,
    offset_groups: int,
    use_mask: bool,
) -> Any:
    """Writes torchvision's deformable convolution as ONNX's, which the exporter knows since 2026.

    The arguments are those of the operator: steps, padding, distances of the taps, groups.
    """
    from onnxscript import opset19

    return opset19.DeformConv(
        features,
        weight,
        offset,
        bias,
        mask if use_mask else None,
        strides=(down, across),
        pads=(above, beside, above, beside),
        dilations=(apart_down, apart_across),
        group=groups,
        offset_group=offset_groups,
    )


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


def to_openvino(model: onnx.ModelProto) -> openvino.Model:
    """Returns a graph of ``to_onnx`` as one of OpenVINO, with the same inputs and outputs.

    Raises:
        HeatpointError: OpenVINO is not installed.
    """
    # Not ``convert_model``, which does the same and reports home about it. From the program
    # itself it takes seconds instead of hundredths, and loses the names of modules.
    return openvino_core(OpenVinoEngine.library()).read_model(model.SerializeToString())
