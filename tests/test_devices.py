"""Devices: what is asked for is used or refused in one sentence, and only auto chooses."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
pytest.importorskip("openvino", reason="needs the extra 'openvino'")
pytest.importorskip("onnx", reason="needs the extra 'onnx'")

import onnxruntime
import openvino
from drawn_graphs import BOXES, draw_onnx, draw_openvino, expected_boxes, pictures

from heatpoint.benchmarking.contenders import NAIVE, choose
from heatpoint.errors import HeatpointError, HeatpointWarning
from heatpoint.inference.engines import open_engine
from heatpoint.inference.engines.onnx import _PROVIDERS, OnnxEngine
from heatpoint.inference.engines.openvino import OpenVinoEngine, openvino_core
from heatpoint.inference.engines.torch import pick_device
from heatpoint.networks.fast import choose_precision

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
TENSORRT, INTEL = "TensorrtExecutionProvider", "OpenVINOExecutionProvider"


def test_onnx_runtime_knows_every_provider_that_may_be_asked_for() -> None:
    assert {name for names in _PROVIDERS.values() for name in names} <= {
        *onnxruntime.get_all_providers()
    }


@pytest.mark.parametrize(
    ("device", "provider", "package"),
    [
        ("cuda:1", CUDA, "onnxruntime-gpu"),
        ("tensorrt", TENSORRT, "onnxruntime-gpu"),
        ("gpu", INTEL, "onnxruntime-openvino"),
        ("npu", INTEL, "onnxruntime-openvino"),
    ],
)
def test_what_onnx_runtime_was_not_built_for(
    tmp_path: Path, device: str, provider: str, package: str
) -> None:
    offered = onnxruntime.get_available_providers()
    if provider in offered:
        pytest.skip(f"this ONNX Runtime was built with {provider}")
    says = f"device '{device}' here: it was built with {', '.join(offered)}, not with .*{provider}"
    with pytest.raises(HeatpointError, match=f"{says}.* pip install .*{package}"):
        open_engine(draw_onnx(tmp_path / "a.onnx"), max_detections=1, device=device)


@pytest.mark.parametrize("device", ["gpu", "gpu:7", "npu"])
def test_what_openvino_does_not_find(tmp_path: Path, device: str) -> None:
    found = openvino_core(openvino).available_devices
    if any(each.startswith(device.upper()) for each in found):
        pytest.skip("it is there")
    says = f"device '{device}' here: it finds {', '.join(found)} alone; .* needs the driver"
    with pytest.raises(HeatpointError, match=says):
        open_engine(draw_openvino(tmp_path / "a.xml"), max_detections=1, device=device)


@pytest.mark.parametrize(
    ("name", "device", "says"),
    [
        ("a.onnx", "mps", "must be auto, cpu, cuda, tensorrt, gpu or npu"),
        ("a.onnx", "npu:1", "must be auto"),
        ("a.xml", "cuda", r"but on cpu, gpu and npu; export to \.onnx"),
    ],
)
def test_devices_of_others(tmp_path: Path, name: str, device: str, says: str) -> None:
    path = (draw_onnx if name == "a.onnx" else draw_openvino)(tmp_path / name)
    with pytest.raises(HeatpointError, match=says):
        open_engine(path, max_detections=1, device=device)


@pytest.mark.parametrize("device", ["tensorrt", "gpu", "npu"])
def test_a_checkpoint_says_whose_devices_these_are(device: str) -> None:
    with pytest.raises(HeatpointError, match=f"'{device}' is not .*are for exported files"):
        pick_device(device)


class Runtime:
    """ONNX Runtime as if it were built for everything; the processor does the work.

    Args:
        loads: The providers that it can load; it goes on without others, as the real one does.
    """

    def __init__(self, *loads: str) -> None:
        self.loads, self.asked = loads, list[Any]()

    def __getattr__(self, name: str) -> Any:
        return getattr(onnxruntime, name)

    def get_available_providers(self) -> list[str]:
        return [TENSORRT, CUDA, INTEL, CPU]

    def preload_dlls(self) -> None:
        print("Failed to load libcublas")

    def InferenceSession(self, *args: Any, providers: Any, **others: Any) -> Any:
        self.asked.append(providers)
        session = onnxruntime.InferenceSession(*args, providers=[CPU], **others)
        there = [name for name, _ in providers if name in self.loads]
        nodes = [SimpleNamespace(ep_name=name) for name in there if name != CPU or there == [CPU]]
        session.get_providers = lambda: there
        session.get_provider_graph_assignment_info = lambda: nodes
        return session


@pytest.mark.parametrize(
    ("device", "asked", "runs"),
    [
        ("cpu", [(CPU, {})], "cpu"),
        ("auto", [(CUDA, {"device_id": "0"}), (CPU, {})], "cuda"),
        ("cuda:1", [(CUDA, {"device_id": "1"}), (CPU, {})], "cuda"),
        (
            "tensorrt:2",
            [(TENSORRT, {"device_id": "2"}), (CUDA, {"device_id": "2"}), (CPU, {})],
            "tensorrt, cuda",
        ),
        ("gpu:1", [(INTEL, {"device_type": "GPU.1", "precision": "FP32"}), (CPU, {})], "gpu"),
        ("npu", [(INTEL, {"device_type": "NPU"}), (CPU, {})], "npu"),
    ],
)
def test_providers_by_device(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    device: str,
    asked: list[Any],
    runs: str,
) -> None:
    runtime = Runtime(TENSORRT, CUDA, INTEL, CPU)
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    engine = OnnxEngine(draw_onnx(tmp_path / "a.onnx"), threads=1, device=device)
    assert runtime.asked == [asked]
    assert (engine.device, engine.precision) == (runs, "fp16" if device == "npu" else "fp32")
    assert capsys.readouterr().out == ""  # what CUDA lacks is no result


@pytest.mark.parametrize(
    ("device", "loads"), [("cuda", [CPU]), ("tensorrt", [CUDA, CPU]), ("npu", [CPU])]
)
def test_onnx_runtime_that_goes_on_without_what_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, loads: list[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", Runtime(*loads))
    says = f"device '{device}': .* could not load {_PROVIDERS[device][0]}, .*{device} needs an N"
    with pytest.raises(HeatpointError, match=says):
        OnnxEngine(draw_onnx(tmp_path / "a.onnx"), threads=1, device=device)


def test_auto_says_why_it_does_without_the_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", Runtime(CPU))
    with pytest.warns(HeatpointWarning, match=f"could not load {CUDA}.* runs on the processor"):
        engine = OnnxEngine(draw_onnx(tmp_path / "a.onnx"), threads=1)
    assert engine.device == "cpu"
    images = pictures(2)
    np.testing.assert_allclose(engine(images)["boxes"], expected_boxes(images)["boxes"], rtol=1e-5)


class Core:
    """OpenVINO's entrance, which finds more devices; the processor does their work."""

    asked: ClassVar[list[tuple[str, dict[str, Any]]]] = []

    def __init__(self) -> None:
        self.core = openvino_core(openvino)
        self.available_devices = ["CPU", "GPU.0", "GPU.1", "NPU"]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.core, name)

    def compile_model(self, model: Any, place: str, settings: dict[str, Any]) -> Any:
        self.asked.append((place, settings))
        # Some processors compute in half floats where they are asked to, as for an NPU.
        exact = settings | {"INFERENCE_PRECISION_HINT": "f32"}
        return self.core.compile_model(model, place if place == "AUTO" else "CPU", exact)


class Library:
    """The module ``openvino`` with that entrance."""

    Core = Core

    def __getattr__(self, name: str) -> Any:
        return getattr(openvino, name)


@pytest.mark.parametrize(
    ("device", "place", "hint"),
    [
        ("cpu", "CPU", "f32"),
        ("auto", "AUTO", "f32"),  # OpenVINO's own choice, which is the processor here
        ("gpu", "GPU", "f32"),
        ("gpu:1", "GPU.1", "f32"),
        ("npu", "NPU", "f16"),
    ],
)
def test_places_of_openvino(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, place: str, hint: str
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", Library())
    monkeypatch.setattr(Core, "asked", [])
    path = draw_openvino(tmp_path / "a.xml", BOXES)
    engine = OpenVinoEngine(path, threads=1, device=device)
    (asked, settings), *again = Core.asked
    assert (asked, settings["INFERENCE_PRECISION_HINT"]) == (place, hint)
    assert [each for each, _ in again] == ["CPU"] * (device == "auto")  # opened as what it is
    assert ("INFERENCE_NUM_THREADS" in settings) == (device == "cpu")
    assert settings.get("ENABLE_STARTUP_FALLBACK", True) == (device != "auto")
    assert engine.device == "cpu"
    images = pictures(2)
    np.testing.assert_allclose(engine(images)["boxes"], expected_boxes(images)["boxes"], rtol=1e-5)


def test_the_arithmetic_follows_each_card(monkeypatch: pytest.MonkeyPatch) -> None:
    cards = [(6, 1), (7, 5), (8, 6), (9, 0)]
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: cards[device.index])
    found = [choose_precision("auto", torch.device("cuda", index)) for index in range(4)]
    assert found == ["fp32", "fp16", "bf16", "bf16"]


def test_a_benchmark_leaves_out_who_lacks_the_device() -> None:
    with pytest.raises(HeatpointError, match=r"'npu' is not auto.*ONNX.*'npu'.*OpenVINO.*'npu'"):
        choose([], [], "npu")
    with pytest.raises(HeatpointError, match="OpenVINO cannot run on device 'cuda'"):
        choose(["openvino"], [], "cuda")
    chosen, left_out = choose([], ["fp32"], "cpu")
    assert NAIVE in chosen
    assert left_out == {}
