"""Compares the maps inside of an exported file with those of its detector, where no results are.

A network that has learnt next to nothing finds nothing, or boxes without area, and so does its
file, whatever is wrong with it. Its maps still say whether both compute the same.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from heatpoint.codecs import Maps
from heatpoint.exporting.graph import INNER
from heatpoint.inference.engines.description import Description
from heatpoint.inference.engines.onnx import OnnxEngine
from heatpoint.inference.engines.openvino import OpenVinoEngine, openvino_core
from heatpoint.inference.engines.torch import TorchEngine
from heatpoint.zoo.detector import Detector

FAINT = 1e-3
"""Share of a map's largest value that its range is taken to have at least."""


Run = Callable[[NDArray[Any]], dict[str, NDArray[Any]]]
"""Returns arrays by their names in the graph for images (B, C, H, W)."""


class ObservedEngine(TorchEngine):
    """A detector run by torch in fp32, which keeps the last images of each shape and their maps.

    Args:
        detector: What was exported.
        flip: Averages the maps with those of the mirrored image.
        rows: Rows of the answer at least.

    Attributes:
        seen: Images (B, C, H, W) and their maps.
    """

    def __init__(self, detector: Detector, flip: bool, rows: int) -> None:
        super().__init__(detector, flip=flip, max_detections=rows, device="cpu", precision="fp32")
        self.seen: dict[tuple[int, ...], tuple[Tensor, Maps]] = {}

    def maps(self, images: Tensor) -> Maps:
        """Returns the last stack's maps of images."""
        found = super().maps(images)
        self.seen[tuple(images.shape)] = images, found
        return found


def apart(path: Path, about: Description, own: ObservedEngine) -> tuple[int, float]:
    """Returns how many maps were compared, and the largest difference of one.

    A map's difference is a share of its range, which is from its lowest to its highest value.

    Args:
        path: The exported file.
        about: What it says about itself.
        own: The detector, when it has run.
    """
    run = _onnx(path) if path.suffix.lower() == ".onnx" else _openvino(path, about.precision)
    shares = []
    for images, maps in own.seen.values():
        given = images.cpu().numpy()
        # A file for batches of one number takes no other: some images once more, or some of them.
        found = run(np.resize(given, (about.batch or len(given), *given.shape[1:])))
        for name, values in maps.items():
            if (inner := found.get(INNER + name)) is None:
                continue
            count = min(len(inner), len(values))
            wanted = values[:count].float().cpu().numpy()
            spread = max(np.ptp(wanted), FAINT * np.abs(wanted).max(), np.finfo(np.float32).tiny)
            shares.append(float(np.abs(inner[:count] - wanted).max() / spread))
    return len(shares), max(shares, default=0.0)


def _onnx(path: Path) -> Run:
    """Returns what runs an .onnx file and gives the maps inside of it."""
    import onnx

    model = onnx.load(path)
    values = [name for node in model.graph.node for name in node.output if name.startswith(INNER)]
    for name in values:
        kind = onnx.TensorProto.FLOAT
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, None))
    library = OnnxEngine.library()
    session = library.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    taken = session.get_inputs()[0].name
    return lambda images: dict(zip(values, session.run(values, {taken: images}), strict=True))


def _openvino(path: Path, precision: str) -> Run:
    """Returns what runs an .xml file and gives the maps inside of it."""
    core = openvino_core(OpenVinoEngine.library())
    model = core.read_model(path)
    outputs = {
        name: output
        for node in model.get_ordered_ops()
        for output in node.outputs()
        for name in output.get_names()
        if name.startswith(INNER)
    }
    model.add_outputs(list(outputs))
    hint = {"INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32"}
    compiled = core.compile_model(model, "CPU", hint)

    def run(images: NDArray[Any]) -> dict[str, NDArray[Any]]:
        answer = compiled({0: images})
        return {name: answer[name] for name in outputs}

    return run
