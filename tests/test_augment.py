"""The views: boxes follow pixels, colours follow the published order, the defaults the recipe."""

from __future__ import annotations

import dataclasses
import json

import cv2
import numpy as np
import pytest
from golden_files import arrays

from heatpoint.data.augment import BORDER, Augment, crop_border
from heatpoint.data.scene import Scene
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.geometry import letterbox
from heatpoint.synthetic import fill

LABELS = np.arange(3)
BOXES = np.array([[10.0, 20.0, 60.0, 70.0], [80.0, 5.0, 150.0, 110.0], [100.0, 60.0, 130.0, 100.0]])


def scene() -> np.ndarray:
    """Returns a grey picture with each box in a colour of its own, the last one on top."""
    image = np.full((120, 160, 3), 40, np.uint8)
    for channel, (x1, y1, x2, y2) in enumerate(BOXES.astype(int)):
        image[y1:y2, x1:x2] = 0
        image[y1:y2, x1:x2, channel] = 255
    return image


def sample(
    augment: Augment,
    image: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns view, boxes and labels of one picture."""
    drawn = augment.view([Scene(image, boxes, labels)], size, rng)
    return drawn.image, drawn.boxes, drawn.labels


def test_border_of_the_random_crop() -> None:
    for size, border in arrays("geometry_affine")[f"border_of_{BORDER}"]:
        assert crop_border(int(size)) == border
    assert crop_border(1) == 0


@pytest.mark.parametrize("size", [(128, 128), (96, 160)])
@pytest.mark.parametrize("mosaic", [False, True])
def test_boxes_follow_the_pixels(size: tuple[int, int], mosaic: bool) -> None:
    augment = dataclasses.replace(Augment(), colour=0.0, lighting=0.0)
    seen = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        if mosaic:
            drawn = augment.view([Scene(scene(), BOXES, LABELS)] * 4, size, rng)
            view, boxes, labels = drawn.image, drawn.boxes, drawn.labels
        else:
            view, boxes, labels = sample(augment, scene(), BOXES, LABELS, size, rng)
        assert view.shape == (*size, 3)
        assert len(boxes) == len(labels)
        assert (boxes >= 0).all()
        assert (boxes <= [size[1], size[0], size[1], size[0]]).all()
        for (x1, y1, x2, y2), label in zip(np.rint(boxes).astype(int), labels, strict=True):
            inside = view[y1 + 2 : max(0, y2 - 2), x1 + 2 : max(0, x2 - 2)]
            if label != 1 and inside.size:
                assert (inside[..., label] > 250).all()
                seen += 1
        if not mosaic:
            red = np.argwhere(view[..., 0] > 128)
            if 0 in labels and len(red):
                extent = np.concatenate([red.min(0)[::-1], red.max(0)[::-1] + 1])
                extent_of_box = boxes[labels.tolist().index(0)]
                assert np.abs(extent - extent_of_box).max() <= 1
    assert seen > 40


def test_drawn_maps_follow_the_published_recipe() -> None:
    rng = np.random.default_rng(0)
    parts, flipped, centres = [], 0, []
    for _ in range(400):
        drawn = Augment().draw_map((480, 640), (512, 512), rng)
        flipped += drawn.matrix[0] < 0
        parts.append(512 / (640 * abs(drawn.matrix[0])))
        assert drawn.matrix[4] == pytest.approx(abs(drawn.matrix[0]))
        centres.append(drawn.inverse().points(np.array([256.0, 256.0])))
    assert {round(part, 6) for part in parts} == {round(0.6 + 0.1 * i, 6) for i in range(8)}
    assert 150 < flipped < 250
    low, high = np.min(centres, 0), np.max(centres, 0)
    assert (low >= (128, 128)).all()
    assert (high <= (640 - 128, 480 - 128)).all()
    assert (high - low > (370, 210)).all()


def test_none_is_the_letterbox_and_keeps_everything() -> None:
    rng = np.random.default_rng(0)
    view, boxes, labels = sample(Augment.none(), scene(), BOXES, LABELS, (96, 96), rng)
    expected = letterbox((120, 160), (96, 96))
    assert np.array_equal(view, expected.warp(scene(), (96, 96)))
    assert np.allclose(boxes, expected.boxes(BOXES))
    assert labels.tolist() == [0, 1, 2]


def test_mild_stays_near() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        drawn = Augment.mild().draw_map((100, 100), (100, 100), rng)
        assert 1 / 1.25 - 1e-9 <= abs(drawn.matrix[0]) <= 1 / 0.75 + 1e-9
        centre = drawn.inverse().points(np.array([50.0, 50.0]))
        assert np.abs(centre - 50).max() <= 14 + 1e-9


def test_flip_vertical_turns_image_and_boxes() -> None:
    upright = sample(Augment.none(), scene(), BOXES, LABELS, (96, 96), np.random.default_rng(0))
    turned = sample(
        dataclasses.replace(Augment.none(), flip_vertical=1.0),
        scene(),
        BOXES,
        LABELS,
        (96, 96),
        np.random.default_rng(0),
    )
    assert np.abs(turned[0].astype(int) - upright[0][::-1].astype(int)).max() <= 1
    assert np.allclose(turned[1][:, [1, 3]], 96 - upright[1][:, [3, 1]])
    assert np.allclose(turned[1][:, [0, 2]], upright[1][:, [0, 2]])


def test_chance_comes_from_the_generator_alone() -> None:
    views = [
        sample(Augment(), scene(), BOXES, LABELS, (64, 64), np.random.default_rng(seed))
        for seed in (5, 5, 6)
    ]
    assert all(np.array_equal(a, b) for a, b in zip(views[0], views[1], strict=True))
    assert not np.array_equal(views[0][0], views[2][0])


def published_colour(image: np.ndarray, augment: Augment, seed: int) -> np.ndarray:
    """Applies the steps one after the other to float pixels, as the released code does."""
    rng = np.random.default_rng(seed)
    pixels = image / 255.0
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None] / 255.0
    for step in rng.permutation(3):
        alpha = 1 + rng.uniform(-augment.colour, augment.colour)
        other = (0.0, grey.mean(), grey)[step]
        pixels = pixels * alpha + other * (1 - alpha)
    vectors = np.array(
        [
            [-0.58752847, -0.69563484, 0.41340352],
            [-0.5832747, 0.00994535, -0.81221408],
            [-0.56089297, 0.71832671, 0.41158938],
        ]
    )
    values = np.array([0.2141788, 0.01817699, 0.00341571])
    blue_green_red = vectors @ (values * rng.normal(size=3) * augment.lighting)
    return 255 * (pixels + blue_green_red[::-1])


@pytest.mark.parametrize("seed", range(8))
def test_one_colour_matrix_equals_the_published_steps(seed: int) -> None:
    image = np.random.default_rng(99).integers(0, 256, (40, 50, 3), np.uint8)
    augment = Augment(lighting=0.5)
    expected = np.clip(published_colour(image, augment, seed), 0, 255)
    drawn = augment.recolour(image, np.random.default_rng(seed))
    assert np.abs(drawn - expected).max() <= 1.5
    assert np.abs(drawn - expected).mean() < 0.35
    assert np.abs(drawn.astype(int) - image).max() > 10


def test_objects_outside_and_hardly_visible_go() -> None:
    corner, middle, line = (
        [0.0, 0.0, 10.0, 10.0],
        [60.0, 80.0, 100.0, 118.0],
        [30.0, 30.0, 30.0, 50.0],
    )
    boxes = np.array([corner, middle, line])
    zoomed = Augment(scale_low=0.25, scale_high=0.25, scale_step=0, flip=0, colour=0, lighting=0)
    rng = np.random.default_rng(1)
    counts = [len(sample(zoomed, scene(), boxes, LABELS, (64, 64), rng)[1]) for _ in range(50)]
    assert set(counts) == {0, 1}
    strict = dataclasses.replace(zoomed, min_visible=0.9)
    rng = np.random.default_rng(1)
    strict_counts = [
        len(sample(strict, scene(), boxes, LABELS, (64, 64), rng)[1]) for _ in range(50)
    ]
    assert sum(strict_counts) < sum(counts)
    kept = sample(Augment.none(), scene(), boxes, LABELS, (64, 64), rng)[2]
    assert kept.tolist() == [0, 1]


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (3000, 2)])
def test_odd_images_and_no_objects(shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 90, np.uint8)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        view, boxes, labels = sample(
            Augment(), image, np.zeros((0, 4)), np.zeros(0, np.int64), (64, 96), rng
        )
        assert view.shape == (64, 96, 3)
        assert boxes.shape == (0, 4)
        assert labels.shape == (0,)


def test_fields_survive_json_and_wrong_ones_are_refused() -> None:
    for augment in (Augment(), Augment.mild(), Augment.none()):
        fields = json.loads(json.dumps(dataclasses.asdict(augment)))
        assert Augment(**fields) == augment
    for wrong in ({"flip": 1.5}, {"scale_low": 0.0}, {"near_scale": 1.0}, {"lighting": -1.0}):
        with pytest.raises(HeatpointError, match=next(iter(wrong))):
            Augment(**wrong)


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_window_keeps_the_scale_and_holds_the_chosen_object(flip: float) -> None:
    augment = dataclasses.replace(Augment.none(), window=(64, 96), focus=1.0, flip=flip)
    image = np.zeros((300, 400, 3), np.uint8)
    image[200:220, 30:60] = 255
    box = np.array([[30.0, 200.0, 60.0, 220.0]])
    corners = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        view, placed, labels = sample(augment, image, box, np.array([3]), (150, 200), rng)
        assert view.shape == (64, 96, 3)
        assert labels.tolist() == [3]
        np.testing.assert_allclose(placed[0, 2:] - placed[0, :2], (15, 10))  # half the size
        x1, y1, x2, y2 = placed[0].round().astype(int)
        assert view[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].min() > 250
        corners.append((x1, y1))
    assert len(set(corners)) > 10


def test_window_without_objects_lies_inside_of_the_image() -> None:
    augment = dataclasses.replace(Augment.none(), window=(64, 64))
    image = np.full((300, 400, 3), 9, np.uint8)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        view, placed, _ = sample(
            augment, image, np.zeros((0, 4)), np.zeros(0, int), (300, 400), rng
        )
        assert view.min() == 9
        assert placed.shape == (0, 4)


def test_window_smaller_than_an_object_is_centred_on_it() -> None:
    augment = dataclasses.replace(Augment.none(), window=(32, 32), focus=1.0)
    image, box = np.zeros((100, 100, 3), np.uint8), np.array([[20.0, 20.0, 80.0, 80.0]])
    for seed in range(5):
        rng = np.random.default_rng(seed)
        _, placed, _ = sample(augment, image, box, np.array([0]), (100, 100), rng)
        np.testing.assert_allclose(placed, [[0, 0, 32, 32]])


def test_quarter_turn_turns_image_and_boxes() -> None:
    augment = dataclasses.replace(Augment.none(), quarter_turn=1.0)
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:20, 15:45] = 255
    view, placed, _ = sample(
        augment,
        image,
        np.array([[15.0, 10.0, 45.0, 20.0]]),
        np.array([0]),
        (40, 60),
        np.random.default_rng(0),
    )
    expected = np.zeros_like(image)
    expected[5:35, 20:30] = 255
    np.testing.assert_allclose(placed, [[20, 5, 30, 35]])
    np.testing.assert_array_equal(view, expected)


def test_window_and_mosaic_exclude_each_other() -> None:
    with pytest.raises(HeatpointError, match="window or mosaic"):
        Augment(window=(64, 64), mosaic=0.5)


HANDS = Skeleton(("left_hand", "right_hand", "tail"), pairs=((0, 1),))
DOTS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))


def dots() -> Scene:
    """Returns two objects whose three joints are dots of their own colours; one is not labelled."""
    joints = np.array([[[20.0, 30], [50, 40], [30, 60]], [[90, 30], [120, 50], [100, 70]]])
    image = np.zeros((100, 150, 3), np.uint8)
    y, x = np.mgrid[:100, :150] + 0.5
    for (a, b), colour in zip(joints[0], DOTS, strict=True):
        image[(x - a) ** 2 + (y - b) ** 2 < 25] = colour
    keypoints = np.concatenate((joints, np.full((2, 3, 1), 2.0)), -1)
    keypoints[1, 2] = 0
    boxes = np.array([[10.0, 20, 60, 70], [80, 20, 130, 80]])
    return Scene(image, boxes, np.array([0, 1]), keypoints, HANDS)


@pytest.mark.parametrize("turn", [{}, {"flip": 1.0}, {"flip_vertical": 1.0}, {"quarter_turn": 1.0}])
@pytest.mark.parametrize("both", [False, True])
def test_joints_follow_the_pixels_of_whole_pictures(turn: dict, both: bool) -> None:
    """One mirror makes a left hand a right one; two of them do not."""
    chances = {"flip": 0.0, **turn} | ({"flip": 1.0, "flip_vertical": 1.0} if both else {})
    augment = dataclasses.replace(Augment.mild(), colour=0.0, min_visible=0.0, **chances)
    swapped = sum(chances.values()) % 2 == 1
    order = [1, 0, 2] if swapped else [0, 1, 2]
    y, x = np.mgrid[:128, :128] + 0.5
    for seed in range(10):
        drawn = augment.view([dots()], (128, 128), np.random.default_rng(seed))
        assert drawn.keypoints is not None
        assert drawn.keypoints.shape == (len(drawn.boxes), 3, 3)
        first = drawn.keypoints[drawn.labels == 0]
        for row in first:
            for joint, channel in zip(row, order, strict=True):
                weight = drawn.image[..., channel].astype(np.float64)
                if joint[2] and (np.abs(joint[:2] - 64) < 54).all():
                    found = [(weight * x).sum() / weight.sum(), (weight * y).sum() / weight.sum()]
                    np.testing.assert_allclose(found, joint[:2], atol=0.4)
        for row in drawn.keypoints[drawn.labels == 1]:
            assert row[2].tolist() == [0, 0, 0]


def test_joints_of_a_mosaic_lie_in_their_quarter() -> None:
    augment = dataclasses.replace(Augment.none(), mosaic=1.0)
    looked_at = 0
    for seed in range(20):
        drawn = augment.view([dots()] * 4, (120, 160), np.random.default_rng(seed))
        assert drawn.keypoints is not None
        assert drawn.keypoints.shape == (len(drawn.boxes), 3, 3)
        for box, joints in zip(drawn.boxes, drawn.keypoints, strict=True):
            seen = joints[joints[:, 2] > 0]
            assert (seen[:, :2] >= box[:2] - 1).all()
            assert (seen[:, :2] <= box[2:] + 1).all()
        for joints in drawn.keypoints[drawn.labels == 0]:
            for (x, y, labelled), channel in zip(joints, range(3), strict=True):
                if labelled:
                    assert drawn.image[int(y), int(x), channel] > 200
                    looked_at += 1
    assert looked_at > 50


def test_a_mosaic_shows_objects_at_the_scale_of_whole_pictures() -> None:
    augment = dataclasses.replace(Augment.none(), mosaic=1.0)
    alone = Augment.none().view(
        [Scene(scene(), BOXES, LABELS)], (96, 128), np.random.default_rng(0)
    )
    sides = alone.boxes[:, 2:] - alone.boxes[:, :2]
    whole = 0
    for seed in range(20):
        four = [Scene(scene(), BOXES, LABELS)] * 4
        drawn = augment.view(four, (96, 128), np.random.default_rng(seed))
        found = drawn.boxes[:, 2:] - drawn.boxes[:, :2]
        assert (found <= sides[drawn.labels] + 1e-9).all()
        whole += np.isclose(found, sides[drawn.labels]).all(1).sum()
    assert whole > 20


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_four_corners_follow_any_turn(mosaic: float) -> None:
    quads = np.array([[[70.0, 40], [100, 50], [92, 74], [62, 64]]])
    image = np.zeros((120, 160, 3), np.uint8)
    fill(image, [quads[0]], [255, 255, 255])
    augment = Augment(rotation=180, quarter_turn=0.5, flip_vertical=0.5, colour=0, lighting=0)
    augment = dataclasses.replace(augment, mosaic=mosaic)
    boxes, seen = np.array([[62.0, 40, 100, 74]]), 0
    own = Scene(image, boxes, np.zeros(1, np.int64), points=quads)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        drawn = augment.view([own] * (1 + 3 * round(mosaic)), (128, 128), rng)
        assert drawn.points is not None
        again, one = np.zeros_like(drawn.image), drawn.points
        sides = np.roll(one, -1, 1) - one
        turns = sides[:, 0, 0] * sides[:, 1, 1] - sides[:, 0, 1] * sides[:, 1, 0]
        assert (turns > 0).all()  # clockwise, however it was mirrored
        # The first side is a long one, as in the picture: corners keep their meaning.
        lengths = np.linalg.norm(sides, axis=2)
        assert (lengths[:, 0] > lengths[:, 1]).all()
        np.testing.assert_allclose(drawn.boxes, np.concatenate((one.min(1), one.max(1)), 1))
        inside = ((one > 1) & (one < 127)).all((1, 2))
        if mosaic or not inside.all():
            continue  # what other quarters hide
        for quad in one:
            fill(again, [quad], [255, 255, 255])
        assert (np.abs(again.astype(int) - drawn.image) > 128).mean() < 0.005
        seen += len(one)
    assert mosaic or seen > 5
