"""Tensors of an ONNX graph by name; its operations are neither run nor interpreted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from heatpoint.errors import HeatpointError, needing

if TYPE_CHECKING:
    from torch import Tensor

PARTS = {1: "weight", 2: "bias"}
"""What the inputs of a convolution are, behind the features."""


def read_graph(path: Path) -> dict[str, Tensor]:
    """Returns the initialisers of an ONNX file.

    Where batch norms were folded into convolutions, exporters give the products numbers for names.
    Such a tensor is called after its operation, its turn among those of its kind that have numbers,
    and its part: ``Conv.0.weight``, ``Conv.0.bias``, ``Conv.1.weight``.

    Raises:
        HeatpointError: The package onnx is not installed, or the file is cut off, no ONNX graph, or
            keeps its tensors in other files.
    """
    import torch

    with needing(f"{path} is an ONNX file, which needs the package onnx", "onnx"):
        import onnx
        from onnx.numpy_helper import to_array
    try:
        graph = onnx.load(path, load_external_data=False).graph
        tensors = {each.name: torch.tensor(to_array(each)) for each in graph.initializer}
    except Exception as error:  # damaged files make protobuf and onnx raise errors of every kind
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise HeatpointError(
            f"{path} is cut off, no ONNX file, or one of several files ({reason}); copy it again, "
            "or save the graph with its tensors in one file"
        ) from None
    turns: Counter[str] = Counter()
    for node in graph.node:
        numbered = [name for name in node.input if name.isdigit() and name in tensors]
        for name in numbered:
            part = PARTS.get(list(node.input).index(name), name)
            tensors[f"{node.op_type}.{turns[node.op_type]}.{part}"] = tensors.pop(name)
        turns[node.op_type] += bool(numbered)
    return tensors
