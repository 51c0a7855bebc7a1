"""Runs .onnx files with ONNX Runtime."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any, ClassVar

from numpy.typing import NDArray

from heatpoint.errors import HeatpointError, HeatpointWarning
from heatpoint.inference.engines.description import KEY
from heatpoint.inference.engines.engine import Pixels
from heatpoint.inference.engines.exported import DEFORMABLE, ExportedEngine, parse_device

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_TENSORRT, _OPENVINO = "TensorrtExecutionProvider", "OpenVINOExecutionProvider"

_PROVIDERS = {
    "cpu": (_CPU,),
    "cuda": (_CUDA, _CPU),
    "tensorrt": (_TENSORRT, _CUDA, _CPU),
    "gpu": (_OPENVINO, _CPU),
    "npu": (_OPENVINO, _CPU),
}
"""What runs a graph, by device: each takes the operators that the ones before it lack."""

_DEFORMS_SINCE = "1.25"
"""First version of ONNX Runtime that computes deformable convolutions on a processor."""

_SHORT = {_CPU: "cpu", _CUDA: "cuda", _TENSORRT: "tensorrt"}


class OnnxEngine(ExportedEngine):
    """An exported .onnx file that ONNX Runtime runs; see ``ExportedEngine``.

    "cuda" computes convolutions in TF32, as torch does; what it lacks (a few operators on shapes)
    the processor takes. "tensorrt" leaves to CUDA what it lacks. "gpu" and "npu" are Intel's, by
    way of OpenVINO; an NPU computes everything in 16 bits. "auto" is CUDA where ONNX Runtime was
    built for it, else the processor.
    """

    name = "onnx"
    runtime = "ONNX Runtime"
    module = "onnxruntime"
    suffixes = (".onnx",)
    choices = ("fp32",)
    elsewhere = "export to OpenVINO (.xml) for that"
    needs: ClassVar[Mapping[str, str]] = {
        "cuda": "an NVIDIA GPU with its driver, CUDA and cuDNN: pip uninstall onnxruntime, then "
        "pip install 'onnxruntime-gpu[cuda,cudnn]'",
        "tensorrt": "an NVIDIA GPU with its driver, CUDA, cuDNN and TensorRT: pip uninstall "
        "onnxruntime, then pip install 'onnxruntime-gpu[cuda,cudnn]' tensorrt, whose libraries "
        "must be on LD_LIBRARY_PATH",
        "gpu": "a GPU of Intel's (those of NVIDIA are called cuda) with its driver: pip uninstall "
        "onnxruntime, then pip install onnxruntime-openvino, or export to OpenVINO (.xml)",
        "npu": "an NPU of Intel's with its driver: pip uninstall onnxruntime, then pip install "
        "onnxruntime-openvino, or export to OpenVINO (.xml)",
    }

    @classmethod
    def place(cls, device: str) -> list[tuple[str, dict[str, str]]]:
        """Returns the execution providers of a device and their options, by preference.

        Raises:
            HeatpointError: ONNX Runtime was built without one; says what it offers and what is to
                be installed.
        """
        library, (kind, index) = cls.library(), parse_device(device)
        offered = library.get_available_providers()
        if kind == "auto":
            kind = "cuda" if _CUDA in offered else "cpu"
        absent = [name for name in _PROVIDERS[kind] if name not in offered]
        if absent:
            raise HeatpointError(
                f"ONNX Runtime {library.__version__} cannot run on device {device!r} here: it was "
                f"built with {', '.join(offered)}, not with {' and '.join(absent)}; {kind} needs "
                f"{cls.needs[kind]}"
            )
        intel = {"device_type": "NPU"}  # which knows 16 bits only
        if kind == "gpu":
            intel = {"device_type": f"GPU.{index}" if index else "GPU", "precision": "FP32"}
        options = {_CPU: {}, _OPENVINO: intel}
        return [(name, options.get(name, {"device_id": str(index)})) for name in _PROVIDERS[kind]]

    def _load(self, library: Any, precision: str | None, device: str) -> None:
        providers = self.place(device)
        if device != "auto" or providers[0][0] == _CPU:
            self._open(library, providers, device)
        else:
            try:
                self._open(library, providers, "cuda")
            except HeatpointError as error:
                self._open(library, self.place("cpu"), "cpu")
                text = f"{error}; so it runs on the processor, as device 'cpu' would ask for"
                warnings.warn(text, HeatpointWarning, stacklevel=2)
        if device == "npu":
            self.precision = "fp16"
        try:
            inputs = self._session.get_inputs()
            told = [(one.type.removeprefix("tensor(").rstrip(")"), one.shape) for one in inputs]
            text = self._session.get_modelmeta().custom_metadata_map.get(KEY)
            self._outputs = [output.name for output in self._session.get_outputs()]
        except UnicodeDecodeError:  # the runtime looks at no text that it does not need
            raise HeatpointError(
                f"{self.path} is damaged: a text in it is no Unicode; export the checkpoint again"
            ) from None
        self._describe(text, told, self._outputs)
        self._input = inputs[0].name

    def _open(self, library: Any, providers: list[tuple[str, dict[str, str]]], device: str) -> None:
        """Loads the graph, and notes what runs it.

        Raises:
            HeatpointError: It cannot be loaded, or a provider cannot, without which ONNX Runtime
                goes on.
        """
        if providers[0][0] in (_CUDA, _TENSORRT) and hasattr(library, "preload_dlls"):
            # CUDA that came with pip lies where no loader looks; what is missing is printed.
            with redirect_stdout(sys.stderr):
                library.preload_dlls()
        options = library.SessionOptions()
        # Every call brings its own thread; all share one pool of the others.
        options.intra_op_num_threads = max(1, self.cores - self.streams + 1)
        options.log_severity_level = 4  # every error is raised too
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        if self.streams > 1:
            # Waiting threads that spin take the cores of the other calls.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        with self._loading(device):
            self._session = session = library.InferenceSession(
                str(self.path),
                options,
                providers=providers,
                enable_fallback=False,  # which would print the error and try the same again
            )
        there, kind = session.get_providers(), parse_device(device)[0]
        absent = [name for name, _ in providers if name not in there]
        if absent:
            raise HeatpointError(
                f"{self.path} cannot run on device {device!r}: ONNX Runtime could not load "
                f"{' and '.join(absent)}, and says why above; {kind} needs {self.needs[kind]}"
            )
        used = set(there)
        if hasattr(session, "get_provider_graph_assignment_info"):  # since 1.24
            used = {part.ep_name for part in session.get_provider_graph_assignment_info()}
        self.device = ", ".join(_SHORT.get(name, kind) for name in there if name in used)

    @contextmanager
    def _loading(self, device: str) -> Iterator[None]:
        try:
            with super()._loading(device):
                yield
        except HeatpointError as error:
            if f" for {DEFORMABLE}(" not in str(error):
                raise
            raise HeatpointError(
                f"{self.path} has deformable convolutions, which ONNX Runtime computes from "
                f"{_DEFORMS_SINCE} on, but {self.library().__version__} is installed; install it "
                f"with: pip install 'onnxruntime>={_DEFORMS_SINCE}', or export to OpenVINO (.xml)"
            ) from None

    def _run(self, images: Pixels) -> dict[str, NDArray[Any]]:
        with self.timings.stage("network"):
            arrays = self._session.run(self._outputs, {self._input: images})
        return dict(zip(self._outputs, arrays, strict=True))
