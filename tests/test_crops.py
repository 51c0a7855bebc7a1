"""The crop of a subject: ours, and the published one to the digit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from heatpoint.data.skeleton import SKELETONS
from heatpoint.geometry.crops import crop_affine, published_crop, published_mirror, published_points
from heatpoint.views.picture import prepare_crop


@pytest.mark.parametrize("size", [(256, 256), (256, 192), (96, 160)])
@pytest.mark.parametrize("box", [(10, 20, 30, 40), (5, 5, 400, 40), (-50, 3, 20, 900)])
def test_box_fits_with_its_margin(box: tuple, size: tuple[int, int]) -> None:
    to_input = crop_affine(box, size, padding=1.25)
    x1, y1, x2, y2 = to_input.boxes(np.array(box, np.float64)).tolist()
    assert (x1 + x2) / 2 == pytest.approx(size[1] / 2)
    assert (y1 + y2) / 2 == pytest.approx(size[0] / 2)
    fills = (x2 - x1) * 1.25 / size[1], (y2 - y1) * 1.25 / size[0]
    assert max(fills) == pytest.approx(1.0)
    a, b, _, d, e, _ = to_input.matrix
    assert (b, d) == (0, 0)
    assert a == pytest.approx(e), "the aspect is kept"


def test_rotation_is_clockwise_about_the_middle() -> None:
    to_input = crop_affine((0, 0, 10, 10), (100, 100), padding=1.0, rotation=90)
    np.testing.assert_allclose(
        to_input.points(np.array([[5.0, 5], [10, 5]])), [[50, 50], [50, 100]]
    )
    assert crop_affine((0, 0, 10, 10), (100, 100), 1.0, zoom=2.0).matrix[0] == 20


@pytest.mark.parametrize("side", [20.0, 4000.0])
def test_small_and_large_subjects_look_alike(side: float) -> None:
    """A bright disc on half of the subject's width is found where it should be."""
    canvas = round(side * 1.1)
    middle = canvas / 2
    away = (np.arange(canvas, dtype=np.float32) + 0.5 - middle) ** 2
    disc = (away[:, None] + away < (side / 4) ** 2).view(np.uint8) * 255
    image = np.repeat(disc[..., None], 3, 2)
    box = [middle - side / 2, middle - side / 2, middle + side / 2, middle + side / 2]
    pixels, frame = prepare_crop(image, box, (64, 64), 1.0)
    bright = pixels[0].astype(float)
    assert abs(float(bright.sum()) / 255 - np.pi * 16**2) < 0.06 * np.pi * 16**2
    place = np.arange(64) + 0.5
    assert float((bright.sum(0) * place).sum() / bright.sum()) == pytest.approx(32, abs=0.1)
    assert frame.to_image.points(np.array([32.0, 32.0])).tolist() == pytest.approx([middle] * 2)


def test_crop_half_outside_is_black_there() -> None:
    image = np.full((50, 50, 3), 200, np.uint8)
    pixels, _ = prepare_crop(image, [-40, 0, 10, 50], (64, 64), 1.0)
    assert int(pixels[:, :, :50].max()) == 0
    assert int(pixels[:, 2:-2, 54:].min()) == 200
    pixels, _ = prepare_crop(image, [1e5, 1e5, 1e5 + 9, 1e5 + 9], (64, 64), 1.25)
    assert int(pixels.max()) == 0, "a centre far outside sees nothing"


def test_a_box_without_extent_still_has_a_crop() -> None:
    to_input = crop_affine((5, 6, 5, 6), (64, 64))
    assert to_input.points(np.array([5.0, 6.0])).tolist() == pytest.approx([32, 32])
    assert np.isfinite(to_input.numpy()).all()


def test_published_geometry(golden: Path) -> None:
    data = np.load(golden / "functions" / "geometry_pose.npz")
    for i in range(len(data["center"])):
        center, scale = tuple(data["center"][i]), float(data["scale"][i])
        height, width = (int(side) for side in data["resolution_height_width"][i])
        to_crop = published_crop(center, scale, (height, width), float(data["rotation_degrees"][i]))
        np.testing.assert_allclose(to_crop.numpy(), data["matrix"][i][:2], rtol=0, atol=1e-10)
        plain = published_crop(center, scale, (256, 256))
        for convention, name in (("one-based", "one_based"), ("zero-based", "zero_based")):
            for start, invert, way in (
                ("points", False, "forward"),
                ("output_points", True, "inverse"),
            ):
                got = published_points(data[start][i], to_crop, convention, invert)  # type: ignore[arg-type]
                np.testing.assert_array_equal(got, data[f"{name}_{way}"][i])
            for corner, where in ((0.0, "upper_left"), (256.0, "bottom_right")):
                got = published_points(np.full(2, corner), plain, convention, True)  # type: ignore[arg-type]
                np.testing.assert_array_equal(got, data[f"crop_{where}_{name}"][i])


def test_published_mirror(golden: Path) -> None:
    data = np.load(golden / "functions" / "geometry_pose.npz")
    got = published_mirror(data["joints"], 300, SKELETONS["mpii16"].flip)
    np.testing.assert_array_equal(got, data["joints_flipped_width_300"])
