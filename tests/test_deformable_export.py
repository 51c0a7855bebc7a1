"""Deformable convolutions in both runtimes, which must be recent enough, or be taught."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from deformed import deformed_detector
from layered import spot_pictures
from test_export import (
    assert_exports,
    assert_same,
    enlivened,
    expected,
    pictures,
    run_onnx,
    run_openvino,
)

from heatpoint.errors import HeatpointError
from heatpoint.exporting.export import export
from heatpoint.inference.engines.onnx import OnnxEngine
from heatpoint.inference.engines.openvino import OpenVinoEngine
from heatpoint.zoo.detector import Detector

onnx = pytest.importorskip("onnx", reason="needs the extra 'onnx'")
ort = pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
ov = pytest.importorskip("openvino", reason="needs the extra 'openvino'")

pytestmark = pytest.mark.usefixtures("shared_graphs")


@pytest.fixture(scope="module")
def detector() -> Detector:
    return enlivened(deformed_detector())


def test_files_of_any_size_say_what_the_detector_says(detector: Detector, tmp_path: Path) -> None:
    assert_exports(detector, tmp_path, flip=True)


def test_one_size_and_every_engine(detector: Detector, tmp_path: Path) -> None:
    path, images = tmp_path / "model.onnx", pictures(3, 64, 96)
    export(detector, path, size=(64, 96), dynamic=False, batch=3)
    wanted = expected(detector, images)
    assert_same(run_onnx(path, images), wanted)
    assert_same(OpenVinoEngine(path, threads=1)(images.numpy()), wanted)
    model = onnx.load(path)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 19)]
    assert sum(node.op_type == "DeformConv" for node in model.graph.node) == 2
    with pytest.raises(HeatpointError, match="opset 18 has not; leave opset out or choose 19"):
        export(detector, path, opset=18)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_rounded_weights_leave_the_taps_in_their_places(
    precision: str, detector: Detector, tmp_path: Path
) -> None:
    calibrate = None
    if precision == "int8":
        pytest.importorskip("nncf", reason="needs the extra 'openvino'")
        calibrate = spot_pictures(tmp_path / "pictures")
    path = tmp_path / "model.xml"
    export(detector, path, precision=precision, calibrate=calibrate)  # type: ignore[arg-type]
    model = ov.Core().read_model(path)
    rounded = [op for op in model.get_ops() if op.get_type_name() == "FakeQuantize"]
    names = {op.get_friendly_name() for op in rounded}
    assert bool(rounded) == (precision == "int8")
    assert not any("/first/Conv/" in name or "/second/Conv/" in name for name in names)
    images = pictures(1, 64, 64)
    scores = [run_openvino(path, images)["scores"], expected(detector, images)["scores"]]
    np.testing.assert_allclose(*scores, atol=0.02 if precision == "fp16" else 0.2)


def test_an_old_onnx_runtime_is_told_of(
    detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    export(detector, path, size=(64, 96), dynamic=False, batch=3, check=False)

    def refuses(*_: object, **__: object) -> None:
        """Says what ONNX Runtime 1.24.4 says."""
        raise RuntimeError(
            "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation for "
            "DeformConv(19) node with name '/network/neck/first/DeformConv'"
        )

    monkeypatch.setattr(ort, "InferenceSession", refuses)
    monkeypatch.setattr(ort, "__version__", "1.24.4")
    message = (
        r"model\.onnx has deformable convolutions, .* from 1\.25 on, but 1\.24\.4 is installed; "
        r".*pip install 'onnxruntime>=1\.25', or export to OpenVINO"
    )
    with pytest.raises(HeatpointError, match=message):
        OnnxEngine(path)
    with pytest.raises(HeatpointError, match=message):  # so does the comparison of an export
        export(detector, path, size=(64, 96), dynamic=False, batch=3)
