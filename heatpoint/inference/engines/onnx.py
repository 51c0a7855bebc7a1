"""Runs an exported .onnx file with ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from heatpoint.errors import HeatpointError
from heatpoint.inference.engines.description import KEY, Description
from heatpoint.inference.engines.engine import Answer, Pixels, Timings
from heatpoint.inference.engines.exported import (
    check_cores,
    check_ends,
    check_file,
    in_batches,
    not_run,
    to_answer,
    unreadable,
)


class OnnxEngine:
    """An exported network that ONNX Runtime runs on the processor; an ``Engine``.

    Args:
        path: The .onnx file.
        streams: How many calls may be under way at once; they share one copy of the weights.
        threads: Processor cores for all calls together; all that this process may use without.
        timings: Its ``network`` grows with every call, decoding included, which the file does.

    Raises:
        HeatpointError: ONNX Runtime is not installed, or the file is missing, damaged, or not
            one that ``heatpoint export`` wrote.
    """

    name = "onnx"
    device = "cpu"
    precision = "fp32"

    def __init__(
        self,
        path: str | Path,
        *,
        streams: int = 1,
        threads: int | None = None,
        timings: Timings | None = None,
    ) -> None:
        runtime = _onnxruntime()
        check_file(path, (".onnx",))
        self.streams, self.path, self.timings = streams, path, timings or Timings()
        options = runtime.SessionOptions()
        # Every call brings its own thread; all share one pool of the others.
        options.intra_op_num_threads = max(1, check_cores(streams, threads) - streams + 1)
        options.log_severity_level = 4  # every error is raised too
        if streams > 1:
            # Waiting threads that spin take the cores of the other calls.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = runtime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the errors of ONNX Runtime have no base class of their own
            raise unreadable(path, "ONNX Runtime", error) from None
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.description = Description.from_json(metadata.get(KEY), path)
        inputs = self._session.get_inputs()
        self._outputs = [output.name for output in self._session.get_outputs()]
        self.description = check_ends(
            path,
            self.description,
            [one.type == "tensor(uint8)" for one in inputs],
            self._outputs,
        )
        self._input = inputs[0].name

    def __call__(self, images: Pixels) -> Answer:
        """Returns what the network says about a batch; safe in as many threads as ``streams``.

        Raises:
            HeatpointError: The images do not fit, or memory does not suffice.
        """
        return in_batches(images, self.description, self.path, self._run)

    def _run(self, images: Pixels) -> Answer:
        try:
            with self.timings.stage("network"):
                arrays = self._session.run(self._outputs, {self._input: images})
        except Exception as error:
            raise not_run(images, self.path, "ONNX Runtime", error) from None
        named = dict(zip(self._outputs, arrays, strict=True))
        return to_answer(named, self.description, len(images), self.path)


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise HeatpointError(
            f".onnx files are run by ONNX Runtime, which cannot be loaded ({error}); install it "
            "with: pip install 'heatpoint[onnx]'"
        ) from None
    return onnxruntime
