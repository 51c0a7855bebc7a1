"""Random crops: joints follow the pixels, sides change places, the recipe is the published one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from heatpoint.data.pose_augment import PoseAugment, lower_half
from heatpoint.data.scene import Scene, mirrors, place
from heatpoint.data.skeleton import SKELETONS, Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.geometry import Affine, crop_affine

LSP = SKELETONS["lsp14"]
PAIR = Skeleton(("nose", "left_wrist", "right_wrist"), pairs=((1, 2),))
BOX = np.array([40.0, 30.0, 120.0, 130.0])
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))


def scene() -> tuple[np.ndarray, np.ndarray]:
    """Returns a picture with a red nose, a green left and a blue right wrist, and the joints."""
    joints = np.array([[80.0, 45.0, 2], [60.0, 100.0, 2], [100.0, 90.0, 1]])
    image = np.zeros((160, 160, 3), np.uint8)
    y, x = np.mgrid[:160, :160] + 0.5
    for (a, b, _), colour in zip(joints, COLOURS, strict=True):
        image[(x - a) ** 2 + (y - b) ** 2 < 36] = colour
    return image, joints


def sample(
    augment: PoseAugment, size: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns view, box and joints of the one subject of the scene."""
    image, joints = scene()
    drawn = augment.view([Scene(image, BOX[None], np.array([3]), joints[None], PAIR)], size, rng)
    assert drawn.keypoints is not None
    assert drawn.labels.tolist() == [0]
    return drawn.image, drawn.boxes[0], drawn.keypoints[0]


@pytest.mark.parametrize("augment", [PoseAugment.published(), PoseAugment.mild()])
def test_joints_lie_on_what_they_mark(augment: PoseAugment) -> None:
    augment = replace(augment, gain=0.0, colour=0.0)
    mirrored = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        view, _, placed = sample(augment, (128, 128), rng)
        weights = view.astype(np.float64).sum((0, 1))
        y, x = np.mgrid[:128, :128] + 0.5
        found = np.stack([(view * x[..., None]).sum((0, 1)), (view * y[..., None]).sum((0, 1))], 1)
        found /= np.maximum(weights, 1)[:, None]
        # A mirrored left wrist is a right one: blue is what is called left there.
        order = [0, 1, 2]
        if np.abs(found[1] - placed[1, :2]).max() > 5:
            order, mirrored = [0, 2, 1], mirrored + 1
        inside = (placed[:, 2] > 0) & (np.abs(placed[:, :2] - 64) < 54).all(1)
        np.testing.assert_allclose(found[order][inside], placed[inside, :2], atol=0.35)
    assert 10 < mirrored < 30


def test_flip_swaps_sides_and_visibility() -> None:
    turned = replace(PoseAugment.none(), flip=1.0)
    rng = np.random.default_rng(0)
    view, box, placed = sample(turned, (128, 128), rng)
    plain_view, plain_box, plain = sample(PoseAugment.none(), (128, 128), rng)
    np.testing.assert_allclose(placed[:, 0], 128 - plain[[0, 2, 1], 0])
    assert placed[:, 2].tolist() == [2, 1, 2]
    np.testing.assert_allclose(box[[0, 2]], 128 - plain_box[[2, 0]])
    assert np.abs(view[:, ::-1].astype(int) - plain_view).max() <= 2


def test_none_is_the_crop_of_evaluation() -> None:
    image, joints = scene()
    rng = np.random.default_rng(0)
    view, _, placed = sample(PoseAugment.none(), (96, 64), rng)
    to_input = crop_affine(BOX, (96, 64))
    assert np.array_equal(view, to_input.warp(image, (96, 64)))
    np.testing.assert_array_equal(placed, place(joints, to_input, (96, 64)))


def test_published_numbers() -> None:
    _, joints = scene()
    rng = np.random.default_rng(0)
    zooms, turns, mirrored = [], [], []
    plain = crop_affine(BOX, (128, 128)).matrix[0]
    for _ in range(3000):
        to_input = PoseAugment.published().draw_map(BOX, joints, PAIR, (128, 128), rng)
        flipped = mirrors(to_input)
        np.testing.assert_allclose(to_input.points(np.array([80.0, 80.0])), [64, 64])
        a, _, _, d, _, _ = to_input.matrix
        zooms.append(plain / np.hypot(a, d))
        turns.append(np.degrees(np.arctan2(d, -a if flipped else a)))
        mirrored.append(flipped)
    assert min(zooms) == pytest.approx(0.75)
    assert max(zooms) == pytest.approx(1.25)
    # A normal number cut at one spread lies on either rim with probability 0.159.
    assert np.mean(np.isclose(zooms, 1.25)) == pytest.approx(0.159, abs=0.025)
    assert np.mean(np.array(turns) != 0) == pytest.approx(0.6, abs=0.03)
    assert np.abs(turns).max() == pytest.approx(60)
    assert np.std([turn for turn in turns if 0 < abs(turn) < 59]) == pytest.approx(26, abs=2)
    assert np.mean(mirrored) == pytest.approx(0.5, abs=0.03)


def test_joints_outside_are_not_labelled() -> None:
    joints = np.array([[0.0, 5, 2], [10, 5, 2], [9.9, 5, 1], [3, 3, 0], [-1, 5, 2], [5, 11, 2]])
    placed = place(joints, Affine.scale(1, 1), (10, 10))
    assert placed[:, 2].tolist() == [2, 0, 1, 0, 0, 0]
    assert not placed[placed[:, 2] == 0].any()


def test_half_body_shows_one_half() -> None:
    lower = lower_half(LSP)
    assert [name for name, low in zip(LSP.joints, lower, strict=True) if low] == list(
        LSP.joints[:6]
    )
    joints = np.stack((np.full(14, 50.0), np.where(lower, 100.0, 20.0), np.full(14, 2.0)), 1)
    joints[:, 0] += np.arange(14)
    box = np.array([40.0, 10.0, 70.0, 110.0])
    augment = replace(PoseAugment.none(), half_body=1.0)
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(20):
        to_input = augment.draw_map(box, joints, LSP, (64, 64), rng)
        shown = place(joints, to_input, (64, 64))[:, 2] > 0
        assert np.array_equal(shown, lower) or np.array_equal(shown, ~lower)
        seen.add(bool(shown[0]))
    assert seen == {True, False}
    joints[4:, 2] = 0  # too few labelled joints for halves: the whole box as ever
    to_input = augment.draw_map(box, joints, LSP, (64, 64), rng)
    assert to_input == crop_affine(box, (64, 64))


def test_half_body_needs_names() -> None:
    augment = replace(PoseAugment.none(), half_body=0.5)
    with pytest.raises(HeatpointError, match="none are named after the lower one"):
        augment.check(PAIR)
    augment.check(LSP)
    PoseAugment.none().check(PAIR)


def test_gain_changes_channels_apart() -> None:
    view = np.full((4, 4, 3), 100, np.uint8)
    rng = np.random.default_rng(1)
    drawn = np.array([PoseAugment().recolour(view, rng)[0, 0] for _ in range(300)])
    assert drawn.min() >= 80
    assert drawn.max() <= 120
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]) < 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flip": 1.5}, "flip is from 0 to 1"),
        ({"half_body": -0.1}, "half_body is from 0 to 1"),
        ({"scale": 1.0}, "scale is from 0 to below 1"),
        ({"rotation": 200}, "rotation is from 0 to 180"),
        ({"shift": 0.6}, "shift is from 0 to below 0.5"),
    ],
)
def test_options_are_checked(options: dict, message: str) -> None:
    with pytest.raises(HeatpointError, match=message):
        PoseAugment(**options)
