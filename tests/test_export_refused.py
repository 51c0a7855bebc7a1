"""What cannot be exported is one sentence, said before anything is written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from blobs import spot_detector

from heatpoint.errors import HeatpointError
from heatpoint.exporting.export import drafted, export


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("model.pt", {}, r"model\.pt should end in \.onnx, or in \.xml"),
        (
            "model.onnx",
            {"size": (100, 128)},
            "size 100x128 .* the next legal size is 128, the nearest 96x128$",
        ),
        (
            "model.onnx",
            {"size": (100, 100), "dynamic": False},
            "size 100x100 .* the next legal size is 128, the nearest 96$",
        ),
        ("model.onnx", {"precision": "fp16"}, "computes in fp32, not fp16"),
        ("model.xml", {"precision": "fp8"}, "precision must be one of fp32, fp16, bf16"),
        ("model.onnx", {"opset": 20}, "opset must be one of 18, 19, not 20"),
        ("model.xml", {"opset": 19}, "opset 19 is of .onnx files"),
        ("model.onnx", {"batch": 0}, "batch must be at least 1"),
        ("model.onnx", {"max_detections": 0}, "max_detections must be at least 1"),
        ("folder.onnx", {}, "it is a folder; name a file in it"),
        ("file/model.xml", {}, "file is no folder; choose another folder"),
    ],
)
def test_what_cannot_be_done_is_said(
    name: str, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(HeatpointError, match=message):
        export(spot_detector(), tmp_path / name, **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.onnx"]


@pytest.mark.parametrize(
    ("package", "name", "extra"),
    [
        ("onnx", "model.onnx", "onnx"),
        ("onnxscript", "model.onnx", "onnx"),
        ("openvino", "model.xml", "openvino"),
    ],
)
def test_missing_packages_are_named(
    package: str, name: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(HeatpointError, match=rf"pip install\s+'heatpoint\[{extra}\]'"):
        export(spot_detector(), tmp_path / name)


def test_what_is_wrong_with_a_draft_is_said_of_the_users_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(HeatpointError, match=f"^{path} is odd$"), drafted(path) as draft:
        raise HeatpointError(f"{draft} is odd")
    assert not list(tmp_path.iterdir())
