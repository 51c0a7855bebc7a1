"""A run finds out whether pictures have an upright, and turns them if they have none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_resume import QUICK, assert_same

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.augment import Augment
from heatpoint.errors import HeatpointError
from heatpoint.synthetic.figures import write_figures
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.training import train, upright
from heatpoint.training.state import load_resume

SIZE = (48, 64)
CHOICE = {**QUICK, "mosaic": 0.0, "repeat_rare": 0.0, "find_upright": True}


def drawn(folder: Path, paint: Callable[[np.ndarray], None], objects: int = 4) -> Annotations:
    """Returns ten pictures of SIZE, painted, with so many boxes each."""
    records = []
    for number in range(10):
        pixels = np.zeros((*SIZE, 3), np.uint8)
        paint(pixels)
        path = folder / f"{number}.png"
        Image.fromarray(pixels).save(path)
        boxes = np.tile(np.array([[20.0, 12.0, 40.0, 36.0]]), (objects, 1))
        records.append(ImageRecord(path, SIZE, boxes, np.zeros(objects, np.int64)))
    return Annotations(("a",), records, "drawn", (1,))


def detector(loss: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Returns what stands for a detector: its loss is a function of the pictures (B, 3, S, S)."""
    codec = SimpleNamespace(
        learns={"boxes"},
        encode=lambda targets, size: SimpleNamespace(),
        loss=lambda maps, wanted: {"all": loss(maps["images"])},
    )

    class Shown(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> list[dict[str, torch.Tensor]]:
            assert images.shape[-2:] == (48, 48)
            return [{"images": images.float()}]

    return SimpleNamespace(codec=codec, network=Shown(), size=SIZE)


def upper(pixels: np.ndarray) -> None:
    pixels[:20] = 200


def everywhere(pixels: np.ndarray) -> None:
    pixels[:] = 90


def measured(annotations: Annotations) -> float:
    """Returns the ratio for a detector that likes what is bright above."""
    likes = detector(lambda images: 1 + (255 - images[:, :, :16].mean()) / 255)
    return upright.turned_loss(likes, annotations, SIZE, torch.device("cpu"))


def test_pictures_with_an_upright_have_a_higher_loss_when_they_are_turned(tmp_path: Path) -> None:
    assert measured(drawn(tmp_path, upper)) > 1.3


def test_pictures_without_one_have_the_same(tmp_path: Path) -> None:
    assert measured(drawn(tmp_path, everywhere)) == pytest.approx(1.0, abs=1e-6)


def test_nothing_is_told_by_too_few_objects(tmp_path: Path) -> None:
    assert measured(drawn(tmp_path, everywhere, objects=2)) == float("inf")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_shapes(tmp_path_factory.mktemp("shapes"), 7, (80, 64), seed=5))


def ask(monkeypatch: pytest.MonkeyPatch, loss: float) -> list[tuple[int, int]]:
    """Lets the question come after two updates, and its answer be this; returns when it came."""
    asked = []

    def turned_loss(detector: Any, held_out: Annotations, size: Any, device: Any) -> float:
        asked.append((len(held_out), min(size)))
        return loss

    monkeypatch.setattr(upright, "LEARNT", 2)
    monkeypatch.setattr(upright, "FOUND", 0.0)
    monkeypatch.setattr(upright, "turned_loss", turned_loss)
    return asked


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_turns_pictures_once_they_have_no_upright(
    shapes: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    workers: int,
) -> None:
    asked, views = ask(monkeypatch, 1.05), []
    placed = Augment.draw_map

    def draw_map(self: Augment, *given: Any) -> Any:
        views.append(self.flip_vertical)
        return placed(self, *given)

    monkeypatch.setattr(Augment, "draw_map", draw_map)
    train(shapes, shapes, out=str(tmp_path), **{**CHOICE, "workers": workers})
    assert asked == [(7, 64)]
    assert load_resume(tmp_path / "resume.pt")["position"]["turns"] is True
    assert "1.05 times the loss: they have no upright" in capsys.readouterr().out
    if not workers:  # the first epoch's views, then those of three epochs
        assert views == [0.0] * 6 + [0.5] * 18


def test_a_detector_that_finds_nothing_is_not_asked(
    shapes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(monkeypatch, 1.0)
    monkeypatch.setattr(upright, "FOUND", 0.99)
    train(shapes, shapes, out=str(tmp_path / "a"), **{**CHOICE, "eval_every": 1})
    assert not asked
    train(shapes, shapes, out=str(tmp_path / "b"), **{**CHOICE, "eval_every": 100})
    assert len(asked) == 1  # nobody knows


def test_a_resumed_run_goes_on_with_turned_pictures(
    shapes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(monkeypatch, 1.0)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(shapes, shapes, out=str(whole), **CHOICE)
    train(shapes, shapes, out=str(parts), stop_after=2, **CHOICE)
    train(shapes, shapes, out=str(parts), resume=True, **CHOICE)
    assert_same(whole, parts)
    assert len(asked) == 2


def test_pictures_with_an_upright_stay_as_they_are(
    shapes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(monkeypatch, 2.0)
    out, other = tmp_path / "asked", tmp_path / "other"
    train(shapes, shapes, out=str(out), **CHOICE)
    assert "they have an upright" in capsys.readouterr().out
    train(shapes, shapes, out=str(other), **{**CHOICE, "find_upright": False})
    same = "last.safetensors"
    assert (out / same).read_bytes() == (other / same).read_bytes()


def test_a_run_says_that_too_few_objects_tell_nothing(
    shapes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(monkeypatch, float("inf"))
    train(shapes, shapes, out=str(tmp_path), **CHOICE)
    assert "do not tell whether these have an upright" in capsys.readouterr().out
    assert load_resume(tmp_path / "resume.pt")["position"]["turns"] is False


def test_a_model_that_looks_at_crops_has_no_such_question(tmp_path: Path) -> None:
    figures = str(write_figures(tmp_path / "figures", 4, (96, 96), seed=1))
    choice = {**CHOICE, "model": "pose_tiny"}
    with pytest.raises(HeatpointError, match="find_upright is about models that look at whole"):
        train(figures, figures, out=str(tmp_path / "out"), **choice)
