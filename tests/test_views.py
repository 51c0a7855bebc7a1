"""Where views look, what the looks show, and the way back from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from golden_files import arrays
from published import published_input

from heatpoint.errors import HeatpointError
from heatpoint.geometry import crop_affine
from heatpoint.views import Look, Places, View, Whole, channels_first, input_size
from heatpoint.views.fields import LABELS, SCORES, Arrays
from heatpoint.views.pictures import Crops, Picture


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (height, width, 3), np.uint8)


def kept(shape: Sequence[int], multiple: int, scale: float = 1.0, trim: int = 0) -> Look:
    """Returns the look at a picture's own resolution."""
    view = Picture((512, 512), multiple, trim, (scale,), keep_resolution=True)
    (look,) = view.looks((int(shape[0]), int(shape[1])))
    return look


@pytest.mark.parametrize("scale", [0.75, 1.0, 1.5])
@pytest.mark.parametrize("shape", [(48, 64), (64, 48), (50, 50), (300, 7)])
def test_letterbox_is_centred_black_outside_and_invertible(
    shape: tuple[int, int], scale: float
) -> None:
    image = np.full((*shape, 3), 255, np.uint8)
    height, width = round(96 * scale), round(128 * scale)
    (look,) = Picture((96, 128), scales=(scale,)).looks(shape)
    pixels = look.cut(Whole(image))
    assert look.size == (height, width)
    assert pixels.shape == (3, height, width)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    x1, y1, x2, y2 = look.to_image.inverse().boxes(np.array([0.0, 0.0, shape[1], shape[0]]))
    zoom = min(96 / shape[0], 128 / shape[1]) * scale
    assert (x1 + x2, y1 + y2) == pytest.approx((width, height))
    assert (x2 - x1, y2 - y1) == pytest.approx((shape[1] * zoom, shape[0] * zoom))
    inside = np.zeros((height, width), bool)
    inside[max(0, round(y1) - 1) : round(y2) + 1, max(0, round(x1) - 1) : round(x2) + 1] = True
    assert (pixels[:, ~inside] == 0).all()
    assert int(pixels[:, height // 2, width // 2].min()) > 200


@pytest.mark.parametrize("shape", [(64, 96), (63, 97), (33, 32), (1, 1)])
def test_keep_resolution_copies_the_pixels(shape: tuple[int, int]) -> None:
    image = picture(*shape)
    look = kept(shape, 32)
    pixels = look.cut(Whole(image))
    for side, padded in zip(shape, pixels.shape[1:], strict=True):
        assert padded == -(-side // 32) * 32
    left, top = (round(v) for v in look.to_input.points(np.zeros(2)))
    cut = pixels[:, top : top + shape[0], left : left + shape[1]]
    np.testing.assert_array_equal(cut.transpose(1, 2, 0), image)
    assert int(pixels.astype(int).sum()) == int(image.astype(int).sum())
    assert abs(left - (pixels.shape[2] - shape[1]) / 2) <= 1


@pytest.mark.parametrize("scales", [(1.0,), (0.25, 1.0, 1.5)])
@pytest.mark.parametrize("shape", [(48, 64), (64, 48), (50, 50), (300, 7)])
def test_margins_stay_free_on_every_side(shape: tuple[int, int], scales: tuple[float, ...]) -> None:
    whole = np.array([0.0, 0.0, shape[1], shape[0]])
    looks = Picture((96, 128), scales=scales, margin=5.0).looks(shape)
    for look, scale in zip(looks, scales, strict=True):
        x1, y1, x2, y2 = look.to_input.boxes(whole)
        free = np.array([x1, y1, look.size[1] - x2, look.size[0] - y2])
        assert free.min() == pytest.approx(5 * scale)
        assert free[:2] == pytest.approx(free[2:])
        pixels = look.cut(Whole(np.full((*shape, 3), 255, np.uint8)))
        for rim in (0, -1):
            assert int(pixels[:, rim].max()) == int(pixels[:, :, rim].max()) == 0


def test_no_margin_changes_nothing() -> None:
    for shape in ((480, 640), (333, 500), (7, 2000)):
        (look,) = Picture((288, 384), margin=0.0).looks(shape)
        fitted = crop_affine((0, 0, shape[1], shape[0]), (288, 384), padding=1.0)
        assert look.to_input == fitted


@pytest.mark.parametrize("shape", [(64, 96), (63, 97), (33, 32)])
def test_keep_resolution_with_a_margin_copies_the_pixels(shape: tuple[int, int]) -> None:
    image = picture(*shape)
    (look,) = Picture((512, 512), 32, keep_resolution=True, margin=3.5).looks(shape)
    pixels = look.cut(Whole(image))
    for side, padded in zip(shape, look.size, strict=True):
        assert padded == -(-(side + 8) // 32) * 32
    left, top = (round(v) for v in look.to_input.points(np.zeros(2)))
    assert left >= 4
    assert top >= 4
    cut = pixels[:, top : top + shape[0], left : left + shape[1]]
    np.testing.assert_array_equal(cut.transpose(1, 2, 0), image)


@pytest.mark.parametrize("margin", [-1.0, 24.5, float("nan"), float("inf")])
def test_margins_that_leave_no_picture_are_refused(margin: float) -> None:
    with pytest.raises(HeatpointError, match=r"margin.*between 0 and 24, a quarter"):
        Picture((96, 128), margin=margin)


def test_keep_resolution_with_a_scale() -> None:
    look = kept((101, 203), 32, scale=0.5)
    assert look.cut(Whole(picture(101, 203))).shape == (3, 64, 128)
    corner = look.to_input.boxes(np.array([0.0, 0.0, 203.0, 101.0]))
    assert corner.tolist() == pytest.approx([13, 7, 114, 57])


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (50, 20000), (20000, 50), (2, 2)])
def test_odd_images_need_little_memory(shape: tuple[int, int]) -> None:
    image = Whole(np.full((*shape, 3), 200, np.uint8))
    for size in ((128, 128), (96, 160)):
        (look,) = Picture(size).looks(shape)
        pixels = look.cut(image)
        assert pixels.shape == (3, *size)
        # What is less than a pixel thin in the input may fall between two pixel middles.
        if max(shape) < 100 * min(shape):
            assert 190 <= int(pixels.max()) <= 200
        assert look.to_image.boxes(np.array([0.0, 0.0, size[1], size[0]])).shape == (4,)
    pixels = kept(shape, 128).cut(image)
    assert pixels.shape[1:] == tuple(-(-side // 128) * 128 for side in shape)


TEST_STRIDE = 4
"""Pixels of the input per cell of the output."""


def test_published_test_rule() -> None:
    """The reference of ``published``, for the record; ours is compared below."""
    for row in arrays("geometry_test_input")["table"]:
        fixed, pad, scale, height, width, in_height, in_width, x, y, scale_w, scale_h, *out = row
        size = (int(in_height), int(in_width))
        rule = published_input(
            (int(height), int(width)), int(pad), size if fixed else None, float(scale)
        )
        assert rule.size == size
        assert rule.center == (x, y)
        assert rule.extent == (scale_w, scale_h)
        assert [side // TEST_STRIDE for side in rule.size] == out
        middle = rule.to_input.points(
            np.array([x * width / int(width * scale), y * height / int(height * scale)])
        )
        assert middle.tolist() == pytest.approx([in_width / 2, in_height / 2])


def test_keep_resolution_is_the_published_one_but_for_a_needless_step() -> None:
    for row in arrays("geometry_test_input")["table"]:
        fixed, pad, scale, height, width, *size, x, y, _, _ = row[:-2]
        if fixed:
            continue
        multiple, image = int(pad) + 1, (int(height), int(width))
        look = kept(image, multiple, scale=float(scale))
        corner = look.to_input.points(np.zeros(2))[::-1]
        for axis, middle in enumerate((y, x)):
            resized, expected = int(image[axis] * scale), int(size[axis])
            # A side that fits already grows by a whole step there, and stays as it is here.
            needless = multiple if resized % multiple == 0 else 0
            assert look.size[axis] == expected - needless
            # An odd side has no middle pixel in an even input: there it lies half a pixel further.
            place = expected / 2 - middle - needless / 2 - resized % 2
            assert corner[axis] == pytest.approx(place)


def test_channels_first_is_a_transpose() -> None:
    image = picture(5, 9)
    turned = channels_first(image)
    np.testing.assert_array_equal(turned, image.transpose(2, 0, 1))
    assert turned.flags.c_contiguous


def test_a_look_at_a_part_shows_what_one_at_the_whole_does() -> None:
    image = Whole(picture(90, 120))
    for box in ((10.0, 20.0, 60.0, 70.0), (-30.0, 50.0, 40.0, 130.0), (300.0, 0.0, 340.0, 40.0)):
        to_input = crop_affine(box, (64, 64), 1.0, rotation=0)
        whole, part = (Look((64, 64), to_input, part=flag).cut(image) for flag in (False, True))
        # Interpolation counts in steps of a 32nd pixel from another origin.
        assert np.abs(whole.astype(int) - part.astype(int)).max() <= 8


def test_crops_look_at_each_place_and_answer_in_their_order() -> None:
    places = Places(
        np.float32([[10, 10, 30, 50], [0, 0, 8, 8]]), np.float32([0.5, 0.25]), np.array([0, 2])
    )
    view = Crops((64, 64), padding=1.0)
    looks = view.looks((100, 100), places)
    assert [look.box for look in looks] == [(10, 10, 30, 50), (0, 0, 8, 8)]
    assert [(look.score, look.label) for look in looks] == [(0.5, 0), (0.25, 2)]
    assert looks[0].to_input.points(np.array([20.0, 30.0])).tolist() == [32, 32]
    parts: list[Arrays] = [{"scores": np.float32([score])} for score in (0.8, 1.0)]
    merged = view.merge(looks, parts, (SCORES,), 1)
    assert merged["scores"].tolist() == pytest.approx([0.4, 0.25])
    (whole,) = view.looks((40, 60))
    assert whole.box == (0, 0, 60, 40)
    for padding in (0.0, 1000.0, float("nan")):
        with pytest.raises(HeatpointError, match=r"padding.*between 0\.1 and 100"):
            Crops((64, 64), padding=padding)


def test_scales_stand_one_behind_the_other_the_best_of_each() -> None:
    view = Picture((64, 64), 32, scales=(1.0, 2.0))
    looks = view.looks((50, 50))
    assert [look.size for look in looks] == [(64, 64), (128, 128)] == list(view.sizes)
    parts: list[Arrays] = [
        {"scores": np.float32([0.1, 0.9, 0.5]), "labels": np.array([0, 1, 2])},
        {"scores": np.float32([0.7]), "labels": np.array([3])},
    ]
    merged = view.merge(looks, parts, (SCORES, LABELS), 2)
    assert merged["labels"].tolist() == [1, 2, 3]
    assert view.again((50, 50), looks, parts) == ()
    for wrong in ((), (0.0,), (11.0,)):
        with pytest.raises(HeatpointError, match="scales must be numbers"):
            Picture((64, 64), scales=wrong)


def test_protocols_say_what_decides_about_the_numbers() -> None:
    assert Picture((64, 96), 32).protocol() == {
        "view": "Picture",
        "size": [64, 96],
        "keep_resolution": False,
        "scales": [1.0],
        "margin": 0.0,
    }
    assert Picture((64, 96), 32, keep_resolution=True).protocol()["size"] is None
    assert Crops((64, 96), padding=1.5).protocol() == {
        "view": "Crops",
        "size": [64, 96],
        "padding": 1.5,
    }


def test_views_are_known_by_name_and_legal_sizes_are_nearest() -> None:
    assert View.kinds["Picture"] is Picture
    assert View.kinds["Crops"] is Crops
    view = Picture((127, 127), 128, 1)
    assert [view.legal(side) for side in (1, 127, 190, 192, 255)] == [127, 127, 127, 255, 255]


def test_places_outside_of_the_picture_are_named() -> None:
    boxes = np.float32([[0, 0, 5, 5], [60, 0, 70, 5]])
    places = Places(boxes, np.ones(2, np.float32), np.zeros(2, np.int64))
    places.check_inside((50, 61), "a.jpg")
    with pytest.raises(HeatpointError, match=r"box 1 of a\.jpg, \(60, 0, 70, 5\).*50 x 40 pixels"):
        places.check_inside((40, 50), "a.jpg")


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((1, 2, 3), "one or two positive whole numbers"),
        (0, "one or two positive whole numbers"),
        ((64.0, 64), "one or two positive whole numbers"),
        (100, "the next legal size is 127$"),
        ((127, 128), "the next legal size is 127x255"),
    ],
)
def test_sizes_that_are_none(size: object, message: str) -> None:
    assert input_size(None, (127, 255), 128, 1) == (127, 255)
    assert input_size(127, (255, 255), 128, 1) == (127, 127)
    with pytest.raises(HeatpointError, match=message):
        input_size(size, (127, 127), 128, 1)  # type: ignore[arg-type]


def test_the_remedy_of_a_wrong_size_says_what_is_trimmed() -> None:
    message = r"size 512x512 .* must be multiples of 128 less 1: the next .* 639, the nearest 511$"
    with pytest.raises(HeatpointError, match=message):
        input_size(512, (511, 511), 128, 1)
    assert input_size((511, 127), (511, 511), 128, 1) == (511, 127)
    with pytest.raises(
        HeatpointError, match=r"must be divisible by 128: the next .* 512x640, the nearest 512$"
    ):
        input_size((511, 513), (512, 512), 128)
