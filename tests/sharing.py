"""Writes the graph of a network once per run of the tests, however many tests and workers want it.

A graph takes five to twenty seconds, and the same one is wanted for both formats and by several
tests, which use the fixture ``shared_graphs``. All that a graph depends on is in its key.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import heatpoint.exporting.export as package
from heatpoint.exporting import graph
from heatpoint.inference.engines.description import Description
from heatpoint.system import locked

PLAIN = (bool, int, float, str, tuple, type(None))


def key_of(deployed: graph.Deployed, about: Description, opset: int | None) -> str:
    """Returns a digest of everything that decides about a graph."""
    size = None if about.dynamic else about.size
    chosen = opset or deployed.opset
    digest = hashlib.sha256(repr((size, about.batch, chosen, deployed.codec)).encode())
    for name, module in deployed.named_modules():
        plain = {key: value for key, value in vars(module).items() if isinstance(value, PLAIN)}
        digest.update(repr((name, type(module), sorted(plain.items()))).encode())
    values: list[tuple[str, Any]] = [*deployed.named_parameters(), *deployed.named_buffers()]
    for name, tensor in values:
        digest.update(repr((name, tensor.dtype, tensor.shape)).encode())
        digest.update(tensor.detach().numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def sharing(folder: Path) -> Iterator[None]:
    """Keeps every graph that is written in a folder, and takes it from there the next time."""
    make = graph.to_onnx

    def to_onnx(deployed: graph.Deployed, about: Description, opset: int | None = None) -> Any:
        if any(sys.modules.get(name, name) is None for name in ("onnx", "onnxscript")):
            return make(deployed, about, opset)  # which says what is missing
        import onnx

        path = folder / f"{key_of(deployed, about, opset)}.onnx"
        with locked(path.with_suffix(".lock")):
            if not path.is_file():
                onnx.save(make(deployed, about, opset), path)
        return onnx.load(path)

    with pytest.MonkeyPatch.context() as patch:
        for module in (graph, package):
            patch.setattr(module, "to_onnx", to_onnx)
        yield
