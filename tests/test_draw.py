"""Pictures of results: drawn where they should be, written where nothing is lost."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from heatpoint.data import ImageRecord
from heatpoint.data.draw import (
    colour_of,
    draw_points,
    draw_truth,
    drawing_paths,
    enlarge,
    montage,
    write_picture,
)
from heatpoint.data.images import load_image
from heatpoint.data.results import Detections
from heatpoint.errors import HeatpointError

NAMES = ("cat", "dog")


def grey(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 90, np.uint8)


def found(boxes: list[list[float]], scores: list[float], labels: list[int]) -> Detections:
    return Detections(np.array(boxes), np.array(scores), np.array(labels), NAMES)


def test_boxes_are_drawn_on_a_copy_in_the_colour_of_their_class() -> None:
    image = grey(240, 320)
    boxes = [[40.0, 60, 120, 140], [200.0, 60, 280, 140], [40.0, 160, 120, 220]]
    drawn = found(boxes, [0.9, 0.8, 0.7], [0, 1, 0]).plot(image)
    assert (image == 90).all()
    # In the middle of each lower side there is nothing but the box's line.
    sides = [drawn[int(y2), int((x1 + x2) / 2)].tolist() for x1, _, x2, y2 in boxes]
    assert sides[0] == sides[2]
    assert sides[0] != sides[1]
    assert sides[0] != [90, 90, 90]
    assert (drawn[100, 80] == 90).all()
    # supervision's first colour in RGB: drawn as BGR it would be (251, 81, 163).
    assert sides[0] == [163, 81, 251]


def test_the_threshold_hides_low_scores() -> None:
    image = grey(100, 100)
    given = found([[10.0, 40, 50, 90]], [0.4], [0])
    assert (given.plot(image, least=0.5) == image).all()
    assert (given.plot(image, least=0.3) != image).any()


def test_labels_at_the_rim_stay_inside() -> None:
    image = grey(200, 200)
    whole = found([[0.0, 0, 200, 200]], [0.9], [0]).plot(image)
    assert (whole[4:12, 4:40] != 90).any(-1).mean() > 0.9
    right = found([[190.0, 90, 199, 110]], [0.9], [0]).plot(image)
    assert (right[80:86, 150:185] != 90).any(-1).mean() > 0.9
    low = found([[20.0, 300, 60, 320]], [0.9], [0]).plot(image)
    assert (low[190:199, 22:50] != 90).any(-1).mean() > 0.9


@pytest.mark.parametrize("size", [(1, 1), (50, 20000), (3000, 7)])
def test_extreme_pictures(size: tuple[int, int]) -> None:
    height, width = size
    box = [0.0, 0, float(width), float(height)]
    drawn = found([box, [-1e9, -1e9, 1e9, 1e9]], [0.5, 0.1], [0, 1]).plot(grey(*size))
    assert drawn.shape == (height, width, 3)
    assert (drawn != 90).any()


def test_truth_is_drawn_and_broken_boxes_are_not() -> None:
    record = ImageRecord(
        Path("a.jpg"),
        (100, 100),
        np.array([[20, 40, 80, 90], [np.nan, 0, 1, 1]]),
        np.array([0, 1]),
        np.array([True, False]),
    )
    drawn = draw_truth(grey(100, 100), record, NAMES)
    assert (drawn[90, 50] != 90).any()
    nothing = draw_truth(grey(100, 100), record.keep(np.array([False, True])), NAMES)
    assert (nothing == 90).all()


def test_a_row_keeps_every_pixel() -> None:
    left, right = grey(40, 60), grey(70, 30)
    left[5, 5], right[60, 20] = (255, 0, 0), (0, 255, 0)
    row = montage([left, right], 2)
    assert row.shape == (70, 60 + 8 + 30, 3)
    assert row[5, 5].tolist() == [255, 0, 0]
    assert row[60, 68 + 20].tolist() == [0, 255, 0]
    assert (row[50, :60] == 255).all()
    titled = montage([left, right], 2, ["truth", "found"])
    assert titled.shape[0] > 70
    assert (titled[: titled.shape[0] - 70] < 128).any()
    with pytest.raises(HeatpointError, match="2 pictures and 1 titles"):
        montage([left, right], 2, ["truth"])
    with pytest.raises(HeatpointError, match="0 pictures"):
        montage([], 2)


def test_rows_stand_below_each_other_and_may_be_brought_to_one_width() -> None:
    pictures = [grey(40, 60), grey(70, 30), grey(10, 50)]
    sheet = montage(pictures, 2, gap=4)
    assert sheet.shape == (70 + 4 + 10, 60 + 4 + 30, 3)
    assert (sheet[74:, :50] == 90).all()
    assert (sheet[74:, 50:] == 255).all()
    fitted = montage([grey(40, 60), grey(40, 60), grey(20, 15), grey(20, 15)], 2, gap=0, width=240)
    assert fitted.shape == (80 + 160, 240, 3)
    assert (fitted == 90).all()


def test_pictures_are_enlarged_by_whole_factors() -> None:
    image = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    large, zoom = enlarge(image, 9)
    assert zoom == 3
    assert (large[1::3, 1::3] == image).all()
    assert large.shape == (12, 15, 3)
    assert enlarge(image, 3)[1] == 1


def test_drawn_files_keep_stems_and_never_collide(tmp_path: Path) -> None:
    paths = ["a/1.jpg", "b/1.jpg", "c/1.JPG", "1_2.jpg", "1.png", "d/dir.with.dots/x.y.webp", ""]
    targets = drawing_paths(paths, tmp_path)
    expected = ["1.jpg", "1_2.jpg", "1_3.jpg", "1_2_2.jpg", "1.png", "x.y.jpg", "image.jpg"]
    assert targets == [tmp_path / name for name in expected]
    assert drawing_paths(["A.jpg", "a.jpg"], "out") == [Path("out/A.jpg"), Path("out/a_2.jpg")]
    for place, target in enumerate(targets):
        write_picture(target, grey(4, 4) + place)
    for place, target in enumerate(targets):
        assert abs(int(load_image(target)[0, 0, 0]) - 90 - place) <= 1


def test_pictures_are_written_in_rgb(tmp_path: Path) -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 200
    write_picture(tmp_path / "red.png", red)
    stored = cv2.imread(str(tmp_path / "red.png"))
    assert stored is not None
    assert stored[0, 0].tolist() == [0, 0, 200]
    with pytest.raises(HeatpointError, match=r"not as red\.bmp"):
        write_picture(tmp_path / "red.bmp", red)
    with pytest.raises(HeatpointError, match="65500"):
        write_picture(tmp_path / "wide.jpg", np.zeros((1, 70000, 3), np.uint8))


def test_counts_of_points_hide_as_few_of_them_as_can_be() -> None:
    image, labels = grey(200, 300), np.zeros(3, np.int64)
    places = np.array([[10, 8], [290, 8], [10, 190]])  # every corner but one
    for taken in (places[:1], places):
        drawn = draw_points(image, np.tile(taken, 2), labels[: len(taken)], ["cell"])
        for x, y in taken:
            assert drawn[y, x].tolist() == list(colour_of(0))
        corners = drawn[:10, -10:], drawn[-10:, -10:]
        assert [(corner == 255).all(-1).mean() > 0.2 for corner in corners] == [
            len(taken) == 1,
            len(taken) == 3,
        ]
