"""Runs an exported .xml or .onnx file with OpenVINO."""

from __future__ import annotations

from queue import Queue
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.errors import HeatpointError
from heatpoint.inference.engines.description import KEY
from heatpoint.inference.engines.engine import Pixels
from heatpoint.inference.engines.exported import ExportedEngine, load_library

if TYPE_CHECKING:
    import openvino

_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
_NAMES = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}


class OpenVinoEngine(ExportedEngine):
    """An exported .xml file, its .bin beside it, or .onnx file that OpenVINO runs.

    See ``ExportedEngine``. OpenVINO lets streams beyond the number of ``threads`` wait for each
    other; its ``precision`` is what it has settled on.
    """

    name = "openvino"
    runtime = "OpenVINO"
    suffixes = (".xml", ".onnx")
    module = "openvino"
    choices = ("fp32", "bf16")
    elsewhere = "export it with --precision fp16"

    def _load(self, library: Any, precision: str | None) -> None:
        weights = self.path.with_suffix(".bin")
        if self.path.suffix.lower() == ".xml" and not weights.is_file():
            raise HeatpointError(
                f"{weights} is missing, which holds the weights of {self.path}; put it beside that "
                "file"
            )
        core = library.Core()
        with self._loading():
            model = core.read_model(self.path)
        # OpenVINO keeps the metadata of an .onnx file under "framework".
        kept = [place for place in ([KEY], ["framework", KEY]) if model.has_rt_info(place)]
        self._describe(
            str(model.get_rt_info(kept[0]).value) if kept else None,
            [one.element_type == library.Type.u8 for one in model.inputs],
            [output.any_name for output in model.outputs],
        )
        stored = self.description.precision
        settings = {
            "PERFORMANCE_HINT": "LATENCY" if self.streams == 1 else "THROUGHPUT",
            "NUM_STREAMS": self.streams,
            "INFERENCE_NUM_THREADS": self.cores,
            "INFERENCE_PRECISION_HINT": _HINTS[precision or stored],
        }
        with self._loading():
            compiled = core.compile_model(model, "CPU", settings)
        computes = _NAMES[compiled.get_property("INFERENCE_PRECISION_HINT").to_string()]
        if precision not in (None, computes):
            raise HeatpointError(
                f"this processor cannot compute in {precision}, only in {computes}; leave "
                "precision out"
            )
        self.precision = "int8" if stored == "int8" else computes
        # A request belongs to one call at a time.
        self._requests: Queue[openvino.InferRequest] = Queue()
        for _ in range(self.streams):
            self._requests.put(compiled.create_infer_request())

    def _run(self, images: Pixels) -> dict[str, NDArray[Any]]:
        request = self._requests.get()
        try:
            with self.timings.stage("network"):
                # Short of memory, OpenVINO leaves the answer of the call before in its place and
                # says nothing.
                request.get_tensor("scores").data[...] = np.nan
                # The pixels are read in place; the answer is copied, as the next call writes to
                # the same memory.
                given = request.infer({0: images}, share_inputs=True, share_outputs=False)
        finally:
            self._requests.put(request)
        arrays = {output.any_name: array for output, array in given.items()}
        if len(arrays["scores"]) != len(images) or np.isnan(arrays["scores"]).all():
            raise RuntimeError("it gives no scores")
        return arrays


def load_openvino() -> Any:
    """Returns the module ``openvino``; see ``load_library``.

    Raises:
        HeatpointError: It is not installed.
    """
    return load_library("openvino", "OpenVINO", "openvino")
