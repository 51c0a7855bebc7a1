"""What lines of label files mean: boxes, joints, polygons, and what cannot be told apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from heatpoint.data import Annotations
from heatpoint.data.readers import read
from heatpoint.data.readers.yolo_lines import Row, decide
from heatpoint.errors import HeatpointError


def yolo(folder: Path, yaml: str, *lines: str) -> Annotations:
    """Reads a data set of one picture of 100 x 50, with a data.yaml or (for "") without."""
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    Image.new("RGB", (100, 50)).save(folder / "images/a.png")
    (folder / "labels/a.txt").write_text("\n".join(lines))
    (folder / "classes.txt").write_text("cat\ntraffic light\n")
    if yaml:
        (folder / "data.yaml").write_text(f"{yaml}\nnames: [cat, traffic light]")
    return read(folder)


def boxes(data: Annotations) -> list[list[float]]:
    return np.round(data.images[0].boxes, 6).tolist()


def kinds(data: Annotations) -> list[str]:
    return [finding.kind for finding in data.findings]


POSE = "kpt_shape: [3, 3]\nflip_idx: [0, 2, 1]"


def test_joints_with_visibility(tmp_path: Path) -> None:
    data = yolo(tmp_path / "a", POSE, "0 .5 .5 .4 .8 .4 .2 2 .6 .2 1 0 0 0", "1 .5 .5 .2 .2")
    assert boxes(data) == [[30, 5, 70, 45], [40, 20, 60, 30]]
    keypoints = data.images[0].keypoints
    assert keypoints is not None
    assert keypoints[0].tolist() == [[40, 10, 2], [60, 10, 1], [0, 0, 0]]
    assert not keypoints[1].any()
    assert data.skeleton is not None
    assert data.skeleton.joints == ("joint_0", "joint_1", "joint_2")
    assert data.skeleton.pairs == ((1, 2),)
    assert not data.findings


def test_joints_without_visibility_names_and_bones(tmp_path: Path) -> None:
    yaml = "kpt_shape: [3, 2]\nflip_idx: [0, 2, 1]\nskeleton: [[1, 2], [1, 3]]\n"
    yaml += "kpt_names: {0: [nose, right_ear, left_ear], 1: [nose, right_ear, left_ear]}"
    data = yolo(tmp_path / "a", yaml, "0 .5 .5 .4 .8 .4 .2 0 0 .6 0.4")
    keypoints = data.images[0].keypoints
    assert keypoints is not None
    assert keypoints[0].tolist() == [[40, 10, 2], [0, 0, 0], [60, 20, 2]]
    assert data.skeleton is not None
    assert data.skeleton.joints == ("nose", "right_ear", "left_ear")
    assert data.skeleton.pairs == ((2, 1),)
    assert data.skeleton.edges == ((0, 1), (0, 2))
    # Without flip_idx, names tell the pairs.
    data = yolo(
        tmp_path / "b", "kpt_shape: [2, 2]\nkpt_names: [left_eye, right_eye]", "0 .5 .5 1 1"
    )
    assert data.skeleton is not None
    assert data.skeleton.pairs == ((0, 1),)


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ("0 .5 .5 .4 .8 .4 .2 .6 .2", "4 values behind the box, expected 9"),
        ("0 .5 .5 .4 .8 .4 .2 2 .6 .2 .9 0 0 0", "visibility 0.9, expected 0, 1 or 2"),
    ],
)
def test_joints_that_do_not_fit_are_counted(tmp_path: Path, line: str, detail: str) -> None:
    data = yolo(tmp_path / "a", POSE, line)
    assert boxes(data) == [[30, 5, 70, 45]]
    assert data.left_out == {"malformed joints": 1}
    assert detail in data.findings[0].detail


def test_confidences_are_left_out_and_said(tmp_path: Path) -> None:
    data = yolo(tmp_path / "a", "", "0 .5 .5 .4 .8 .97", "1 .5 .5 .2 .2 .5")
    assert boxes(data) == [[30, 5, 70, 45], [40, 20, 60, 30]]
    assert data.left_out == {"confidence behind a box": 2}
    data = yolo(tmp_path / "b", POSE, "0 .5 .5 .4 .8 .4 .2 2 .6 .2 1 0 0 0 .8")
    assert data.left_out == {"confidence behind a box": 1}
    assert data.images[0].keypoints is not None
    assert data.images[0].keypoints[0, 0].tolist() == [40, 10, 2]
    data = yolo(tmp_path / "c", "", "0 .1 .1 .5 .1 .3 .6 .4", "0 .1 .1 .5 .1 .5 .7 .3 .9 .4")
    assert boxes(data) == [[10, 5, 50, 30], [10, 5, 50, 45]]
    assert data.left_out == {"confidence behind a box": 2}


def test_class_names_and_decimals_stand_for_classes(tmp_path: Path) -> None:
    lines = "0.0 .5 .5 .4 .8", "traffic light .5 .5 .2 .2", " cat\t.5  .5 1 1 "
    data = yolo(tmp_path / "a", "", *lines)
    assert data.images[0].labels.tolist() == [0, 1, 0]
    assert boxes(data)[1:] == [[40, 20, 60, 30], [0, 0, 100, 50]]


def test_polygons_are_read_as_boxes_unless_all_have_four_corners(
    tmp_path: Path,
) -> None:
    data = yolo(
        tmp_path / "a",
        "",
        "0 .1 .1 .5 .1 .3 .6",
        "0 .5 .5 .2 .2",
        "0 .1 .2 .3 .2 .3 .8 .2 .9 .1 .6",
    )
    assert boxes(data) == [[10, 5, 50, 30], [40, 20, 60, 30], [10, 10, 30, 45]]
    assert kinds(data) == ["polygon read as its box"] * 2
    lines = "0 .5 .2 .7 .4 .5 .6 .3 .4", "1 .1 .1 .3 .1 .3 .3 .1 .3", "1 .5 .5 .2 .2"
    data = yolo(tmp_path / "b", "", *lines)
    assert boxes(data) == [[30, 10, 70, 30], [10, 5, 30, 15], [40, 20, 60, 30]]
    quads = data.images[0].quads
    assert quads is not None
    assert quads[0].ravel() == pytest.approx([50, 10, 70, 20, 50, 30, 30, 20])
    assert quads[2].ravel() == pytest.approx([40, 20, 60, 20, 60, 30, 40, 30])
    assert not kinds(data)
    data = yolo(tmp_path / "c", "", *lines[1:])
    assert not data.cornered
    assert kinds(data) == ["rotated box read as upright"]


def test_joints_without_kpt_shape_are_not_read_as_polygons(tmp_path: Path) -> None:
    data = yolo(tmp_path / "a", "", "0 .5 .5 .2 .2 .5 .5 .4 .4")
    assert boxes(data) == [[40, 20, 60, 30]]
    assert data.left_out == {"joints without kpt_shape": 1}
    data = yolo(tmp_path / "b", "", "0 .5 .5 .4 .8 .4 .2 2 .6 .2 1 0 0 0", "0 .5 .5 .2 .2")
    assert boxes(data) == [[30, 5, 70, 45], [40, 20, 60, 30]]
    assert data.left_out == {"joints without kpt_shape": 1}


def test_what_may_be_either_is_left_out_unless_a_yaml_says_otherwise(tmp_path: Path) -> None:
    line = "0 .5 .4 .6 .5 .55 .6 .45 .6 .4 .5"  # a pentagon; its points lie in the box as well
    data = yolo(tmp_path / "a", "", line)
    assert data.objects == 0
    assert data.left_out == {"ambiguous line": 1}
    assert boxes(yolo(tmp_path / "b", "train: images", line)) == [[40, 20, 60, 30]]
    data = yolo(tmp_path / "c", "kpt_shape: [3, 2]", line)
    assert boxes(data) == [[20, 7.5, 80, 32.5]]
    assert boxes(yolo(tmp_path / "d", "", *[line] * 3)) == [[40, 20, 60, 30]] * 3


def as_rows(values: np.ndarray) -> list[Row]:
    return [Row("a.txt", 1, 0, tuple(row)) for row in np.round(values, 6).tolist()]


@pytest.mark.parametrize("seed", range(5))
def test_sets_of_drawn_joints_and_polygons_are_told_apart(seed: int) -> None:
    rng = np.random.default_rng(seed)
    number, points = 60, int(rng.integers(3, 20))
    centres, sizes = rng.uniform(0.3, 0.7, (number, 2)), rng.uniform(0.05, 0.5, (number, 2))
    joints = centres[:, None] + sizes[:, None] * rng.uniform(-0.5, 0.5, (number, points, 2))
    flat = np.concatenate((centres, sizes, joints.reshape(number, -1)), 1)
    assert decide(as_rows(flat), described=False) == "keypoints"
    seen = rng.integers(0, 3, (number, points, 1)).astype(float)
    visible = np.where(seen > 0, np.concatenate((joints, seen), 2), 0.0)
    flat = np.concatenate((centres, sizes, visible.reshape(number, -1)), 1)
    assert decide(as_rows(flat), described=False) == "keypoints"
    angles = np.sort(rng.uniform(0, 2 * np.pi, (number, points + 2)), 1)
    circle = np.stack((np.cos(angles), np.sin(angles)), 2) * rng.uniform(0.4, 0.5, (number, 1, 1))
    outlines = centres[:, None] + sizes[:, None] * circle
    assert decide(as_rows(outlines.reshape(number, -1)), described=False) == "polygon"
    turn = rng.uniform(0, np.pi, number)
    along = np.stack((np.cos(turn), np.sin(turn)), 1) * sizes[:, :1] / 2
    across = np.stack((-np.sin(turn), np.cos(turn)), 1) * sizes[:, 1:] / 2
    signs = ((1, 1), (1, -1), (-1, -1), (-1, 1))
    corners = [centres + one * along + other * across for one, other in signs]
    assert decide(as_rows(np.concatenate(corners, 1)), described=False) == "rotated box"


def test_pixels_in_place_of_shares_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(HeatpointError, match=r"a\.txt:1: expected shares .* got 50 25 20 10"):
        yolo(tmp_path / "a", "", "0 50 25 20 10", "0 30 20 10 10")
    data = yolo(tmp_path / "b", "", "0 50 25 20 10", "0 .5 .5 .2 .2", "0 .3 .5 .2 .2")
    assert len(data.images[0]) == 3  # of single ones, inspect and train say that they are outside


def test_corners_in_place_of_centres_are_suspected(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first, size = rng.uniform(0.1, 0.6, (20, 2)), rng.uniform(0.1, 0.4, (20, 2))
    lines = [
        f"0 {x:.4f} {y:.4f} {x + w:.4f} {y + h:.4f}"
        for (x, y), (w, h) in zip(first, size, strict=True)
    ]
    assert kinds(yolo(tmp_path / "a", "", *lines)) == ["boxes that seem to be corners"]
    centres = [
        f"0 {x + w / 2:.4f} {y + h / 2:.4f} {w:.4f} {h:.4f}"
        for (x, y), (w, h) in zip(first, size, strict=True)
    ]
    assert kinds(yolo(tmp_path / "b", "", *centres)) == []


def test_splits_of_one_set_are_decided_alike(tmp_path: Path) -> None:
    yolo(tmp_path / "a", "", *["0 .5 .4 .6 .5 .55 .6 .45 .6 .4 .5"] * 3)
    Image.new("RGB", (100, 50)).save(tmp_path / "a/images/b.png")
    (tmp_path / "a/labels/b.txt").write_text("0 .5 .4 .6 .5 .55 .6 .45 .6 .4 .5")
    (tmp_path / "a/val.txt").write_text("b")
    data = read(f"{tmp_path / 'a'}:val")
    assert boxes(data) == [[40, 20, 60, 30]]
