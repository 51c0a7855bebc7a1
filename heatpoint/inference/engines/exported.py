"""Runs exported files: .onnx with ONNX Runtime, .xml and .onnx with OpenVINO."""

from __future__ import annotations

import os
import sys
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.errors import HeatpointError
from heatpoint.inference.engines import older
from heatpoint.inference.engines.deformable import ONNX_RUNTIME, OPERATOR, openvino_core
from heatpoint.inference.engines.description import KEY, Description
from heatpoint.inference.engines.engine import Answer, Engine, Pixels, Timings
from heatpoint.system.files import check_file
from heatpoint.views.fields import of_results
from heatpoint.weights import first_bytes

if TYPE_CHECKING:
    import openvino


class ExportedEngine(Engine):
    """An exported network that a runtime runs on the processor; an ``Engine``.

    A subclass loads the file, says by ``_describe`` what is in it, and runs one batch.

    Args:
        path: The file.
        streams: How many calls may be under way at once; they share one copy of the weights.
        threads: Processor cores for all calls together; all that this process may use without.
        precision: The type of the numbers between the layers, one of ``choices``; without, what
            the file was exported for, as far as the processor can: 16 bits only where it has
            instructions for them. Layers of 8 bits stay so.
        timings: Its ``network`` grows with every call, decoding included, which the file does.

    Attributes:
        precision: The numbers that it computes in: "fp32", "bf16", "fp16", or "int8" where the
            file's layers are.
        runtime: What messages call the runtime.
        module: The runtime's module; the extra of heatpoint that it comes with is ``name``.
        suffixes: How its files end.
        choices: What ``precision`` may be.
        elsewhere: How to get other ones.
        cores: Processor cores for all calls together.

    Raises:
        HeatpointError: The runtime is not installed, the file is missing, damaged, or not one
            that ``heatpoint export`` wrote, or the processor has no instructions for
            ``precision``.
    """

    device = "cpu"
    precision = "fp32"
    runtime: str
    module: str
    suffixes: tuple[str, ...]
    choices: tuple[str, ...]
    elsewhere: str

    def __init__(
        self,
        path: str | Path,
        *,
        streams: int = 1,
        threads: int | None = None,
        precision: str | None = None,
        timings: Timings | None = None,
    ) -> None:
        if precision not in (None, *self.choices):
            raise HeatpointError(
                f"{path} computes in {' or '.join(self.choices)}, not {precision}: precision must "
                f"be one of {', '.join(self.choices)}; {self.elsewhere}"
            )
        library = self.library()
        self.path, self.streams, self.timings = Path(path), streams, timings or Timings()
        if self.path.suffix.lower() not in self.suffixes:
            raise HeatpointError(
                f"{path} should end in {' or '.join(self.suffixes)}; give the file that heatpoint "
                "export has written"
            )
        first_bytes(check_file(Path(path), "; export a checkpoint with heatpoint export"))
        self.cores = check_cores(streams, threads)
        self._load(library, precision)

    @classmethod
    def library(cls) -> Any:
        """Returns the runtime's module.

        When OpenVINO is imported it sends a usage report over the network, unless the package that
        does so is missing, which it is made to look like here. A program that wants to take part
        imports ``openvino`` first.

        Raises:
            HeatpointError: It is not installed.
        """
        if cls.module == "openvino" and cls.module not in sys.modules:
            sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        try:
            return import_module(cls.module)
        except ImportError as error:
            raise HeatpointError(
                f"{cls.runtime}, which runs {' and '.join(cls.suffixes)} files, cannot be loaded "
                f"({error}); install it with: pip install 'heatpoint[{cls.name}]'"
            ) from None

    @abstractmethod
    def _load(self, library: Any, precision: str | None) -> None:
        """Makes the file ready to run with the runtime's module, in the precision asked for."""

    @abstractmethod
    def _run(self, images: Pixels) -> dict[str, NDArray[Any]]:
        """Returns the graph's outputs by name for a batch that it takes."""

    def __call__(self, images: Pixels) -> Answer:
        """Returns what the network says about a batch; safe in as many threads as ``streams``.

        A batch that falls short of the number that the network takes is filled up with black
        images, whose rows are cut off again. More calls than ``streams`` may wait for each other.

        Raises:
            HeatpointError: The images do not fit, or memory does not suffice.
        """
        self.description.check_size((images.shape[2], images.shape[3]), str(self.path))
        images = np.ascontiguousarray(images)
        batch = self.description.batch
        if batch is None or batch == len(images):
            return self._answer(images)
        parts = []
        for start in range(0, len(images), batch):
            part = images[start : start + batch]
            black = np.zeros((batch - len(part), *part.shape[1:]), np.uint8)
            answer = self._answer(np.concatenate([part, black]))
            parts.append({name: rows[: len(part)] for name, rows in answer.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _answer(self, images: Pixels) -> Answer:
        """Returns what the graph gives for a batch in the types of an ``Answer``."""
        count, _, height, width = images.shape
        with self._explained(
            f"run {self.path} on {count} images of {height}x{width} pixels at once",
            "if memory is short, lower batch_size or size, otherwise export the checkpoint again",
        ):
            arrays = self._run(images)
        if self.description.older:
            arrays = older.answer(arrays)
        fields, rows = self.description.answer, arrays["scores"].shape[1:2]
        results = of_results(fields)
        rows_of = {f.name: rows if f in results else arrays[f.name].shape[1:2] for f in fields}
        if any(arrays[f.name].shape != (count, *rows_of[f.name], *f.tail) for f in fields):
            shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
            raise HeatpointError(
                f"{self.path} does not give what its description promises for {count} images, but "
                f"{shapes}; export the checkpoint again"
            )
        return {field.name: arrays[field.name].astype(field.type, copy=False) for field in fields}

    def _describe(
        self,
        text: str | None,
        inputs: int,
        shapes: Sequence[Sequence[object]],
        outputs: Sequence[str],
    ) -> None:
        """Notes what a graph says about itself, if it takes one batch of pixels and keeps its word.

        Args:
            text: Its description.
            inputs: Number of inputs.
            shapes: (B, 3, H, W) of those of type uint8, a number where only that one will do.
            outputs: Names of the outputs.

        Raises:
            HeatpointError: It does not.
        """
        about = Description.from_json(text, self.path)
        promised = tuple(field.name for field in about.answer)
        if about.older:
            fields, promised = older.completed(about.answer, outputs)
            about = replace(about, answer=fields)
        if set(promised) != set(outputs):
            raise HeatpointError(
                f"{self.path} gives {', '.join(outputs)}, but its description promises "
                f"{', '.join(promised)}; export the checkpoint again"
            )
        if inputs != 1 or len(shapes) != 1 or len(shapes[0]) != 4:
            raise HeatpointError(
                f"{self.path} should have images of type uint8 as its one input; export the "
                "checkpoint again"
            )
        size = (None, None) if about.dynamic else about.size
        for said, taken in zip((about.batch, 3, *size), shapes[0], strict=True):
            # A batch that the graph does not insist on would be filled up for nothing.
            if said not in (None, taken) and (isinstance(taken, int) or said == about.batch):
                raise HeatpointError(
                    f"the description of {self.path} promises {said} where its graph takes "
                    f"{taken or 'any number'} (images, channels, height, width); export the "
                    "checkpoint again"
                )
        self.description = about

    @contextmanager
    def _explained(self, task: str, remedy: str) -> Iterator[None]:
        """Says in one sentence what a runtime raises, whose errors have no class in common."""
        try:
            yield
        except Exception as error:
            # The lines before the last one name places in the runtime's source.
            lines = str(error).strip().splitlines() or [type(error).__name__]
            reason = lines[-1].rstrip(".!;")
            raise HeatpointError(f"{self.runtime} cannot {task}: {reason}; {remedy}") from None

    def _loading(self) -> Any:
        """Says in one sentence why the runtime cannot load the file."""
        return self._explained(
            f"load {self.path}",
            f"the file is damaged or cut off, or needs a newer {self.runtime}: export the "
            "checkpoint again",
        )


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
                str(self.path),
                options,
                providers=["CPUExecutionProvider"],
                enable_fallback=False,  # which would print the error and try the same again
            )
            inputs = self._session.get_inputs()
            self._outputs = [output.name for output in self._session.get_outputs()]
            text = self._session.get_modelmeta().custom_metadata_map.get(KEY)
        shapes = [one.shape for one in inputs if one.type == "tensor(uint8)"]
        self._describe(text, len(inputs), shapes, self._outputs)
        self._input = inputs[0].name

    @contextmanager
    def _loading(self) -> Iterator[None]:
        try:
            with super()._loading():
                yield
        except HeatpointError as error:
            if f" for {OPERATOR}(" not in str(error):
                raise
            raise HeatpointError(
                f"{self.path} has deformable convolutions, which ONNX Runtime computes from "
                f"{ONNX_RUNTIME} on, but {self.library().__version__} is installed; install it "
                f"with: pip install 'onnxruntime>={ONNX_RUNTIME}', or export to OpenVINO (.xml)"
            ) from None

    def _run(self, images: Pixels) -> dict[str, NDArray[Any]]:
        with self.timings.stage("network"):
            arrays = self._session.run(self._outputs, {self._input: images})
        return dict(zip(self._outputs, arrays, strict=True))


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
        core = openvino_core(library)
        with self._loading():
            model = core.read_model(self.path)
            # OpenVINO keeps the metadata of an .onnx file under "framework".
            kept = [place for place in ([KEY], ["framework", KEY]) if model.has_rt_info(place)]
            text = str(model.get_rt_info(kept[0]).value) if kept else None
            outputs = [output.any_name for output in model.outputs]
            pixels = [one for one in model.inputs if one.element_type == library.Type.u8]
            shapes = [
                [side.get_length() if side.is_static else None for side in one.partial_shape]
                for one in pixels
            ]
        self._describe(text, len(model.inputs), shapes, outputs)
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


def check_cores(streams: int, threads: int | None) -> int:
    """Returns the number of processor cores to use: ``threads``, or all this process may use.

    Raises:
        HeatpointError: One of the numbers is not positive.
    """
    if streams < 1 or (threads is not None and threads < 1):
        raise HeatpointError(
            f"streams and threads must be at least 1, not {streams} and {threads}; leave threads "
            "out for all cores"
        )
    if threads is not None:
        return threads
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS and Windows


def load_openvino() -> Any:
    """Returns the module ``openvino``; see ``ExportedEngine.library``.

    Raises:
        HeatpointError: It is not installed.
    """
    return OpenVinoEngine.library()
