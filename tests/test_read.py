from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from heatpoint.data.readers import read
from heatpoint.data.validate import validate
from heatpoint.errors import HeatpointError

XML = (
    "<annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax>"
    "<ymax>5</ymax></bndbox></object></annotation>"
)


def put(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jpg":
        Image.new("RGB", (40, 30)).save(path)
    else:
        path.write_text(text)
    return path


def voc(folder: Path) -> Path:
    put(folder / "Annotations/a.xml", XML)
    put(folder / "JPEGImages/a.jpg")
    put(folder / "ImageSets/Main/train.txt", "a")
    return folder


def yolo(folder: Path) -> Path:
    put(folder / "labels/a.txt", "0 0.5 0.5 0.5 0.5")
    put(folder / "images/a.jpg")
    put(folder / "classes.txt", "cat")
    put(folder / "train.txt", "a")
    return folder


def coco(path: Path, images: int = 1) -> Path:
    data = {
        "images": [{"id": i, "file_name": "a.jpg"} for i in range(images)],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            {"image_id": i, "category_id": 1, "bbox": [1, 1, 4, 4]} for i in range(images)
        ],
    }
    put(path.parent / "images/a.jpg")
    return put(path, json.dumps(data))


def test_every_format_is_recognised(tmp_path: Path) -> None:
    put(tmp_path / "lines/a.jpg")
    sources = [
        str(voc(tmp_path / "voc")),
        f"{tmp_path / 'voc'}:train",
        str(yolo(tmp_path / "yolo")),
        f"{tmp_path / 'yolo'}:train",
        str(coco(tmp_path / "coco/val.json")),
        str(put(tmp_path / "lines/train.txt", "a.jpg 1,1,5,5,0")),
    ]
    for source in sources:
        annotations = read(source)
        assert annotations.objects == len(annotations) == 1, source
        assert annotations.images[0].path.is_file(), source
        assert annotations.source == source


def test_what_was_recognised_is_said(tmp_path: Path) -> None:
    folder = yolo(tmp_path / "set")
    assert f"{folder} (YOLO): 1 image, 1 object (cat 1)" in validate(read(folder)).summary()
    put(folder / "Annotations/a.xml", XML)
    data = read(folder)
    assert data.format == "Pascal VOC"
    assert "read as Pascal VOC; images and labels" in validate(data).summary()


@pytest.mark.skipif(os.name == "nt", reason="Windows file names hold no colon")
def test_an_existing_path_with_a_colon_is_taken_whole(tmp_path: Path) -> None:
    folder = voc(tmp_path / "cells:train")
    assert len(read(folder)) == 1
    assert len(read(f"{folder}:train")) == 1


def test_drive_letters_are_no_splits() -> None:
    with pytest.raises(HeatpointError, match=r"^Q:\\nowhere\\data does not exist"):
        read("Q:\\nowhere\\data")


def test_missing_data_suggests_what_is_beside(tmp_path: Path) -> None:
    voc(tmp_path / "cells")
    with pytest.raises(HeatpointError, match="cels does not exist; did you mean 'cells'"):
        read(tmp_path / "cels")
    with pytest.raises(HeatpointError, match="cels does not exist; did you mean 'cells'"):
        read(f"{tmp_path / 'cels'}:train")
    with pytest.raises(HeatpointError, match=r"does not exist; expected .*COCO, Pascal VOC"):
        read(tmp_path / "x" / "y")


def test_unknown_split(tmp_path: Path) -> None:
    with pytest.raises(HeatpointError, match=r"no split 'trian'.*did you mean 'train'"):
        read(f"{voc(tmp_path / 'voc')}:trian")
    with pytest.raises(HeatpointError, match=r"no split 'trian'.*did you mean 'train'"):
        read(f"{yolo(tmp_path / 'yolo')}:trian")
    with pytest.raises(HeatpointError, match=r"is a file and has no split 'train'"):
        read(f"{coco(tmp_path / 'val.json')}:train")


def test_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(HeatpointError, match=r"looked for Annotations/\*\.xml.*folder is empty"):
        read(tmp_path)


def test_a_folder_of_several_coco_files_names_them(tmp_path: Path) -> None:
    coco(tmp_path / "annotations/val.json")
    assert len(read(tmp_path)) == 1
    coco(tmp_path / "annotations/train.json")
    with pytest.raises(HeatpointError, match=r"2 COCO files; .*:train, or give the file: .*train"):
        read(tmp_path)


def test_split_list_of_a_yolo_folder_is_not_mistaken_for_data(tmp_path: Path) -> None:
    folder = yolo(tmp_path / "yolo")
    with pytest.raises(HeatpointError, match=r"part of a YOLO folder.*yolo:train"):
        read(folder / "train.txt")


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HeatpointError, match=r"notes\.md: expected .*COCO, Pascal VOC"):
        read(put(tmp_path / "notes.md"))


def test_images_go_with_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(HeatpointError, match=r"empty holds none of the 1 images .* 'a\.jpg'"):
        read(voc(tmp_path / "voc"), images=put(tmp_path / "empty/notes").parent)
    path = coco(tmp_path / "val.json")
    put(tmp_path / "other/a.jpg")
    assert read(path, images=tmp_path / "other").images[0].path == tmp_path / "other/a.jpg"


def test_a_data_set_without_images_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HeatpointError, match="lists no images"):
        read(coco(tmp_path / "val.json", images=0))


def test_real_folders(shared: Path) -> None:
    assert len(read(f"{shared / 'data/bccd'}:val")) == 87
    assert len(read(f"{shared / 'data/dice'}:train")) == 160
