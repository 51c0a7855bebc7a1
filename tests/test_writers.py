"""Data sets written for other tools: what was written is read again, to a thousandth of a pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from heatpoint.cli import main
from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.readers import read
from heatpoint.data.skeleton import Skeleton
from heatpoint.data.writers import Form, Placing, write
from heatpoint.errors import HeatpointError

NAMES = ("cat", "café au lait", "on", "<b> & 'c'")
FORMS: tuple[Form, ...] = ("coco", "yolo", "voc")
FILES = {"coco": "/train.json", "yolo": ":train", "voc": ":train"}


def drawn(folder: Path, seed: int, count: int = 4) -> Annotations:
    """Returns pictures of random sizes in sub-folders, with random boxes; every class occurs."""
    rng = np.random.default_rng(seed)
    images = []
    for i in range(count):
        height, width = (int(side) for side in rng.integers(20, 3000, 2))
        path = folder / ("day" if i % 2 else "night") / f"{i // 2} é.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (width, height)).save(path)
        number = int(rng.integers(0, 6)) if i else len(NAMES)
        ends = np.sort(rng.uniform(0, 1, (number, 2, 2)), 1) * (width, height)
        boxes = ends.reshape(-1, 4) + np.array((0, 0, 0.1, 0.1))
        labels = np.arange(number) % len(NAMES) if i == 0 else rng.integers(0, len(NAMES), number)
        hard = rng.uniform(size=number) < 0.3
        record = ImageRecord(path, (height, width), boxes, labels, difficult=hard, image_id=i + 10)
        images.append(record)
    return Annotations(NAMES, images, "drawn", (3, 7, 8, 20))


def same(one: Annotations, other: Annotations) -> None:
    """Asserts that the pictures are the same, and their objects, in the same order."""
    assert len(one) == len(other)
    by_file = {record.path.resolve(): record for record in other.images}
    for record in one.images:
        twin = by_file[record.path.resolve()]
        assert [one.names[i] for i in record.labels] == [other.names[i] for i in twin.labels]
        np.testing.assert_allclose(twin.boxes, record.boxes, rtol=0, atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("one", FORMS)
@pytest.mark.parametrize("other", FORMS)
def test_round_trips(tmp_path: Path, one: Form, other: Form, seed: int) -> None:
    data = drawn(tmp_path / "pictures", seed)
    write({"train": data}, one, tmp_path / "one")
    first = read(f"{tmp_path / 'one'}{FILES[one]}")
    same(data, first)
    write({"train": first}, other, tmp_path / "other")
    second = read(f"{tmp_path / 'other'}{FILES[other]}")
    same(data, second)
    if one == other == "coco":
        assert second.category_ids == data.category_ids
        assert [r.image_id for r in second.images] == [10, 11, 12, 13]
    if "yolo" not in (one, other):
        hard = {r.path.resolve(): r.difficult.tolist() for r in second.images}
        assert hard == {r.path: r.difficult.tolist() for r in data.images}


@pytest.mark.parametrize("seed", range(3))
def test_joints_come_back(tmp_path: Path, seed: int) -> None:
    rng, joints = np.random.default_rng(seed), ("left_eye", "right_eye", "nose", "tail")
    skeleton = Skeleton(joints, edges=((0, 2), (1, 2), (2, 3)), pairs=((0, 1),))
    images = []
    for record in drawn(tmp_path / "pictures", seed).images:
        assert record.size is not None
        points = rng.uniform(0, 1, (len(record), len(joints), 2)) * record.size[::-1]
        seen = rng.integers(0, 3, (len(record), len(joints), 1))
        keypoints = np.concatenate((points * (seen > 0), seen), -1)
        images.append(replace(record, keypoints=keypoints))
    data = Annotations(NAMES, images, "drawn", skeleton=skeleton)
    write({"train": data}, "yolo", tmp_path / "yolo")
    write({"train": read(f"{tmp_path / 'yolo'}:train")}, "coco", tmp_path / "coco")
    again = read(tmp_path / "coco/train.json")
    assert again.skeleton == skeleton
    same(data, again)
    by_file = {record.path.resolve(): record for record in again.images}
    for record in images:
        found = by_file[record.path.resolve()].keypoints
        np.testing.assert_allclose(found, record.keypoints, rtol=0, atol=1e-3)


def test_four_corners_come_back(tmp_path: Path) -> None:
    data = drawn(tmp_path / "pictures", 0)
    rng = np.random.default_rng(0)
    for record in data.images:
        size = np.array(record.boxes[:, None, 2:] - record.boxes[:, None, :2])
        ends = np.array([(0, 0.3), (0.6, 0), (1, 0.6), (0.3, 1)])
        record.points = record.boxes[:, None, :2] + size * (ends + rng.uniform(-0.1, 0.1))
        record.points = np.roll(record.points, int(rng.integers(4)), 1)
    data.images[0].points[0] += 5000  # type: ignore[index]
    for form in ("coco", "yolo"):
        lost = write({"train": data}, form, tmp_path / form)
        found = read(f"{tmp_path / form}{FILES[form]}")
        by_file = {record.path.resolve(): record for record in found.images}
        for record in data.images:
            twin = by_file[record.path.resolve()]
            np.testing.assert_allclose(twin.points, record.points, rtol=0, atol=1e-3)  # type: ignore[arg-type]
    assert (
        lost["corners outside of their picture, for which ultralytics leaves out the picture"] > 0
    )
    lost = write({"train": data}, "voc", tmp_path / "voc")
    assert lost["four corners, of which the box is left"] == data.objects


@pytest.mark.parametrize("form", FORMS)
def test_parts_become_splits(tmp_path: Path, form: Form) -> None:
    data = drawn(tmp_path / "pictures", 0)
    parts: Mapping[str, Annotations] = {"train": data.subset([0, 1, 2]), "val": data.subset([3])}
    write(parts, form, tmp_path / "out", "copy")
    for name, part in parts.items():
        ending = f"/{name}.json" if form == "coco" else f":{name}"
        again = read(f"{tmp_path / 'out'}{ending}")
        assert len(again) == len(part)
        assert again.objects == part.objects
        assert all(tmp_path / "out" in record.path.parents for record in again.images)
        assert set(again.names) == set(NAMES)


def test_what_a_format_cannot_say_is_counted(tmp_path: Path) -> None:
    Image.new("L", (30, 20)).save(tmp_path / "a.png")
    boxes = [[1, 2, 9, 9], [0, 0, 30, 20], [4, 4, 4, 9], [np.nan, 0, 1, 1], [2, 2, 5, 5]]
    crowd, hard = np.zeros((2, 5), np.bool_)
    crowd[1] = hard[4] = True
    one = ImageRecord(tmp_path / "a.png", (20, 30), boxes, np.zeros(5), crowd, hard)
    data = Annotations(("cat", "none"), [one], "odd")
    assert write({"train": data}, "yolo", tmp_path / "yolo") == {
        "non-finite boxes, left out": 1,
        "crowd regions, left out": 1,
        "boxes without area, left out": 1,
        "marks of difficult objects": 1,
    }
    again = read(f"{tmp_path / 'yolo'}:train")
    np.testing.assert_allclose(again.images[0].boxes, [[1, 2, 9, 9], [2, 2, 5, 5]], atol=1e-3)
    lost = write({"train": data}, "voc", tmp_path / "voc")
    assert lost["classes without an object, which VOC does not list"] == 1
    assert "marks of difficult objects" not in lost
    assert write({"train": data}, "coco", tmp_path / "coco") == {"non-finite boxes, left out": 1}
    assert read(tmp_path / "coco/train.json").images[0].crowd.tolist() == [
        False,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("form", ["yolo", "voc"])
def test_pictures_that_differ_in_their_endings_keep_labels_of_their_own(
    tmp_path: Path, form: Form
) -> None:
    images = []
    for side, name in ((30, "a.png"), (40, "a.jpg"), (50, "A.bmp")):
        Image.new("L", (side, side)).save(tmp_path / name)
        images.append(ImageRecord(tmp_path / name, (side, side), [[0, 0, side, side]], [0]))
    write({"train": Annotations(("cat",), images, "three")}, form, tmp_path / "out")
    again = read(f"{tmp_path / 'out'}:train")
    assert sorted(record.boxes[0, 2] for record in again.images) == pytest.approx([30, 40, 50])


@pytest.mark.parametrize("pictures", ["link", "copy", "leave"])
def test_pictures_are_linked_copied_or_left(tmp_path: Path, pictures: Placing) -> None:
    data = drawn(tmp_path / "pictures", 0)
    write({"train": data}, "coco", tmp_path / "out", pictures)
    placed = sorted((tmp_path / "out").rglob("*.png"))
    assert len(placed) == (0 if pictures == "leave" else 4)
    assert all(path.is_symlink() == (pictures == "link") for path in placed)
    if pictures != "copy":
        same(data, read(tmp_path / "out/train.json"))


def test_nothing_of_the_users_is_replaced(tmp_path: Path) -> None:
    data = drawn(tmp_path / "pictures", 0)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes.txt").write_text("mine")
    with pytest.raises(HeatpointError, match="out holds something already; choose a new folder"):
        write({"train": data}, "voc", tmp_path / "out")
    data.images[1].path.unlink()
    with pytest.raises(HeatpointError, match=r"0 é.png does not exist"):
        write({"train": data}, "voc", tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "pictures"]


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write({"train": drawn(tmp_path / "pictures", 0)}, "coco", tmp_path / "coco")
    data, out = str(tmp_path / "coco/train.json"), str(tmp_path / "yolo")
    assert main(["convert-data", data, "--to", "yolo", "--out", out]) == 0
    printed = capsys.readouterr().out
    assert "yolo, train: 4 images" in printed
    assert "yolo cannot say: " in printed
    same(read(data), read(f"{out}:train"))
    assert main(["convert-data", data, "--to", "voc", "--out", out]) == 1
    assert "choose a new folder" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["coco", "yolo"])
def test_folders_of_pictures_that_are_called_as_yolo_calls_its_own(
    tmp_path: Path, form: Form
) -> None:
    images = [
        ImageRecord(
            tmp_path / f"{folder}/1.png", (80, 100), np.array([[x, 20.0, 40, 60]]), [0], image_id=x
        )
        for x, folder in enumerate(("a/images", "b/images", "labels/images", "images/labels"))
    ]
    for record in images:
        record.path.parent.mkdir(parents=True)
        Image.new("RGB", (100, 80)).save(record.path)
    write({"train": Annotations(("cat",), images)}, form, tmp_path / "out")
    data = read(f"{tmp_path / 'out'}:train")
    assert sorted(record.boxes[0, 0] for record in data.images) == pytest.approx([0, 1, 2, 3])
    assert not data.findings
