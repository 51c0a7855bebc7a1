"""WebDataset: pictures in .tar files are read, trained on and written as those in folders."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sample_content import NAMES, OBJECTS, SIZES, draw
from sample_shards import pack
from samples import JOINT_SAMPLES, SAMPLES
from test_samples import told

from heatpoint.cli import main
from heatpoint.data import shards, writers
from heatpoint.data.dataset import TrainSet
from heatpoint.data.dividing import picture_names
from heatpoint.data.duplicates import shared_files
from heatpoint.data.images import image_size, load_image
from heatpoint.data.readers import read
from heatpoint.data.readers.coco import write_coco
from heatpoint.data.validate import clean, validate
from heatpoint.data.writers import write
from heatpoint.errors import HeatpointError
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.training import train


def picture(shade: int = 90) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (50, 40), (shade, 0, 0)).save(stream, "JPEG")
    return stream.getvalue()


def said(name: str = "cat", number: int = 1, **more: object) -> bytes:
    item = {"category_id": number, "bbox": [2, 4, 10, 16], **more}
    return json.dumps(
        {"annotations": [item], "categories": [{"id": number, "name": name}]}
    ).encode()


def written(folder: Path, kind: str = "COCO", joints: bool = False) -> Path:
    data = read((JOINT_SAMPLES if joints else SAMPLES)[kind](folder / "files"))
    write({"all": data}, "shards", folder / "shards")
    return folder / "shards"


def test_samples_are_those_of_files(tmp_path: Path) -> None:
    folder = written(tmp_path)
    files, packed = read(tmp_path / "files/annotations.json"), read(folder)
    assert packed.format == "WebDataset"
    assert told(packed) == told(files)
    assert packed.category_ids == files.category_ids
    assert [r.image_id for r in packed.images] == [r.image_id for r in files.images]
    assert {r.path.name: r.size for r in packed.images} == SIZES
    assert validate(packed).counts() == validate(files).counts() == {}
    one, other = (TrainSet(clean(each)[0], (64, 64), seed=3) for each in (files, packed))
    sent = pickle.loads(pickle.dumps(other))  # as to a process that loads pictures
    for index in range(len(one)):
        for epoch in range(2):
            wanted = one[epoch, index]
            for got in (other[epoch, index], sent[epoch, index]):
                assert torch.equal(got.image, wanted.image)
                assert torch.equal(got.target.boxes, wanted.target.boxes)
    assert len(shared_files(files, packed)) == 3


def test_joints_come_back(tmp_path: Path) -> None:
    packed, files = read(written(tmp_path, joints=True)), read(tmp_path / "files/annotations.json")
    assert packed.skeleton == files.skeleton
    for one, other in zip(packed.images, files.images, strict=True):
        np.testing.assert_allclose(one.keypoints, other.keypoints, atol=1e-9)  # type: ignore[arg-type]


def test_a_full_shard_is_followed_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "BYTES", 2000)
    folder = written(tmp_path)
    assert [each.name for each in sorted(folder.iterdir())] == [
        f"all-00000{i}.tar" for i in (0, 1, 2)
    ]
    assert told(read(folder)).keys() == OBJECTS.keys()
    assert len(read(folder / "all-{000000..000001}.tar")) == 2
    assert len(read(folder / "all-*.tar")) == len(read(f"{folder}:all")) == 3
    assert len(read(folder / "all-00000{0,2}.tar")) == 2
    with pytest.raises(HeatpointError, match=r"no file is called .*all-000003.tar, a part of"):
        read(folder / "all-{000000..999999999999}.tar")
    with pytest.raises(HeatpointError, match=r"no file is called .*none-\*.tar"):
        read(folder / "none-*.tar")
    with pytest.raises(HeatpointError, match=r"has no split 'val'.*it has all"):
        read(f"{folder}:val")


def test_names_in_shards_are_names_of_files(tmp_path: Path) -> None:
    pack(tmp_path / "set/one.tar", {"./day/a.png.jpg": picture(), "./day/a.png.json": said()})
    found = read(tmp_path / "set/one.tar")
    (record,) = found.images
    assert record.path == tmp_path / "set/one.tar/day/a.png.jpg"
    assert image_size(record.path) == (40, 50)
    assert list(picture_names([record.path])) == ["a.png.jpg"]
    # As split, filter and the plan of a training write it, in another folder.
    (tmp_path / "runs").mkdir()
    write_coco(found, tmp_path / "runs/part.json")
    assert told(read(tmp_path / "runs/part.json")) == told(found)
    for images in ("set", "set/one.tar", "set/one.tar/day"):
        again = read(tmp_path / "runs/part.json", tmp_path / images)
        assert load_image(again.images[0].path).shape == (40, 50, 3)
    write({"train": found}, "yolo", tmp_path / "yolo")
    assert (tmp_path / "yolo/images/train/a.png.jpg").read_bytes() == picture()


def test_other_kinds_of_pictures(tmp_path: Path) -> None:
    pixels = np.arange(20 * 30 * 5, dtype=np.uint16).reshape(20, 30, 5)
    stream = io.BytesIO()
    np.save(stream, pixels)
    pack(tmp_path / "one.tar", {"a.npy": stream.getvalue(), "a.json": said()})
    cleaned, _ = clean(read(tmp_path / "one.tar"))
    assert cleaned.bands.channels == 5
    image = load_image(cleaned.images[0].path, bands=cleaned.bands)
    assert np.array_equal(image, pixels)


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    files = [("a.jpg", picture()), ("a.json", said()), ("a.jpg", picture(9)), ("a.png", picture())]
    files += [("b.jpg", picture()), ("c.json", said()), ("../d.jpg", picture())]
    files += [("e.jpg", picture()), ("e.json", b'{"caption": "a cat"}'), ("a.txt", b"a cat")]
    data = read(pack(tmp_path / "one.tar", files))
    assert data.left_out == {
        "image listed twice": 2,
        "image without annotation file": 1,
        "unused label file": 1,
        "picture under a strange name": 1,
        "image not annotated": 1,
    }
    assert load_image(data.images[0].path)[0, 0, 0] > 80  # the first of two of one name


def test_classes_are_told_by_their_names(tmp_path: Path) -> None:
    pack(tmp_path / "0.tar", {"a.jpg": picture(), "a.json": said("cat", 1)})
    pack(tmp_path / "1.tar", {"a.jpg": picture(), "a.json": said("dog", 2)})
    assert not read(tmp_path).findings
    pack(tmp_path / "2.tar", {"a.jpg": picture(), "a.json": said("ant", 1)})
    data = read(tmp_path)
    assert [finding.kind for finding in data.findings] == ["class ids that differ"]
    assert [data.names[r.labels[0]] for r in data.images] == ["cat", "dog", "ant"]
    bare = json.dumps({"annotations": [{"category_id": "ox", "bbox": [1, 1, 5, 5]}]}).encode()
    assert read(pack(tmp_path / "b/0.tar", {"a.jpg": picture(), "a.json": bare})).names == ("ox",)


def damaged(path: Path, how: str) -> Path:
    files = {
        f"{i}.{end}": data for i in range(3) for end, data in (("jpg", picture()), ("json", said()))
    }
    whole = pack(path, files).read_bytes()
    one, second = len(picture()), whole.index(b"1.jpg\0")
    broken = {
        "cut in a picture": whole[: 512 + one // 2],
        "cut between files": whole[: 512 + -(-one // 512) * 512],
        "broken header": whole[:second] + b"?" * 300 + whole[second + 300 :],
        "two in one": whole + whole,
        "empty": b"",
        "a picture": picture(),
    }
    path.write_bytes(broken[how])
    return path


@pytest.mark.parametrize(
    "how",
    ["cut in a picture", "cut between files", "broken header", "two in one", "empty", "a picture"],
)
def test_damaged_files_are_errors(tmp_path: Path, how: str) -> None:
    path = damaged(tmp_path / "one.tar", how)
    with pytest.raises(HeatpointError, match=r"one\.tar (is damaged|has no end|goes on)") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_mistakes_are_sentences(tmp_path: Path) -> None:
    pack(tmp_path / "0.tar", {"a.jpg": picture(), "a.json": b"{"})
    with pytest.raises(HeatpointError, match=r"0.tar/a.json: expected the JSON of one image"):
        read(tmp_path / "0.tar")
    pack(tmp_path / "1.tar", {"a.jpg": picture()})
    with pytest.raises(HeatpointError, match=r"holds no picture with a \.json file of its name"):
        read(tmp_path / "1.tar")
    with tarfile.open(tmp_path / "2.tar.gz", "w:gz"):
        pass
    with pytest.raises(HeatpointError, match="is compressed"):
        read(tmp_path / "2.tar.gz")
    with pytest.raises(HeatpointError, match="leave --images off"):
        read(pack(tmp_path / "3.tar", {"a.jpg": picture(), "a.json": said()}), tmp_path)
    with pytest.raises(HeatpointError, match="cannot be left"):
        write({"a": read(tmp_path / "3.tar")}, "shards", tmp_path / "out", "leave")
    joints = json.loads(said())
    joints["categories"][0]["keypoints"] = ["nose"]
    pack(tmp_path / "4.tar", {"a.jpg": picture(), "a.json": json.dumps(joints).encode()})
    with pytest.raises(HeatpointError, match="the joints of 'cat' are others than in"):
        read(tmp_path / "{3,4}.tar")


def test_a_file_that_is_replaced_is_read_anew(tmp_path: Path) -> None:
    path = pack(tmp_path / "0.tar", {"a.jpg": picture(), "a.json": said()})
    (record,) = read(path).images
    pack(path, {"b.jpg": picture(), "b.json": said(), "a.jpg": picture(200)})
    os.utime(path, ns=(1, 1))
    assert load_image(record.path)[0, 0, 0] > 190
    pack(path, {"b.jpg": picture(), "b.json": said()})
    assert not shards.is_file(record.path)
    with pytest.raises(HeatpointError, match=r"0.tar/a.jpg does not exist"):
        load_image(record.path)


def test_the_command_writes_shards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = SAMPLES["COCO"](tmp_path / "files")
    assert not main(["convert-data", str(data), "--to", "shards", "--out", str(tmp_path / "out")])
    assert "out, train: 3 images, 5 objects" in capsys.readouterr().out
    assert read(tmp_path / "out").names == NAMES
    draw(tmp_path / "files").joinpath("a.jpg").unlink()
    assert main(["convert-data", str(data), "--to", "shards", "--out", str(tmp_path / "two")])
    assert "a.jpg cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "two").exists()


def test_training_stops_and_goes_on_as_with_files(tmp_path: Path) -> None:
    files = read(write_shapes(tmp_path / "data", 8, (64, 64), seed=2))
    write({"train": files}, "shards", tmp_path / "shards")
    packed = str(tmp_path / "shards/train-*.tar")
    common = {"model": "centernet_tiny", "size": 64, "batch_size": 2, "accelerator": "cpu"}
    common |= {"epochs": 2, "pictures": False, "workers": 2}
    train(files.source, files.source, out=str(tmp_path / "files"), **common)  # type: ignore[arg-type]
    train(packed, packed, out=str(tmp_path / "packed"), stop_after=1, **common)  # type: ignore[arg-type]
    train(packed, packed, out=str(tmp_path / "packed"), resume=True, **common)  # type: ignore[arg-type]
    one, other = (
        torch.load(tmp_path / name / "resume.pt", weights_only=True) for name in ("files", "packed")
    )
    for name, value in one["network"].items():
        assert torch.equal(other["network"][name], value), name
