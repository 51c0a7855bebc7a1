"""Where pictures are found that annotations name, and what is told of it."""

from __future__ import annotations

import ntpath
import unicodedata
from pathlib import Path

import pytest

from heatpoint.data import Annotations
from heatpoint.data.readers.locate import _is_within, locate_images, most_found
from heatpoint.errors import HeatpointError


def tree(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder / "a.json"


def found(
    file: Path, *names: str, images: Path | None = None
) -> tuple[list[str], list[tuple[str, str]]]:
    """Returns what was found, relative to the file's folder (``-`` for nothing), and findings."""
    data = Annotations(("cat",), [], str(file))
    paths = locate_images(names, data, file, images)
    shown = [p.relative_to(file.parent).as_posix() if p.is_file() else "-" for p in paths]
    return shown, [(each.kind, each.image) for each in data.findings]


def test_boxes_of_a_missing_picture_go_to_no_other_of_the_same_last_name(tmp_path: Path) -> None:
    file = tree(tmp_path, "camA/1.jpg", "1.jpg")
    assert found(file, "camA/1.jpg", "camB/1.jpg") == (["camA/1.jpg", "-"], [])
    file = tree(tmp_path / "two/set", "1.jpg")
    assert found(file, "camA/1.jpg", "camB/1.jpg") == (["-", "-"], [])


@pytest.mark.parametrize("root", ["C:\\me\\set\\", "/home/me/set/", "file:///home/me/set/", "set/"])
def test_leading_folders_of_other_machines_are_dropped_from_all(tmp_path: Path, root: str) -> None:
    file = tree(tmp_path, "images/day/1.jpg", "images/night/1.jpg")
    places, told = found(file, f"{root}day/1.jpg", f"{root}night/1.jpg")
    assert places == ["images/day/1.jpg", "images/night/1.jpg"]
    assert told == [("images under shorter names", "")]


def test_the_folder_with_most_pictures_counts(tmp_path: Path) -> None:
    file = tree(tmp_path, "a.jpg", "images/a.jpg", "images/b.jpg")
    assert found(file, "a.jpg", "b.jpg")[0] == ["images/a.jpg", "images/b.jpg"]


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("Photo 1.JPG", "photo 1.jpg"),
        ("day/1.jpg", "Day/1.jpg"),
        ("caf\N{LATIN SMALL LETTER E WITH ACUTE}.jpg", unicodedata.normalize("NFD", "caf\xe9.jpg")),
        ("photo%201.jpg", "photo 1.jpg"),
        ("1.jpg", "1.png"),
        ("scan.v2", "scan.v2.jpg"),
    ],
)
def test_names_that_are_nearly_those_on_disk(tmp_path: Path, name: str, there: str) -> None:
    file = tree(tmp_path, there, "other.jpg")
    places, told = found(file, name, "other.jpg")
    assert places == [there, "other.jpg"]
    direct = there.split("/")[-1] == name.split("/")[-1]
    assert told == ([] if direct else [("image under a near name", str(tmp_path / there))])


def test_of_two_near_names_none_is_taken(tmp_path: Path) -> None:
    file = tree(tmp_path, "1.png", "1.webp", "other.jpg")
    assert found(file, "1.jpg", "other.jpg") == (["-", "other.jpg"], [])
    file = tree(tmp_path / "labels", "1.png", "1.txt", "other.jpg")
    assert found(file, "1.jpg", "other.jpg")[0] == ["1.png", "other.jpg"]


def test_names_that_lead_out_are_refused_unless_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path, "private/me.jpg")
    file = tree(tmp_path / "set/labels", "1.jpg")
    monkeypatch.chdir(file.parent)
    private = tmp_path / "private"
    for name in ("../../private/me.jpg", str(private / "me.jpg")):
        with pytest.raises(HeatpointError, match=f"outside of its folder.*--images {private}"):
            found(file, "1.jpg", name)
    (file.parent / "images").mkdir()  # also looked in, where the name leads elsewhere
    tree(tmp_path / "set", "private/me.jpg")
    with pytest.raises(HeatpointError, match="names 1 file outside of its folder"):
        found(file, "1.jpg", "../../private/me.jpg")
    data = Annotations(("cat",), [])
    assert locate_images([str(private / "me.jpg")], data, file, private) == [private / "me.jpg"]
    # The working folder is the user's own choice.
    monkeypatch.chdir(tmp_path)
    assert locate_images(["../../private/me.jpg"], data, file) == [private / "me.jpg"]


def test_linked_folders_belong_to_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tree(tmp_path / "here/runs", "0.jpg")
    tree(tmp_path / "large", "1.jpg")
    (tmp_path / "here/pictures").symlink_to(tmp_path / "large")
    monkeypatch.chdir(tmp_path / "here")
    found = locate_images(["../pictures/1.jpg"], Annotations(("cat",), []), file)
    assert found == [tmp_path / "here/pictures/1.jpg"]


def test_a_name_that_goes_up_within_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tree(tmp_path / "set/labels", "../images/1.jpg", "1.jpg")
    monkeypatch.chdir("/")
    data = Annotations(("cat",), [])
    assert locate_images(["../images/1.jpg"], data, file) == [tmp_path / "set/images/1.jpg"]


def test_a_null_character_is_a_name_of_nothing(tmp_path: Path) -> None:
    assert found(tree(tmp_path, "1.jpg"), "1.jpg", "a\0.jpg")[0] == ["1.jpg", "-"]


def test_of_several_forms_of_names_the_one_that_leads_to_most_counts(tmp_path: Path) -> None:
    file = tree(tmp_path, "images/a.jpg", "images/b.jpg", "x-a.jpg")
    long, short = ["x-a.jpg", "x-b.jpg"], ["a.jpg", "b.jpg"]
    assert most_found([long, short], file) == 1
    assert most_found([long, short], file, tmp_path / "nowhere") == 0
    assert most_found([short, short], file) == 0


@pytest.mark.parametrize(
    "name", ["labels/../images/1.jpg", "./images//1.jpg", "images/./1.jpg", "C:images/1.jpg"]
)
def test_names_that_go_a_longer_way(tmp_path: Path, name: str) -> None:
    assert found(tree(tmp_path, "images/1.jpg"), name)[0] == ["images/1.jpg"]


@pytest.mark.parametrize("name", ["", ".", "..", "/", "x/" * 5000, "C:", "images/"])
def test_names_of_no_picture(tmp_path: Path, name: str) -> None:
    file = tree(tmp_path, "images/1.jpg", "2.jpg")
    data = Annotations(("cat",), [], str(file))
    paths = locate_images([name, "2.jpg"], data, file)
    assert [path.is_file() for path in paths] == [False, True]


def test_a_name_with_blanks_at_its_ends(tmp_path: Path) -> None:
    file = tree(tmp_path, "1.jpg ", "1.jpg", "2.jpg")
    assert found(file, "1.jpg ", "2.jpg ") == (
        ["1.jpg ", "2.jpg"],
        [("image under a near name", str(tmp_path / "2.jpg"))],
    )


def test_a_link_of_the_users_own_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path, "disk/1.jpg")
    file = tree(tmp_path / "home/set/labels", "2.jpg")
    (tmp_path / "home/set/images").symlink_to(tmp_path / "disk")
    monkeypatch.chdir("/")
    picture = tmp_path / "home/set/images/1.jpg"
    for name in ("../images/1.jpg", "1.jpg", str(picture)):
        assert locate_images([name], Annotations(("cat",), []), file) == [picture], name


def test_drives_of_windows_have_nothing_in_common(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.path.commonpath", ntpath.commonpath)
    assert not _is_within("D:\\set\\images", "C:\\set")
