"""Dividing a data set: whole images, the same every time, and files that can be read again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from heatpoint.cli import main
from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.readers import read, split, write_split
from heatpoint.errors import HeatpointError


def many(count: int, twice: bool = False) -> Annotations:
    records = [ImageRecord(Path(f"{i:03d}.png"), image_id=i + 1) for i in range(count)]
    if twice:
        records += [ImageRecord(Path(f"{i:03d}.png"), image_id=count + i + 1) for i in range(count)]
    return Annotations(("cat",), records, "many")


def names(data: Annotations) -> list[str]:
    return [record.path.name for record in data.images]


@pytest.mark.parametrize(("val", "expected"), [(0.2, 10), (20, 20), (1, 1), (0.99, 49)])
def test_shares_and_numbers(val: float, expected: int) -> None:
    if val == 0.99:
        with pytest.raises(HeatpointError, match=r"are 50, which leaves one part empty"):
            split(many(50), val)
        return
    train, held = split(many(50), val)
    assert (len(train), len(held)) == (50 - expected, expected)
    assert not set(names(train)) & set(names(held))
    assert names(train) == sorted(names(train))


def test_seed_chooses() -> None:
    first = names(split(many(50), 10, seed=0)[1])
    assert names(split(many(50), 10, seed=0)[1]) == first
    assert names(split(many(50), 10, seed=1)[1]) != first


def test_an_image_listed_twice_stays_whole() -> None:
    train, held = split(many(20, twice=True), 0.25)
    assert len(held) == 10
    assert len(set(names(held))) == 5
    assert not set(names(train)) & set(names(held))


@pytest.mark.parametrize("val", [0.0, -1, 2.5, float("nan"), float("inf"), 50, 100])
def test_numbers_that_mean_nothing(val: float) -> None:
    with pytest.raises(HeatpointError, match="val"):
        split(many(50), val)
    with pytest.raises(HeatpointError, match="seed must not be negative"):
        split(many(50), 0.5, seed=-1)


def write_labels(folder: Path, count: int) -> Path:
    rows = ["scorer,me,me,me,me", "bodyparts,earL,earL,earR,earR", "coords,x,y,x,y"]
    (folder / "frames").mkdir(parents=True)
    for i in range(count):
        Image.fromarray(np.zeros((30, 40), np.uint8)).save(folder / "frames" / f"{i}.png")
        rows.append(f"frames/{i}.png,{i},2,9,{i}")
    (folder / "CollectedData.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_files_hold_the_same_joints(tmp_path: Path) -> None:
    data = write_labels(tmp_path / "data", 9)
    write_split(data, tmp_path / "parts", 3, seed=2)
    whole = {record.path.resolve(): record for record in read(data).images}
    train, held = (read(tmp_path / "parts" / name) for name in ("train.json", "val.json"))
    assert (len(train), len(held)) == (6, 3)
    for part in (train, held):
        assert part.skeleton == read(data).skeleton
        for record in part.images:
            same = whole.pop(record.path.resolve())
            assert record.keypoints is not None
            np.testing.assert_array_equal(record.keypoints, same.keypoints)  # type: ignore[arg-type]
            np.testing.assert_allclose(record.boxes, same.boxes)
    assert not whole


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_labels(tmp_path / "data", 5)
    words = ["split", str(data), "--val", "2", "--seed", "1", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "train.json: 3 images, 3 objects" in printed
    assert "val.json: 2 images, 2 objects" in printed
    first = (tmp_path / "out" / "val.json").read_text()
    assert main(words) == 0
    assert (tmp_path / "out" / "val.json").read_text() == first
    assert main(["split", str(data), "--val", "5"]) == 1


def test_images_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(
        '{"images": [{"id": 1, "file_name": "x.png"}, {"id": 2, "file_name": "y.png"}], '
        '"annotations": [], "categories": [{"id": 1, "name": "cat"}]}'
    )
    with pytest.raises(HeatpointError, match=r"none of the 2 images .* --images"):
        write_split(tmp_path / "a.json", tmp_path / "out", 1)


def test_real_mouse(shared: Path, tmp_path: Path) -> None:
    train, held = write_split(shared / "data" / "mirror_mouse", tmp_path, 20)
    assert (len(train), len(held)) == (70, 20)
    pictures = shared / "data" / "mirror_mouse" / "labeled-data"
    with pytest.raises(HeatpointError, match=f"outside of its folder.*--images {pictures}"):
        read(tmp_path / "val.json")
    assert len(read(tmp_path / "val.json", pictures)) == 20
