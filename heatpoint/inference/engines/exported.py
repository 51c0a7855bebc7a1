"""What exported files have in common, whichever runtime runs them, and where they can run."""

from __future__ import annotations

import re
import sys
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from heatpoint.errors import HeatpointError, needing
from heatpoint.inference.engines import older
from heatpoint.inference.engines.description import Description
from heatpoint.inference.engines.engine import Answer, Engine, Pixels, Timings
from heatpoint.system import usable_cores
from heatpoint.system.files import check_file
from heatpoint.views.fields import of_results
from heatpoint.weights import first_bytes

DEVICES = re.compile(r"(auto|cpu|npu)|(cuda|tensorrt|gpu)(?::(\d+))?")
"""Names of devices: kinds that are there once, and kinds of which one may be chosen."""


DEFORMABLE = "DeformConv"
"""What ONNX calls a deformable convolution, since opset 19."""


class ExportedEngine(Engine):
    """An exported network that a runtime runs; an ``Engine``.

    A subclass loads the file, says by ``_describe`` what is in it, and runs one batch.

    Args:
        path: The file.
        streams: How many calls may be under way at once; they share one copy of the weights.
        threads: Processor cores for all calls together; all that this process may use without.
        precision: The type of the numbers between the layers, one of ``choices``; without, what
            the file was exported for, as far as the processor can: 16 bits only where it has
            instructions for them. Layers of 8 bits stay so.
        device: "auto", "cpu", "cuda", "tensorrt", "gpu" or "npu"; "cuda:N" is one of several. What
            was asked for is used or refused; only "auto" chooses.
        timings: Its ``network`` grows with every call, decoding included, which the file does.

    Attributes:
        device: What it runs on, in order of preference where the runtime divides the graph:
            "cpu", "gpu:0", "tensorrt, cuda, cpu".
        precision: The numbers that it computes in: "fp32", "bf16", "fp16", or "int8" where the
            file's layers are.
        runtime: What messages call the runtime.
        module: The runtime's module; the extra of heatpoint that it comes with is ``name``.
        suffixes: How its files end.
        choices: What ``precision`` may be.
        elsewhere: How to get other ones.
        needs: What a kind of device needs, the processor apart, for sentences.
        cores: Processor cores for all calls together.

    Raises:
        HeatpointError: The runtime is not installed or has no such device here, the file is
            missing, damaged, or not one that ``heatpoint export`` wrote, or the processor has no
            instructions for ``precision``.
    """

    precision = "fp32"
    runtime: str
    module: str
    suffixes: tuple[str, ...]
    choices: tuple[str, ...]
    elsewhere: str
    needs: ClassVar[Mapping[str, str]]

    def __init__(
        self,
        path: str | Path,
        *,
        streams: int = 1,
        threads: int | None = None,
        precision: str | None = None,
        device: object = "auto",
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
        self._load(library, precision, str(device))

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
        files = f"{' and '.join(cls.suffixes)} files"
        with needing(f"{cls.runtime}, which runs {files}, cannot be loaded", cls.name):
            return import_module(cls.module)

    @classmethod
    @abstractmethod
    def place(cls, device: str) -> Any:
        """Returns what the runtime calls a device.

        Raises:
            HeatpointError: It has no such device here; says what there is and what is to be
                installed.
        """

    @abstractmethod
    def _load(self, library: Any, precision: str | None, device: str) -> None:
        """Makes the file ready to run with the runtime's module, as asked for."""

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
            black = np.zeros((batch - len(part), *part.shape[1:]), part.dtype)
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
        inputs: Sequence[tuple[str, Sequence[object]]],
        outputs: Sequence[str],
    ) -> None:
        """Notes what a graph says about itself, if it takes one batch of pixels and keeps its word.

        Args:
            text: Its description.
            inputs: Type, such as "uint8", and (B, C, H, W) of each input, a number where only that
                one will do.
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
        if [kind for kind, _ in inputs] != [about.dtype] or len(inputs[0][1]) != 4:
            raise HeatpointError(
                f"{self.path} should have images of type {about.dtype} as its one input; export "
                "the checkpoint again"
            )
        size = (None, None) if about.dynamic else about.size
        for said, taken in zip((about.batch, about.channels, *size), inputs[0][1], strict=True):
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
            # The lines before the last one, and its beginning, name places in the runtime's source.
            lines = str(error).strip().splitlines() or [type(error).__name__]
            reason = re.sub(r"^/\S+:\d+ .*\) (?=[A-Z])", "", lines[-1]).rstrip(".!;")
            raise HeatpointError(f"{self.runtime} cannot {task}: {reason}; {remedy}") from None

    def _loading(self, device: str) -> Any:
        """Says in one sentence why the runtime cannot load the file for a device."""
        remedy = f"the file is damaged or cut off, or needs a newer {self.runtime}: export the "
        remedy += "checkpoint again"
        if device in ("auto", "cpu"):
            return self._explained(f"load {self.path}", remedy)
        kind = parse_device(device)[0]
        return self._explained(
            f"load {self.path} for device {device!r}",
            f"{kind} needs {self.needs[kind]}; if it fails with device 'cpu' too, {remedy}",
        )


def parse_device(device: str) -> tuple[str, int]:
    """Returns the kind and the number of a device, 0 where none is given.

    Raises:
        HeatpointError: It is no device that an exported file could run on.
    """
    match = DEVICES.fullmatch(device)
    if match is None:
        raise HeatpointError(
            f"an exported file cannot run on device {device!r}: it must be auto, cpu, cuda, "
            "tensorrt, gpu or npu, of which cuda:1, tensorrt:1 and gpu:1 are the second"
        )
    alone, one, number = match.groups()
    return alone or one, int(number or 0)


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
    return usable_cores() if threads is None else threads
