"""What systems and programs leave in folders is no annotation and no picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from loose_files import APPLE, BOX, coco, labelme, only_box, picture, table, text, voc

from heatpoint.data.readers import read


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


MAKERS = [of_labelme, of_dota, of_yolo, of_voc, of_coco, of_table, of_create_ml, of_lines]


@pytest.mark.parametrize("make", MAKERS)
def test_what_systems_leave_behind_is_no_annotation(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path)
    data = read(tmp_path)
    assert [record.path.name for record in data.images] == ["a.png"]
    assert only_box(data) == pytest.approx(BOX)
    assert not data.findings


@pytest.mark.parametrize("make", MAKERS)
def test_endings_in_capitals_are_endings(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path)
    for path in sorted(tmp_path.rglob("*.*")):
        if path.is_file():
            path.rename(path.with_suffix(path.suffix.upper()))
    data = read(tmp_path)
    assert [record.path.name for record in data.images] == ["a.PNG"]
    assert only_box(data) == pytest.approx(BOX)
