"""Who takes part in a benchmark, engines in one precision each, and the files that they run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from heatpoint.errors import HeatpointError, check_choice
from heatpoint.inference.engines.description import Description
from heatpoint.inference.engines.onnx import OnnxEngine
from heatpoint.inference.engines.openvino import OpenVinoEngine, openvino_core
from heatpoint.inference.sources import Source

if TYPE_CHECKING:
    from heatpoint.zoo.detector import Detector

ENGINES = ("torch", "onnx", "openvino")
PRECISIONS = ("fp32", "bf16", "fp16", "int8")

_COMPUTES = {
    "torch": ("fp32", "bf16", "fp16"),
    "onnx": ("fp32",),
    "openvino": ("fp32", "bf16", "int8"),
}
_PACKAGES = {"torch": (), "onnx": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino")}
_OF_FILE = {".onnx": ("onnx", "openvino"), ".xml": ("openvino",)}


@dataclass(frozen=True)
class Contender:
    """An engine in one precision.

    Attributes:
        engine: "torch", "onnx", "openvino"; or "naive", the network run as most programs do.
        precision: "fp32", "bf16", "fp16" or "int8".
    """

    engine: str
    precision: str

    @property
    def name(self) -> str:
        """What tables call it."""
        return "naive" if self.engine == "naive" else f"{self.engine} {self.precision}"


NAIVE = Contender("naive", "fp32")


def choose(
    engines: Sequence[str], precisions: Sequence[str], device: str = "cpu"
) -> tuple[list[Contender], dict[str, str]]:
    """Returns who can take part with a checkpoint, and why others cannot.

    Args:
        engines: Names, or none for all that are installed and have the device.
        precisions: Names, or none for fp32 and what else the device is fast in.
        device: Where all run.

    Returns:
        The contenders, the naive one first; and a sentence by name of what was left out.

    Raises:
        HeatpointError: A name is unknown, what was asked for is not installed or has no such
            device, or a precision is one that none of the engines computes in.
    """
    _check(engines, precisions)
    chosen: list[Contender] = []
    left_out: dict[str, str] = {}
    if reason := _lacks("torch", device):
        left_out["naive"] = reason
    else:
        chosen.append(NAIVE)
    for engine in engines or ENGINES:
        if reason := _lacks(engine, device):
            if engines:
                raise HeatpointError(reason)
            left_out[engine] = reason
            continue
        for precision in precisions or _quick(engine, device):
            contender = Contender(engine, precision)
            if precision in _COMPUTES[engine]:
                chosen.append(contender)
            else:
                left_out[contender.name] = f"{engine} does not compute in {precision}"
    if not chosen:
        raise HeatpointError("; ".join(dict.fromkeys(left_out.values())))
    for precision in precisions:
        if all(precision != contender.precision for contender in chosen if contender != NAIVE):
            able = [engine for engine in ENGINES if precision in _COMPUTES[engine]]
            raise HeatpointError(
                f"precision {precision} is computed by {' or '.join(able)}, not by "
                f"{' or '.join(engines or ENGINES)} as installed here"
            )
    return chosen, left_out


def choose_for_file(
    path: Path, about: Description, engines: Sequence[str], precisions: Sequence[str]
) -> list[Contender]:
    """Returns who takes part with an exported file.

    Args:
        path: The .onnx or .xml file.
        about: Its description.
        engines: Names, or none for the one that files of this kind are made for.
        precisions: Names, or none for the file's own.

    Raises:
        HeatpointError: A name is unknown, or the engine cannot run the file in that precision.
    """
    _check(engines, precisions)
    able = _OF_FILE[path.suffix.lower()]
    chosen = []
    for engine in engines or able[:1]:
        if engine not in able:
            raise HeatpointError(
                f"{path} is run by {' or '.join(able)}, not by {engine}; give the checkpoint that "
                "it was exported from"
            )
        for precision in precisions or (about.precision,):
            changeable = engine == "openvino" and about.precision != "int8"
            changeable = changeable and precision in OpenVinoEngine.choices
            if precision != about.precision and not changeable:
                raise HeatpointError(
                    f"{path} was exported in {about.precision}, which {engine} cannot run in "
                    f"{precision}; give the checkpoint it was exported from"
                )
            chosen.append(Contender(engine, precision))
    return chosen


def _check(engines: Sequence[str], precisions: Sequence[str]) -> None:
    asked = (("engine", engines, ENGINES), ("precision", precisions, PRECISIONS))
    for option, names, known in asked:
        for name in names:
            check_choice(option, name, known)
        if len(set(names)) < len(names):
            raise HeatpointError(f"{', '.join(names)} names one twice; name each once")


def _lacks(engine: str, device: str) -> str:
    """Returns why an engine cannot run on a device here; "" if it can."""
    missing = [package for package in _PACKAGES[engine] if find_spec(package) is None]
    if missing:
        return (
            f"{engine} needs {' and '.join(missing)}, not installed here: "
            f"pip install 'heatpoint[{engine}]'"
        )
    if device == "cpu":
        return ""
    try:
        if engine == "torch":
            from heatpoint.inference.engines.torch import pick_device

            pick_device(device)
        else:
            (OnnxEngine if engine == "onnx" else OpenVinoEngine).place(device)
    except HeatpointError as error:
        return str(error)
    return ""


def _quick(engine: str, device: str) -> tuple[str, ...]:
    """Returns the precisions that need no calibration and that the device does not emulate."""
    if engine == "torch":
        from heatpoint.inference.engines.torch import pick_device
        from heatpoint.networks.fast import choose_precision

        return tuple(dict.fromkeys(("fp32", choose_precision("auto", pick_device(device)))))
    if engine == "openvino" and OpenVinoEngine.place(device) == "CPU":
        able = openvino_core(OpenVinoEngine.library()).get_property(
            "CPU", "OPTIMIZATION_CAPABILITIES"
        )
        return ("fp32", "bf16") if "BF16" in able else ("fp32",)
    return ("fp32",)


EXPORTED = ("model.onnx", "model.xml", "model.bin", "model-int8.xml", "model-int8.bin")
"""Files that ``export_all`` may write."""

CALIBRATION = 16
"""Pictures that ranges of 8-bit numbers are measured on: enough to time them, not to trust them."""


def export_all(
    files: dict[Contender, Path],
    detector: Detector,
    size: tuple[int, int],
    sources: Sequence[Source],
    out: Path,
) -> dict[str, str]:
    """Writes what engines need that run no checkpoints, all of one graph.

    Nothing is compared: an untrained model has a speed, but finds nothing.

    Args:
        files: The checkpoint of everybody; it is replaced by what is written.
        detector: That of the checkpoint.
        size: Input (height, width) in pixels.
        sources: Pictures to calibrate 8-bit numbers with, of which the first few are used.
        out: The folder.

    Returns:
        A sentence by name about contenders that no file could be made for.
    """
    failed: dict[str, str] = {}
    graph = None
    for contender in files:
        if contender.engine in ("naive", "torch"):
            continue
        from heatpoint.exporting.export import drafted, write
        from heatpoint.exporting.graph import Deployed, to_onnx
        from heatpoint.exporting.quantize import Calibration
        from heatpoint.inference.engines.torch import describe

        # One file in fp32 serves bf16 too, which is what the engine is told to compute in.
        precision = "int8" if contender.precision == "int8" else "fp32"
        name = "model-int8" if precision == "int8" else "model"
        path = (out / name).with_suffix(".onnx" if contender.engine == "onnx" else ".xml")
        about = replace(describe(detector), size=size, precision=precision)
        try:
            if path not in files.values():
                if graph is None:
                    deployed = Deployed(detector, flip=False, max_detections=about.rows)
                    graph = to_onnx(deployed, about)
                chosen = Calibration(list(sources[:CALIBRATION])) if precision == "int8" else None
                with drafted(path) as draft:
                    write(graph, about, draft, chosen)
            files[contender] = path
        except HeatpointError as error:
            failed[contender.name] = str(error)
    return failed
