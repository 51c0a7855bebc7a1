from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.findings import TREATMENT
from heatpoint.data.readers import read
from heatpoint.data.validate import HARMLESS, TOLERANCE, clean, describe, validate
from heatpoint.errors import HeatpointError

GOOD = [1.0, 1, 5, 5]


def picture(path: Path, width: int = 40, height: int = 30) -> Path:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def record(path: Path, *boxes: list[float], size: tuple[int, int] | None = None) -> ImageRecord:
    labels = np.zeros(len(boxes), np.int64)
    return ImageRecord(path, size, np.array(boxes, np.float64), labels, image_id=1)


def one(tmp_path: Path, *boxes: list[float], size: tuple[int, int] | None = None) -> Annotations:
    return Annotations(("cat",), [record(picture(tmp_path / "a.png"), *boxes, size=size)], "set")


@pytest.mark.parametrize(
    ("box", "kind"),
    [
        ([5.0, 5, 5, 5], "degenerate box"),
        ([9.0, 5, 5, 9], "degenerate box"),
        ([math.nan, 5, 9, 9], "non-finite box"),
        ([0.0, 0, math.inf, 9], "non-finite box"),
        ([40.0, 5, 50, 9], "box outside the image"),
        ([-9.0, 5, 0, 9], "box outside the image"),
        ([-9.0, 5, 5, 9], "box partly outside"),
        ([5.0, 5, 9, 30 + 2 * TOLERANCE], "box partly outside"),
    ],
)
def test_each_bad_box_is_found_once_and_treated(
    tmp_path: Path, box: list[float], kind: str
) -> None:
    annotations = one(tmp_path, GOOD, box)
    report = validate(annotations)
    assert report.counts() == {kind: 1}
    assert report.findings[0].image.endswith("a.png")
    cleaned, counts = clean(annotations)
    assert counts == {kind: 1}
    boxes = cleaned.images[0].boxes
    assert len(boxes) == (2 if kind == "box partly outside" else 1)
    assert (boxes >= 0).all()
    assert (boxes <= [40, 30, 40, 30]).all()
    assert cleaned.left_out == ({} if kind == "box partly outside" else {kind: 1})


def test_boxes_on_the_border_are_fine(tmp_path: Path) -> None:
    annotations = one(tmp_path, [0.0, 0, 40, 30], [0.0, 0, 40 + TOLERANCE / 2, 9])
    assert validate(annotations).problems() == {}
    cleaned, counts = clean(annotations)
    assert counts == {}
    assert cleaned.images[0].boxes[1].tolist() == [0, 0, 40, 9]


def test_clipping_shrinks_the_box_area_and_changes_no_input(tmp_path: Path) -> None:
    annotations = one(tmp_path, [-10.0, 0, 10, 10], GOOD)
    annotations.images[0].areas[1] = 7.0
    cleaned, _ = clean(annotations)
    assert cleaned.images[0].areas.tolist() == [100, 7]
    assert annotations.images[0].boxes[0].tolist() == [-10, 0, 10, 10]
    assert annotations.images[0].size is None


def test_duplicates_are_reported_and_kept(tmp_path: Path) -> None:
    annotations = one(tmp_path, GOOD, GOOD, GOOD)
    assert validate(annotations).counts() == {"duplicate box": 2}
    assert clean(annotations)[0].objects == 3


def test_facts_are_no_problems(tmp_path: Path) -> None:
    annotations = one(tmp_path, GOOD)
    annotations.images[0].crowd[:] = True
    annotations.images.append(record(picture(tmp_path / "b.png")))
    report = validate(annotations)
    assert report.counts() == {
        "crowd region": 1,
        "class without objects": 1,
        "image without objects": 1,
    }
    assert report.problems() == {}
    assert "no problems found" in report.summary()
    assert len(clean(annotations)[0]) == 2


def test_size_of_the_file_wins(tmp_path: Path) -> None:
    annotations = one(tmp_path, [0.0, 0, 35, 28], size=(40, 30))
    report = validate(annotations)
    assert report.counts() == {"size mismatch": 1}
    assert "annotated 30x40, file 40x30; width and height are swapped" in report.summary()
    cleaned, counts = clean(annotations)
    assert cleaned.images[0].size == (30, 40)
    assert counts == {"size mismatch": 1}
    assert cleaned.left_out == {}


def bad_images(tmp_path: Path) -> Annotations:
    text = tmp_path / "text.jpg"
    text.write_text("this is no picture")
    empty = tmp_path / "empty.jpg"
    empty.touch()
    cut = picture(tmp_path / "cut.jpg", 400, 300)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    short = picture(tmp_path / "short.png", 400, 300)
    short.write_bytes(short.read_bytes()[: short.stat().st_size // 2])
    paths = [text, empty, cut, short, tmp_path / "missing.jpg", picture(tmp_path / "good.jpg")]
    return Annotations(("cat",), [record(path, GOOD) for path in paths], "set")


def test_bad_images_are_found_by_header_and_end(tmp_path: Path) -> None:
    report = validate(bad_images(tmp_path))
    assert report.counts() == {"missing image": 1, "unreadable image": 4}
    named = {Path(finding.image).name for finding in report.findings}
    assert named == {"text.jpg", "empty.jpg", "cut.jpg", "short.png", "missing.jpg"}


def test_clean_refuses_bad_images_unless_told_to_skip_them(tmp_path: Path) -> None:
    annotations = bad_images(tmp_path)
    with pytest.raises(HeatpointError, match=r"5 of 6 images of set .*text\.jpg.*--skip-bad"):
        clean(annotations)
    cleaned, counts = clean(annotations, skip_bad=True)
    assert counts == cleaned.left_out == {"missing image": 1, "unreadable image": 4}
    assert [item.path.name for item in cleaned.images] == ["good.jpg"]
    with pytest.raises(HeatpointError, match="not one is left"):
        clean(annotations.subset([0, 1]), skip_bad=True)


def test_images_that_were_searched_in_vain_are_told_with_the_folders(tmp_path: Path) -> None:
    annotations = Annotations(
        ("cat",), [record(tmp_path / "a.jpg", GOOD)], "set", searched=("here", "there")
    )
    with pytest.raises(HeatpointError, match=r"none of the 1 images .* searched here, there"):
        clean(annotations, skip_bad=True)
    assert "searched here, there" in validate(annotations).summary()


def test_what_the_reader_left_out_is_reported(tmp_path: Path) -> None:
    annotations = one(tmp_path, GOOD, [5.0, 5, 5, 5])
    annotations.leave_out("unknown category id", "", "annotation 3 has category 4")
    report = validate(annotations)
    assert report.counts() == {"unknown category id": 1, "degenerate box": 1}
    cleaned, counts = clean(annotations)
    assert counts == cleaned.left_out == {"unknown category id": 1, "degenerate box": 1}
    assert annotations.left_out == {"unknown category id": 1}
    text = describe(counts)
    assert text == "1 x unknown category id (left out), 1 x degenerate box (left out)"
    assert describe({}) == ""


def test_an_image_listed_twice_is_found(tmp_path: Path) -> None:
    annotations = one(tmp_path, GOOD)
    annotations.images *= 2
    assert validate(annotations).counts() == {"image listed twice": 1}


def test_summary_shows_counts_and_at_most_three_examples(tmp_path: Path) -> None:
    text = validate(one(tmp_path, *([float(i), 5, i, 9] for i in range(5)))).summary()
    assert "set: 1 image, 5 objects (cat 5)" in text
    assert "5 x degenerate box (left out)" in text
    assert text.count("a.png: cat at") == 3


def test_nothing_that_is_left_out_or_changed_is_harmless(tmp_path: Path) -> None:
    assert {kind for kind in HARMLESS if not TREATMENT[kind].startswith("kept")} == set()
    for kind in TREATMENT:
        annotations = one(tmp_path, GOOD)
        annotations.leave_out(kind, "a.png", "just so")
        text = validate(annotations).summary()
        assert f"1 x {kind} ({TREATMENT[kind]})" in text
        assert ("no problems found" in text) == (kind in HARMLESS)


def test_progress_is_told(tmp_path: Path) -> None:
    annotations = one(tmp_path, GOOD)
    annotations.images.append(record(picture(tmp_path / "b.png"), GOOD))
    calls: list[tuple[int, int]] = []
    validate(annotations, progress=lambda done, total: calls.append((done, total)))
    clean(annotations, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 2), (2, 2)] * 2


def test_known_defects_of_real_data(shared: Path) -> None:
    bccd = read(shared / "data/bccd")
    report = validate(bccd)
    assert report.counts() == {"degenerate box": 2, "box unlike its class": 4}
    names = {Path(f.image).stem for f in report.findings if f.kind == "degenerate box"}
    assert names == {"BloodImage_00338", "BloodImage_00343"}
    assert clean(bccd)[0].objects == 3941
    assert validate(read(shared / "data/dice")).counts() == {}
    coco = validate(read(shared / "data/coco_cc/annotations/instances.json"))
    assert coco.problems() == {"sliver of a box": 2}
    assert coco.counts()["crowd region"] == 8


@pytest.mark.parametrize("turn", [3, 6])
def test_pictures_that_exif_turns_are_told(turn: int, tmp_path: Path) -> None:
    path, tags = tmp_path / "a.jpg", Image.Exif()
    tags[0x0112] = turn
    Image.new("RGB", (40, 30)).save(path, exif=tags)
    annotations = Annotations(("cat",), [record(path, [1.0, 1, 5, 5], [31.0, 2, 39, 9])], "set")
    report = validate(annotations)
    assert report.counts()["picture turned by EXIF"] == 1
    assert ("box outside the image" in report.problems()) == (turn == 6)
    annotations.images[0].size = (30, 40)
    counts = clean(annotations)[1]
    assert counts["picture turned by EXIF"] == 1
    if turn == 3:  # nothing tells in which frame the boxes are
        assert validate(annotations).problems() == {}
        return
    (found,) = [one for one in validate(annotations).findings if "unturned" in one.kind]
    assert found.detail == (
        "annotated 40x30, file 30x40 after turning by EXIF (orientation 6); 1 of 2 boxes fit only "
        "before it"
    )
    assert counts["size of the unturned picture"] == 1


def test_frames_and_depths_are_told(tmp_path: Path) -> None:
    page = Image.new("L", (8, 8))
    page.save(tmp_path / "pages.tif", save_all=True, append_images=[page, page])
    thermal = np.arange(51200, 51264, dtype=np.uint16).reshape(8, 8)
    Image.fromarray(thermal).save(tmp_path / "thermal.png")
    Image.fromarray((thermal - 51200) * np.uint16(60)).save(tmp_path / "twelve.png")
    Image.fromarray((thermal - 51200) * np.uint16(1000)).save(tmp_path / "sixteen.png")
    paths = [tmp_path / name for name in ("pages.tif", "thermal.png", "twelve.png", "sixteen.png")]
    annotations = Annotations(("cat",), [record(path, GOOD) for path in paths], "set")
    told = {Path(one.image).name: (one.kind, one.detail) for one in validate(annotations).findings}
    assert told == {
        "pages.tif": ("picture of several frames", "3 frames"),
        "thermal.png": (
            "picture of few grey levels",
            "64 values from 51,200 to 51,263 become 1 of 256 grey levels",
        ),
        "twelve.png": ("16-bit picture of fewer bits", "values up to 3,780, as if of 12 bits"),
        "": (
            "16-bit pictures of several depths",
            "by their largest values, 1 of 12, 2 of 16; all are scaled as 16",
        ),
    }
    cleaned, counts = clean(annotations)
    assert cleaned.bits == 16
    assert counts == {kind: 1 for kind, _ in told.values()}
    assert "1 x picture of several frames (the first is used)" in describe(counts)
    assert clean(annotations.subset([0, 2]))[0].bits == 12
    assert clean(annotations.subset([0]))[0].bits is None
