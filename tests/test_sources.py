"""What predict is given: names as people have them, folders, addresses, files of several frames."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from blobs import spot_detector, spot_image
from encoded import blocks, encode
from PIL import Image as PIL
from server import Site, serve

from heatpoint import cli, zoo
from heatpoint.data import formats
from heatpoint.data.draw import drawing_paths
from heatpoint.errors import HeatpointError, HeatpointWarning
from heatpoint.inference.predict import iter_predict, predict, result_rows
from heatpoint.inference.sources import expand
from heatpoint.weights import download

PICTURE = encode(PIL.fromarray(blocks()), "PNG")


def put(path: Path, content: bytes = PICTURE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names(given: object, **options: bool) -> list[str]:
    return [Path(source.path).name for source in expand(given, **options)]


ODD = [
    "a[1].jpg",
    "a b.jpg",
    " a.jpg",
    "a#1.jpg",
    "a%20b.jpg",
    "a?.jpg",
    "*.jpg",
    "-a.jpg",
    "~a.jpg",
    "a\nb.jpg",
    "ä.jpg",
    "照片.jpg",
    "a",
    "a.txt",
]


@pytest.mark.parametrize("name", ODD)
def test_a_name_that_exists_is_that_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "other.jpg")
    put(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for given in (name, Path(name), tmp_path / name, str(tmp_path / name)):
        (source,) = expand(given)
        assert Path(source.path).name == name
        assert np.array_equal(source.load(), blocks())


def test_a_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    put(tmp_path / "a.jpg")
    assert names("~/a.jpg") == names("~/*.jpg") == names(Path("~")) == ["a.jpg"]
    with pytest.raises(HeatpointError, match=r"image ~nobody-here/a\.jpg does not exist"):
        expand("~nobody-here/a.jpg")


def test_accents_may_be_composed_of_other_characters(tmp_path: Path) -> None:
    put(tmp_path / unicodedata.normalize("NFD", "Größe.jpg"))
    (source,) = expand(tmp_path / unicodedata.normalize("NFC", "Größe.jpg"))
    assert np.array_equal(source.load(), blocks())


def test_a_name_that_is_nearly_right_is_suggested(tmp_path: Path) -> None:
    put(tmp_path / "IMG_0001.JPG")
    with pytest.raises(HeatpointError, match=r"does not exist.*did you mean 'IMG_0001.JPG'"):
        expand(tmp_path / "IMG_0001.jpg")
    for name in ("a\0.jpg", "n" * 5000):
        with pytest.raises(HeatpointError, match="does not exist"):
            expand(name)


def test_names_that_differ_by_case_are_two(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg")
    put(tmp_path / "A.JPG")
    assert names(tmp_path) == ["A.JPG", "a.jpg"]
    drawn = drawing_paths([tmp_path / "a.jpg", tmp_path / "A.JPG"], tmp_path / "drawn")
    assert len({path.name.lower() for path in drawn}) == 2


def test_folders_of_folders(tmp_path: Path) -> None:
    for name in ("b/1.jpg", "b/c/1.png", "a.jpg", "__MACOSX/._a.jpg", ".hidden/1.jpg"):
        put(tmp_path / name)
    assert names(tmp_path) == ["a.jpg"]
    found = expand(tmp_path, recursive=True)
    assert [str(Path(one.path).relative_to(tmp_path)) for one in found] == [
        "a.jpg",
        "b/1.jpg",
        "b/c/1.png",
    ]
    assert names(str(tmp_path / "**")) == ["a.jpg", "1.jpg", "1.png"]
    drawn = drawing_paths(["b/1.jpg", "c/1.jpg", "d/1_2.jpg", "e/1.png"], tmp_path)
    assert [path.name for path in drawn] == ["1.jpg", "1_2.jpg", "1_2_2.jpg", "1.png"]
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(HeatpointError, match="folders are not searched, --recursive does"):
        expand(tmp_path)


def test_pictures_that_are_not_read_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "SUFFIXES", (".jpg",))
    monkeypatch.setattr(formats, "UNREAD", {".heic": "needs heatpoint[heic]", ".cr2": "raw"})
    put(tmp_path / "a.HEIC")
    put(tmp_path / "b.heic")
    put(tmp_path / "c.cr2")
    put(tmp_path / "notes.txt")
    told = r"left out: 1 x .cr2 \(raw\), 2 x .heic \(needs heatpoint\[heic\]\)"
    with pytest.raises(HeatpointError, match=f"holds no image file that is read.*{told}"):
        expand(tmp_path)
    put(tmp_path / "d.jpg")
    for given in (tmp_path, str(tmp_path / "*")):
        with pytest.warns(HeatpointWarning, match=told):
            assert names(given) == ["d.jpg"]


# -- Frames ----------------------------------------------------------------------------------------


@pytest.fixture
def film(tmp_path: Path) -> Path:
    pages = [
        PIL.fromarray(spot_image((96, 128), [(22.5 + 30 * place, 50.0)], radius=7))
        for place in range(3)
    ]
    pages[0].save(tmp_path / "film.tif", save_all=True, append_images=pages[1:])
    pages[2].save(tmp_path / "one.png")
    return tmp_path


def test_the_first_frame_and_a_word_of_the_others(film: Path) -> None:
    told = r"1 of 2 pictures have several frames or pages \(.*film.tif has 3\).*--frames"
    with pytest.warns(HeatpointWarning, match=told):
        found = predict(spot_detector(), film)
    assert [float(one.boxes[0, [0, 2]].mean()) for one in found] == pytest.approx(
        [22.5, 82.5], abs=2
    )


def test_every_frame_with_its_number(film: Path) -> None:
    found = predict(spot_detector(), film, frames=True)
    places = [float(one.boxes[0, [0, 2]].mean()) for one in found]
    assert places == pytest.approx([22.5, 52.5, 82.5, 82.5], abs=2)
    rows = result_rows(iter_predict(spot_detector(), film / "film.tif", frames=True))
    assert [(Path(row["file_name"]).name, row["frame"]) for row in rows] == [
        ("film.tif", place) for place in range(3)
    ]
    model = str(film / "d.safetensors")
    zoo.build("centernet_tiny", ("spot",)).save(model)
    words = ["predict", model, str(film / "film.tif"), "--frames", "--size", "96"]
    assert cli.main([*words, "--draw", str(film / "drawn")]) == 0
    drawn = [PIL.open(film / "drawn" / f"film{end}.jpg") for end in ("", "_2", "_3")]
    assert len({picture.tobytes() for picture in drawn}) == 3


# -- Addresses -------------------------------------------------------------------------------------


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serve(PICTURE) as site:
        yield site


def test_an_address_is_fetched(site: Site) -> None:
    address = site.address.replace("file.pth", "größe a.png?x=[1]")
    for given in (address, Path(address)):
        (source,) = expand(given)
        assert source.path == address
        assert np.array_equal(source.load(), blocks())


def test_an_address_that_leads_nowhere_is_told_whole(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HeatpointError, match=r"^https://127\.0\.0\.1:1/a\.jpg cannot be reached"):
        expand("https://127.0.0.1:1/a.jpg")
    with pytest.raises(HeatpointError, match=r"s3://b/a.jpg cannot be fetched.*http and https"):
        expand("s3://b/a.jpg")
    site.cut = 40
    with pytest.raises(HeatpointError, match="broke off after 40 of"):
        expand(site.address)
    site.cut, site.status = None, 404
    with pytest.raises(HeatpointError, match=r"file.pth is not there any more .HTTP status 404"):
        expand(site.address)
    site.status = 0
    monkeypatch.setattr(download, "MOST", 50)
    with pytest.raises(HeatpointError, match="sends more than 50 bytes"):
        expand(site.address)


def test_a_page_is_no_picture(site: Site) -> None:
    site.content = b"<html>who are you?</html>"
    (source,) = expand(site.address)
    with pytest.raises(HeatpointError, match=r"^http://.*file.pth is not an image.*<html>who"):
        source.load()
