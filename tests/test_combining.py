"""Joining data sets and keeping parts of them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from heatpoint.cli import main
from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.combining import merge, select, with_classes
from heatpoint.data.readers import read
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError


def record(name: str, *rows: tuple[int, float], image_id: int = 1) -> ImageRecord:
    """Returns a record with a square at (0, 0) for each label and side."""
    boxes = np.array([[0.0, 0, side, side] for _, side in rows]).reshape(-1, 4)
    return ImageRecord(
        Path(name), (50, 50), boxes, np.array([r[0] for r in rows]), image_id=image_id
    )


def contents(data: Annotations) -> dict[str, list[tuple[str, float]]]:
    return {
        r.path.name: [(data.names[n], float(b[2])) for n, b in zip(r.labels, r.boxes, strict=True)]
        for r in data.images
    }


def test_pictures_of_several_sets_get_the_objects_of_all() -> None:
    cats = Annotations(("cat",), [record("a.png", (0, 5.0)), record("b.png", image_id=2)], "cats")
    dogs = Annotations(
        ("dog", "cat"), [record("a.png", (0, 7.0), (1, 5.0)), record("c.png", (1, 9.0))], "dogs"
    )
    merged, twice = merge([cats, dogs])
    assert merged.names == ("cat", "dog")
    assert merged.category_ids == (1, 2)
    assert contents(merged) == {
        "a.png": [("cat", 5.0), ("dog", 7.0)],
        "b.png": [],
        "c.png": [("cat", 9.0)],
    }
    assert twice == 1
    assert [r.image_id for r in merged.images] == [1, 2, 3]  # 1, 2, 1 collide
    again, twice = merge([cats, cats])
    assert contents(again) == contents(cats)
    assert twice == 1


def test_ids_that_do_not_collide_stay() -> None:
    one = Annotations(("cat",), [record("a.png", image_id=17)], "one", category_ids=(90,))
    other = Annotations(("dog",), [record("b.png", image_id=4)], "other", category_ids=(90,))
    merged, _ = merge([one, other])
    assert [r.image_id for r in merged.images] == [17, 4]
    assert merged.category_ids == (90, 91)


def test_joints_of_classes_follow_their_classes() -> None:
    dog, car = Skeleton(("nose", "tail"), ((0, 1),), ((0, 1),)), Skeleton(("bonnet",))
    skeleton = Skeleton.joined(("dog", "car", "tree"), (dog, car, None))
    joints = np.arange(18.0).reshape(2, 3, 3)
    boxes = np.array([[0.0, 0, 9, 9]] * 2)
    record = ImageRecord(Path("a.jpg"), boxes=boxes, labels=np.array([0, 1]), keypoints=joints)
    data = Annotations(("dog", "car", "tree"), [record], "zoo", skeleton=skeleton)
    turned = select(data, ("tree", "car", "dog"))
    assert turned.skeleton is not None
    assert turned.skeleton.joints == ("bonnet", "nose", "tail")
    assert turned.skeleton.slices == ((0, 0), (0, 1), (1, 3))
    assert turned.images[0].keypoints is not None
    assert np.array_equal(turned.images[0].keypoints, joints[:, [2, 0, 1]])
    alone = select(data, ("dog",))
    assert alone.skeleton == dog
    assert alone.images[0].keypoints is not None
    assert np.array_equal(alone.images[0].keypoints, joints[:1, :2])
    trees = select(data, ("tree",))
    assert (trees.skeleton, trees.images[0].keypoints) == (None, None)
    assert select(data, rename={"tree": "dog"}).skeleton == Skeleton.joined("ab", (dog, car))
    with pytest.raises(HeatpointError, match="zoo that become 'dog' have joints of their own"):
        select(data, rename={"car": "dog"})
    more = with_classes(data, ("bush", "tree", "car", "dog")).skeleton
    assert more is not None
    assert more.slices == ((0, 2), (2, 3), (0, 0), (0, 0))
    assert merge([data, data])[0].skeleton == skeleton
    with pytest.raises(HeatpointError, match="2 classes joints of their own, but there are 1"):
        Annotations(("dog",), [], "x", skeleton=Skeleton.joined("ab", (dog, car)))


def test_joints_are_joined_and_must_be_the_same() -> None:
    points = np.array([[[1.0, 2, 2], [3, 4, 1]]])
    skeleton = Skeleton(("nose", "tail"))
    mouse = ImageRecord(Path("a.png"), boxes=[[0, 0, 9, 9]], labels=[0], keypoints=points)
    posed = Annotations(("mouse",), [mouse], "posed", skeleton=skeleton)
    boxes = Annotations(("mouse",), [record("a.png", (0, 5.0))], "boxes")
    merged, _ = merge([boxes, posed])
    keypoints = merged.images[0].keypoints
    assert keypoints is not None
    np.testing.assert_array_equal(keypoints, np.concatenate((np.zeros((1, 2, 3)), points)))
    other = Annotations(("mouse",), [], "other", skeleton=Skeleton(("nose", "ear")))
    with pytest.raises(HeatpointError, match="posed, other have different joints"):
        merge([posed, other])


DATA = Annotations(
    ("car", "Car", "bus"),
    [record("a.png", (0, 5.0), (1, 20.0), (2, 30.0)), record("b.png", (0, 4.0))],
    "traffic",
)


def test_classes_are_renamed_and_chosen() -> None:
    part = select(DATA, classes=("bus", "car"), rename={"Car": "car"}, min_side=6, empty=False)
    assert part.names == ("bus", "car")
    assert part.category_ids == (3, 1)
    assert contents(part) == {"a.png": [("car", 20.0), ("bus", 30.0)]}
    part = select(DATA, without=("bus",))
    assert part.names == ("car", "Car")
    assert contents(part) == {"a.png": [("car", 5.0), ("Car", 20.0)], "b.png": [("car", 4.0)]}


def test_what_cannot_be_chosen() -> None:
    with pytest.raises(HeatpointError, match="no class 'buss'; did you mean 'bus'"):
        select(DATA, classes=("buss",))
    with pytest.raises(HeatpointError, match="the selection names no class"):
        select(DATA, without=("car", "Car", "bus"))
    with pytest.raises(HeatpointError, match="no image of traffic is left"):
        select(DATA, min_side=100, empty=False)


def test_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("cat", "dog"):
        Image.new("RGB", (40, 30)).save(tmp_path / f"{name}.png")
        content = {
            "images": [{"id": 1, "file_name": f"{name}.png"}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 8, 9]}],
            "categories": [{"id": 1, "name": name}],
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    assert main(["merge", "cat.json", "dog.json", "--out", "parts/all.json"]) == 0
    assert "2 images, 2 objects" in capsys.readouterr().out
    assert contents(read("parts/all.json")) == {
        "cat.png": [("cat", 9.0)],
        "dog.png": [("dog", 9.0)],
    }
    words = ["filter", "parts/all.json", "--classes", "pet", "--rename", "dog=pet", "--no-empty"]
    assert main([*words, "--out", "pets.json"]) == 0
    assert "left out: 1 image, 1 object" in capsys.readouterr().out
    assert contents(read("pets.json")) == {"dog.png": [("pet", 9.0)]}
    assert main(["filter", "parts/all.json", "--rename", "dog"]) == 1
    assert "expected OLD=NEW" in capsys.readouterr().err


@pytest.mark.parametrize("near", [True, False])
def test_the_next_command_reads_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], near: bool
) -> None:
    for folder, name in (("one", "cat"), ("two", "dog")):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (40, 30)).save(tmp_path / folder / f"{name}.png")
        content = {
            "images": [{"id": 1, "file_name": f"{name}.png"}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 8, 9]}],
            "categories": [{"id": 1, "name": name}],
        }
        (tmp_path / folder / "all.json").write_text(json.dumps(content))
    here = tmp_path if near else tmp_path / "here"
    here.mkdir(exist_ok=True)
    monkeypatch.chdir(here)
    parts = [str(tmp_path / folder / "all.json") for folder in ("one", "two")]
    said = [main(["merge", *parts]), *capsys.readouterr().out.splitlines()]
    assert said[0] == 0
    first, command, file, *rest = shlex.split(str(said[-1]).removeprefix("next: "))
    assert (first, command, rest[:1]) == ("heatpoint", "train", [] if near else ["--images"])
    assert all(record.path.is_file() for record in read(file, *rest[1:]).images)
    words = ["filter", file, "--classes", "dog", "--no-empty", *rest]
    assert main(words) == 0
    _, _, file, *rest = shlex.split(capsys.readouterr().out.splitlines()[-1][6:])
    assert [record.path.name for record in read(file, *rest[1:]).images] == ["dog.png"]
    assert rest[:1] == ([] if near else ["--images"])


def test_classes_that_a_part_lacks() -> None:
    part = Annotations(("dog",), [record("a.png", (0, 5.0))], "part", category_ids=(17,))
    whole = with_classes(part, ("cat", "dog", "on"))
    assert whole.names == ("dog", "cat", "on")
    assert whole.category_ids == (17, 18, 19)
    assert contents(whole) == {"a.png": [("dog", 5.0)]}
