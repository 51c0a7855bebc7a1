"""Pascal VOC in the layouts, shapes and encodings that tools and people leave it in."""

from __future__ import annotations

import time
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from heatpoint.data import Annotations
from heatpoint.data.readers import read
from heatpoint.data.validate import validate
from heatpoint.errors import HeatpointError

SIZE = "<size><width>40</width><height>30</height><depth>3</depth></size>"


def bounds(*corners: object) -> str:
    names = ("xmin", "ymin", "xmax", "ymax")
    inner = "".join(f"<{n}>{value}</{n}>" for n, value in zip(names, corners, strict=True))
    return f"<bndbox>{inner}</bndbox>"


def item(name: str = "dog", shape: str = bounds(1, 2, 11, 22)) -> str:
    return f"<object><name>{name}</name>{shape}</object>"


def xml(path: Path, *items: str, filename: str | None = None, size: str = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    named = f"{path.stem}.png" if filename is None else filename
    said = f"<filename>{named}</filename><path>C:\\me\\{named}</path>{size}"
    path.write_text(f"<annotation>{said}{''.join(items)}</annotation>", encoding="utf-8")
    return path


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (40, 30)).save(path)
    return path


def found(data: Annotations, root: Path) -> dict[str, list[str]]:
    """Returns the classes of the objects of each picture, all of which must be there."""
    assert data.format == "Pascal VOC"
    assert all(record.path.is_file() for record in data.images)
    return {
        record.path.resolve().relative_to(root.resolve()).as_posix(): [
            data.names[label] for label in record.labels
        ]
        for record in data.images
    }


@pytest.mark.parametrize(
    ("labels", "pictures"),
    [
        ("", ""),
        ("Annotations", "JPEGImages"),
        ("annotations", "images"),
        ("xmls", "imgs"),
        ("xmls", ""),
        ("", "images"),
        ("annotations/train", "images/train"),
        ("train/annotations", "train/images"),
        ("export/Annotations", "export/JPEGImages"),
        ("my labels", "my pictures"),
    ],
)
def test_layouts(tmp_path: Path, labels: str, pictures: str) -> None:
    for name in ("a", "b"):
        xml(tmp_path / labels / f"{name}.xml", item(name))
        picture(tmp_path / pictures / f"{name}.png")
    (tmp_path / labels / "._a.xml").write_bytes(b"\0\5\x16\7")
    data = read(tmp_path)
    start = f"{pictures}/" if pictures else ""
    assert found(data, tmp_path) == {f"{start}a.png": ["a"], f"{start}b.png": ["b"]}
    elsewhere = {"images under shorter names": 1} if labels.startswith("my") else {}
    assert validate(data).counts() == elsewhere


def test_the_folder_of_annotations_itself_and_one_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        xml(tmp_path / f"voc/Annotations/{name}.xml", item(name))
        picture(tmp_path / f"voc/JPEGImages/{name}.png")
    both = {"voc/JPEGImages/a.png": ["a"], "voc/JPEGImages/b.png": ["b"]}
    assert found(read(tmp_path / "voc/Annotations"), tmp_path) == both
    single = read(tmp_path / "voc/Annotations/b.xml")
    assert found(single, tmp_path) == {"voc/JPEGImages/b.png": ["b"]}
    assert single.left_out == {}


def test_pictures_elsewhere(tmp_path: Path) -> None:
    xml(tmp_path / "voc/Annotations/a.xml", item())
    xml(tmp_path / "voc/Annotations/b.xml", item())
    picture(tmp_path / "disk/a.jpg")
    data = read(tmp_path / "voc", images=tmp_path / "disk")
    assert [record.path for record in data.images] == [
        tmp_path / "disk/a.jpg",
        tmp_path / "disk/b.png",
    ]
    assert "missing image" in validate(data).counts()
    lost = read(tmp_path / "voc")
    assert lost.searched
    with pytest.raises(HeatpointError, match="is not a folder; expected the images of"):
        read(tmp_path / "voc", images=tmp_path / "nowhere")


def test_folders_are_splits(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        xml(tmp_path / split / "a_jpg.rf.1.xml", item(split), filename="a_jpg.rf.1.jpg")
        picture(tmp_path / split / "a_jpg.rf.1.jpg")
    data = read(f"{tmp_path}:valid")
    assert data.names == ("train", "valid")
    assert found(data, tmp_path) == {"valid/a_jpg.rf.1.jpg": ["valid"]}
    assert len(read(tmp_path)) == 2
    with pytest.raises(
        HeatpointError, match=r"no split 'val' .* it has train, valid; did you mean"
    ):
        read(f"{tmp_path}:val")


def test_years_of_a_devkit_keep_their_pictures(tmp_path: Path) -> None:
    for year in ("VOC2007", "VOC2012"):
        folder = tmp_path / "VOCdevkit" / year
        for name in ("1", "2"):
            xml(folder / f"Annotations/{name}.xml", item(f"{year}-{name}"))
            picture(folder / f"JPEGImages/{name}.png")
        picture(folder / "SegmentationClass/1.png")
        (folder / "ImageSets/Main").mkdir(parents=True)
        (folder / "ImageSets/Main/train.txt").write_text("1\n")
        (folder / "ImageSets/Layout").mkdir()
        (folder / "ImageSets/Layout/train.txt").write_text("2\n")
        (folder / "ImageSets/Layout/layout.txt").write_text("2\n")
    kit = tmp_path / "VOCdevkit"
    train = {f"{y}/JPEGImages/1.png": [f"{y}-1"] for y in ("VOC2007", "VOC2012")}
    assert found(read(f"{kit}:train"), kit) == train
    assert found(read(f"{kit / 'VOC2007'}:train"), kit) == {
        "VOC2007/JPEGImages/1.png": ["VOC2007-1"]
    }
    assert list(found(read(f"{kit / 'VOC2007'}:layout"), kit)) == ["VOC2007/JPEGImages/2.png"]
    assert list(found(read(f"{kit}:VOC2012"), kit)) == [
        "VOC2012/JPEGImages/1.png",
        "VOC2012/JPEGImages/2.png",
    ]
    everything = read(kit)
    assert len(everything) == everything.objects == 4
    assert everything.left_out == {}


def test_lists_with_folders_and_with_both_files(tmp_path: Path) -> None:
    for camera in ("A", "B"):
        xml(tmp_path / f"Annotations/{camera}/1.xml", item(camera))
        picture(tmp_path / f"JPEGImages/{camera}/1.png")
    lists = tmp_path / "ImageSets/Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("B/1\n")
    assert found(read(f"{tmp_path}:train"), tmp_path) == {"JPEGImages/B/1.png": ["B"]}
    (lists / "train.txt").write_text("1\n")
    with pytest.raises(HeatpointError, match=r"'1' may be any of 2 annotations"):
        read(f"{tmp_path}:train")
    (tmp_path / "val.txt").write_text("./JPEGImages/A/1.png ./Annotations/A/1.xml\n")
    assert found(read(f"{tmp_path}:val"), tmp_path) == {"JPEGImages/A/1.png": ["A"]}


def test_boxes_never_go_to_another_folders_picture(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        xml(tmp_path / split / "1.xml", item(split))
    picture(tmp_path / "valid/1.png")
    data = read(tmp_path)
    assert [(r.path, r.path.is_file()) for r in data.images] == [
        (tmp_path / "train/1.png", False),
        (tmp_path / "valid/1.png", True),
    ]


def test_the_annotations_own_name_comes_before_the_one_it_holds(tmp_path: Path) -> None:
    xml(tmp_path / "copy.xml", item("copy"), filename="first.png")
    xml(tmp_path / "first.xml", item("first"))
    xml(tmp_path / "0001.xml", item("named"), filename="blood.png")
    xml(tmp_path / "lost.xml", item("lost"), filename="first.png")
    xml(tmp_path / "bare.xml", item("bare"), filename="bare")
    for name in ("copy.png", "first.png", "blood.png", "bare.jpg"):
        picture(tmp_path / name)
    data = read(tmp_path)
    there = {r.path.name: data.names[r.labels[0]] for r in data.images}
    assert there == {
        "copy.png": "copy",
        "first.png": "first",
        "blood.png": "named",
        "bare.jpg": "bare",
        "lost.png": "lost",
    }
    assert validate(data).counts() == {"missing image": 1}


def test_a_split_takes_no_picture_of_the_other_one(tmp_path: Path) -> None:
    xml(tmp_path / "Annotations/lost.xml", item(), filename="first.png")
    xml(tmp_path / "Annotations/first.xml", item())
    picture(tmp_path / "JPEGImages/first.png")
    lists = tmp_path / "ImageSets/Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("lost\n")
    assert read(f"{tmp_path}:train").images[0].path == tmp_path / "JPEGImages/lost.png"


def test_folders_in_names(tmp_path: Path) -> None:
    xml(tmp_path / "Annotations/A_1.xml", item("A"), filename="A/1.png")
    xml(tmp_path / "Annotations/B_1.xml", item("B"), filename="B\\1.png")
    xml(tmp_path / "Annotations/C_2.xml", item("C"), filename="C:\\me\\2.png")
    for name in ("1.png", "2.png", "A/1.png"):
        picture(tmp_path / "JPEGImages" / name)
    data = read(tmp_path)
    there = {data.names[r.labels[0]]: r.path for r in data.images}
    assert there["A"] == tmp_path / "JPEGImages/A/1.png"
    assert not there["B"].exists()
    assert there["C"] == tmp_path / "JPEGImages/2.png"


def test_names_that_are_nearly_those_on_disk_are_told(tmp_path: Path) -> None:
    xml(tmp_path / "Annotations" / f"{unicodedata.normalize('NFC', 'é')}.xml", item())
    picture(tmp_path / "JPEGImages" / f"{unicodedata.normalize('NFD', 'é')}.png")
    xml(tmp_path / "Annotations/B.xml", item())
    picture(tmp_path / "JPEGImages/b.png")
    data = read(tmp_path)
    assert all(record.path.is_file() for record in data.images)
    assert validate(data).counts() == {"image under a near name": 2}


def test_pictures_in_folders_of_their_own(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        xml(tmp_path / f"voc/Annotations/{name}.xml", item(name))
    for name in ("A/a.png", "B/b.png", "B/c.png", "A/c.png"):
        picture(tmp_path / "disk" / name)
    (tmp_path / "voc/JPEGImages").symlink_to(tmp_path / "disk")
    data = read(tmp_path / "voc")
    pictures = tmp_path / "voc/JPEGImages"
    assert [record.path for record in data.images] == [
        pictures / name for name in ("A/a.png", "B/b.png", "A/c.png")
    ]
    told = validate(data).counts()
    assert told["image under a near name"] == 1
    assert told["images under shorter names"] == 2


def test_read_me_files_are_no_splits(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        xml(tmp_path / split / "a.xml", item())
        picture(tmp_path / split / "a.png")
    for name in ("README.dataset.txt", "README.roboflow.txt", "notes.txt", "train/a.txt"):
        (tmp_path / name).write_text("0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(HeatpointError, match=r"it has notes, train, valid$"):
        read(f"{tmp_path}:test")


def test_two_pictures_of_one_stem(tmp_path: Path) -> None:
    xml(tmp_path / "a.xml", item(), filename="a.png")
    xml(tmp_path / "b.xml", item(), filename="other.bmp")
    for name in ("a.jpg", "a.png", "b.jpg", "b.png"):
        picture(tmp_path / name)
    data = read(tmp_path)
    assert [record.path.name for record in data.images] == ["a.png", "b.jpg"]
    assert validate(data).counts()["image under a near name"] == 1
    assert data.left_out == {"image without annotation file": 2}


def test_two_annotations_of_one_picture(tmp_path: Path) -> None:
    xml(tmp_path / "1.xml", item("a"), filename="c.png")
    xml(tmp_path / "2.xml", item("b"), filename="c.png")
    picture(tmp_path / "c.png")
    data = read(tmp_path)
    assert (len(data), data.left_out) == (1, {"image listed twice": 1})


def test_shapes_become_upright_boxes_and_are_counted(tmp_path: Path) -> None:
    polygon = "<polygon><x1>3</x1><y1>4</y1><x2>9</x2><y2>5</y2><x3>6</x3><y3>20</y3></polygon>"
    points = "<polygon><pt><x>3</x><y>4</y></pt><pt><x>9</x><y>20.5</y></pt></polygon>"
    turned = "".join(
        f"<{key}>{value}</{key}>"
        for key, value in (("cx", 20), ("cy", 15), ("w", 10), ("h", 4), ("angle", 1.5707963))
    )
    items = [
        item("p", polygon),
        item("p", points),
        item("p", bounds(1, 1, 8, 8) + polygon),
        item("r", f"<robndbox>{turned}</robndbox>"),
        item("s", bounds(11, 22.5, 1, 2)),
        item("t", bounds(1, 2, 11, 22) + f"<part><name>hand</name>{bounds(1, 2, 3, 4)}</part>"),
    ]
    xml(tmp_path / "a.xml", *items)
    picture(tmp_path / "a.png")
    data = read(tmp_path)
    assert data.images[0].boxes.tolist() == [
        [3, 4, 9, 20],
        [3, 4, 9, 20.5],
        [1, 1, 8, 8],
        pytest.approx([18, 10, 22, 20], abs=1e-5),
        [1, 2, 11, 22.5],
        [1, 2, 11, 22],
    ]
    assert Counter(each.kind for each in data.findings) == {
        "polygon read as its box": 3,
        "rotated box read as upright": 1,
        "corners swapped": 1,
        "part of an object": 1,
    }


@pytest.mark.parametrize("size", ["", SIZE.replace("40", "0"), SIZE.replace("40", "many")])
def test_sizes_that_are_missing(tmp_path: Path, size: str) -> None:
    xml(tmp_path / "a.xml", item(), size=size)
    picture(tmp_path / "a.png")
    data = read(tmp_path)
    assert data.images[0].size is None
    assert validate(data).counts() == {}


def test_difficult_as_people_write_it(tmp_path: Path) -> None:
    said = ("0", "1", "Unspecified", "True", "", "false")
    items = [item("a", f"<difficult>{each}</difficult>{bounds(1, 2, 3, 4)}") for each in said]
    xml(tmp_path / "a.xml", *items)
    record = read(tmp_path).images[0]
    assert record.difficult.tolist() == [False, True, False, True, False, False]


@pytest.mark.parametrize(
    ("declared", "codec", "name"),
    [
        ("gb2312", "gb18030", "汽车"),
        ("GBK", "gbk", "联通"),
        ("Big5", "big5", "汽車"),
        ("Shift_JIS", "shift_jis", "自動車"),
        ("euc-kr", "euc-kr", "자동차"),
        ("windows-1251", "cp1251", "машина"),
        ("iso-8859-1", "latin-1", "blüte"),
        ("utf-8", "utf-8-sig", "汽车"),
        ("utf-16", "utf-16", "汽车"),
        ("utf-16", "utf-8", "汽车"),
        (None, "utf-8", "汽车"),
        (None, "utf-16-le", "汽车"),
    ],
)
def test_encodings(tmp_path: Path, declared: str | None, codec: str, name: str) -> None:
    head = f'<?xml version="1.0" encoding="{declared}"?>\n' if declared else ""
    text = f"{head}<annotation><filename>a.png</filename>{item(name)}</annotation>"
    (tmp_path / "a.xml").write_bytes(text.encode(codec))
    picture(tmp_path / "a.png")
    assert read(tmp_path).names == (name,)


def test_other_encodings_are_named(tmp_path: Path) -> None:
    text = f"<annotation>\n{item('汽车')}</annotation>"
    (tmp_path / "a.xml").write_bytes(text.encode("gbk"))
    with pytest.raises(
        HeatpointError, match=r"a\.xml is not XML in UTF-8 .* line 2\), but may be gb"
    ):
        read(tmp_path)


def test_other_xml_files_are_counted(tmp_path: Path) -> None:
    xml(tmp_path / "a.xml", item())
    picture(tmp_path / "a.png")
    (tmp_path / "project.xml").write_text("<project><name>mine</name></project>")
    data = read(tmp_path)
    assert found(data, tmp_path) == {"a.png": ["dog"]}
    assert data.left_out == {"not an annotation file": 1}
    (tmp_path / "a.xml").unlink()
    with pytest.raises(HeatpointError, match="looked for"):
        read(tmp_path)


def test_left_over_files_of_another_tool_decide_nothing(tmp_path: Path) -> None:
    xml(tmp_path / "boxes/a.xml", item())
    picture(tmp_path / "boxes/a.png")
    (tmp_path / "boxes/classes.txt").write_text("dog\n")
    assert found(read(tmp_path / "boxes"), tmp_path) == {"boxes/a.png": ["dog"]}
    (tmp_path / "classes.txt").write_text("dog\n")
    for name in ("a", "b", "c"):
        picture(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    xml(tmp_path / "a.xml", item())
    assert read(tmp_path).format != "Pascal VOC"


def test_speed(tmp_path: Path) -> None:
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "JPEGImages").mkdir()
    for number in range(1000):
        xml(tmp_path / f"Annotations/{number}.xml", item(), item())
        (tmp_path / f"JPEGImages/{number}.png").touch()
    start = time.process_time()
    assert read(tmp_path).objects == 2000
    assert time.process_time() - start < 5
