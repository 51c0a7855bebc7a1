"""Runs an exported .xml or .onnx file with OpenVINO."""

from __future__ import annotations

import sys
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from heatpoint.errors import HeatpointError, check_choice
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

if TYPE_CHECKING:
    import openvino

Compute = Literal["fp32", "bf16"]
"""What the numbers between the layers may be."""

_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
_NAMES = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}


class OpenVinoEngine:
    """An exported network that OpenVINO runs on the processor; an ``Engine``.

    Args:
        path: The .xml file, its .bin beside it, or an .onnx file.
        streams: How many calls may be under way at once; they share one copy of the weights.
            OpenVINO lets streams beyond the number of ``threads`` wait for each other.
        threads: Processor cores for all calls together; all that this process may use without.
        precision: The type of the numbers between the layers, "fp32" or "bf16"; without, what the
            file was exported for, as far as the processor can: 16 bits only where it has
            instructions for them. Layers of 8 bits stay so.
        timings: Its ``network`` grows with every call, decoding included, which the file does.

    Attributes:
        precision: "fp32", "bf16" or "fp16", the type that OpenVINO has settled on, or "int8" where
            the file's layers are.

    Raises:
        HeatpointError: OpenVINO is not installed, the file is missing, damaged, or not one that
            ``heatpoint export`` wrote, or the processor has no instructions for ``precision``.
    """

    name = "openvino"
    device = "cpu"

    def __init__(
        self,
        path: str | Path,
        *,
        streams: int = 1,
        threads: int | None = None,
        precision: Compute | None = None,
        timings: Timings | None = None,
    ) -> None:
        if precision is not None:
            check_choice("precision", precision, get_args(Compute))
        runtime = load_openvino()
        check_file(path, (".xml", ".onnx"))
        self.streams, self.path, self.timings = streams, path, timings or Timings()
        cores = check_cores(streams, threads)
        core = runtime.Core()
        model = _read(core, path)
        self.description = Description.from_json(_metadata(model), path)
        self.description = check_ends(
            path,
            self.description,
            [one.element_type == runtime.Type.u8 for one in model.inputs],
            [output.any_name for output in model.outputs],
        )
        settings = {
            "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": cores,
            "INFERENCE_PRECISION_HINT": _HINTS[precision or self.description.precision],
        }
        try:
            compiled = core.compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise unreadable(path, "OpenVINO", error) from None
        settled = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        computes = _NAMES[settled]
        if precision is not None and precision != computes:
            raise HeatpointError(
                f"this processor cannot compute in {precision}, only in {computes}; leave "
                "precision out"
            )
        self.precision = "int8" if self.description.precision == "int8" else computes
        # A request belongs to one call at a time.
        self._requests: Queue[openvino.InferRequest] = Queue()
        for _ in range(streams):
            self._requests.put(compiled.create_infer_request())

    def __call__(self, images: Pixels) -> Answer:
        """Returns what the network says about a batch; safe in as many threads as ``streams``.

        More calls than that wait for each other.

        Raises:
            HeatpointError: The images do not fit, or memory does not suffice.
        """
        return in_batches(images, self.description, self.path, self._run)

    def _run(self, images: Pixels) -> Answer:
        request = self._requests.get()
        try:
            with self.timings.stage("network"):
                # Short of memory, OpenVINO leaves the answer of the call before in its place and
                # says nothing.
                request.get_tensor("scores").data[...] = np.nan
                # The pixels are read in place; the answer is copied, as the next call writes to
                # the same memory.
                given = request.infer({0: images}, share_inputs=True, share_outputs=False)
        except (RuntimeError, MemoryError) as error:
            raise not_run(images, self.path, "OpenVINO", error) from None
        finally:
            self._requests.put(request)
        arrays = {output.any_name: array for output, array in given.items()}
        scores = arrays["scores"]
        if len(scores) != len(images) or np.isnan(scores).all():
            silence = RuntimeError("it gives no scores")
            raise not_run(images, self.path, "OpenVINO", silence)
        return to_answer(arrays, self.description, len(images), self.path)


def _read(core: openvino.Core, path: str | Path) -> openvino.Model:
    try:
        return core.read_model(path)
    except RuntimeError as error:
        weights = Path(path).with_suffix(".bin")
        if Path(path).suffix.lower() == ".xml" and not weights.is_file():
            raise HeatpointError(
                f"{weights} is missing, which holds the weights of {path}; put it beside that file"
            ) from None
        raise unreadable(path, "OpenVINO", error) from None


def _metadata(model: openvino.Model) -> str | None:
    # OpenVINO keeps the metadata of an .onnx file under "framework".
    for place in ([KEY], ["framework", KEY]):
        if model.has_rt_info(place):
            return str(model.get_rt_info(place).value)
    return None


def load_openvino() -> Any:
    """Returns the module ``openvino``.

    When it is imported it sends a usage report over the network, unless the package that does so
    is missing, which it is made to look like here. A program that wants to take part imports
    ``openvino`` first.

    Raises:
        HeatpointError: It is not installed.
    """
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise HeatpointError(
            f"OpenVINO cannot be loaded ({error}); install it with: "
            "pip install 'heatpoint[openvino]'"
        ) from None
    return openvino
