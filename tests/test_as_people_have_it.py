"""Files as people have them: in other units, under other names, in the ways of many tools."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from loose_files import BOX, coco, kinds, labelme, only_box, picture, table, text, voc
from test_left_behind import of_yolo

from heatpoint.cli import main
from heatpoint.data.readers import read
from heatpoint.errors import HeatpointError

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


def test_files_of_labelme_that_were_copied_name_one_picture(tmp_path: Path) -> None:
    for name in "abc":
        picture(tmp_path / f"{name}.png")
        labelme(tmp_path / f"{name}.json")
    text(tmp_path / "c.json", (tmp_path / "a.json").read_text())
    data = read(tmp_path)
    assert [record.path.stem for record in data.images] == ["a", "b", "c"]
    assert kinds(data) == ["image under a near name"]


def test_labels_beside_some_pictures_and_in_folders_of_others(tmp_path: Path) -> None:
    for place, name in (("x", "1"), ("y/images", "2"), ("z/images", "3")):
        picture(tmp_path / place / f"{name}.png")
    for label in ("x/1", "y/images/2", "z/labels/3"):
        text(tmp_path / f"{label}.txt", "0 .25 .5 .3 .5")
    picture(tmp_path / "chart.png")
    text(tmp_path / "classes.txt", "cat")
    data = read(tmp_path)
    assert sorted(record.path.stem for record in data.images) == ["1", "2", "3"]
    assert data.objects == 3


def test_an_annotation_that_names_its_picture_by_a_path_alone(tmp_path: Path) -> None:
    picture(tmp_path / "photos/a.png")
    voc(tmp_path / "xml/1.xml")
    plain = (tmp_path / "xml/1.xml").read_text()
    path = "<path>C:\\me\\photos\\a.png</path>"
    text(tmp_path / "xml/1.xml", plain.replace("<filename>1.png</filename>", path))
    assert read(tmp_path).images[0].path == tmp_path / "photos/a.png"


# Other tools' own ways.


def test_a_table_of_make_sense(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    table(tmp_path / "t.csv", head="cat,10,20,30,40,a.png,100,80")
    data = read(tmp_path / "t.csv")
    assert only_box(data) == BOX
    assert (data.names, data.images[0].size) == (("cat",), (80, 100))


def test_objects_that_were_deleted_in_the_older_labelme(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    one = "<object><name>cat</name><deleted>{}</deleted><polygon>{}</polygon></object>"
    corners = ((10, 20), (40, 20), (40, 60), (10, 60))
    points = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in corners)
    objects = one.format(0, points) + one.format(1, "<pt><x>1</x><y>2</y></pt>")
    text(tmp_path / "a.xml", f"<annotation><filename>a.png</filename>{objects}</annotation>")
    data = read(tmp_path)
    assert only_box(data) == BOX
    assert data.left_out == {"deleted object": 1}


def test_splits_in_the_first_word_of_a_tables_name(tmp_path: Path) -> None:
    for name in ("train_labels.csv", "train-annotations-bbox.csv"):
        picture(tmp_path / "images/train/a.png")
        table(tmp_path / name, "a.png,10,20,40,60,cat")
        assert read(tmp_path / name).images[0].path == tmp_path / "images/train/a.png"


def test_what_darknet_and_fiftyone_call_their_files(tmp_path: Path) -> None:
    of_yolo(tmp_path / "yolo")
    (tmp_path / "yolo/classes.txt").rename(tmp_path / "yolo/coco.names")
    assert only_box(read(tmp_path / "yolo")) == pytest.approx(BOX)
    picture(tmp_path / "cvat/data/a.png")
    box = '<box label="cat" xtl="10" ytl="20" xbr="40" ybr="60"/>'
    images = f'<image id="0" name="a.png">{box}</image>'
    text(tmp_path / "cvat/labels.xml", f"<annotations>{images}</annotations>")
    assert only_box(read(tmp_path / "cvat")) == BOX


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
        ("train/cat/Label/a.txt", "cat 1 2 3 4", "seems to be data of the OIDv4 toolkit"),
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
        ("t.xlsx", b"PK", "a workbook, which is not read; save it as CSV"),
        ("output.manifest", "{}", "lines of JSON"),
        ("mm.json", '[{"filename": "a.jpg", "ann": {}}]', "a list of MMDetection"),
        ("d2.json", '[{"file_name": "a.jpg", "annotations": []}]', "a list of Detectron2"),
        ("train.tfrecord", b"\0", "not read as annotations"),
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
