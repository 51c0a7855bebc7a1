"""One convention: wherever a point goes, the pixels drawn around it go too."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from golden_files import arrays
from published import center_scale

from heatpoint.data.augment import Augment
from heatpoint.geometry import (
    Affine,
    box_area,
    box_iou,
    clip_boxes,
    letterbox,
)

IMAGE_SIZE = (240, 320)
POINTS = [(160.0, 120.0), (150.3, 110.8), (171.25, 131.6)]


def blob(x: float, y: float, size: tuple[int, int], sigma: float = 7.0) -> np.ndarray:
    """Returns a picture of a Gaussian centred at the continuous point (x, y)."""
    rows, columns = np.mgrid[0 : size[0], 0 : size[1]] + 0.5
    grey = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    return np.dstack([np.rint(grey)] * 3).astype(np.uint8)


def mass_centre(image: np.ndarray) -> tuple[float, float]:
    rows, columns = np.mgrid[0 : image.shape[0], 0 : image.shape[1]] + 0.5
    weight = image[..., 0].astype(np.float64)
    return (weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()


def random_crops(count: int) -> list[tuple[Affine, tuple[int, int]]]:
    rng = np.random.default_rng(3)
    crops = []
    while len(crops) < count:
        chosen = Augment().draw_map(IMAGE_SIZE, (256, 256), rng)
        centre = chosen.points(np.array(POINTS))
        if ((centre > 70) & (centre < 256 - 70)).all():
            crops.append((chosen, (256, 256)))
    return crops


MAPS = [
    (Affine.scale(1, 1), IMAGE_SIZE),
    (Affine.flip(320), IMAGE_SIZE),
    (Affine.translate(7, -3), IMAGE_SIZE),
    (Affine.translate(7.4, -3.7), IMAGE_SIZE),
    (Affine.scale(2, 2), (480, 640)),
    (Affine.scale(1.7, 0.9), (216, 544)),
    (Affine.scale(0.5, 0.5), (120, 160)),
    (Affine.scale(0.37, 0.31), (75, 119)),
    (Affine.scale(0.2, 0.2), (48, 64)),
    (letterbox(IMAGE_SIZE, (512, 512)), (512, 512)),
    (letterbox(IMAGE_SIZE, (96, 160)), (96, 160)),
    (letterbox(IMAGE_SIZE, (64, 64)) @ Affine.flip(320), (64, 64)),
    (center_scale((155, 117), 200, (256, 192), 25), (256, 192)),
    *random_crops(12),
]


@pytest.mark.parametrize(("affine", "size"), MAPS)
@pytest.mark.parametrize("point", POINTS)
def test_the_centre_of_mass_follows_the_point(
    affine: Affine, size: tuple[int, int], point: tuple[float, float]
) -> None:
    drawn = affine.warp(blob(*point, IMAGE_SIZE), size)
    assert drawn.shape == (*size, 3)
    assert drawn.dtype == np.uint8
    expected = affine.points(np.array(point))
    assert np.abs(np.array(mass_centre(drawn)) - expected).max() < 0.05


@pytest.mark.parametrize(("affine", "size"), [m for m in MAPS if m[0].matrix[1] == 0])
def test_a_box_follows_its_pixels(affine: Affine, size: tuple[int, int]) -> None:
    box = np.array([130.0, 100.0, 190.0, 150.0])
    image = np.zeros((*IMAGE_SIZE, 3), np.uint8)
    image[100:150, 130:190] = 255
    # Soft edges: where a hard one lies between two samples, no resampling can tell.
    image = cv2.GaussianBlur(image, (0, 0), 3)
    drawn = affine.warp(image, size).astype(np.float64)[..., 0] / 255
    x1, y1, x2, y2 = affine.boxes(box)
    assert mass_centre(drawn[..., None]) == pytest.approx(((x1 + x2) / 2, (y1 + y2) / 2), abs=0.05)
    assert drawn.sum() == pytest.approx(box_area(np.array([x1, y1, x2, y2])), rel=0.02)


def test_flipping_twice_and_copying_change_no_pixel() -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 41, 3), np.uint8)
    mirrored = Affine.flip(41).warp(image, (30, 41))
    assert np.array_equal(mirrored, image[:, ::-1])
    moved = Affine.translate(5, -4).warp(image, (30, 41), border=9)
    assert np.array_equal(moved[:26, 5:], image[4:, :36])
    assert (moved[26:] == 9).all()
    assert (moved[:, :5] == 9).all()
    assert (Affine.translate(100, 0).warp(image, (30, 41)) == 0).all()


def test_shrinking_a_lot_averages_instead_of_skipping() -> None:
    texture = np.random.default_rng(0).integers(0, 256, (800, 800, 3), np.uint8)
    averaged = cv2.resize(texture, (100, 100), interpolation=cv2.INTER_AREA).astype(float)
    drawn = Affine.scale(1 / 8, 1 / 8).warp(texture, (100, 100))
    assert np.abs(drawn - averaged).max() <= 1
    drawn = Affine.scale(0.13, 0.13).warp(texture, (104, 104))
    # Bilinear alone would keep the whole contrast of the texture, about 50 grey levels.
    assert drawn.std() < 15


def test_the_border_grey_and_the_single_channel() -> None:
    image = np.full((10, 10), 200, np.uint8)
    drawn = letterbox((10, 10), (20, 40)).warp(image, (20, 40), border=7)
    assert drawn.shape == (20, 40)
    assert (drawn[:, :9] == 7).all()
    assert (drawn[1:-1, 11:29] == 200).all()


def test_composition_and_inverse() -> None:
    rng = np.random.default_rng(0)
    points = torch.from_numpy(rng.normal(size=(50, 2)) * 100)
    for _ in range(20):
        p, q = (Affine.from_numpy(rng.normal(size=(2, 3))) for _ in range(2))
        assert torch.allclose((p @ q).points(points), p.points(q.points(points)))
        assert torch.allclose(p.inverse().points(p.points(points)), points, atol=1e-6)
    assert Affine.from_numpy(Affine.flip(9).numpy()) == Affine.flip(9)
    with pytest.raises(ValueError, match="inverse"):
        Affine.scale(0, 1).inverse()
    with pytest.raises(ValueError, match="affine matrix"):
        Affine.from_numpy(np.eye(2))


@pytest.mark.parametrize("angle", [0.0, 30.0, 180.0])
def test_mapped_boxes_hold_the_mapped_corners(angle: float) -> None:
    affine = center_scale((10, 20), 64, (128, 128), angle)
    boxes = np.array([[1.0, 2.0, 30.0, 40.0], [5.0, 5.0, 6.0, 9.0]])
    corners = affine.points(boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]])
    expected = np.concatenate([corners.min(1), corners.max(1)], -1)
    assert np.allclose(affine.boxes(boxes), expected)
    assert np.allclose(affine.boxes(torch.from_numpy(boxes)).numpy(), expected)


def test_types_and_empty_arrays_pass_through() -> None:
    affine = letterbox((10, 20), (64, 64))
    for boxes in (np.zeros((0, 4), np.float32), torch.zeros(0, 4)):
        for result in (affine.boxes(boxes), clip_boxes(boxes, (5, 5))):
            assert type(result) is type(boxes)
            assert result.shape == (0, 4)
            assert result.dtype == boxes.dtype
    assert affine.points(torch.zeros(3, 5, 2)).shape == (3, 5, 2)


def test_letterbox_keeps_aspect_and_centres() -> None:
    corners = letterbox((480, 640), (512, 512)).boxes(np.array([0.0, 0.0, 640.0, 480.0]))
    assert corners.tolist() == pytest.approx([0, 64, 512, 448])
    corners = letterbox((100, 100), (384, 1280)).boxes(np.array([0.0, 0.0, 100.0, 100.0]))
    assert corners.tolist() == pytest.approx([448, 0, 832, 384])


def test_published_crop_map() -> None:
    table = arrays("geometry_affine")
    for i, (width, height) in enumerate(table["output_width_height"]):
        center = tuple(float(v) for v in table["center"][i])
        scale, size = float(table["scale"][i, 0]), (int(height), int(width))
        affine = center_scale(center, scale, size, float(table["rotation_degrees"][i]))
        assert np.allclose(affine.numpy(), table["matrix"][i], rtol=0, atol=1e-3)
        assert np.allclose(affine.inverse().numpy(), table["matrix_inverse"][i], rtol=0, atol=1e-3)
        mapped = affine.points(table["points"][i].astype(np.float64))
        assert np.allclose(mapped, table["points_mapped"][i], rtol=0, atol=1e-3)
        # The published way back for predictions leaves the rotation out.
        back = center_scale(center, scale, size).inverse().points(table["points_mapped"][i])
        assert np.allclose(back, table["points_mapped_back"][i], rtol=0, atol=1e-3)


def test_box_area_clip_and_overlap() -> None:
    boxes = np.array([[1.0, 2.0, 5.0, 10.0], [0.0, 0.0, 2.0, 2.0]])
    assert box_area(boxes).tolist() == [32, 4]
    assert box_area(np.array([5.0, 5.0, 1.0, 9.0])) == 0
    outside = np.array([[-5.0, 3.0, 90.0, 70.0]])
    assert clip_boxes(outside, (50, 80)).tolist() == [[0, 3, 80, 50]]
    a = np.float32([[0, 0, 2, 2], [5, 5, 5, 5]])
    b = np.float32([[1, 0, 3, 2], [0, 0, 2, 2], [9, 9, 10, 10]])
    np.testing.assert_allclose(box_iou(a, b), [[1 / 3, 1, 0], [0, 0, 0]], rtol=1e-5, atol=1e-8)
    assert box_iou(a[:0], b).shape == (0, 3)
    assert not math.isnan(float(box_iou(a[1:], a[1:])[0, 0]))
