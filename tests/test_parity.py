"""The comparison of exported files with their checkpoints."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("onnx", reason="needs the extra 'onnx'")
pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")

from blobs import NAMES
from layered import SPOTS, layered_detector, spot_pictures
from ramps import SKELETON, ramp_detector, ramp_image
from torch import Tensor, nn

import heatpoint.exporting.export as package
from heatpoint.codecs.center import CenterCodec
from heatpoint.data.results import Detections
from heatpoint.errors import HeatpointError
from heatpoint.exporting import parity
from heatpoint.exporting.export import export
from heatpoint.inference import KeepOptions, RunOptions
from heatpoint.inference.engines.description import Description
from heatpoint.inference.predict import open_runner
from heatpoint.views.fields import BOXES, LABELS, SCORES

pytestmark = pytest.mark.usefixtures("shared_graphs")


def sabotage(path: Path, factor: float) -> None:
    """Multiplies the weights of an .onnx file."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 4:
            values = numpy_helper.to_array(tensor) * np.float32(factor)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, path)


def test_a_changed_file_is_found_out(tmp_path: Path) -> None:
    pictures = spot_pictures(tmp_path / "pictures")
    detector, out = layered_detector(), tmp_path / "model.onnx"
    export(detector, out)
    found = parity.check_parity(detector, out, pictures)
    assert found.holds
    assert found.sure
    assert found.compared >= 2 * 4 * len(SPOTS)
    sabotage(out, 1.02)
    with pytest.raises(HeatpointError, match="does not give the results of its checkpoint"):
        parity.check_parity(detector, out, pictures)
    with pytest.raises(HeatpointError, match="does not give the results of its checkpoint"):
        parity.check_parity(detector, out)  # on drawn pictures


def test_a_bad_export_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "model.onnx"
    export(layered_detector(), out)
    old, write = out.read_bytes(), package.write

    def write_wrong(graph: Any, about: Description, path: Path, pictures: None) -> None:
        write(graph, about, path, pictures)
        sabotage(path, 0.9)

    monkeypatch.setattr(package, "write", write_wrong)
    with pytest.raises(HeatpointError, match=r"model\.onnx does not give"):
        export(layered_detector(), out)
    assert out.read_bytes() == old
    assert list(tmp_path.iterdir()) == [out]
    with pytest.raises(HeatpointError, match="does not give"):
        export(layered_detector(), tmp_path / "new.onnx")
    assert list(tmp_path.iterdir()) == [out]


def test_joints_are_compared_too(tmp_path: Path) -> None:
    detector, out = ramp_detector(), tmp_path / "model.onnx"
    subject = [(20.0, 10.0, 100.0, 90.0)]
    images = [ramp_image((100, 120), subject), ramp_image((140, 110), subject)]
    export(detector, out, flip=True, check=images)
    found = parity.check_parity(detector, out, images)
    assert found.sure
    assert found.compared > 2 * len(SKELETON.joints)
    other = ramp_detector()
    with torch.no_grad():
        other.network.heads.wanted += 5.0
    with pytest.raises(HeatpointError, match="does not give the results"):
        parity.check_parity(other, out, images)


def rows(boxes: list[list[float]], scores: list[float], labels: list[int]) -> Detections:
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(labels, np.int64),
        NAMES,
    )


def verdict(first: Detections, second: Detections, precision: str, *ends: float) -> parity.Parity:
    fields = (BOXES, SCORES, LABELS)
    return parity.judge(
        [parity.differences(first, second, fields, ends or (-np.inf, -np.inf))], precision, 1
    )


def test_boxes_are_matched_by_class_and_overlap() -> None:
    one = rows([[0, 0, 10, 10], [20, 0, 30, 10]], [0.9, 0.8], [0, 1])
    moved = rows([[20, 0, 30, 10.5], [0, 0, 10, 10]], [0.79, 0.9], [1, 0])
    found = verdict(one, moved, "fp16")
    assert (found.compared, found.off, found.pixels) == (4, 0, 0.5)
    assert found.score == pytest.approx(0.01)
    assert not verdict(one, moved, "fp32").holds
    other_class = rows([[0, 0, 10, 10], [20, 0, 30, 10]], [0.9, 0.8], [0, 0])
    assert verdict(one, other_class, "int8").off == 2  # one missing on either side
    assert not verdict(one, other_class, "int8").holds


def test_missing_results_are_off_on_either_side() -> None:
    one, none = rows([[0, 0, 10, 10]], [0.9], [0]), rows([], [], [])
    for pair in ((one, none), (none, one)):
        found = verdict(*pair, "int8")
        assert (found.compared, found.off, found.holds) == (1, 1, False)
    assert verdict(none, none, "fp32").compared == 0


def test_without_sure_results_the_best_are_compared() -> None:
    many = rows(
        [[20 * i, 0, 20 * i + 10, 10] for i in range(9)],
        [0.2 - 0.01 * i for i in range(9)],
        [0] * 9,
    )
    found = verdict(many, many, "fp32")
    assert (found.sure, found.compared, found.holds) == (False, parity.FEW, True)
    assert "none sure" in found.summary()


def test_rounded_numbers_that_are_sure_of_nothing_are_compared_by_height() -> None:
    weak = rows([[0, 0, 10, 10], [50, 0, 60, 10]], [0.25, 0.2], [0, 1])
    elsewhere = rows([[200, 0, 210, 10], [90, 0, 99, 10]], [0.251, 0.2], [0, 1])
    assert verdict(weak, elsewhere, "fp16").holds
    assert not verdict(weak, elsewhere, "fp32").holds
    assert not verdict(weak, rows([[0, 0, 10, 10]], [0.29], [0]), "fp16").holds


def ranks(*places: float, best: float = 0.9) -> Detections:
    """Returns boxes at some places, of scores that fall by a hundredth from one to the next."""
    boxes = [[30 * place, 0, 30 * place + 10, 10] for place in places]
    return rows(boxes, [best - 0.01 * rank for rank in range(len(places))], [0] * len(places))


def test_what_the_end_of_a_full_answer_cuts_off_is_not_missing() -> None:
    # The last two of ten rows are cut off, where two equally high ones outside of the picture came
    # before them.
    whole, short = ranks(*range(10)), ranks(*range(8))
    assert verdict(whole, short, "fp32").off == 2
    found = verdict(whole, short, "fp32", 0.81, 0.83)
    assert (found.compared, found.cut, found.off, found.holds) == (16, 2, 0, True)
    assert "2 left out" in found.summary()
    assert verdict(short, whole, "fp32", 0.83, 0.81) == found
    # Of peaks as high as the last row, each answer has room for another one.
    one, other = ranks(*range(8), 8), ranks(*range(8), 20)
    assert verdict(one, other, "fp32").off == 2
    found = verdict(one, other, "fp32", 0.82, 0.82)
    assert (found.compared, found.cut, found.holds) == (16, 2, True)


def test_rows_above_the_end_of_an_answer_may_not_differ() -> None:
    whole = ranks(*range(10))
    missing, moved = whole[[0, 1, 2, 4, 5, 6, 7]], ranks(0, 1, 2, 3.1, 4, 5, 6, 7)
    for wrong in (missing, moved):
        found = verdict(whole, wrong, "fp32", 0.81, 0.83)
        assert found.cut == 2
        assert found.off > 0
        assert not found.holds
    # An answer of one row ends above all others: nothing would be compared.
    once = ranks(0)
    found = verdict(whole, once, "fp32", 0.81, 0.9)
    assert (found.cut, found.off, found.holds) == (0, 9, False)


def test_the_end_of_an_answer_is_its_last_row_in_the_network() -> None:
    detector, image = layered_detector(), np.full((64, 64, 3), 90, np.uint8)
    assert isinstance(detector.codec, CenterCodec)
    detector.codec = replace(detector.codec, max_detections=2)
    for soft, noted in (("none", True), ("gaussian", False)):
        keep = KeepOptions(max_detections=2, soft_nms=soft)  # type: ignore[arg-type]
        runner = parity.Ending(open_runner(detector, RunOptions(device="cpu"), keep, 0.0))
        rows = runner.engine(np.full((1, 3, 64, 64), 90, np.uint8))["scores"]
        runner([image, image])
        assert runner.ends == ([rows.min()] * 2 if noted else [-np.inf] * 2)


class Flat(nn.Module):
    """Heads whose boxes have no area, so that no result is left of them."""

    def __init__(self, heads: nn.Module) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        maps = self.heads(features)
        return {**maps, "size": 0 * maps["size"]}


def test_where_nothing_is_found_the_maps_are_compared(tmp_path: Path) -> None:
    detector, lines = layered_detector(), list[str]()
    detector.network.heads = Flat(detector.network.heads)
    files = [tmp_path / "model.onnx"]
    export(detector, files[0], batch=2, report=lines.append)
    if find_spec("openvino"):
        files.append(tmp_path / "model.xml")
        export(detector, files[1], precision="fp16", report=lines.append)
    for path, line in zip(files, lines, strict=True):
        found = parity.check_parity(detector, path)
        assert (found.compared, found.holds) == (0, True)
        assert found.apart < 1e-3
        assert f"so {found.maps} maps were compared" in line
    with torch.no_grad():
        detector.network.backbone.halve.weight *= 1.02  # the file is the older one
    with pytest.raises(HeatpointError, match=r"0\.01 of a map's range"):
        parity.check_parity(detector, files[0])


def test_what_cannot_be_opened_is_called_as_the_user_calls_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_half(graph: Any, about: Description, path: Path, pictures: None) -> None:
        path.write_bytes(graph.SerializeToString()[:1000])

    monkeypatch.setattr(package, "write", write_half)
    with pytest.raises(HeatpointError, match=r"/model\.onnx") as told:
        export(layered_detector(), tmp_path / "model.onnx")
    assert "partial" not in str(told.value)
