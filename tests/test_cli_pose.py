"""predict and evaluate on the command line, for checkpoints that find joints."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PIL

from heatpoint.cli import main
from heatpoint.data.images import load_image
from heatpoint.data.skeleton import SKELETONS
from heatpoint.zoo import build


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with two checkpoints, two pictures and COCO keypoints about them."""
    folder = tmp_path_factory.mktemp("cli")
    torch.manual_seed(0)
    build("pose_tiny", ["person"], skeleton=SKELETONS["coco17"]).save(folder / "pose.safetensors")
    build("centernet_tiny", ["person"]).save(folder / "boxes.safetensors")
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    for place in range(2):
        pixels = rng.integers(0, 255, (90, 120, 3)).astype(np.uint8)
        PIL.fromarray(pixels).save(folder / "images" / f"{place}.png")
    keypoints = [number for joint in range(17) for number in (20 + joint, 30 + 2 * joint, 2)]
    coco = {
        "images": [
            {"id": place, "file_name": f"{place}.png", "height": 90, "width": 120}
            for place in range(2)
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": list(SKELETONS["coco17"].joints)}],
        "annotations": [
            {
                "id": place + 1,
                "image_id": place,
                "category_id": 1,
                "bbox": [15, 25, 30, 50],
                "area": 900,
                "iscrowd": 0,
                "keypoints": keypoints,
                "num_keypoints": 17,
            }
            for place in range(2)
        ],
    }
    (folder / "truth.json").write_text(json.dumps(coco))
    (folder / "at.json").write_text(json.dumps({"0.png": [[5, 5, 60, 80]], "1.png": []}))
    return folder


def test_predict_finds_joints_in_boxes(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", str(folder / "pose.safetensors"), str(folder / "images")]
    boxes = ["--boxes", str(folder / "at.json")]
    out = ["--json", str(tmp_path / "poses.json"), "--draw", str(tmp_path / "drawn")]
    assert main([*words, *boxes, *out, "--profile"]) == 0
    text = capsys.readouterr().out
    assert "1 pose in 2 pictures" in text
    assert "images/s" in text
    rows = json.loads((tmp_path / "poses.json").read_text())
    assert len(rows) == 1
    assert len(rows[0]["keypoints"]) == 51
    assert load_image(tmp_path / "drawn" / "0.png").shape == (90, 120, 3)
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "2 poses in 2 pictures" in text
    assert "left_ankle" in text


def test_predict_lets_a_detector_find_the_boxes(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", str(folder / "pose.safetensors"), str(folder / "images")]
    found = ["--detector", str(folder / "boxes.safetensors"), "--score", "0.0", "--nms", "0.5"]
    assert main([*words, *found, "--json", str(tmp_path / "poses.json")]) == 0
    assert "poses in 2 pictures" in capsys.readouterr().out


def test_evaluate_scores_joints(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(folder / "pose.safetensors"), str(folder / "truth.json")]
    images = ["--images", str(folder / "images")]
    path = tmp_path / "numbers.json"
    assert main([*words, *images, "--normaliser", "torso", "--json", str(path)]) == 0
    assert "pck@0.1" in capsys.readouterr().out
    numbers = json.loads(path.read_text())
    assert numbers["protocol"]["normaliser"].startswith("torso")
    assert numbers["protocol"]["sigmas"] == "coco17"
    assert numbers["subjects"] == 2
    found = ["--detector", str(folder / "boxes.safetensors")]
    assert main([*words, *images, *found]) == 0
    assert "2 images, 2 subjects" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "checkpoint", "options", "part"),
    [
        (
            "predict",
            "pose",
            ["--keep-resolution"],
            "--keep-resolution is for models that look at whole pictures",
        ),
        (
            "predict",
            "pose",
            ["--scales", "0.5,1"],
            "scales is for models that look at whole pictures",
        ),
        ("predict", "pose", ["--max-detections", "5"], "--max-detections does not apply"),
        ("predict", "pose", ["--soft-nms", "linear"], "--soft-nms does not apply"),
        ("predict", "pose", ["--nms", "0.5"], "it needs boxes or detector"),
        ("predict", "pose", ["--score", "0.5"], "it needs boxes or detector"),
        ("predict", "pose", ["--boxes", "at.json", "--detector", "x"], "either boxes or detector"),
        ("predict", "boxes", ["--boxes", "at.json"], "finds boxes by itself"),
        ("predict", "boxes", ["--detector", "x"], "finds boxes by itself"),
        (
            "evaluate",
            "pose",
            ["--scales", "0.5,1"],
            "scales is for models that look at whole pictures",
        ),
        ("evaluate", "pose", ["--soft-nms", "linear"], "--soft-nms"),
        ("evaluate", "pose", ["--nms", "0.5"], "give detector too"),
        ("evaluate", "boxes", ["--normaliser", "torso"], "normaliser"),
        ("evaluate", "boxes", ["--detector", "x"], "finds boxes by itself"),
    ],
)
def test_options_of_the_other_kind_are_refused(
    command: str,
    checkpoint: str,
    options: list[str],
    part: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    what = ["truth.json", "--images", "images"] if command == "evaluate" else ["images"]
    assert main([command, f"{checkpoint}.safetensors", *what, *options]) == 1
    message = capsys.readouterr().err
    assert part in message
    assert message.count("\n") == 1
    assert "Traceback" not in message


def test_a_detector_of_joints_is_no_detector_of_boxes(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pose = str(folder / "pose.safetensors")
    assert main(["predict", pose, str(folder / "images"), "--detector", pose]) == 1
    assert "joints" in capsys.readouterr().err
