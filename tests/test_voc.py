from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from heatpoint.data.readers.given import Given
from heatpoint.data.readers.voc import read_voc
from heatpoint.errors import HeatpointError

BOX = "<bndbox><xmin>1</xmin><ymin>2.5</ymin><xmax>11</xmax><ymax>22</ymax></bndbox>"


def item(name: str, box: str = BOX, more: str = "") -> str:
    return f"<object><name>{name}</name>{more}{box}</object>"


def write(folder: Path, stem: str, objects: str, image: bool = True) -> None:
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    size = "<size><width>40</width><height>30</height><depth>3</depth></size>"
    text = f"<annotation><filename>{stem}.jpg</filename>{size}{objects}</annotation>"
    (folder / "Annotations" / f"{stem}.xml").write_text(text)
    if image:
        Image.new("RGB", (40, 30)).save(folder / "JPEGImages" / f"{stem}.jpg")


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    write(tmp_path, "one", item("dog") + item("cat", more="<difficult>1</difficult>"))
    write(tmp_path, "two words", item("bird"))
    write(tmp_path, "three", "")
    main = tmp_path / "ImageSets/Main"
    (main / "train.txt").write_text("one\nthree\n\n")
    (main / "val.txt").write_text("two words\n")
    (main / "dog_train.txt").write_text("one  1\ntwo words -1\n")
    return tmp_path


def test_classes_are_those_of_all_splits(voc: Path) -> None:
    train, val = read_voc(Given(voc, "train")), read_voc(Given(voc, "val"))
    assert train.names == val.names == ("bird", "cat", "dog")
    assert train.category_ids == (1, 2, 3)


def test_corners_are_kept_as_written(voc: Path) -> None:
    record = read_voc(Given(voc, "train")).images[0]
    assert record.boxes.tolist() == [[1, 2.5, 11, 22]] * 2
    assert record.labels.tolist() == [2, 1]
    assert record.difficult.tolist() == [False, True]
    assert record.size == (30, 40)
    assert record.path.is_file()


def test_empty_images_stay_and_no_split_means_all(voc: Path) -> None:
    assert [len(record) for record in read_voc(Given(voc, "train")).images] == [2, 0]
    assert [record.image_id for record in read_voc(Given(voc)).images] == [1, 2, 3]


def test_class_lists_lose_their_flag(voc: Path) -> None:
    names = [record.path.stem for record in read_voc(Given(voc, "dog_train")).images]
    assert names == ["one", "two words"]


def test_unknown_split_lists_those_there_are(voc: Path) -> None:
    with pytest.raises(HeatpointError, match=r"it has dog_train, train, val; did you mean 'train'"):
        read_voc(Given(voc, "trian"))


def test_listed_without_xml_and_listed_twice_are_counted(voc: Path) -> None:
    (voc / "ImageSets/Main/train.txt").write_text("one\nfour\none.jpg\n")
    annotations = read_voc(Given(voc, "train"))
    assert annotations.left_out == {"image without annotation file": 1, "image listed twice": 1}
    assert len(annotations) == 1


def test_xml_without_image_points_where_it_should_be(voc: Path) -> None:
    write(voc, "five", item("cat"), image=False)
    (voc / "ImageSets/Main/val.txt").write_text("five")
    assert read_voc(Given(voc, "val")).images[0].path == voc / "JPEGImages/five.jpg"


def test_broken_xml_is_named(voc: Path) -> None:
    (voc / "Annotations/three.xml").write_text("<annotation><object>")
    with pytest.raises(
        HeatpointError, match=r"1 of 3 XML .*three\.xml is not valid XML: no element"
    ):
        read_voc(Given(voc, "val"))


def test_xml_that_grows_or_is_written_oddly_is_named(voc: Path) -> None:
    bomb = '<!DOCTYPE a [<!ENTITY b "c">]><annotation><filename>&b;</filename></annotation>'
    odd = '<?xml version="1.0" encoding="utf-7"?><annotation/>'
    for text, said in ((bomb, "declares entities"), (odd, "encoding 'utf-7'"), ("", "is empty")):
        (voc / "Annotations/three.xml").write_text(text)
        with pytest.raises(HeatpointError, match=rf"1 of 3 XML .* .*{said}"):
            read_voc(Given(voc))


def test_objects_without_box_or_class_are_counted(voc: Path) -> None:
    broken = "<bndbox><xmin>1</xmin><ymin>a</ymin><xmax>1</xmax><ymax>2</ymax></bndbox>"
    write(voc, "three", item("cat", "") + item("") + item("dog", broken) + item("dog"))
    annotations = read_voc(Given(voc, "train"))
    assert annotations.left_out == {"object without a box": 2, "object without a class": 1}
    assert len(annotations.images[1]) == 1


def test_real_bccd(shared: Path) -> None:
    folder = shared / "data/bccd"
    annotations = read_voc(Given(folder))
    assert annotations.counts() == {"Platelets": 292, "RBC": 3350, "WBC": 301}
    assert (len(annotations), annotations.objects) == (292, 3943)
    assert len(read_voc(Given(folder, "train"))) == 205
    assert len(read_voc(Given(folder, "val"))) == 87
    assert {record.size for record in annotations.images} == {(480, 640)}
    assert max(len(record) for record in annotations.images) == 30
