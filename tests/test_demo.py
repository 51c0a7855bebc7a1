"""The demo with tiny settings: it runs, its files are there and its numbers fit together."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from heatpoint.cli import main
from heatpoint.data.readers import read
from heatpoint.demonstration.demo import _SHOWS, DemoResult, demo
from heatpoint.errors import HeatpointError
from heatpoint.inference.evaluate import evaluate


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, said: list[str]) -> DemoResult:
    out = tmp_path_factory.mktemp("demo") / "run"
    return demo(out, minutes=None, epochs=2, images=24, size=64, say=said.append)


def test_every_file_is_there(result: DemoResult) -> None:
    assert set(result.files) == {"metrics", "curves", "predictions", "targets"}
    for path in (result.checkpoint, *result.files.values()):
        assert path.is_file(), path
    sheet = cv2.imread(str(result.files["predictions"]))
    assert sheet.shape[1] > 3 * 2 * 256, "three pairs of pictures in a row"


def test_metrics_are_those_of_the_checkpoint_on_pictures_never_trained_on(
    result: DemoResult,
) -> None:
    saved = json.loads(result.files["metrics"].read_text())
    assert 0 <= saved["ap"] <= saved["ap50"] <= 1
    assert saved["images"] == 8
    assert saved["updates"] == result.updates > 0
    assert set(saved["seconds"]) == {"draw", "inspect", "train", "evaluate", "predict", "total"}
    again = evaluate(result.checkpoint, result.out / "data" / "val" / "annotations.json")
    assert again.ap == result.scores["ap"] == saved["ap"]
    train, val = (
        read(result.out / "data" / part / "annotations.json") for part in ("train", "val")
    )
    seen = {record.path.read_bytes() for record in train.images}
    assert (len(train), len(seen)) == (24, 24)
    assert not seen & {record.path.read_bytes() for record in val.images}


def test_it_ends_with_commands_for_own_data(result: DemoResult, said: list[str]) -> None:
    assert "heatpoint train train.json --val val.json\n" in said[-1]
    assert f"heatpoint predict {result.checkpoint}" in said[-1]
    assert any("a perfect network reaches AP" in text for text in said)


def test_a_finished_demo_is_not_written_over(result: DemoResult) -> None:
    with pytest.raises(HeatpointError, match="already holds a demo"):
        demo(result.out)


def test_wrong_arguments_are_explained(tmp_path: Path) -> None:
    with pytest.raises(HeatpointError, match="give minutes or epochs"):
        demo(tmp_path, minutes=None)
    with pytest.raises(HeatpointError, match="multiple of 32, not 100"):
        demo(tmp_path, size=100)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_eight_epochs_teach_what_can_be_seen(tmp_path: Path) -> None:
    """A floor well below what is reached; counted in epochs, so that no clock decides."""
    found = demo(tmp_path / "run", minutes=None, epochs=8, images=800, say=lambda text: None)
    assert found.scores["ap"] > 0.3
    assert found.scores["ap50"] > 0.5


@pytest.mark.parametrize("task", _SHOWS)
def test_the_commands_for_own_data_make_such_a_model(
    task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show = _SHOWS[task]
    data = show.write(tmp_path / "data", 4, (128, 128), 0)
    main(["plan", str(data), *show.asks.split()])
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "  model  " in line)
    assert line.split()[1].partition("_")[0] == show.model.partition("_")[0]
