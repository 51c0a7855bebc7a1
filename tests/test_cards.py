"""The benchmark that draws playing cards over photographs."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from scripts import script

from heatpoint.data.images import load_image
from heatpoint.data.readers import read


@pytest.fixture(scope="module")
def cards() -> ModuleType:
    return script("benchmarks/cards.py")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder of single-coloured pictures, each of a shade of its own, of many sizes."""
    folder = tmp_path_factory.mktemp("photographs")
    for number in range(12):
        shade = (20 * number, 10, 240 - 20 * number)
        Image.new("RGB", (90 + 40 * number, 150), shade).save(folder / f"{number}.jpg", quality=100)
    return folder


def run(cards: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", ["cards.py", *map(str, words)])
    cards.main()


def test_cards_lie_in_their_boxes_and_come_again(
    cards: ModuleType, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(
        cards, "load_image", lambda path: seen.append(path.name) or load_image(path)
    )
    for name in ("one", "other"):
        run(cards, monkeypatch, photographs, tmp_path / name, "--count", "8", "4")
    assert len(set(seen)) == 12  # no photograph is behind two pictures
    sets = {part: read(tmp_path / f"one/{part}/annotations.json") for part in ("train", "val")}
    assert [len(each) for each in sets.values()] == [8, 4]
    for part, data in sets.items():
        assert set(data.names) == set(cards.RANKS)
        for record in data.images:
            image = load_image(record.path)
            assert image.shape == (*cards.SIZE, 3)
            same = tmp_path / "other" / part / "images" / record.path.name
            assert record.path.read_bytes() == same.read_bytes()
            assert 1 <= len(record.boxes) <= 4
            assert (record.boxes >= 0).all()
            assert (record.boxes <= np.tile(cards.SIZE[::-1], 2)).all()
            # Outside of all boxes there is nothing but the photograph, noise and compression.
            outside = np.ones(cards.SIZE, bool)
            for left, top, right, bottom in record.boxes.round().astype(int):
                outside[max(top - 3, 0) : bottom + 3, max(left - 3, 0) : right + 3] = False
                inside = image[top:bottom, left:right].reshape(-1, 3).astype(float)
                assert inside.std(0).max() > 20
            assert image[outside].astype(float).std(0).max() < 10


def test_too_few_photographs_are_one_sentence(
    cards: ModuleType,
    photographs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        run(cards, monkeypatch, photographs, tmp_path / "cards")
    assert "has 12 photographs (.jpg), of 446 that --count asks for" in capsys.readouterr().err
    assert not (tmp_path / "cards").exists()
