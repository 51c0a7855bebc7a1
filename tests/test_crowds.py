"""The benchmark that draws crowds, and puts pictures together to such."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scripts import script

from heatpoint.data.images import load_image
from heatpoint.data.readers import read
from heatpoint.synthetic.pictures import write_shapes


@pytest.fixture(scope="module")
def crowds() -> ModuleType:
    return script("benchmarks/crowds.py")


def run(crowds: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", ["crowds.py", *map(str, words)])
    crowds.main()


def test_drawn_crowds_are_as_they_say(
    crowds: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, usual in crowds.KINDS.items():
        kind = usual._replace(pictures=(2, 1))
        monkeypatch.setitem(crowds.KINDS, name, kind)
        for again in ("a", "b"):
            run(crowds, monkeypatch, name, tmp_path / again / name)
        for part, count in zip(("train", "val"), kind.pictures, strict=True):
            data = read(tmp_path / "a" / name / part / "annotations.json")
            assert len(data) == count
            for record in data.images:
                same = tmp_path / "b" / name / part / "images" / record.path.name
                assert record.path.read_bytes() == same.read_bytes()
                assert load_image(record.path).shape == (*kind.size, 3)
                assert kind.objects[0] <= len(record) <= kind.objects[1]
                sides = np.sqrt((record.boxes[:, 2:] - record.boxes[:, :2]).prod(1))
                assert sides.min() >= kind.sides[0] - 0.1
                assert sides.max() <= kind.sides[1] + 0.1
                assert (record.boxes >= 0).all()
                assert (record.boxes <= np.tile(kind.size[::-1], 2)).all()


def test_pictures_put_together_keep_their_labels(
    crowds: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = read(write_shapes(tmp_path / "shapes", 9, (64, 96), seed=4))
    run(crowds, monkeypatch, source.source, tmp_path / "four", "--side", "2")
    data = read(tmp_path / "four/annotations.json")
    assert data.names == source.names
    assert len(data) == 2  # the ninth is left over
    for number, record in enumerate(data.images):
        image, parts = load_image(record.path), source.images[4 * number : 4 * number + 4]
        assert image.shape == (128, 192, 3)
        corner = load_image(parts[3].path).astype(int)
        assert np.abs(image[64:, 96:] - corner).mean() < 6  # compressed again
        moved = [p.boxes + np.tile((96 * (i % 2), 64 * (i // 2)), 2) for i, p in enumerate(parts)]
        np.testing.assert_allclose(record.boxes, np.concatenate(moved), atol=0.01)
        assert record.labels.tolist() == [label for p in parts for label in p.labels]


def test_too_few_pictures_are_one_sentence(
    crowds: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = write_shapes(tmp_path / "shapes", 3, (64, 96), seed=4)
    with pytest.raises(SystemExit):
        run(crowds, monkeypatch, data, tmp_path / "crowd", "--side", "2")
    assert "has 3 pictures; lower --side (2)" in capsys.readouterr().err
    assert not (tmp_path / "crowd").exists()
