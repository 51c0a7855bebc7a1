"""What a data.yaml, a .data file and lists of pictures say, in the ways tools write them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from heatpoint.data import Annotations
from heatpoint.data.readers import read
from heatpoint.errors import HeatpointError

BOX = "0 0.5 0.5 0.5 0.5\n"


def put(path: Path, text: str = BOX) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def pair(folder: Path, images: str, name: str, text: str = BOX) -> None:
    """Writes a picture of 40 x 20 and its labels."""
    (folder / images).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 20)).save(folder / images / f"{name}.png")
    put(folder / images.replace("images", "labels") / f"{name}.txt", text)


def names(data: Annotations) -> list[str]:
    return [record.path.name for record in data.images]


def kinds(data: Annotations) -> Counter[str]:
    return Counter(finding.kind for finding in data.findings)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Returns a folder in Ultralytics' layout: two pictures to train on, one to validate on."""
    pair(tmp_path, "images/train", "a")
    pair(tmp_path, "images/train", "b")
    pair(tmp_path, "images/val", "c")
    return tmp_path


def test_a_yaml_is_data_and_its_keys_are_splits(folder: Path) -> None:
    file = put(
        folder / "own.yaml", "train: images/train\nval: images/val\ntest:\nnames: [cat]\nnc: 1"
    )
    assert names(read(file)) == ["a.png", "b.png", "c.png"]
    assert names(read(f"{file}:train")) == ["a.png", "b.png"]
    assert names(read(f"{file}:val")) == names(read(f"{file}:valid")) == ["c.png"]
    assert read(file).images[0].boxes.tolist() == [[10, 5, 30, 15]]
    assert read(file).format == "YOLO"
    assert not read(file).findings
    with pytest.raises(HeatpointError, match=r"no split 'test'.*it has train, val"):
        read(f"{file}:test")


def test_the_folder_of_a_yaml_reads_the_same(folder: Path) -> None:
    put(folder / "data.yaml", "train: images/train\nval: images/val\nnames: {0: cat}")
    assert names(read(f"{folder}:valid")) == names(read(f"{folder}:validation")) == ["c.png"]
    assert names(read(folder)) == ["a.png", "b.png", "c.png"]


@pytest.mark.parametrize("place", ["../set", "set", "."])
def test_path_is_relative_to_the_file_the_working_folder_or_the_one_above(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "path: {}\ntrain: images/train\nnames: [cat]"
    root = tmp_path / "work" / ("yaml" if place == "." else "set")
    pair(root, "images/train", "a")
    data = read(put(tmp_path / "work/yaml/data.yaml", text.format(place)))
    assert names(data) == ["a.png"]
    assert data.objects == 1
    assert not data.findings
    monkeypatch.chdir(root.parent)
    assert read(put(tmp_path / "x/y/data.yaml", text.format(root.name))).objects == 1
    assert read(put(tmp_path / "x/data.yaml", text.format(root))).objects == 1


def test_the_path_of_another_machine_is_told(folder: Path) -> None:
    text = "path: C:\\Users\\me\\sets\ntrain: C:\\Users\\me\\sets\\images\\train\nnames: [cat]"
    data = read(put(folder / "data.yaml", text))
    assert names(data) == ["a.png", "b.png"]
    assert kinds(data) == {"split under another path": 1}


def test_roboflows_paths_lie_beside_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "down" / "set"
    pair(folder, "train/images", "a")
    pair(folder, "valid/images", "b")
    text = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
    text += "nc: 1\nnames: ['cat']\n"
    file = put(folder / "data.yaml", text + "roboflow:\n  url: https://example.org\n")
    data = read(file)
    assert names(data) == ["a.png", "b.png"]
    assert data.objects == 2
    assert data.left_out == {"split that is not there": 1}
    assert not read(f"{file}:valid").findings
    assert names(read(f"{file}:val")) == names(read(f"{folder}:valid")) == ["b.png"]
    with pytest.raises(
        HeatpointError, match=r"split 'test' of .*set is not there; looked for .*test"
    ):
        read(f"{file}:test")
    # Another set that was unpacked one folder above is not taken for this one, and that is told.
    pair(folder.parent, "train/images", "other")
    assert names(read(f"{file}:train")) == ["a.png"]
    assert kinds(read(f"{file}:train")) == {"split under another path": 1}


def test_a_split_may_be_a_list_or_several_places(folder: Path) -> None:
    pair(folder, "images/more", "d")
    put(folder / "train.txt", "# half of it\n./images/train/a.png\n\nimages/more/d.png\n")
    text = "train: train.txt\nval: [images/val, images/more]\nnames: [cat]\ndownload: exit 1"
    file = put(folder / "data.yaml", text)
    assert names(read(f"{file}:train")) == ["a.png", "d.png"]
    assert names(read(f"{file}:val")) == ["c.png", "d.png"]
    assert names(read(file)) == ["a.png", "d.png", "c.png"]


def test_a_number_of_classes_that_is_not_that_of_the_names_is_told(folder: Path) -> None:
    data = read(put(folder / "data.yaml", "train: images/train\nnc: 3\nnames: [cat, dog]"))
    assert data.names == ("cat", "dog")
    assert kinds(data) == {"number of classes mismatch": 1}
    assert "counts 3 classes" in data.findings[0].detail


def test_names_may_stand_in_a_file(folder: Path) -> None:
    put(folder / "my.names", "cat\n")
    assert read(put(folder / "data.yaml", "train: images/train\nnames: my.names")).names == ("cat",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {a: b}\nnames: [cat]", r"expected 'train' to be a path"),
        ("train: nowhere\nnames: [cat]", r"split 'train' .* is not there; looked for .*nowhere"),
        ("train: images/train\nnames: [cat]\nkpt_shape: [4, 5]", r"'kpt_shape' to be"),
        ("train: images/train\nnames: [cat]\nkpt_shape: [99999999, 3]", r"'kpt_shape' to be"),
        ("train: images/train\nnames: [cat]\nkpt_shape: [3, 2]\nflip_idx: [1, 2, 0]", "'flip_idx'"),
        ("train: images/train\nnames: [cat]\nkpt_shape: [2, 2]\nkpt_names: [x]", "list 2 joints"),
    ],
)
def test_mistakes_in_a_yaml_are_named(folder: Path, text: str, message: str) -> None:
    with pytest.raises(HeatpointError, match=message):
        read(put(folder / "data.yaml", text))


@pytest.mark.parametrize("line", ["C:\\sets\\images\\{}", "/home/you/sets/images/{}"])
def test_lists_of_other_machines(tmp_path: Path, line: str) -> None:
    pair(tmp_path, "images", "a")
    pair(tmp_path, "images", "b")
    put(tmp_path / "classes.txt", "cat")
    put(tmp_path / "train.txt", "".join(line.format(name) + "\n" for name in ("a.png", "b.png")))
    data = read(f"{tmp_path}:train")
    assert names(data) == ["a.png", "b.png"]
    assert data.objects == 2
    assert kinds(data) == {"images under shorter names": 1}


def test_a_stem_in_a_list_means_one_picture(tmp_path: Path) -> None:
    for place in ("images/day", "images/night"):
        pair(tmp_path, place, "a")
    pair(tmp_path, "images/day", "b.v2")
    put(tmp_path / "classes.txt", "cat")
    put(tmp_path / "train.txt", "b.v2\nday/a\na\n")
    data = read(f"{tmp_path}:train")
    assert [record.path.is_file() for record in data.images] == [True, True, False]
    assert [record.path.parent.name for record in data.images[:2]] == ["day", "day"]


@pytest.mark.parametrize("argument", ["{}:train", "{}/obj.data:train", "{}/obj.data", "{}"])
def test_cvats_export(tmp_path: Path, argument: str) -> None:
    for name in ("f_0", "f_1"):
        pair(tmp_path, "obj_train_data", name, BOX)
    put(tmp_path / "obj.names", "cat\ndog\n")
    text = "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n"
    put(tmp_path / "obj.data", text)
    put(tmp_path / "train.txt", "data/obj_train_data/f_0.png\ndata/obj_train_data/f_1.png\n")
    data = read(argument.format(tmp_path))
    assert data.names == ("cat", "dog")
    assert names(data) == ["f_0.png", "f_1.png"]
    assert data.objects == 2


def test_darknets_valid_is_val(tmp_path: Path) -> None:
    root = tmp_path / "data"
    pair(root, "images", "a")
    put(root / "list.txt", "data/images/a.png")
    put(root / "coco.names", "cat")
    put(root / "coco.data", "# darknet\nvalid=data/list.txt\nnames=data/coco.names\n")
    assert names(read(f"{root / 'coco.data'}:val")) == ["a.png"]
    assert read(f"{root}:valid").objects == 1


def test_roboflows_darknet_export(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        pair(tmp_path, split, f"{split}1", "1 0.5 0.5 0.5 0.5")
        put(tmp_path / split / "_darknet.labels", "cat\ndog")
    assert read(tmp_path).counts() == {"cat": 0, "dog": 2}
    assert names(read(f"{tmp_path}:val")) == ["valid1.png"]


def test_an_absolute_name_outside_of_the_data_is_refused(tmp_path: Path) -> None:
    pair(tmp_path / "far", "images", "a")
    pair(tmp_path / "down/set", "images", "b")
    put(tmp_path / "down/set/classes.txt", "cat")
    put(tmp_path / "down/set/train.txt", f"{tmp_path / 'far/images/a.png'}\nimages/b.png\n")
    with pytest.raises(HeatpointError, match="outside of its folder"):
        read(f"{tmp_path / 'down/set'}:train")
