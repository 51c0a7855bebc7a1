"""The crop of a subject: ours, and the published one to the digit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from golden_files import arrays, cases
from published import mirrored, pose_crop, pose_points

from heatpoint.data.skeleton import SKELETONS
from heatpoint.geometry import Affine, crop_affine
from heatpoint.views import Look, Whole


def crop(box: Sequence[float], padding: float) -> Look:
    """Returns the look at a box."""
    return Look((64, 64), crop_affine(box, (64, 64), padding))


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
    look = crop(box, 1.0)
    pixels = look.cut(Whole(image))
    bright = pixels[0].astype(float)
    assert abs(float(bright.sum()) / 255 - np.pi * 16**2) < 0.06 * np.pi * 16**2
    place = np.arange(64) + 0.5
    assert float((bright.sum(0) * place).sum() / bright.sum()) == pytest.approx(32, abs=0.1)
    assert look.to_image.points(np.array([32.0, 32.0])).tolist() == pytest.approx([middle] * 2)


def test_crop_half_outside_is_black_there() -> None:
    image = np.full((50, 50, 3), 200, np.uint8)
    pixels = crop([-40, 0, 10, 50], 1.0).cut(Whole(image))
    assert int(pixels[:, :, :50].max()) == 0
    assert int(pixels[:, 2:-2, 54:].min()) == 200
    pixels = crop([1e5, 1e5, 1e5 + 9, 1e5 + 9], 1.25).cut(Whole(image))
    assert int(pixels.max()) == 0, "a centre far outside sees nothing"


def test_a_box_without_extent_still_has_a_crop() -> None:
    to_input = crop_affine((5, 6, 5, 6), (64, 64))
    assert to_input.points(np.array([5.0, 6.0])).tolist() == pytest.approx([32, 32])
    assert np.isfinite(to_input.numpy()).all()


PLAIN_SIDE = 256
"""Side of the crop whose rectangle in the image the file has."""


def test_published_geometry() -> None:
    """The reference of ``published``, with which MPII's boxes are compared."""
    data = arrays("geometry_pose")
    for i in range(len(data["center"])):
        center, scale = tuple(data["center"][i]), float(data["scale"][i])
        height, width = (int(side) for side in data["resolution_height_width"][i])
        to_crop = pose_crop(center, scale, (height, width), float(data["rotation_degrees"][i]))
        np.testing.assert_allclose(to_crop.numpy(), data["matrix"][i][:2], rtol=0, atol=1e-10)
        plain = pose_crop(center, scale, (PLAIN_SIDE, PLAIN_SIDE))
        for convention, name in (("one-based", "one_based"), ("zero-based", "zero_based")):
            for start, invert, way in (
                ("points", False, "forward"),
                ("output_points", True, "inverse"),
            ):
                got = pose_points(data[start][i], to_crop, convention, invert)  # type: ignore[arg-type]
                np.testing.assert_array_equal(got, data[f"{name}_{way}"][i])
            for corner, where in ((0.0, "upper_left"), (float(PLAIN_SIDE), "bottom_right")):
                got = pose_points(np.full(2, corner), plain, convention, True)  # type: ignore[arg-type]
                np.testing.assert_array_equal(got, data[f"crop_{where}_{name}"][i])


def test_crops_are_the_published_ones() -> None:
    """A square box of the person's side, without a margin, gives the same map."""
    data = arrays("geometry_pose")
    for i, (height, width) in enumerate(data["resolution_height_width"]):
        x, y = data["center"][i]
        half = 100 * float(data["scale"][i])
        size, turn = (int(height), int(width)), float(data["rotation_degrees"][i])
        if height == width:
            box = (x - half, y - half, x + half, y + half)
            ours = crop_affine(box, size, padding=1.0, rotation=-turn)
            np.testing.assert_allclose(ours.numpy(), data["matrix"][i][:2], rtol=0, atol=1e-9)


@pytest.mark.parametrize("width", cases("geometry_pose", r"joints_flipped_width_(\d+)$"))
def test_published_mirror(width: str) -> None:
    data = arrays("geometry_pose")
    got = mirrored(data["joints"], int(width), SKELETONS["mpii16"].flip)
    np.testing.assert_array_equal(got, data[f"joints_flipped_width_{width}"])
    # Joints of an image are mirrored as its pixels are, pairs changing places.
    ours = Affine.flip(int(width)).points(data["joints"][:, :2])[list(SKELETONS["mpii16"].flip)]
    np.testing.assert_allclose(ours, data[f"joints_flipped_width_{width}"][:, :2])
