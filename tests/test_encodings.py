"""Data sets in the national encodings of Windows: read where evidence settles them, else asked."""

from __future__ import annotations

import json
import locale
from pathlib import Path

import pytest
from PIL import Image

from heatpoint import cli
from heatpoint.data import Annotations
from heatpoint.data.readers import read
from heatpoint.errors import HeatpointError

LISTS = [
    ("cp1252", ["Fußgänger", "Bäume", "Brücke"]),
    ("cp1252", ["niño", "camión", "árbol"]),
    ("cp1252", ["forêt", "véhicule"]),
    ("cp1250", ["samochód", "człowiek", "żółw"]),
    ("cp1251", ["машина", "дорожный знак", "car"]),
    ("cp1251", ["автомобіль", "їжак"]),
    ("cp1253", ["αυτοκίνητο", "σκύλος"]),
    ("cp1254", ["araç", "kişi", "ışık"]),
    ("cp1256", ["سيارة", "شخص"]),
    ("gb18030", ["汽车", "行人", "安全帽"]),
    ("cp950", ["汽車", "行人", "紅綠燈"]),
    ("shift_jis", ["自動車", "ネコ", "傷"]),
    ("cp949", ["자동차", "사람", "신호등"]),
    ("cp874", ["รถยนต์", "คน", "จักรยาน"]),
]

CLASHES = [
    ("cp1252", ["señal"], r"cp1252 \('señal'\) or cp1250 \('seńal'\)"),
    ("gb18030", ["汽车"], r"gb18030 \('汽车'\) or cp949 \('폼났'\)"),
    ("cp1255", ["מכונית"], r"cp1251 \('олерйъ'\) or cp1255 \('מכונית'\)"),
    ("cp949", ["개"], r"gb18030 \('俺'\) or cp950 \('偃'\) or cp949 \('개'\)"),
]
"""What is words in several encodings, and what the message says."""

ON_DISK = [
    ("cp1252", "señal"),
    ("cp1250", "kůň"),
    ("cp1251", "кот"),
    ("cp1255", "חתול"),
    ("koi8_r", "кот"),
    ("gb18030", "汽车"),
    ("big5", "貓"),
    ("shift_jis", "表示"),
    ("euc_jp", "犬"),
    ("cp949", "개"),
]


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 20)).save(path)


def yolo(folder: Path, names: list[str], encoding: str) -> Path:
    picture(folder / "images/a.png")
    (folder / "labels").mkdir()
    (folder / "labels/a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (folder / "classes.txt").write_bytes("\r\n".join(names).encode(encoding))
    return folder


def coco(file: Path, name: str, encoding: str) -> Path:
    content = {
        "images": [{"id": 1, "file_name": f"{name}.png", "width": 40, "height": 20}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 5, 20, 10]}],
        "categories": [{"id": 1, "name": name}],
    }
    file.write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
    return file


def told(data: Annotations) -> list[str]:
    return [one.detail for one in data.findings if one.kind == "text in a national encoding"]


@pytest.mark.parametrize(("encoding", "names"), LISTS, ids=lambda one: str(one)[:9].strip("['"))
def test_classes_that_are_words_in_one_encoding_only(
    tmp_path: Path, encoding: str, names: list[str]
) -> None:
    data = read(yolo(tmp_path, names, encoding))
    assert data.names == tuple(names)
    (said,) = told(data)
    assert "classes.txt is read as " in said
    assert said.endswith("it is words in no other encoding")


@pytest.mark.parametrize(("encoding", "names", "readings"), CLASHES)
def test_what_may_be_several_is_asked_for_and_then_read(
    tmp_path: Path, encoding: str, names: list[str], readings: str
) -> None:
    folder = yolo(tmp_path, names, encoding)
    with pytest.raises(HeatpointError, match=rf"line 1\), but may be {readings}.*--encoding$"):
        read(folder)
    data = read(folder, encoding=encoding)
    assert data.names == tuple(names)
    assert told(data)[0].endswith("as --encoding says")


@pytest.mark.parametrize(("encoding", "name"), ON_DISK)
def test_names_on_disk_decide(tmp_path: Path, encoding: str, name: str) -> None:
    picture(tmp_path / "images/train" / f"{name}.png")
    data = read(coco(tmp_path / "labels.json", name, encoding), tmp_path / "images/train")
    assert (data.names, data.images[0].path.stem, data.images[0].path.is_file()) == (
        (name,),
        name,
        True,
    )
    assert data.images[0].boxes.tolist() == [[10, 5, 30, 15]]
    assert told(data)[0].endswith("names of the pictures are found so")


def test_a_table_and_lines_of_text(tmp_path: Path) -> None:
    picture(tmp_path / "кот 1.png")
    row = "кот 1.png,40,20,кот,10,5,30,15\n"
    table = tmp_path / "boxes.csv"
    table.write_bytes(f"filename,width,height,class,xmin,ymin,xmax,ymax\n{row}".encode("cp1251"))
    data = read(table)
    assert (data.names, data.images[0].boxes.tolist()) == (("кот",), [[10, 5, 30, 15]])
    assert data.images[0].path.is_file()


def test_what_one_file_settles_holds_for_the_others(tmp_path: Path) -> None:
    folder = yolo(tmp_path, ["汽车", "行人", "安全帽"], "gb18030")
    (folder / "labels/a.txt").write_bytes("汽车 0.5 0.5 0.5 0.5\n".encode("gb18030"))
    data = read(folder)
    assert data.images[0].labels.tolist() == [0]
    assert len(told(data)) == 2


def test_yaml_and_xml_without_a_declaration(tmp_path: Path) -> None:
    folder = yolo(tmp_path / "yolo", ["x"], "utf-8")
    (folder / "data.yaml").write_bytes("names: [машина, человек]\ntrain: images".encode("cp1251"))
    assert read(folder).names == ("машина", "человек")
    picture(tmp_path / "voc/a.png")
    text = "<annotation><filename>a.png</filename><object><name>машина</name><bndbox><xmin>1</xmin>"
    text += "<ymin>1</ymin><xmax>5</xmax><ymax>6</ymax></bndbox></object></annotation>"
    (tmp_path / "voc/a.xml").write_bytes(text.encode("cp1251"))
    assert read(tmp_path / "voc").names == ("машина",)


def test_the_encoding_of_this_system_decides_between_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locale, "getencoding", lambda: "cp1252")
    data = read(yolo(tmp_path, ["señal"], "cp1252"))
    assert data.names == ("señal",)
    assert told(data)[0].endswith("the one of this system")


def test_files_in_utf8_stay_so_and_short_ones_obey(tmp_path: Path) -> None:
    assert read(yolo(tmp_path / "a", ["машина"], "utf-8"), encoding="cp1251").names == ("машина",)
    cat = yolo(tmp_path / "b", ["猫"], "gb18030")  # which is "è" in UTF-8
    assert read(cat, encoding="gb18030").names == ("猫",)
    assert read(coco(tmp_path / "b/c.json", "猫", "gb18030"), encoding="gb18030").names == ("猫",)


def test_the_option_of_every_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = yolo(tmp_path, ["señal"], "cp1252")
    words = ["filter", str(folder), "--out", str(tmp_path / "out.json")]
    assert cli.main(words) == 1
    assert "name its encoding by --encoding" in capsys.readouterr().err
    assert cli.main([*words, "--encoding", "cp1252"]) == 0
    assert read(tmp_path / "out.json").names == ("señal",)
    assert cli.main(words) == 1  # it held for that command alone
    assert cli.main([*words, "--encoding", "cp9999"]) == 1
    assert "there is no encoding 'cp9999'" in capsys.readouterr().err
