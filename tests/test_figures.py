"""Drawn figures: exact joints, sides told by colour, variety, and a data set that can be read."""

from __future__ import annotations

import colorsys
from pathlib import Path

import numpy as np
import pytest

from heatpoint.data.readers import read
from heatpoint.data.validate import clean, validate
from heatpoint.errors import HeatpointError
from heatpoint.geometry import box_iou
from heatpoint.synthetic.figures import FIGURE, FigureScene, capsule, draw_figures, write_figures

SIZE = (128, 128)


@pytest.fixture(scope="module")
def scenes() -> list[FigureScene]:
    return [draw_figures(SIZE, np.random.default_rng((5, i))) for i in range(120)]


def test_skeleton() -> None:
    assert len(FIGURE) == 14
    assert FIGURE.sides.count("left") == FIGURE.sides.count("right") == 6
    assert len(FIGURE.edges) == 13
    for one, other in FIGURE.pairs:
        assert FIGURE.joints[one].replace("left", "right") == FIGURE.joints[other]


def test_colours_tell_the_sides() -> None:
    """Below a visible wrist or ankle the picture is warm on the left side and cold on the right."""
    right = []
    for i in range(60):
        scene = draw_figures(SIZE, np.random.default_rng((9, i)), clutter=False)
        for joints in scene.joints:
            for j in (6, 7, 12, 13):
                x, y, visible = joints[j]
                if visible < 2 or not (2 < x < 126 and 2 < y < 126):
                    continue
                hue = colorsys.rgb_to_hsv(*(scene.image[int(y), int(x)] / 255).tolist())[0]
                warm, cold = hue < 0.16 or hue > 0.93, 0.45 < hue < 0.72
                right.append(warm if FIGURE.sides[j] == "left" else cold)
    assert len(right) > 150
    assert np.mean(right) > 0.98  # a few lie on the rim of another limb


def test_limbs_run_between_their_joints() -> None:
    """Halfway between two visible joints of a forearm or shin lies the colour of its ends."""
    far = 0
    for i in range(40):
        scene = draw_figures(SIZE, np.random.default_rng((11, i)), clutter=False)
        for joints in scene.joints[:1]:
            for a, b in ((4, 6), (5, 7), (10, 12), (11, 13)):
                if joints[a, 2] == joints[b, 2] == 2:
                    end = (joints[a] + 3 * joints[b]) / 4
                    colours = [
                        scene.image[int(p[1]), int(p[0])].astype(int) for p in (end, joints[b])
                    ]
                    far += np.abs(colours[0] - colours[1]).max() > 12
    assert far <= 6  # crossed by another limb


def test_variety(scenes: list[FigureScene]) -> None:
    figures = [len(scene.joints) for scene in scenes]
    assert {1, 2} <= set(figures)
    assert min(figures) >= 1
    joints = np.concatenate([scene.joints for scene in scenes])
    visibility = joints[..., 2]
    assert 0.005 < (visibility == 0).mean() < 0.1, "some limbs leave the picture"
    assert 0.02 < (visibility == 1).mean() < 0.2, "some are hidden"
    boxes = np.concatenate([scene.boxes for scene in scenes])
    longer = (boxes[:, 2:] - boxes[:, :2]).max(1)
    assert longer.min() < 60
    assert longer.max() > 100
    both = visibility[:, 2] * visibility[:, 3] > 0
    mirrored = joints[both, 2, 0] < joints[both, 3, 0]
    assert 0.3 < mirrored.mean() < 0.7, "seen from before and from behind"


def test_a_crowd_is_of_several_sizes_and_overlaps() -> None:
    drawn = [draw_figures(SIZE, np.random.default_rng((6, i)), crowd=True) for i in range(60)]
    figures = [len(scene.joints) for scene in drawn]
    assert {2, 3, 4, 5, 6} == set(figures)
    boxes = [scene.boxes for scene in drawn]
    sides = np.concatenate([(each[:, 2:] - each[:, :2]).max(1) for each in boxes])
    assert sides.max() > 2.5 * sides.min()
    overlaps = [np.triu(box_iou(each, each), 1).max() for each in boxes]
    assert np.mean(np.array(overlaps) > 0.1) > 0.4
    joints = np.concatenate([scene.joints for scene in drawn])[..., 2]
    seen = (joints == 2).sum(1) / (joints > 0).sum(1)
    assert seen.min() > 0.3, "nobody is covered by the others"


def test_joints_lie_in_picture_and_box(scenes: list[FigureScene]) -> None:
    for scene in scenes:
        assert scene.image.shape == (*SIZE, 3)
        assert scene.image.dtype == np.uint8
        for box, joints, head in zip(scene.boxes, scene.joints, scene.heads, strict=True):
            labelled = joints[joints[:, 2] > 0]
            assert len(labelled) >= 6
            assert (labelled[:, :2] >= box[:2]).all()
            assert (labelled[:, :2] <= box[2:]).all()
            assert not joints[joints[:, 2] == 0].any()
            assert 5 < head < 20


def test_a_picture_is_a_function_of_its_seed() -> None:
    one, other = (draw_figures((96, 160), np.random.default_rng((1, 2))) for _ in range(2))
    assert np.array_equal(one.image, other.image)
    assert np.array_equal(one.joints, other.joints)
    assert one.image.shape == (96, 160, 3)


def test_written_data_set(tmp_path: Path) -> None:
    path = write_figures(tmp_path / "set", 4, (96, 96), seed=7)
    data = read(path)
    assert data.skeleton == FIGURE
    assert data.names == ("figure",)
    assert len(data) == 4
    scene = draw_figures((96, 96), np.random.default_rng((7, 2)))
    assert data.images[2].keypoints is not None
    np.testing.assert_allclose(data.images[2].keypoints, scene.joints, atol=1e-9)
    np.testing.assert_allclose(data.images[2].boxes, scene.boxes, atol=1e-9)
    assert data.images[2].heads is not None
    np.testing.assert_allclose(data.images[2].heads, scene.heads)
    assert not validate(data).problems()
    assert clean(data)[1] == {}


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(HeatpointError, match="at least 1, not 0"):
        write_figures(tmp_path, 0)
    with pytest.raises(HeatpointError, match="64x64 pixels or more, not 32x64"):
        write_figures(tmp_path, 1, (32, 64))
    (tmp_path / "file").write_text("")
    with pytest.raises(HeatpointError, match="choose another folder"):
        write_figures(tmp_path / "file" / "set", 1)


def test_capsule_covers_both_discs() -> None:
    outline = capsule(np.array([0.0, 0.0]), np.array([10.0, 0.0]), 2.0, 1.0)
    assert outline[:, 0].min() == pytest.approx(-2)
    assert outline[:, 0].max() == pytest.approx(11)
    assert np.abs(outline[:, 1]).max() == pytest.approx(2)
