"""The pictures of a run show what happened."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from heatpoint.training.curves import draw_curves


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
