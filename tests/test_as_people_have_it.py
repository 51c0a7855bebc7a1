"""Files as people have them: with what systems leave behind, in other units, in tools' own ways."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from heatpoint.cli import main
from heatpoint.data import Annotations
from heatpoint.data.readers import read
from heatpoint.errors import HeatpointError

APPLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        \x00\x02\xff\xfe"
"""How the twins of files begin that macOS writes on foreign disks."""

BOX = [10.0, 20, 40, 60]


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path.with_suffix(".png")), np.full((80, 100, 3), 90, np.uint8))
    path.with_suffix(".png").rename(path)


def text(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def coco(path: Path, name: str, box: list[Any] | None = None, **item: Any) -> None:
    one = {"id": 1, "image_id": 1, "category_id": 1, "bbox": box or [10, 20, 30, 40]} | item
    images = [{"id": 1, "file_name": name, "width": 100, "height": 80}]
    classes = [{"id": 1, "name": "cat"}]
    content = {"images": images, "annotations": [one], "categories": classes}
    text(path, json.dumps(content))


def labelme(path: Path, points: Any = ((10, 20), (40, 60))) -> None:
    shape = {"label": "cat", "points": points, "shape_type": "rectangle", "group_id": None}
    content = {"version": "5", "shapes": [shape], "imagePath": f"{path.stem}.png"}
    text(path, json.dumps(content | {"imageHeight": 80, "imageWidth": 100}))


def voc(path: Path, box: tuple[float, ...] = (10, 20, 40, 60), more: str = "") -> None:
    tags = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    bounds = "".join(f"<{tag}>{value}</{tag}>" for tag, value in tags)
    one = f"<object><name>cat</name><bndbox>{bounds}</bndbox>{more}</object>"
    name = f"<filename>{path.stem}.png</filename>"
    text(path, f"<annotation>{name}{one}</annotation>")


def table(path: Path, *rows: str, head: str = "filename,xmin,ymin,xmax,ymax,class") -> None:
    text(path, "\n".join((head, *rows)))


def only_box(data: Annotations) -> list[float]:
    (box,) = np.concatenate([record.boxes for record in data.images])
    return box.tolist()


def kinds(data: Annotations) -> list[str]:
    return [each.kind for each in data.findings]


# What systems and programs leave behind.


def of_labelme(at: Path) -> None:
    picture(at / "a.png")
    labelme(at / "a.json")
    text(at / "._a.json", APPLE)
    labelme(at / ".ipynb_checkpoints/a-checkpoint.json")


def of_dota(at: Path) -> None:
    picture(at / "images/a.png")
    text(at / "labelTxt/a.txt", "10 20 40 20 40 60 10 60 cat 0")
    text(at / "labelTxt/._a.txt", APPLE)
    text(at / "__MACOSX/labelTxt/._a.txt", APPLE)


def of_yolo(at: Path) -> None:
    picture(at / "images/a.png")
    text(at / "labels/a.txt", "0 .25 .5 .3 .5")
    text(at / "classes.txt", "cat")
    for name in ("._data.yaml", "._classes.txt", "._train.txt", "labels/._a.txt"):
        text(at / name, APPLE)
    picture(at / "images/@eaDir/a.png/SYNOPHOTO_THUMB_M.png")


def of_voc(at: Path) -> None:
    picture(at / "images/a.png")
    voc(at / "annotations/a.xml")
    text(at / "annotations/~$a.xml", APPLE)
    picture(at / "#recycle/b.png")
    voc(at / "#recycle/b.xml")


def of_coco(at: Path) -> None:
    picture(at / "train/a.png")
    coco(at / "train/_annotations.coco.json", "a.png")
    coco(at / ".ipynb_checkpoints/x.json", "a.png")


def of_table(at: Path) -> None:
    picture(at / "train/a.png")
    table(at / "train/_annotations.csv", "a.png,10,20,40,60,cat")
    for name in ("__MACOSX/_annotations.csv", "train/._label_map.pbtxt", "train/._class.csv"):
        text(at / name, APPLE)


def of_create_ml(at: Path) -> None:
    picture(at / "train/a.png")
    box = {"label": "cat", "coordinates": {"x": 25, "y": 40, "width": 30, "height": 40}}
    text(
        at / "train/_annotations.createml.json",
        json.dumps([{"image": "a.png", "annotations": [box]}]),
    )
    text(at / "__MACOSX/_annotations.createml.json", APPLE)


def of_lines(at: Path) -> None:
    picture(at / "train/a.png")
    text(at / "train/_annotations.txt", "a.png 10,20,40,60,0")
    text(at / "__MACOSX/_annotations.txt", APPLE)


@pytest.mark.parametrize(
    "make", [of_labelme, of_dota, of_yolo, of_voc, of_coco, of_table, of_create_ml, of_lines]
)
def test_what_systems_leave_behind_is_no_annotation(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path)
    data = read(tmp_path)
    assert [record.path.name for record in data.images] == ["a.png"]
    assert only_box(data) == pytest.approx(BOX)
    assert not data.findings


# Units.


def test_shares_in_place_of_pixels_are_told_in_every_format(tmp_path: Path) -> None:
    for name in ("voc", "labelme", "coco"):
        picture(tmp_path / name / "a.png")
    voc(tmp_path / "voc/a.xml", (0.1, 0.25, 0.4, 0.75))
    labelme(tmp_path / "labelme/a.json", ((0.1, 0.25), (0.4, 0.75)))
    coco(tmp_path / "coco/labels.json", "a.png", [0.1, 0.25, 0.3, 0.5])
    for name in ("voc", "labelme", "coco"):
        assert "boxes in other units" in kinds(read(tmp_path / name))


def test_headings_say_their_unit(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    head = "filename,xmin ({0}),ymin ({0}),xmax ({0}),ymax ({0}),class"
    table(tmp_path / "t.csv", "a.png,10,20,40,60,cat", head=head.format("px"))
    assert only_box(read(tmp_path / "t.csv")) == BOX
    for unit in ("%", "mm"):
        table(tmp_path / "t.csv", "a.png,10,20,40,60,cat", head=head.format(unit))
        with pytest.raises(HeatpointError, match=r"expected columns .* got the headings"):
            read(tmp_path / "t.csv")


def test_classes_that_seem_to_be_numbered_from_one_are_told(tmp_path: Path) -> None:
    text(tmp_path / "classes.txt", "cat\ndog")
    for name, number in (("a", 1), ("b", 2)):
        picture(tmp_path / f"images/{name}.png")
        text(tmp_path / f"labels/{name}.txt", f"{number} .5 .5 .2 .2")
    assert "class numbers from 1 on" in kinds(read(tmp_path))
    text(tmp_path / "labels/b.txt", "0 .5 .5 .2 .2")
    assert not kinds(read(tmp_path))


# Turned boxes.


@pytest.mark.parametrize("form", ["coco", "voc"])
def test_cvat_says_in_an_attribute_that_a_box_is_turned(tmp_path: Path, form: str) -> None:
    picture(tmp_path / "a.png")
    if form == "coco":
        attributes = {"occluded": False, "rotation": 90.0}
        coco(tmp_path / "labels.json", "a.png", [20, 30, 60, 10], attributes=attributes)
    else:
        said = "<attribute><name>rotation</name><value>90.0</value></attribute>"
        voc(tmp_path / "a.xml", (20, 30, 80, 40), f"<attributes>{said}</attributes>")
    data = read(tmp_path)
    assert only_box(data) == pytest.approx([45, 5, 55, 65])
    assert kinds(data) == ["rotated box read as upright"]


def test_one_stray_turned_box_does_not_make_a_data_set_of_four_corners(tmp_path: Path) -> None:
    for n in range(40):
        picture(tmp_path / f"{n}.png")
        voc(tmp_path / f"{n}.xml")
    said = "<attribute><name>rotation</name><value>30</value></attribute>"
    voc(tmp_path / "0.xml", more=f"<attributes>{said}</attributes>")
    data = read(tmp_path)
    assert not data.cornered
    detail = next(each.detail for each in data.findings if each.kind.startswith("four corners"))
    assert detail == "1 of 40 objects have four corners: all are boxes"
    for n in (1, 2):
        voc(tmp_path / f"{n}.xml", more=f"<attributes>{said}</attributes>")
    assert read(tmp_path).cornered


def test_corners_of_any_spelling_are_read_alike(tmp_path: Path) -> None:
    """Those that are eight numbers each are read all at once, others one by one."""
    ring = [10, 20, 40, 30, 30, 60, 5, 50]
    pairs = [[x, y] for x, y in zip(ring[::2], ring[1::2], strict=True)]
    expected = np.array(pairs, float)
    for shape in (ring, [*ring, *ring[:2]], pairs):
        coco(tmp_path / "labels.json", "a.png", segmentation=[shape])
        (record,) = read(tmp_path / "labels.json").images
        assert record.quads is not None
        np.testing.assert_array_equal(record.quads[0], expected)
    coco(tmp_path / "labels.json", "a.png", segmentation=[[*ring, 7, 7]])
    data = read(tmp_path / "labels.json")
    assert not data.cornered
    assert kinds(data) == ["outlines beside boxes"]


# Names.


def test_names_that_are_all_nearly_those_in_another_folder(tmp_path: Path) -> None:
    picture(tmp_path / "images/img_1.png")
    coco(tmp_path / "all.json", "IMG_1.JPG")
    data = read(tmp_path / "all.json")
    assert data.images[0].path == tmp_path / "images/img_1.png"
    assert kinds(data) == ["image under a near name"]


def test_an_address_leads_to_the_file_of_its_name(tmp_path: Path) -> None:
    picture(tmp_path / "a b.png")
    coco(tmp_path / "all.json", "https://host/photos/a%20b.png?key=1")
    data = read(tmp_path / "all.json")
    assert data.images[0].path == tmp_path / "a b.png"
    assert "image named by an address" in kinds(data)


def test_a_list_of_names_with_accents_in_their_other_form(tmp_path: Path) -> None:
    name = "caf\u00e9"
    picture(tmp_path / f"JPEGImages/{name}.png")
    voc(tmp_path / f"Annotations/{name}.xml")
    text(tmp_path / "ImageSets/Main/val.txt", unicodedata.normalize("NFD", name))
    assert only_box(read(f"{tmp_path}:val")) == BOX


def test_a_listed_picture_whose_name_begins_as_a_comment(tmp_path: Path) -> None:
    for name in ("#1", "2"):
        picture(tmp_path / f"images/{name}.png")
        text(tmp_path / f"labels/{name}.txt", "0 .5 .5 .2 .2")
    text(tmp_path / "classes.txt", "cat")
    text(tmp_path / "train.txt", "# a comment\nimages/#1.png\nimages/2.png")
    assert len(read(f"{tmp_path}:train").images) == 2


def test_pictures_of_a_cvat_project_lie_in_folders_of_its_subsets(tmp_path: Path) -> None:
    images = ""
    for number, (subset, x) in enumerate((("train", 10), ("val", 50))):
        picture(tmp_path / f"images/{subset}/a.png")
        box = f'<box label="cat" xtl="{x}" ytl="20" xbr="{x + 30}" ybr="60"/>'
        images += f'<image id="{number}" name="a.png" subset="{subset}">{box}</image>'
    text(tmp_path / "annotations.xml", f"<annotations>{images}</annotations>")
    data = read(tmp_path)
    assert [record.path.parent.name for record in data.images] == ["train", "val"]
    assert only_box(read(f"{tmp_path}:val")) == [50, 20, 80, 60]


def test_a_picture_that_a_file_has_twice(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    table(tmp_path / "t.csv", "a.png,10,20,40,60,cat", "./a.png,50,20,60,60,cat")
    assert read(tmp_path / "t.csv").objects == 2
    files = {}
    for x in (10, 50):
        shape = {"name": "rect", "x": x, "y": 20, "width": 30, "height": 40}
        region = {"shape_attributes": shape, "region_attributes": {"class": "cat"}}
        files[f"a.png{x}"] = {"filename": "a.png", "size": x, "regions": [region]}
    text(tmp_path / "via.json", json.dumps(files))
    data = read(tmp_path / "via.json")
    assert only_box(data) == BOX
    assert data.left_out == {"image listed twice": 1}


# What is not read is named.


def test_a_second_box_and_joints_of_an_object_are_counted(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    second = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox>"
    voc(tmp_path / "a.xml", more=f"{second}<keypoints><x1>3</x1><y1>4</y1></keypoints>")
    data = read(tmp_path)
    assert only_box(data) == BOX
    assert data.left_out == {"part of an object": 2}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("training/label_2/0.txt", "Car 0 0 0 1 2 3 4", "seems to be data of KITTI"),
        ("annotations/a.txt", "1,2,3,4,1,4,0,0", "seems to be data of VisDrone"),
        ("gt/gt.txt", "1,1,1,2,3,4,1,1,1", "seems to be a sequence of MOT"),
        ("train/metadata.jsonl", "{}", "lines of JSON"),
        ("ds/ann/a.json", '{"objects": [], "size": {}, "tags": []}', "a file of Supervisely"),
        ("samples.json", '{"samples": []}', "a file of FiftyOne"),
        ("annotations/a.json", '{"categories": {}, "items": [], "annotations": 1}', "of Datumaro"),
    ],
)
def test_folders_of_other_tools_are_named(
    tmp_path: Path, name: str, content: str, said: str
) -> None:
    picture(tmp_path / "img/a.png")
    text(tmp_path / name, content)
    with pytest.raises(HeatpointError, match=said):
        read(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("data.zip", b"PK", "packed; unpack it"),
        ("x.xml", "<dataset><images/></dataset>", "got an element <dataset>"),
        ("gt.txt", "1,1,10,20,30,40,1,1,0.8", r"gt\.txt:1: expected the path of a picture"),
        ("wider.txt", "a/b.jpg\n1\n10 20 30 40 0 0", r"wider\.txt:2: .*WIDER FACE"),
    ],
)
def test_files_of_other_tools_are_told(
    tmp_path: Path, name: str, content: str | bytes, said: str
) -> None:
    text(tmp_path / name, content)
    with pytest.raises(HeatpointError, match=said):
        read(tmp_path / name)


def test_commands_say_what_the_reader_guessed_or_leaves_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(tmp_path / "a.png")
    outline = [[10, 20, 40, 20, 40, 60, 30, 70, 10, 60]]
    coco(tmp_path / "all.json", "A.PNG", segmentation=outline)
    assert main(["filter", str(tmp_path / "all.json"), "--out", str(tmp_path / "part.json")]) == 0
    printed = capsys.readouterr().out
    assert "1 x outlines beside boxes" in printed
    assert "1 x image under a near name" in printed


def test_results_are_scored_without_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(tmp_path / "a.png")
    coco(tmp_path / "all.json", "a.png")
    row = {"image_id": 1, "category_id": 1, "bbox": [10, 20, 30, 40], "score": 0.9}
    text(tmp_path / "found.json", json.dumps([row]))
    words = ["--results", str(tmp_path / "found.json"), str(tmp_path / "all.json")]
    assert main(["evaluate", *words]) == 0
    assert "100.0" in capsys.readouterr().out
