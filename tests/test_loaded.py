"""An open model called with one picture after the other, and what its results show of them."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from drawn_graphs import BOXES, draw_onnx, pictures
from PIL import Image as PIL

import heatpoint
from heatpoint.data.results import Detections
from heatpoint.data.skeleton import SKELETONS
from heatpoint.errors import HeatpointError
from heatpoint.inference.loaded import as_pixels


def test_every_form_of_a_picture_is_the_same_picture(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (12, 20, 3)).astype(np.uint8)
    path = tmp_path / "a.png"
    PIL.fromarray(rgb).save(path)
    tensor = torch.from_numpy(rgb).permute(2, 0, 1)
    same = [rgb, path, str(path), path.read_bytes(), PIL.fromarray(rgb), tensor, tensor / 255]
    for each in same:
        np.testing.assert_array_equal(as_pixels(each), rgb)
    np.testing.assert_array_equal(as_pixels(rgb[..., ::-1], bgr=True), rgb)
    np.testing.assert_array_equal(as_pixels(tensor.flip(0), bgr=True), rgb)


@pytest.mark.parametrize(
    ("image", "bgr", "says"),
    [
        (torch.zeros(2, 3, 8, 8), False, r"not \(2, 3, 8, 8\); give the pictures of a batch one"),
        (torch.zeros(8, 8, 3), False, r"as \(3, H, W\), red, green and blue, not \(8, 8, 3\)"),
        ("https://example.org/a.jpg", False, "is an address; heatpoint.predict fetches"),
        ("a.jpg", True, "files and Pillow images know the order of their colours"),
        (np.zeros((8, 8), np.uint8), True, r"bgr is for arrays \(H, W, 3\)"),
        ("missing.jpg", False, "missing.jpg"),
        (7, False, "got int"),
    ],
)
def test_no_picture_is_one_sentence(image: object, bgr: bool, says: str) -> None:
    with pytest.raises(HeatpointError, match=says):
        as_pixels(image, bgr)  # type: ignore[arg-type]


def test_a_model_says_what_predict_says(tmp_path: Path) -> None:
    path = draw_onnx(tmp_path / "a.onnx")
    image = np.ascontiguousarray(pictures(1)[0].transpose(1, 2, 0))
    model = heatpoint.load(path, score=0.0, max_detections=3)
    found = model(image)
    (wanted,) = heatpoint.predict(path, [image], score=0.0, max_detections=3)
    np.testing.assert_array_equal(found.boxes, wanted.boxes)
    np.testing.assert_array_equal(found.scores, wanted.scores)
    assert model.names == BOXES.names
    assert [len(each) for each in model.each([image, image])] == [len(found)] * 2
    np.testing.assert_array_equal(found.plot(), wanted.plot(image))
    np.testing.assert_array_equal(found[:1].plot(), wanted[:1].plot(image))
    with pytest.raises(HeatpointError, match="do not know their picture"):
        wanted.plot()
    with pytest.raises(HeatpointError, match="boxes is for models that look at one subject"):
        model(image, boxes=[[0, 0, 4, 4]])


def test_a_model_of_joints_looks_where_it_is_told(tmp_path: Path) -> None:
    detector = heatpoint.build("pose_tiny", ["fly"], skeleton=SKELETONS["face5"])
    model = heatpoint.load(detector)
    image = np.zeros((64, 64, 3), np.uint8)
    boxes = [[4, 4, 30, 60], [20, 8, 60, 40]]
    found = model(image, boxes)
    (wanted,) = heatpoint.predict(detector, [image], boxes=[boxes])
    np.testing.assert_array_equal(found.keypoints, wanted.keypoints)
    assert len(model(image)) == 1  # the whole picture
    assert "pose" in repr(model) or "joints" in repr(model)
    with pytest.raises(HeatpointError, match=r"score .* needs boxes or detector"):
        heatpoint.load(detector, score=0.5)


def found_joints() -> Detections:
    skeleton = SKELETONS["face5"]
    keypoints = np.arange(15, dtype=np.float32).reshape(1, 5, 3)
    columns = {"depth": np.ones(1, np.float32), "corners": np.arange(8.0).reshape(1, 4, 2)}
    box = np.array([[1, 2, 3, 4]], np.float32)
    arrays = box, np.full(1, 0.5, np.float32), np.zeros(1, np.int64)
    return Detections(*arrays, ("face",), keypoints, skeleton, columns)


def test_results_as_a_table() -> None:
    pytest.importorskip("pandas")
    table = found_joints().to_pandas()
    joints = [f"{j}_{what}" for j in SKELETONS["face5"].joints for what in ("x", "y", "score")]
    corners = [f"corners_{n}" for n in range(8)]
    usual = ["class", "score", "x1", "y1", "x2", "y2"]
    assert list(table.columns) == [*usual, *joints, "depth", *corners]
    assert table[joints].iloc[0].tolist() == list(range(15))
    assert table[corners].iloc[0].tolist() == list(range(8))
    assert len(Detections.empty(("a",)).to_pandas()) == 0


@pytest.mark.parametrize("notebook", [True, False])
def test_pictures_are_shown_where_people_look(
    monkeypatch: pytest.MonkeyPatch, notebook: bool
) -> None:
    shown: list[str] = []
    below = SimpleNamespace(display=lambda _: shown.append("below the cell"))
    shell = SimpleNamespace(get_ipython=lambda: notebook or None, display=below)
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setattr(PIL.Image, "show", lambda _: shown.append("in a window"))
    found = found_joints()
    found.picture = np.zeros((8, 8, 3), np.uint8)
    found.show()
    assert shown == ["below the cell" if notebook else "in a window"]
