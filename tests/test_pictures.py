"""Pictures as people have them: turned, deep, of several frames, of many formats, damaged."""

from __future__ import annotations

import io
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import pytest
from encoded import blocks, chunk, encode, tiff, turned
from PIL import Image as PIL
from PIL import ImageCms, PngImagePlugin
from PIL import __version__ as PIL_VERSION

from heatpoint.data import formats
from heatpoint.data.bands import Deep
from heatpoint.data.formats import files_below, is_picture, is_unread, unread
from heatpoint.data.images import image_size, load_image, read_header
from heatpoint.data.rasters import open_parts
from heatpoint.errors import HeatpointError

TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.swapaxes(a, 0, 1)[::-1, ::-1],
    8: lambda a: np.rot90(a, 1),
}
"""What EXIF says each orientation means: how the stored pixels become upright ones."""


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF", "tiff_lzw"])
def test_every_orientation_of_every_format(form: str, orientation: int, tmp_path: Path) -> None:
    options = {"exif": turned(orientation)}
    if form == "tiff_lzw":
        form, options = "TIFF", options | {"compression": "tiff_lzw"}
    path = tmp_path / f"a.{'tif' if form == 'TIFF' else form.lower()}"
    path.write_bytes(encode(PIL.fromarray(blocks()), form, **options))
    upright = TURNS[orientation](blocks()).astype(int)
    assert np.abs(load_image(path)[4::8, 4::8] - upright[4::8, 4::8]).max() < 30
    assert image_size(path) == load_image(path).shape[:2] == upright.shape[:2]
    header = read_header(path)
    assert (header.size, header.orientation, header.stored) == (
        upright.shape[:2],
        orientation,
        (32, 48),
    )
    with PIL.open(path) as image:
        assert np.array_equal(load_image(image), load_image(path))
        assert np.array_equal(load_image(image), load_image(path))
    parts = open_parts(path) if form == "TIFF" else None
    assert parts is None or (orientation == 1 and parts.size == (32, 48))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_deep_pictures_are_turned_too(form: str, colour: bool, orientation: int) -> None:
    values = blocks().astype(np.uint16) * 257
    if form == "TIFF":
        tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
        stream = io.BytesIO()
        tag = [(274, "H", 1, orientation, True)]
        kind = "rgb" if colour else "minisblack"
        tifffile.imwrite(
            stream, values if colour else values[..., 0], photometric=kind, extratags=tag
        )
        data = stream.getvalue()
    elif colour:
        plain = cv2.imencode(".png", values[..., ::-1])[1].tobytes()
        tags = turned(orientation).tobytes()[6:]
        data = plain[:33] + chunk(b"eXIf", tags) + plain[33:]
    else:
        data = encode(PIL.fromarray(values[..., 0]), "PNG", exif=turned(orientation))
    expected = blocks() if colour else np.dstack([blocks()[..., 0]] * 3)
    assert np.array_equal(load_image(data), TURNS[orientation](expected))


def test_a_png_that_tells_its_orientation_behind_its_pixels(tmp_path: Path) -> None:
    plain = encode(PIL.fromarray(blocks()), "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(plain[:-12] + chunk(b"eXIf", turned(6).tobytes()[6:]) + plain[-12:])
    assert image_size(path) == (48, 32)
    assert np.array_equal(load_image(path), TURNS[6](blocks()))


def test_a_tiff_whose_two_orientations_agree_is_turned_once(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    xmp = b'<x:xmpmeta tiff:Orientation="6"></x:xmpmeta>'
    for tags in ({274: 6, 700: xmp}, {700: xmp}):
        PIL.fromarray(blocks()).save(path, tiffinfo=tags)
        assert image_size(path) == (48, 32)
        assert np.array_equal(load_image(path), TURNS[6](blocks()))
        assert open_parts(path) is None


# -- Depth -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("most", "bits"), [(255, 8), (1023, 10), (3000, 12), (4095, 12)])
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("colour", [False, True])
def test_fewer_bits_in_sixteen(most: int, bits: int, suffix: str, colour: bool) -> None:
    values = np.linspace(0, most, 64).astype(np.uint16).reshape(8, 8)
    given = np.dstack([values] * 3) if colour else values
    seen = load_image(cv2.imencode(suffix, given)[1].tobytes())
    assert np.array_equal(seen[..., 0], np.rint(values * 255.0 / (2**bits - 1)))
    assert np.array_equal(seen, load_image(given))


def test_pictures_of_one_data_set_are_scaled_alike(tmp_path: Path) -> None:
    dark = np.array([[0, 500, 1000]], np.uint16)
    PIL.fromarray(dark).save(tmp_path / "dark.png")
    for source in (dark, PIL.fromarray(dark), tmp_path / "dark.png"):
        assert load_image(source)[..., 0].tolist() == [[0, 125, 249]]
        assert load_image(source, bits=12)[..., 0].tolist() == [[0, 31, 62]]
        with pytest.raises(HeatpointError, match="holds values up to 1,000, more than the 8 bits"):
            load_image(source, bits=8)
    inverted = encode(PIL.fromarray(dark), "TIFF", tiffinfo={262: 0})
    assert load_image(inverted, bits=12)[..., 0].tolist() == [[255, 224, 193]]
    declared = b"P5\n3 1\n1023\n" + dark.astype(">u2").tobytes()
    assert load_image(declared, bits=8)[..., 0].tolist() == [[0, 125, 249]]


def test_a_depth_that_is_declared_is_not_guessed(tmp_path: Path) -> None:
    values = np.array([[0, 500, 1000]], np.uint16)  # 10 bits would hold them
    expected = [[0, 31, 62]]
    marks = PngImagePlugin.PngInfo()
    marks.add(b"sBIT", b"\x0c")
    assert load_image(encode(PIL.fromarray(values), "PNG", pnginfo=marks))[..., 0].tolist() == (
        expected
    )
    grey = b"P5\n3 1\n4095\n" + values.astype(">u2").tobytes()
    assert load_image(grey)[..., 0].tolist() == expected
    twelve = b"\x00\x01\xf4\x3e\x80\x00"  # 0, 500, 1000 packed
    tags = {256: 3, 257: 1, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 5}
    assert load_image(tiff(tags, twelve))[..., 0].tolist() == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"P4\n8 1\n\xa0", [0, 255, 0, 255, 255, 255, 255, 255]),
        (b"P5\n3 1\n15\n\x00\x05\x0f", [0, 85, 255]),
        (b"P5\n3 1\n255\n\x00\x05\x0f", [0, 5, 15]),
        (b"P5\n2 1\n65535\n\x00\xff\xff\xff", [1, 255]),
        (b"P2\n3 1\n1023\n0 512 1023\n", [0, 128, 255]),
    ],
)
def test_portable_maps_use_the_maximum_they_declare(data: bytes, expected: list[int]) -> None:
    assert load_image(data)[0, :, 1].tolist() == expected


def test_white_is_zero() -> None:
    values = np.array([[0, 65535, 257]], np.uint16)
    assert load_image(encode(PIL.fromarray(values), "TIFF", tiffinfo={262: 0})).tolist() == [
        [[255] * 3, [0] * 3, [254] * 3]
    ]
    grey = np.array([[0, 255, 1]], np.uint8)
    data = encode(PIL.fromarray(255 - grey), "TIFF", tiffinfo={262: 0})
    assert load_image(data)[..., 0].tolist() in ([[0, 255, 1]], [[255, 0, 254]])


def test_levels_that_reach_the_network() -> None:
    thermal = Deep(np.arange(51200, 51650, dtype=np.uint16))
    assert (thermal.bits, thermal.levels()) == (16, (450, 3))
    assert Deep(np.arange(4096, dtype=np.uint16)).levels() == (4096, 256)


@pytest.mark.parametrize("mode", ["F", "I"])
def test_numbers_without_a_range_are_refused(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    PIL.new(mode, (4, 4), 7).save(path)
    with pytest.raises(HeatpointError, match=r"a\.tif holds 32-bit.*convert it to 8 or 16 bits"):
        load_image(path)


# -- Colour ----------------------------------------------------------------------------------------


def flat(mode: str, colour: object) -> PIL.Image:
    return PIL.new(mode, (16, 16), colour)


def palette(transparency: object = None) -> bytes:
    image = flat("P", 1)
    image.putpalette([9, 9, 9, 200, 100, 50, 1, 2, 3])
    options = {} if transparency is None else {"transparency": transparency}
    return encode(image, "PNG", **options)


def lab() -> bytes:
    profiles = (ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"))
    change = ImageCms.buildTransform(*profiles, "RGB", "LAB")
    return encode(ImageCms.applyTransform(flat("RGB", (200, 100, 50)), change), "TIFF")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (palette(), (200, 100, 50)),
        (palette(1), (200, 100, 50)),
        (palette(b"\xff\x20\x00"), (200, 100, 50)),
        (encode(flat("CMYK", (0, 255, 255, 0)), "JPEG", quality=95), (255, 0, 0)),
        (encode(flat("CMYK", (0, 255, 255, 0)), "TIFF"), (255, 0, 0)),
        (encode(flat("LA", (77, 0)), "PNG"), (77, 77, 77)),
        (encode(flat("RGBA", (200, 100, 50, 0)), "PNG"), (200, 100, 50)),
        (encode(flat("RGBA", (200, 100, 50, 10)), "TIFF"), (200, 100, 50)),
        pytest.param(
            encode(flat("YCbCr", (76, 85, 255)), "TIFF"),
            (254, 0, 0),
            marks=pytest.mark.skipif(
                int(PIL_VERSION.split(".")[0]) < 13, reason="Pillow 12 cannot read what it writes"
            ),
        ),
        (encode(flat("YCbCr", (76, 85, 255)), "JPEG"), (254, 0, 0)),
        (lab(), (200, 100, 50)),
        (encode(flat("1", 1), "TIFF", compression="group4"), (255, 255, 255)),
        (encode(flat("L", 77), "GIF"), (77, 77, 77)),
    ],
    ids=count(),
)
def test_colours_have_their_right_values(data: bytes, expected: tuple[int, ...]) -> None:
    assert np.abs(load_image(data)[8, 8].astype(int) - expected).max() <= 2


# -- Frames ----------------------------------------------------------------------------------------


def frames(form: str, **options: object) -> bytes:
    made = [PIL.new("RGB", (24, 16), (10, 40 * place, 200)) for place in range(4)]
    return encode(made[0], form, save_all=True, append_images=made[1:], **options)


@pytest.mark.parametrize("form", ["TIFF", "GIF", "PNG", "WEBP", "AVIF"])
def test_every_frame_can_be_read(form: str) -> None:
    data = frames(form, lossless=True) if form == "WEBP" else frames(form)
    assert read_header(data).frames == 4
    for place in range(4):
        seen = load_image(data, frame=place)[8, 8].astype(int)
        assert np.abs(seen - (10, 40 * place, 200)).max() < 12
    with pytest.raises(HeatpointError, match="wide has no frame 5"):
        load_image(data, "wide", frame=4)


def test_overviews_are_no_frames(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for kind, value in ((0, 10), (1, 20), (2, 40)):
            writer.write(np.full((8, 8), value, np.uint8), subfiletype=kind)
    assert read_header(path).frames == 2
    assert [int(load_image(path, frame=place)[0, 0, 0]) for place in (0, 1)] == [10, 40]


def test_a_stereo_picture_is_one_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.mpo"
    path.write_bytes(frames("MPO"))
    assert read_header(path).frames == 1


# -- Formats and folders ---------------------------------------------------------------------------


def test_a_phones_pictures() -> None:
    pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    assert load_image(encode(PIL.new("RGB", (8, 8)), "PNG")) is not None  # registers the formats
    data = encode(PIL.fromarray(blocks()), "HEIF", quality=95)
    assert read_header(data).size == (32, 48)
    assert np.abs(load_image(data)[4::8, 4::8].astype(int) - blocks()[4::8, 4::8]).max() < 30


@pytest.mark.parametrize("container", [False, True])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("size", [(32, 48), (17, 301), (64, 64), (90, 160)])
def test_jpeg_xl(size: tuple[int, int], depth: int, container: bool, tmp_path: Path) -> None:
    codecs = pytest.importorskip("imagecodecs", reason="imagecodecs is not installed")
    pixels = blocks(*size)
    given = pixels if depth == 8 else pixels.astype(np.uint16) * 257
    path = tmp_path / "a.jxl"
    path.write_bytes(codecs.jpegxl_encode(given, lossless=True, usecontainer=container))
    assert image_size(path) == size
    assert np.array_equal(load_image(path), pixels)
    assert read_header(path).frames == 1


def test_an_animation_of_jpeg_xl() -> None:
    codecs = pytest.importorskip("imagecodecs", reason="imagecodecs is not installed")
    film = np.stack([blocks(), blocks()[::-1]])
    data = codecs.jpegxl_encode(film, lossless=True, photometric="rgb")
    assert read_header(data).frames == 2
    assert np.array_equal(load_image(data, frame=1), blocks()[::-1])


def test_what_systems_leave_behind_is_no_picture(tmp_path: Path) -> None:
    left = ["._a.jpg", ".a.jpg", "Thumbs.db", "__MACOSX/a.jpg", "@eaDir/a.jpg", ".cache/a.jpg"]
    real = ["a.jpg", "B.JPG", "sub/c.Jpeg", "sub/raw.CR2", "d.svg", "notes.txt"]
    for name in left + real:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    files = sorted(files_below(tmp_path))
    assert files == sorted(tmp_path / name for name in real)
    assert [one.name for one in files if is_picture(one)] == ["B.JPG", "a.jpg", "c.Jpeg"]
    assert [one.name for one in files if is_unread(one)] == ["d.svg", "raw.CR2"]
    assert unread(files) == "1 x .cr2 (camera raw data), 1 x .svg (a drawing or document)"
    assert list(files_below(tmp_path / "gone")) == []


def test_pictures_that_an_extra_would_read_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "UNREAD", {".heic": "needs heatpoint[heic]"})
    assert unread([Path("a.HEIC"), Path("b.heic")]) == "2 x .heic (needs heatpoint[heic])"


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    for name in ("photo", "photo.txt", "photo.png", "a b#1%20.JPG"):
        (tmp_path / name).write_bytes(encode(PIL.fromarray(blocks()), "JPEG"))
        assert image_size(tmp_path / name) == load_image(tmp_path / name).shape[:2] == (32, 48)
