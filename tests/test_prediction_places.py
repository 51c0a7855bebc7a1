"""predict with models of joints: boxes from files, lists, detectors or nowhere; wrong ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from blobs import spot_detector
from PIL import Image as PIL
from ramps import joints_of, ramp_detector, ramp_image

from heatpoint.errors import HeatpointError, HeatpointWarning
from heatpoint.inference.predict import iter_predict, predict, write_results
from heatpoint.zoo.detector import Detector

Box = tuple[float, float, float, float]
BOXES: list[list[Box]] = [[(10, 10, 70, 70), (80, 20, 130, 70)], [], [(5, 5, 90, 90)]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = tmp_path / "images"
    images.mkdir()
    for place, boxes in enumerate(BOXES):
        PIL.fromarray(ramp_image((100, 140), boxes)).save(images / f"{place}.png")
    return images


def check(results: list) -> None:
    assert [len(poses) for poses in results] == [2, 0, 1]
    for poses, boxes in zip(results, BOXES, strict=True):
        for row, box in zip(poses.keypoints, boxes, strict=True):
            assert np.abs(row[:, :2] - joints_of(box)).max() < 0.4


def test_boxes_of_a_list(folder: Path) -> None:
    calls: list[tuple[int, int]] = []
    results = predict(
        ramp_detector(), folder, boxes=BOXES, precision="fp32", progress=lambda *a: calls.append(a)
    )
    check(results)
    assert calls == [(1, 3), (2, 3), (3, 3)]
    check(predict(ramp_detector(), folder, boxes=[np.array(b) for b in BOXES]))
    check(predict(ramp_detector(), folder, boxes=[torch.tensor(b) for b in BOXES]))


def test_boxes_of_files(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "boxes.json"
    for name in ("{}.png", str(folder / "{}.png"), "elsewhere/{}.png"):
        path.write_text(json.dumps({name.format(i): boxes for i, boxes in enumerate(BOXES)}))
        check(predict(ramp_detector(), folder, boxes=path))
    rows = [
        {
            "image_id": place,
            "file_name": str(folder / f"{place}.png"),
            "category_id": 1,
            "category_name": "person",
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": 0.8,
        }
        for place, boxes in enumerate(BOXES)
        for x1, y1, x2, y2 in boxes
    ]
    other = [rows[0] | {"category_name": "chair"}, rows[0] | {"score": 0.1}]
    path.write_text(json.dumps([*other[:1], *rows, *other[1:]]))
    results = predict(ramp_detector(), folder, boxes=path)
    check(results)
    assert results[0].scores[0] < 0.8
    assert len(predict(ramp_detector(), folder, boxes=path, score=0.05)[0]) == 3


def test_boxes_of_frames_stay_with_their_frames(folder: Path, tmp_path: Path) -> None:
    film, path = tmp_path / "film.tif", tmp_path / "boxes.json"
    first, *others = [PIL.open(folder / f"{i}.png") for i in range(3)]
    first.save(film, save_all=True, append_images=others)
    rows = [
        {"file_name": "film.tif", "frame": frame, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": 0.8}
        for frame, boxes in enumerate(BOXES)
        for x1, y1, x2, y2 in boxes
    ]
    path.write_text(json.dumps(rows))
    check(predict(ramp_detector(), film, boxes=path, frames=True))
    with (
        pytest.raises(HeatpointError, match=r"film.tif \(frame 0\).*about frames, which --frames"),
        pytest.warns(HeatpointWarning, match="several frames"),
    ):
        predict(ramp_detector(), film, boxes=path)
    path.write_text(json.dumps([row | {"frame": None} for row in rows]))
    with pytest.raises(HeatpointError, match="do not say of which"):
        predict(ramp_detector(), film, boxes=path, frames=True)


def test_what_predict_writes_of_a_detector_is_a_boxes_file(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    people = ("spot", "person")
    box_detector = spot_detector()
    box_detector.names = people
    found = list(iter_predict(box_detector, folder, score=0.05))
    write_results(path, found)
    by_file = predict(ramp_detector(), folder, boxes=path, score=0.05)
    directly = predict(ramp_detector(), folder, detector=box_detector, score=0.05)
    assert sum(map(len, directly)) > 0
    for one, other in zip(by_file, directly, strict=True):
        np.testing.assert_allclose(one.keypoints, other.keypoints, atol=0.01, rtol=0)
        np.testing.assert_allclose(one.scores, other.scores, rtol=1.3e-6, atol=1e-5)
    for one, poses in zip(found, directly, strict=True):
        mine = one.detections[one.detections.labels == 1]
        np.testing.assert_allclose(poses.boxes, mine.boxes, rtol=1.3e-6, atol=1e-5)


def test_without_boxes_each_picture_is_one_subject(tmp_path: Path) -> None:
    image = ramp_image((64, 64), [(0, 0, 64, 64)])
    results = predict(ramp_detector(), [image, image])
    assert [len(poses) for poses in results] == [1, 1]
    assert np.abs(results[1].keypoints[0, :, :2] - joints_of((0, 0, 64, 64))).max() < 0.4
    assert predict(ramp_detector(), []) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"0.png": [], "1.png": [], "2.png": [], "7.png": []}, r"1 images that are not.*7\.png"),
        ({"0.png": [], "1.png": []}, r"says nothing about 1 of the 3 images: .*2\.png"),
        ({"0.png": [[1, 2, 3]], "1.png": [], "2.png": []}, r"0\.png in .*\(N, 4\)"),
        ({"0.png": [[9, 9, 9, 20]], "1.png": [], "2.png": []}, r"box 0 of .*0\.png.*no area"),
        ({"0.png": 5, "1.png": [], "2.png": []}, "list of boxes"),
        ([{"file_name": "9.png", "bbox": [0, 0, 5, 5], "score": 1}], r"not among.*9\.png"),
        ([{"image_id": 3, "bbox": [0, 0, 5, 5], "score": 1}], "row 0 of .* lacks a file_name"),
        ([{"file_name": "0.png", "bbox": [0, 0, 5]}], "lacks a file_name, or four"),
        (["0.png"], "row 0"),
        ("boxes", "holds no boxes"),
        (
            [
                {"file_name": "0.png", "bbox": [0, 0, 5, 5], "category_name": name}
                for name in ("persn", "dog")
            ],
            "did you mean 'persn'",
        ),
        ({"0.png": [[500, 0, 600, 50]], "1.png": [], "2.png": []}, r"0\.png.*wholly outside"),
    ],
)
def test_files_of_other_boxes_are_named(
    folder: Path, tmp_path: Path, content: object, message: str
) -> None:
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(content))
    with pytest.raises(HeatpointError, match=message):
        predict(ramp_detector(), folder, boxes=path)


def test_arguments_that_do_not_go_together(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(HeatpointError, match="2 entries for 3 images"):
        predict(ramp_detector(), folder, boxes=BOXES[:2])
    with pytest.raises(HeatpointError, match="either boxes or detector"):
        predict(ramp_detector(), folder, boxes=BOXES, detector=spot_detector())
    with pytest.raises(HeatpointError, match="knows spot, red spot, but not 'person'"):
        predict(ramp_detector(), folder, detector=spot_detector(), score=0)
    one_each = np.array([boxes[:1] for boxes in BOXES if boxes])
    for given in ({"boxes": BOXES}, {"boxes": one_each}, {"detector": spot_detector()}):
        with pytest.raises(HeatpointError, match=r"models that look at one.*finds boxes by itself"):
            predict(spot_detector(), folder, **given)
    for given in ({"tiles": 64}, {"scales": (1.0, 2.0)}, {"keep_resolution": True}):
        with pytest.raises(HeatpointError, match="is for models that look at whole pictures"):
            predict(ramp_detector(), folder, **given)
    with pytest.raises(HeatpointError, match="does not exist"):
        predict(ramp_detector(), folder, boxes=tmp_path / "none.json")


@pytest.mark.parametrize("source", ["whole", "found"])
def test_unreadable_images_keep_their_place(folder: Path, source: str) -> None:
    (folder / "1.png").write_bytes(b"nothing")
    box_detector = spot_detector()
    box_detector.names = ("spot", "person")
    options = {"detector": box_detector, "score": 0.05} if source == "found" else {}
    with pytest.raises(HeatpointError, match=r"1\.png"):
        predict(ramp_detector(), folder, **options)  # type: ignore[arg-type]
    with pytest.warns(HeatpointWarning) as warned:
        results = predict(ramp_detector(), folder, skip_bad=True, **options)  # type: ignore[arg-type]
    assert len(warned) == 1
    assert len(results) == 3
    assert len(results[1]) == 0
    assert len(results[2]) >= 1


def test_results_are_written_in_cocos_form(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "poses.json"
    found = list(iter_predict(ramp_detector(), folder, boxes=BOXES))
    write_results(path, found)
    rows = json.loads(path.read_text())
    assert [row["image_id"] for row in rows] == [0, 0, 2]
    assert rows[2]["file_name"] == str(folder / "2.png")
    assert rows[0]["category_name"] == "person"
    expected = joints_of(BOXES[0][0])[1] - 0.5
    assert rows[0]["keypoints"][3:5] == pytest.approx(expected.tolist(), abs=0.4)
    assert len(rows[0]["keypoints"]) == 12


def test_a_saved_detector_predicts_the_same(tmp_path: Path, folder: Path) -> None:
    from heatpoint.data.skeleton import SKELETONS
    from heatpoint.zoo import build

    torch.manual_seed(0)
    detector = build("pose_tiny", ["person"], skeleton=SKELETONS["lsp14"])
    path = tmp_path / "pose.safetensors"
    detector.save(path)
    assert Detector.load(path).skeleton == SKELETONS["lsp14"]
    direct = predict(detector, folder, boxes=BOXES)
    loaded = predict(path, folder, boxes=BOXES)
    np.testing.assert_allclose(direct[0].keypoints, loaded[0].keypoints, rtol=1.3e-6, atol=1e-5)
