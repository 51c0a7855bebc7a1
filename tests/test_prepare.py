"""The input and the way back from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from heatpoint.errors import HeatpointError
from heatpoint.views.picture import channels_first, prepare, prepare_original, published_test_input


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("scale", [0.75, 1.0, 1.5])
@pytest.mark.parametrize("shape", [(48, 64), (64, 48), (50, 50), (300, 7)])
def test_letterbox_is_centred_black_outside_and_invertible(
    shape: tuple[int, int], scale: float
) -> None:
    image = np.full((*shape, 3), 255, np.uint8)
    pixels, frame = prepare(image, (96, 128), "a.jpg", scale)
    assert pixels.shape == (3, 96, 128)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert frame.path == "a.jpg"
    assert frame.image_size == shape
    x1, y1, x2, y2 = frame.to_image.inverse().boxes(np.array([0.0, 0.0, shape[1], shape[0]]))
    zoom = min(96 / shape[0], 128 / shape[1]) * scale
    assert (x1 + x2, y1 + y2) == pytest.approx((128, 96))
    assert (x2 - x1, y2 - y1) == pytest.approx((shape[1] * zoom, shape[0] * zoom))
    inside = np.zeros((96, 128), bool)
    inside[max(0, round(y1) - 1) : round(y2) + 1, max(0, round(x1) - 1) : round(x2) + 1] = True
    assert (pixels[:, ~inside] == 0).all()
    assert int(pixels[:, 48, 64].min()) > 200


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("shape", [(64, 96), (63, 97), (33, 32), (1, 1)])
def test_keep_resolution_copies_the_pixels(shape: tuple[int, int], published: bool) -> None:
    image = picture(*shape)
    pixels, frame = prepare_original(image, 32, "b.png", published=published)
    for side, padded in zip(shape, pixels.shape[1:], strict=True):
        assert padded == ((side | 31) + 1 if published else -(-side // 32) * 32)
    left, top = (round(v) for v in frame.to_image.inverse().points(np.zeros(2)))
    cut = pixels[:, top : top + shape[0], left : left + shape[1]]
    np.testing.assert_array_equal(cut.transpose(1, 2, 0), image)
    assert int(pixels.astype(int).sum()) == int(image.astype(int).sum())
    assert abs(left - (pixels.shape[2] - shape[1]) / 2) <= 1


def test_keep_resolution_with_a_scale() -> None:
    pixels, frame = prepare_original(picture(101, 203), 32, scale=0.5)
    assert pixels.shape == (3, 64, 128)
    corner = frame.to_image.inverse().boxes(np.array([0.0, 0.0, 203.0, 101.0]))
    assert corner.tolist() == pytest.approx([13, 7, 114, 57])
    with pytest.raises(HeatpointError, match="power of two"):
        prepare_original(picture(8, 8), 48, published=True)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (50, 20000), (20000, 50), (2, 2)])
def test_odd_images_need_little_memory(shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 200, np.uint8)
    for size in ((128, 128), (96, 160)):
        pixels, frame = prepare(image, size)
        assert pixels.shape == (3, *size)
        # What is less than a pixel thin in the input may fall between two pixel middles.
        if max(shape) < 100 * min(shape):
            assert 190 <= int(pixels.max()) <= 200
        assert frame.to_image.boxes(np.array([0.0, 0.0, size[1], size[0]])).shape == (4,)
    pixels, _ = prepare_original(image, 128)
    assert pixels.shape[1:] == tuple(-(-side // 128) * 128 for side in shape)


def test_published_test_rule(golden: Path) -> None:
    table = np.load(golden / "functions" / "geometry_test_input.npz")["table"]
    for row in table:
        fixed, pad, scale, height, width, in_height, in_width, x, y, scale_w, scale_h, *out = row
        rule = published_test_input(
            (int(height), int(width)), int(pad), (512, 384) if fixed else None, float(scale)
        )
        assert rule.size == (in_height, in_width)
        assert rule.center == (x, y)
        assert rule.extent == (scale_w, scale_h)
        assert [side // 4 for side in rule.size] == out
        middle = rule.to_input.points(
            np.array([x * width / int(width * scale), y * height / int(height * scale)])
        )
        assert middle.tolist() == pytest.approx([in_width / 2, in_height / 2])


def test_channels_first_is_a_transpose() -> None:
    image = picture(5, 9)
    turned = channels_first(image)
    np.testing.assert_array_equal(turned, image.transpose(2, 0, 1))
    assert turned.flags.c_contiguous
