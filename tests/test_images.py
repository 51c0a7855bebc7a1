"""Whatever an image comes as, it becomes upright uint8 RGB, or an error that names it."""

from __future__ import annotations

import io
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import EpsImagePlugin, ImageOps
from PIL import Image as PIL

from heatpoint.data import opening
from heatpoint.data.formats import SUFFIXES
from heatpoint.data.images import image_size, load_image
from heatpoint.data.rasters import open_parts
from heatpoint.errors import HeatpointError


def scene(height: int = 48, width: int = 64) -> np.ndarray:
    """Returns a smooth picture without any symmetry."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, (x + 2 * y) % 256], -1).astype(np.uint8)


def encode(image: PIL.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def jpeg(**options: object) -> bytes:
    return encode(PIL.fromarray(scene()), "JPEG", quality=95, **options)


def test_path_bytes_pillow_and_array_agree(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    PIL.fromarray(scene()).save(path)
    for source in (path, str(path), path.read_bytes(), PIL.open(path), scene()):
        loaded = load_image(source)
        assert np.array_equal(loaded, scene())
        assert loaded.flags.writeable


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_jpeg_pixels_equal_pillows(options: dict[str, object]) -> None:
    data = jpeg(**options)
    expected = np.asarray(PIL.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert np.abs(load_image(data) - expected).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_orientation_is_applied_exactly_once(orientation: int, form: str, tmp_path: Path) -> None:
    tags = PIL.Exif()
    tags[0x0112] = orientation
    path = tmp_path / f"turned.{form.lower()}"
    path.write_bytes(encode(PIL.fromarray(scene()), form, exif=tags))
    with PIL.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB")).astype(int)
        from_pillow = load_image(image)
    loaded = load_image(path)
    assert loaded.shape == expected.shape
    assert np.abs(loaded - expected).max() <= 1
    assert np.abs(from_pillow - expected).max() <= 1
    assert image_size(path) == loaded.shape[:2] == expected.shape[:2]
    assert loaded.flags.c_contiguous


def test_a_turned_tiff_file_has_its_right_value(tmp_path: Path) -> None:
    # Pillow turns TIFF files by itself, so the expected pixels are not taken from it.
    tags = PIL.Exif()
    tags[0x0112] = 6
    path = tmp_path / "turned.tif"
    path.write_bytes(encode(PIL.fromarray(scene(40, 60)), "TIFF", exif=tags))
    assert image_size(path) == (60, 40)
    assert np.array_equal(load_image(path), np.rot90(scene(40, 60), -1))
    with PIL.open(path) as image:
        assert np.array_equal(load_image(image), np.rot90(scene(40, 60), -1))
        assert np.array_equal(load_image(image), np.rot90(scene(40, 60), -1))


def test_sixteen_bit_pictures_are_turned_as_well(tmp_path: Path) -> None:
    tags = PIL.Exif()
    tags[0x0112] = 6
    values = np.arange(6, dtype=np.uint16).reshape(2, 3) * 13107
    data = encode(PIL.fromarray(values), "PNG", exif=tags)
    assert load_image(data)[..., 0].tolist() == [[153, 0], [204, 51], [255, 102]]


def test_an_orientation_that_only_xmp_tells_counts_as_well(tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    path.write_bytes(jpeg(xmp=b'<x:xmpmeta tiff:Orientation="6"></x:xmpmeta>'))
    assert image_size(path) == load_image(path).shape[:2] == (64, 48)


def test_a_postscript_file_never_starts_a_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", "gs")
    path = tmp_path / "evil.jpg"
    path.write_bytes(encode(PIL.fromarray(scene()), "EPS"))
    assert path.read_bytes().startswith(b"%!PS")
    for read in (load_image, image_size):
        with pytest.raises(HeatpointError, match=r"evil\.jpg is not an image.*%!PS"):
            read(path)


PILLOWS = [s for s in SUFFIXES if s not in (".pgm", ".pbm", ".jxl", ".npy")]


@pytest.mark.parametrize("suffix", PILLOWS)
def test_files_of_every_suffix_can_be_read(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    PIL.fromarray(scene()).save(path)
    assert load_image(path).shape[:2] == image_size(path) == (48, 64)


def test_a_broken_orientation_tag_leaves_the_pixels_as_they_are() -> None:
    tags = PIL.Exif()
    tags[0x0112] = 77
    assert np.abs(load_image(jpeg(exif=tags)).astype(int) - scene()).max() < 40


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK", "YCbCr"])
def test_unusual_modes_become_rgb(mode: str) -> None:
    image = PIL.fromarray(scene()).convert(mode)
    form = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    data = encode(image, form)
    expected = np.asarray(PIL.open(io.BytesIO(data)).convert("RGB")).astype(int)
    loaded = load_image(data)
    assert loaded.shape == (48, 64, 3)
    assert loaded.dtype == np.uint8
    assert np.abs(loaded - expected).max() <= 1


def test_transparency_is_dropped_not_blended() -> None:
    rgba = np.dstack([scene(), np.zeros((48, 64), np.uint8)])
    assert np.array_equal(load_image(encode(PIL.fromarray(rgba), "PNG")), scene())
    assert np.array_equal(load_image(rgba), scene())


def test_sixteen_bits_use_the_full_range() -> None:
    values = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    expected = [0, 0, 1, 1, 128, 255]
    for array in (values, values.astype(">u2")):
        assert load_image(array)[0, :, 0].tolist() == expected
    for suffix in (".png", ".tiff"):
        data = cv2.imencode(suffix, values)[1].tobytes()
        assert load_image(data)[0, :, 2].tolist() == expected
    colour = cv2.imencode(".png", np.dstack([values] * 3))[1].tobytes()
    assert np.abs(load_image(colour)[0, :, 1].astype(int) - expected).max() <= 1


def test_arrays_of_every_kind() -> None:
    grey = scene()[..., 0]
    for array in (grey, grey[..., None], grey / 255.0, (grey / 255.0).astype(np.float32)):
        assert np.array_equal(load_image(array), np.dstack([grey] * 3))
    assert np.array_equal(load_image(scene()[:, ::-1]), scene()[:, ::-1])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 8, 8), np.uint8), r"shape \(3, 8, 8\).*channels come last"),
        (np.zeros((0, 8, 3), np.uint8), "at least one pixel"),
        (np.zeros((8, 8, 3), np.int64), "holds int64; expected uint8"),
        (np.full((8, 8, 3), 255.0), "from 255 to 255; expected 0 to 1"),
        (np.full((8, 8, 3), np.nan), "expected 0 to 1"),
    ],
)
def test_wrong_arrays_say_what_was_expected(array: np.ndarray, message: str) -> None:
    with pytest.raises(HeatpointError, match=message):
        load_image(array)


def test_other_types_are_refused() -> None:
    with pytest.raises(HeatpointError, match="got int"):
        load_image(3)  # type: ignore[arg-type]
    with pytest.raises(HeatpointError, match="32-bit"):
        load_image(PIL.new("F", (4, 4)))


PNG = encode(PIL.fromarray(scene()), "PNG")


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("empty.jpg", b"", "empty"),
        ("text.jpg", b"<html>not found</html>", "text .'<html>not found<"),
        ("noise.png", bytes(range(128, 200)), "bytes 80 81 82"),
        ("half.jpg", jpeg()[: len(jpeg()) // 2], "cut off"),
        ("last-bytes.jpg", jpeg()[:-2], "cut off"),
        ("padded.jpg", jpeg()[: len(jpeg()) // 2] + bytes(5000), "cut off"),
        ("thumbnail.jpg", jpeg(exif=b"Exif\0\0" + jpeg())[: len(jpeg()) * 2 - 200], "cut off"),
        ("start.jpg", jpeg()[:100], "broken|cut off"),
        ("half.png", PNG[: len(PNG) // 2], "broken|cut off"),
        ("bad-byte.png", PNG[:99] + bytes([PNG[99] ^ 255]) + PNG[100:], "broken"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, content: bytes, found: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(HeatpointError, match=f"{name}.*({found})"):
        load_image(path)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    for read in (load_image, image_size):
        with pytest.raises(HeatpointError, match=r"gone\.jpg does not exist"):
            read(tmp_path / "gone.jpg")
        with pytest.raises(HeatpointError, match="is a folder"):
            read(tmp_path)
    (tmp_path / "a.jpg").write_text("hello")
    with pytest.raises(HeatpointError, match=r"a\.jpg is not an image.*hello"):
        image_size(tmp_path / "a.jpg")


def test_bytes_behind_the_end_do_no_harm() -> None:
    assert np.array_equal(load_image(jpeg() + b"trailer of a camera" * 9), load_image(jpeg()))


def test_a_huge_claim_is_refused_before_it_takes_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "MAX_PIXELS", 1000)
    for data in (jpeg(), PNG):
        with pytest.raises(HeatpointError, match="bomb claims 64 x 48 pixels"):
            load_image(data, "bomb")
    monkeypatch.setattr(opening, "MAX_PIXELS", 178_956_970)
    monkeypatch.setattr(PIL, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(HeatpointError, match="bomb is too large"):
        load_image(PNG, "bomb")


def test_threads_may_read_parts_of_one_file_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
    seek = tifffile.FileHandle.seek

    def slow_seek(*args: int) -> int:
        place = seek(*args)
        time.sleep(0.001)  # lets another thread in between seeking and reading
        return place

    pixels = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(16, 16), photometric="rgb")
    parts = open_parts(tmp_path / "a.tif")
    assert parts is not None
    assert parts.size == (128, 128)
    monkeypatch.setattr(tifffile.FileHandle, "seek", slow_seek)
    corners = [(x, y) for x in (0, 50, 100) for y in (0, 30, 90)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda at: parts.region(*at, at[0] + 25, at[1] + 35), corners))
    for (x, y), part in zip(corners, found, strict=True):
        assert np.array_equal(part, pixels[y : y + 35, x : x + 25])
