from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from heatpoint.data.readers import read
from heatpoint.data.readers.given import Given
from heatpoint.data.readers.text_lines import read_text_lines
from heatpoint.errors import HeatpointError


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    (tmp_path / "my images").mkdir()
    for name in ("a.png", "my images/b 1.png", "c.png"):
        Image.new("RGB", (40, 20)).save(tmp_path / name)
    path = tmp_path / "train.txt"
    path.write_text("a.png 1,2,11.5,12,1 0,0,5,5,0\n\nmy images/b 1.png 3,3,4,4,2\nc.png\n")
    return path


def test_paths_with_spaces_boxes_and_empty_images(lines: Path) -> None:
    annotations = read_text_lines(Given(lines))
    assert [record.path.name for record in annotations.images] == ["a.png", "b 1.png", "c.png"]
    assert all(record.path.is_file() for record in annotations.images)
    assert annotations.images[0].boxes.tolist() == [[1, 2, 11.5, 12], [0, 0, 5, 5]]
    assert annotations.images[0].labels.tolist() == [1, 0]
    assert len(annotations.images[2]) == 0


def test_indices_are_names_unless_a_file_names_them(lines: Path) -> None:
    assert read_text_lines(Given(lines)).names == ("0", "1", "2")
    (lines.parent / "classes.txt").write_text("x\ny\nz\n")
    assert read_text_lines(Given(lines)).names == ("x", "y", "z")
    (lines.parent / "train_classes.txt").write_text("cat\ndog\n")
    annotations = read_text_lines(Given(lines))
    assert annotations.names == ("cat", "dog")
    assert annotations.left_out == {"unknown category id": 1}
    (lines.parent / "train_classes.txt").write_text("a\na")
    with pytest.raises(HeatpointError, match="both called 'a'"):
        read_text_lines(Given(lines))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.png 1,2,3,4", r"train\.txt:1: expected x1,y1,x2,y2,class, got 4 values"),
        ("a.png 1,2,3,4,0 1,2,3,4,0.5", r"train\.txt:1: expected a whole number as class"),
        ("a.png 1,2,x,4,0 1,2,3,4,0", r"train\.txt:1: expected boxes .* behind 'a\.png'"),
    ],
)
def test_malformed_lines_are_named(lines: Path, line: str, message: str) -> None:
    lines.write_text(line)
    with pytest.raises(HeatpointError, match=message):
        read_text_lines(Given(lines))


def test_nan_is_kept_for_validate(lines: Path) -> None:
    lines.write_text("a.png nan,2,3,4,0")
    assert np.isnan(read_text_lines(Given(lines)).images[0].boxes[0, 0])


def test_images_folder_can_be_given(lines: Path) -> None:
    lines.write_text("b 1.png 1,2,3,4,0")
    assert read_text_lines(Given(lines)).searched
    folder = lines.parent / "my images"
    assert read_text_lines(Given(lines, images=folder)).images[0].path == folder / "b 1.png"
    with pytest.raises(HeatpointError, match="not a folder"):
        read_text_lines(Given(lines, images=folder / "x"))


def test_not_text_is_an_error(lines: Path) -> None:
    lines.write_bytes(b"a.jpg\n\x81\xff")
    with pytest.raises(HeatpointError, match=r"not a text file in UTF-8 \(byte 6, line 2\)"):
        read_text_lines(Given(lines))


def test_a_folder_that_holds_none_of_the_images_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("a.jpg 1,2,3,4,0\n")
    (tmp_path / "other").mkdir()
    with pytest.raises(HeatpointError, match=r"other holds none of the 1 images.*'a\.jpg'"):
        read_text_lines(Given(tmp_path / "train.txt", images=tmp_path / "other"))


def test_roboflows_folders(tmp_path: Path) -> None:
    for split, box in (("train", "1,2,11,12,1"), ("valid", "0,0,5,5,0")):
        (tmp_path / split).mkdir()
        Image.new("RGB", (40, 20)).save(tmp_path / split / "a.png")
        (tmp_path / split / "_annotations.txt").write_text(f"a.png {box}\n")
        (tmp_path / split / "_classes.txt").write_text("cat\ndog\n")
    data = read(f"{tmp_path}:train")
    assert data.names == ("cat", "dog")
    assert data.images[0].path == tmp_path / "train/a.png"
    assert data.images[0].boxes.tolist() == [[1, 2, 11, 12]]
    assert read(tmp_path / "valid/_annotations.txt").images[0].labels.tolist() == [0]
    with pytest.raises(HeatpointError, match=r"splits train, valid.* name one"):
        read(tmp_path)


def test_a_class_that_is_no_index_is_one_sentence(lines: Path) -> None:
    for label in ("99999999999", "1e300"):
        lines.write_text(f"a.png 1,2,30,40,{label}")
        with pytest.raises(HeatpointError, match=r"expected classes up to 9,999, got class .*e\+"):
            read_text_lines(Given(lines))
    lines.with_name("classes.txt").write_text("cat")
    assert read_text_lines(Given(lines)).left_out == {"unknown category id": 1}


def test_long_lines_take_no_longer_than_they_are(lines: Path) -> None:
    begin = time.process_time()
    lines.write_text(f"a.png {' 1,2,3,4,0' * 60_000}")
    assert len(read_text_lines(Given(lines)).images[0]) == 60_000
    lines.write_text(f"a.png {'1' * 60_000}x")
    with pytest.raises(HeatpointError) as error:
        read_text_lines(Given(lines))
    assert len(str(error.value)) < 500
    assert time.process_time() - begin < 5
