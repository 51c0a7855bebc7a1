"""Dividing a data set: whole images, the same every time, and files that can be read again."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from heatpoint.cli import main
from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.dividing import grouped, split
from heatpoint.data.readers import read
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
    words = ["split", str(data), "--val", "3", "--seed", "2", "--out", str(tmp_path / "parts")]
    assert main(words) == 0
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


@pytest.mark.parametrize("named", ["here/data", "else where/data", "here/../else where/data"])
def test_the_next_command_reads_both_parts(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    named: str,
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    data, is_near = write_labels(tmp_path / named, 5), named == "here/data"
    out = tmp_path / "here" / "runs" / "parts"
    assert main(["split", str(data), "--val", "2", "--out", str(out)]) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    first, command, train, *rest = shlex.split(said.removeprefix("next: "))
    assert (first, command) == ("heatpoint", "train")
    given = dict(zip(rest[::2], rest[1::2], strict=True))
    assert ("--images" in given, "--val-images" in given) == (not is_near, not is_near)
    assert len(read(train, given.get("--images"))) == 3
    assert len(read(given["--val"], given.get("--val-images"))) == 2


def test_images_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_text(
        '{"images": [{"id": 1, "file_name": "x.png"}, {"id": 2, "file_name": "y.png"}], '
        '"annotations": [], "categories": [{"id": 1, "name": "cat"}]}'
    )
    assert main(["split", str(tmp_path / "a.json"), "--val", "1", "--out", str(tmp_path)]) == 1
    assert re.search(r"none of the 2 images .* --images", capsys.readouterr().err)


def test_real_mouse(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(shared / "data" / "mirror_mouse")
    assert main(["split", data, "--val", "20", "--out", str(tmp_path)]) == 0
    assert "train.json: 70 images" in capsys.readouterr().out
    pictures = shared / "data" / "mirror_mouse" / "labeled-data"
    with pytest.raises(HeatpointError, match=f"outside of its folder.*--images {pictures}"):
        read(tmp_path / "val.json")
    assert len(read(tmp_path / "val.json", pictures)) == 20


def films(frames: dict[str, int]) -> Annotations:
    paths = [f"day/{film}_{i:04d}.jpg" for film, count in frames.items() for i in range(count)]
    return Annotations(("cat",), [ImageRecord(Path(path)) for path in paths], "films")


def test_frames_of_one_film_stay_together() -> None:
    data = films({"a": 10, "b": 20, "c": 5, "d": 15})
    groups = grouped(data, r"(.+)_\d+")
    assert sorted(set(groups)) == ["a", "b", "c", "d"]
    for seed in range(5):
        train, held = split(data, 0.3, seed, groups)
        sides = [{name[0] for name in names(part)} for part in (train, held)]
        assert not sides[0] & sides[1]
        assert 0 < len(held) <= 15
    with pytest.raises(HeatpointError, match=r"are 2, .* they come in 4 groups; choose another"):
        split(data, 2, 0, groups)


def test_groups_of_a_table(tmp_path: Path) -> None:
    data = films({"a": 2, "b": 2})
    table = tmp_path / "films.csv"
    table.write_text("camera,filename\nx,a_0000.jpg\ny,a_0001.jpg\nx,b_0000.jpg\nx,b_0001.jpg\n")
    assert grouped(data, table=f"{table}:camera") == ["x", "y", "x", "x"]
    with pytest.raises(HeatpointError, match=r"no column 'camra'; .*did you mean 'camera'"):
        grouped(data, table=f"{table}:camra")
    rows = [
        {"file_name": f"day/{r.path.name}", "video_id": i // 2} for i, r in enumerate(data.images)
    ]
    (tmp_path / "a.json").write_text(json.dumps({"images": rows}))
    assert grouped(data, table=f"{tmp_path / 'a.json'}:video_id") == ["0", "0", "1", "1"]
    (tmp_path / "a.json").write_text(json.dumps({"images": rows[:3]}))
    with pytest.raises(HeatpointError, match=r"1 of the 4 images .* no group, such as b_0001.jpg"):
        grouped(data, table=f"{tmp_path / 'a.json'}:video_id")


def test_groups_must_fit_every_picture() -> None:
    data = films({"a": 2})
    with pytest.raises(HeatpointError, match=r"gives 2 of the 2 images"):
        grouped(data, r"film(\d+)")
    with pytest.raises(HeatpointError, match="no regular expression"):
        grouped(data, "(")
    with pytest.raises(HeatpointError, match="one of the two"):
        grouped(data)


def test_rare_classes_come_in_equal_shares() -> None:
    rng = np.random.default_rng(0)
    records = []
    for i in range(200):
        # Class 2 is on ten pictures only, class 1 on every fifth.
        labels = [0] * int(rng.integers(1, 4)) + [1] * (i % 5 == 0) + [2] * (i % 20 == 0)
        boxes = np.tile([[0.0, 0, 5, 5]], (len(labels), 1))
        records.append(ImageRecord(Path(f"{i}.png"), boxes=boxes, labels=np.array(labels)))
    data = Annotations(("much", "some", "rare"), records, "uneven")
    for seed in range(5):
        train, held = split(data, 0.2, seed, stratify=True)
        assert held.counts()["rare"] == 2
        assert held.counts()["some"] == 8
        assert abs(len(held) - 40) <= 2
        assert abs(held.counts()["much"] / data.counts()["much"] - 0.2) < 0.02
        assert names(split(data, 0.2, seed, stratify=True)[1]) == names(held)
    assert len(train) + len(held) == 200
