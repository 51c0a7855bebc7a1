"""Runs .xml and .onnx files with OpenVINO."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from queue import Queue
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from heatpoint.errors import HeatpointError
from heatpoint.inference.engines.description import KEY
from heatpoint.inference.engines.engine import Pixels
from heatpoint.inference.engines.exported import DEFORMABLE, ExportedEngine, parse_device

if TYPE_CHECKING:
    import openvino

_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
_NAMES = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}


class OpenVinoEngine(ExportedEngine):
    """An exported .xml file, its .bin beside it, or .onnx file that OpenVINO runs.

    See ``ExportedEngine``. OpenVINO lets streams beyond the number of ``threads`` wait for each
    other; its ``precision`` is what it has settled on. "auto" is the processor where there is
    nothing else, else OpenVINO's AUTO, which has settled on a device before the first picture. An
    NPU computes everything in 16 bits, and most take files of one size and batch only.
    """

    name = "openvino"
    runtime = "OpenVINO"
    suffixes = (".xml", ".onnx")
    module = "openvino"
    choices = ("fp32", "bf16")
    elsewhere = "export it with --precision fp16"
    needs: ClassVar[Mapping[str, str]] = {
        "gpu": "the driver of an Intel GPU (on Linux the packages ocl-icd-libopencl1 and "
        "intel-opencl-icd)",
        "npu": "the driver of an Intel NPU (on Linux the packages intel-driver-compiler-npu, "
        "intel-fw-npu and intel-level-zero-npu)",
    }

    @classmethod
    def place(cls, device: str) -> str:
        """Returns OpenVINO's name of a device.

        Raises:
            HeatpointError: OpenVINO does not find it here; says what it finds and what is to be
                installed.
        """
        library, (kind, index) = cls.library(), parse_device(device)
        if kind == "cpu":
            return "CPU"
        found = openvino_core(library).available_devices
        if kind == "auto":
            return "CPU" if found == ["CPU"] else "AUTO"
        if kind not in cls.needs:
            raise HeatpointError(
                f"OpenVINO cannot run on device {device!r}, but on cpu, gpu and npu; export to "
                ".onnx for NVIDIA's"
            )
        name = kind.upper()
        # One alone is "GPU", several are "GPU.0", "GPU.1", of which "GPU" is the first.
        alike = [each for each in found if each.partition(".")[0] == name]
        if index >= len(alike):
            raise HeatpointError(
                f"OpenVINO {library.__version__.partition('-')[0]} cannot run on device {device!r} "
                f"here: it finds {', '.join(found)} alone; {kind} needs {cls.needs[kind]}"
            )
        return f"{name}.{index}" if index else name

    def _load(self, library: Any, precision: str | None, device: str) -> None:
        weights = self.path.with_suffix(".bin")
        if self.path.suffix.lower() == ".xml" and not weights.is_file():
            raise HeatpointError(
                f"{weights} is missing, which holds the weights of {self.path}; put it beside that "
                "file"
            )
        place = self.place(device)
        core = openvino_core(library)
        with self._loading(device):
            model = core.read_model(self.path)
            # OpenVINO keeps the metadata of an .onnx file under "framework".
            kept = [keys for keys in ([KEY], ["framework", KEY]) if model.has_rt_info(keys)]
            text = str(model.get_rt_info(kept[0]).value) if kept else None
            outputs = [output.any_name for output in model.outputs]
            inputs = [
                (
                    one.element_type.to_dtype().name,
                    [side.get_length() if side.is_static else None for side in one.partial_shape],
                )
                for one in model.inputs
            ]
        self._describe(text, inputs, outputs)
        stored = self.description.precision
        settings = _settings(place, _HINTS[precision or stored])
        if place == "CPU":
            # Asked for half floats that it lacks, a processor may take bfloat16, which is coarser.
            if precision is None and settings["INFERENCE_PRECISION_HINT"] == "f16":
                able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
                settings["INFERENCE_PRECISION_HINT"] = "f16" if "FP16" in able else "f32"
            settings |= {"NUM_STREAMS": self.streams, "INFERENCE_NUM_THREADS": self.cores}
        settings["PERFORMANCE_HINT"] = "LATENCY" if self.streams == 1 else "THROUGHPUT"
        with self._loading(device):
            compiled = core.compile_model(model, place, settings)
            hint = settings["INFERENCE_PRECISION_HINT"]
            if place != "AUTO":  # which does not tell
                hint = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
            places = compiled.get_property("EXECUTION_DEVICES")
        if place == "AUTO" and places == ["CPU"]:
            self._load(library, precision, "cpu")  # with threads and streams of its own
            return
        self.device = ", ".join(each.lower().replace(".", ":") for each in places)
        computes = _NAMES[hint]
        if precision not in (None, computes):
            raise HeatpointError(
                f"{self.device} cannot compute in {precision}, only in {computes}; leave "
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


def _settings(place: str, hint: str) -> dict[str, Any]:
    """Returns how numbers are computed on a device, bfloat16 being the processor's."""
    if place == "NPU" or (place != "CPU" and hint == "bf16"):
        hint = "f16"
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": hint}
    if place == "AUTO":
        # It would begin on the processor and change over in the middle of the pictures.
        settings["ENABLE_STARTUP_FALLBACK"] = False
    return settings


@cache
def openvino_core(library: Any) -> openvino.Core:
    """Returns the one entrance of this process to OpenVINO, which reads deformable convolutions.

    OpenVINO has the operator but no rule that makes it of ONNX's. Its operator of the domain
    org.openvinotoolkit, which has one, reads other cells at borders. A file that OpenVINO has saved
    needs no rule any more.

    It must not go before the process does. On Linux each entrance gives the thread that first uses
    the processor through it a stack for handling signals, and takes it away again: with two that
    go in the order in which they came, or one that goes in another thread, the thread is left with
    a stack that is no more, and the next Ctrl-C ends the process by a segmentation fault
    (OpenVINO 2026.4).

    Args:
        library: The module ``openvino``.
    """
    from openvino.frontend.onnx import ConversionExtension

    def convert(node: Any) -> list[Any]:
        """Returns the outputs of a modulated deformable convolution with a bias."""
        features, weight, offset, bias, mask = (node.get_input(index) for index in range(5))
        pads = node.get_attribute("pads")
        operators = library.opset8
        product = operators.deformable_convolution(
            features,
            offset,
            weight,
            node.get_attribute("strides"),
            pads[:2],
            pads[2:],
            node.get_attribute("dilations"),
            mask,
            group=node.get_attribute("group"),
            deformable_group=node.get_attribute("offset_group"),
            bilinear_interpolation_pad=True,  # zeros outside of the map, as everywhere else
        )
        sides = operators.constant(np.array([1, -1, 1, 1]))
        return [operators.add(product, operators.reshape(bias, sides, False)).output(0)]

    core: openvino.Core = library.Core()
    core.add_extension(ConversionExtension(DEFORMABLE, convert))
    return core
