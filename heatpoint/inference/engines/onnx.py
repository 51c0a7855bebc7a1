"""Runs an exported .onnx file with ONNX Runtime."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from heatpoint.inference.engines.description import KEY
from heatpoint.inference.engines.engine import Pixels
from heatpoint.inference.engines.exported import ExportedEngine


class OnnxEngine(ExportedEngine):
    """An exported .onnx file that ONNX Runtime runs on the processor; see ``ExportedEngine``."""

    name = "onnx"
    runtime = "ONNX Runtime"
    module = "onnxruntime"
    suffixes = (".onnx",)
    choices = ("fp32",)
    elsewhere = "export to OpenVINO (.xml) for that"

    def _load(self, library: Any, precision: str | None) -> None:
        options = library.SessionOptions()
        # Every call brings its own thread; all share one pool of the others.
        options.intra_op_num_threads = max(1, self.cores - self.streams + 1)
        options.log_severity_level = 4  # every error is raised too
        if self.streams > 1:
            # Waiting threads that spin take the cores of the other calls.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        with self._loading():
            self._session = library.InferenceSession(
                str(self.path), options, providers=["CPUExecutionProvider"]
            )
        inputs = self._session.get_inputs()
        self._outputs = [output.name for output in self._session.get_outputs()]
        text = self._session.get_modelmeta().custom_metadata_map.get(KEY)
        self._describe(text, [one.type == "tensor(uint8)" for one in inputs], self._outputs)
        self._input = inputs[0].name

    def _run(self, images: Pixels) -> dict[str, NDArray[Any]]:
        with self.timings.stage("network"):
            arrays = self._session.run(self._outputs, {self._input: images})
        return dict(zip(self._outputs, arrays, strict=True))
