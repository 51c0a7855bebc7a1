"""The demos of joints with tiny settings: they run, leave their files, and numbers fit together."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from heatpoint.demonstration.demo import DemoResult, demo
from heatpoint.errors import HeatpointError
from heatpoint.inference.evaluate import evaluate


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, said: list[str]) -> DemoResult:
    out = tmp_path_factory.mktemp("demo") / "run"
    choice = {"minutes": None, "epochs": 2, "images": 24, "size": 128}
    return demo(out, task="pose", say=said.append, **choice)


def test_every_file_is_there(result: DemoResult) -> None:
    assert set(result.files) == {"metrics", "curves", "predictions", "targets"}
    for path in (result.checkpoint, *result.files.values()):
        assert path.is_file(), path
    sheet = cv2.imread(str(result.files["predictions"]))
    assert sheet.shape[1] > 3 * 2 * 256, "three pairs of pictures in a row"


def test_metrics_are_those_of_the_checkpoint(result: DemoResult) -> None:
    saved = json.loads(result.files["metrics"].read_text())
    assert saved["images"] == 8
    assert saved["updates"] == result.updates > 0
    again = evaluate(result.checkpoint, result.out / "data" / "val" / "annotations.json")
    assert again.scores["pck@0.1"] == result.scores["pck@0.1"]
    assert saved["pck"]["pck@0.1"]["mean"] == result.scores["pck@0.1"]


def test_it_ends_with_commands_for_own_data(result: DemoResult, said: list[str]) -> None:
    assert "heatpoint train train.json --val val.json\n" in said[-1]
    assert f"heatpoint predict {result.checkpoint}" in said[-1]
    assert any("a perfect network is off by" in text for text in said)


def test_a_crowd_is_found_with_boxes_and_joints(tmp_path: Path) -> None:
    said: list[str] = []
    choice = {"minutes": None, "epochs": 1, "images": 16, "size": 64}
    found = demo(tmp_path / "run", task="crowd", say=said.append, **choice)
    assert list(found.scores) == ["oks_ap", "ap"]
    for path in (found.checkpoint, *found.files.values()):
        assert path.is_file(), path
    assert any("of joints OKS AP" in text for text in said)
    assert any(text.startswith("OKS AP 0.") for text in said)
    assert "--model centerpose_mobilenetv2" in said[-1]


def test_an_unknown_task_is_explained(tmp_path: Path) -> None:
    with pytest.raises(
        HeatpointError, match="one of boxes, points, quads, pose, crowd, got 'poses'"
    ):
        demo(tmp_path, task="poses")


@pytest.mark.slow
def test_five_epochs_teach_what_can_be_seen(tmp_path: Path) -> None:
    """A floor well below what is reached; counted in epochs, so that no clock decides."""
    choice = {"minutes": None, "epochs": 5, "images": 600}
    found = demo(tmp_path / "run", task="pose", say=lambda text: None, **choice)
    assert found.scores["pck@0.1"] > 0.4


@pytest.mark.slow
def test_eight_epochs_tell_a_crowd_apart(tmp_path: Path) -> None:
    choice = {"minutes": None, "epochs": 8, "images": 400}
    found = demo(tmp_path / "run", task="crowd", say=lambda text: None, **choice)
    assert found.scores["oks_ap"] > 0.5
    assert found.scores["ap"] > 0.3
