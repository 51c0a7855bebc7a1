"""The pictures of a run show what happened."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from heatpoint.errors import HeatpointError
from heatpoint.training.loggers import Events
from heatpoint.training.report import draw_curves


def coloured(image: np.ndarray) -> int:
    """Returns the number of pixels that are not grey."""
    return int((np.ptp(image.astype(int), axis=2) > 60).sum())


def test_both_halves_have_lines(tmp_path: Path) -> None:
    history = [
        {"epoch": epoch, "loss": 3 / epoch, "loss/heatmap": 1 / epoch, "ap": 0.1 * epoch}
        for epoch in (1.0, 2.0, 3.0)
    ]
    path = tmp_path / "curves.png"
    draw_curves(path, history, ("heatmap",), ("ap",))
    image = cv2.imread(str(path))
    half = image.shape[1] // 2
    assert coloured(image[:, :half]) > 200
    assert coloured(image[:, half:]) > 200


def test_nothing_yet_is_an_empty_picture(tmp_path: Path) -> None:
    draw_curves(tmp_path / "curves.png", [], ("heatmap",), ("ap",))
    assert (tmp_path / "curves.png").stat().st_size > 0


def read_events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Returns (step, value) by name, as TensorBoard shows them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder)).Reload()
    return {
        name: [(event.step, event.value) for event in found.Scalars(name)]
        for name in found.Tags()["scalars"]
    }


def test_events_are_those_tensorboard_reads(tmp_path: Path) -> None:
    events = Events(tmp_path)
    for step in (1, 2, 3):
        events.log_metrics({"loss": step / 2}, step)
    events.save()
    assert read_events(tmp_path) == {"loss": [(1, 0.5), (2, 1.0), (3, 1.5)]}


def test_a_resumed_run_makes_later_events_void(tmp_path: Path, monkeypatch) -> None:
    first = Events(tmp_path)
    for step in (1, 2, 3):
        first.log_metrics({"loss": 1.0}, step)
    monkeypatch.setattr("heatpoint.training.loggers.time.time", lambda: 4e9)  # a later file
    again = Events(tmp_path)
    again.start({}, "", resumed=True)
    again.log_metrics({"loss": 5.0}, 2)
    assert read_events(tmp_path) == {"loss": [(1, 1.0), (2, 5.0)]}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_events_on_a_full_disk_are_one_sentence(tmp_path: Path, monkeypatch, capfd) -> None:
    full = Path("/dev/full").open("ab")  # noqa: SIM115
    monkeypatch.setattr("heatpoint.training.loggers.open", lambda *_: full, raising=False)
    events = Events(tmp_path)
    events.log_metrics({"loss": 1.0}, 1)
    with pytest.raises(HeatpointError, match=r"cannot write TensorBoard .*No space left"):
        events.save()
    assert "Traceback" not in capfd.readouterr().err
