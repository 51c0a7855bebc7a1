"""Pictures that are there twice, or in both splits: by file, by content, by look."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.duplicates import _alike, picture_findings, shared_files
from heatpoint.geometry import Image


def scene(seed: int) -> Image:
    """Returns a drawn picture that is unlike others: smooth noise with some edges."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (9, 12, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (240, 180), interpolation=cv2.INTER_CUBIC)
    for _ in range(6):
        x, y = (int(v) for v in rng.integers(20, 160, 2))
        colour = [int(v) for v in rng.integers(0, 255, 3)]
        cv2.rectangle(image, (x, y), (x + 40, y + 25), colour, -1)
    return image


def of(*paths: Path) -> Annotations:
    return Annotations(("cat",), [ImageRecord(path) for path in paths], "set")


def saved(path: Path, image: Image, quality: int = 95) -> Path:
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    return [saved(tmp_path / "train" / f"{i}.jpg", scene(i)) for i in range(6)]


def test_pictures_of_both_splits_are_counted_by_content(
    pictures: list[Path], tmp_path: Path
) -> None:
    val = [saved(tmp_path / "val" / "new.jpg", scene(100)), tmp_path / "missing.jpg"]
    val.append(Path(shutil.copy(pictures[4], tmp_path / "val" / "other name.jpg")))
    (tmp_path / "link.jpg").symlink_to(pictures[2])
    val += [tmp_path / "link.jpg", pictures[1]]
    # As many bytes as a training picture, but others.
    (tmp_path / "same size.jpg").write_bytes(bytes(pictures[0].stat().st_size))
    val.append(tmp_path / "same size.jpg")
    assert shared_files(of(*pictures), of(*val)) == {2: 4, 3: 2, 4: 1}
    assert shared_files(of(*pictures), of(*pictures)) == {i: i for i in range(6)}
    assert shared_files(of(*pictures[:3]), of(*pictures[3:])) == {}


def test_findings_name_both_pictures(pictures: list[Path], tmp_path: Path) -> None:
    copy = Path(shutil.copy(pictures[4], tmp_path / "copy.jpg"))
    smaller = cv2.resize(scene(2), (120, 90), interpolation=cv2.INTER_AREA)
    again = saved(tmp_path / "again.jpg", smaller, 60)
    turned = saved(tmp_path / "again.png", cv2.convertScaleAbs(scene(3), alpha=1.1))
    found = picture_findings(of(*pictures), of(copy, again, turned, pictures[0]))
    by_kind = {(f.kind, Path(f.image).name): f.detail.split(" (")[0] for f in found}
    assert by_kind == {
        ("picture in both splits", "copy.jpg"): f"has the content of {pictures[4]}",
        ("picture in both splits", "0.jpg"): f"is {pictures[0]}",
        ("similar picture in both splits", "again.jpg"): f"looks like {pictures[2]}",
        ("similar picture in both splits", "again.png"): f"looks like {pictures[3]}",
    }
    within = picture_findings(of(*pictures, copy, again))
    assert [(f.kind, Path(f.image).name) for f in within] == [
        ("same picture twice", "copy.jpg"),
        ("similar pictures", "again.jpg"),
    ]


def test_different_pictures_and_one_listed_twice_say_nothing(pictures: list[Path]) -> None:
    done: list[tuple[int, int]] = []
    assert picture_findings(of(*pictures), None, lambda *n: done.append(n)) == []
    assert done == [(i, 6) for i in range(1, 7)]
    assert picture_findings(of(pictures[0], pictures[0])) == []


def test_pictures_that_cannot_be_read_are_passed_over(pictures: list[Path]) -> None:
    bad = pictures[0].with_name("bad.jpg")
    bad.write_bytes(b"\xff\xd8 no picture")
    assert picture_findings(of(bad, pictures[0], bad.with_name("missing.png"))) == []


def test_the_most_similar_one_is_named_and_numbers_grow_evenly() -> None:
    bits = np.random.default_rng(0).random((8_000, 256)) < 0.5
    places = np.arange(len(bits))
    bits[900] = bits[800] = bits[700] = bits[5]
    bits[800, :30] ^= True  # 30 bits apart ...
    bits[900, 100:110] ^= True  # ... and 10
    bits[7_000] = bits[900]
    bits[500] = bits[499]
    bits[500, :31] ^= True  # one too many
    start = time.process_time()
    assert _alike(bits, places, places) == [
        (700, (5, 0)),
        (800, (5, 30)),
        (900, (5, 10)),
        (7_000, (900, 0)),
    ]
    # A film of black pictures compares no pair at all.
    black = np.zeros((8_000, 256), np.bool_)
    assert _alike(black, places, places) == [(i, (0, 0)) for i in range(1, len(black))]
    across = np.where(places < 4_000, 0, 4_000)
    assert _alike(black, places, across) == [(i, (0, 0)) for i in range(4_000, len(black))]
    assert time.process_time() - start < 3
