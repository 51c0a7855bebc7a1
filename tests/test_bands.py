"""Pictures that are not 8-bit RGB: one to many channels, uint8 or uint16, end to end."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from encoded import tiff
from imagecodecs import zstd_encode
from numpy.typing import NDArray
from PIL import Image as PIL

import heatpoint
from heatpoint import zoo
from heatpoint.cli import main
from heatpoint.data.augment import Augment
from heatpoint.data.bands import stretched
from heatpoint.data.images import load_image, load_shown, read_header
from heatpoint.data.rasters import TiffParts, array_of, open_parts
from heatpoint.data.readers import read
from heatpoint.data.skeleton import SKELETONS
from heatpoint.data.validate import clean
from heatpoint.errors import HeatpointError
from heatpoint.geometry import RGB, Affine, Bands
from heatpoint.inference import KeepOptions, RunOptions
from heatpoint.inference.predict import looking, open_runner
from heatpoint.inference.sources import Source
from heatpoint.networks import take_channels
from heatpoint.zoo.detector import Detector

SIDE = 96


def drawn(folder: Path, bands: Bands, ending: str = "npy", count: int = 8) -> Path:
    """Writes a data set whose objects are seen in the last channel alone."""
    rows, images = [], []
    for n in range(count):
        rng, top = np.random.default_rng(n), bands.largest
        pixels = rng.integers(0, top // 4, (SIDE, SIDE, bands.channels))
        x, y = rng.integers(8, 60, 2).tolist()
        pixels[y : y + 22, x : x + 26, -1] += top // 2
        write(folder / f"{n}.{ending}", pixels.astype(bands.dtype))
        images.append({"id": n, "file_name": f"{n}.{ending}", "width": SIDE, "height": SIDE})
        rows.append({"id": n, "image_id": n, "category_id": 1, "bbox": [x, y, 26, 22]})
    path = folder / "train.json"
    categories = [{"id": 1, "name": "cell"}]
    path.write_text(json.dumps({"images": images, "annotations": rows, "categories": categories}))
    return path


def write(path: Path, pixels: NDArray[Any]) -> None:
    if path.suffix == ".npy":
        np.save(path, pixels)
    elif path.suffix == ".tif":
        planes = np.moveaxis(pixels, -1, 0)
        tifffile.imwrite(path, planes, photometric="minisblack", planarconfig="separate")
    else:
        PIL.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(path)


def options(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        **{"out": str(folder), "model": "centernet_tiny", "size": SIDE, "batch_size": 8},
        **{"lr": 3e-3, "ema": 0.9, "augment": "none", "precision": "fp32", "workers": 0},
        **{"accelerator": "cpu", "warmup": 0.0, "freeze": 0, "threads": 1, **more},
    }


@pytest.mark.parametrize(
    ("bands", "ending", "asked", "file"),
    [
        (Bands(1, "uint16"), "png", 1, "model.onnx"),
        (Bands(2, "uint8"), "npy", 0, "model.xml"),
        (Bands(5, "uint16"), "tif", 0, "model.onnx"),
    ],
    ids=str,
)
def test_a_run_from_files_to_exported_file(
    tmp_path: Path, bands: Bands, ending: str, asked: int, file: str
) -> None:
    """A run that stops and goes on is bit-equal; what it exports finds the same."""
    data = str(drawn(tmp_path, bands, ending))
    given = {"val": data, "channels": asked, "epochs": 2, "augment": "mild"}
    heatpoint.train(data, **options(tmp_path / "whole", **given))
    heatpoint.train(data, **options(tmp_path / "parts", **given), stop_after=1)
    heatpoint.train(data, **options(tmp_path / "parts", **given), resume=True)
    whole, parts = (
        Detector.load(tmp_path / f"{name}/last.safetensors") for name in ("whole", "parts")
    )
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, parts.network.state_dict()[name]), name
    assert whole.bands == bands
    measured, expected = whole.network.mean.numpy(), pixels_of(data, bands).mean((0, 1, 2))
    np.testing.assert_allclose(measured, expected, rtol=0.02)
    heatpoint.evaluate(whole, data)
    about = heatpoint.export(whole, tmp_path / file, flip=True, calibrate=None)
    assert about.bands == bands
    pictures = str(tmp_path / f"0.{ending}")
    (found,) = heatpoint.predict(tmp_path / file, pictures, score=0.0)
    (own,) = heatpoint.predict(whole, pictures, score=0.0, flip=True, precision="fp32")
    np.testing.assert_allclose(found.scores[:5], own.scores[:5], atol=1e-3)
    assert own.plot(pictures).shape == (SIDE, SIDE, 3)
    with pytest.raises(HeatpointError, match="are expected, as the pictures"):
        heatpoint.predict(whole, np.zeros((SIDE, SIDE, 3), np.uint8))
    runner = open_runner(whole, RunOptions(), KeepOptions(), 0.0)
    with pytest.raises(HeatpointError, match="films are 8-bit RGB"):
        looking(runner, None, RunOptions(), KeepOptions())


def pixels_of(data: str, bands: Bands) -> NDArray[Any]:
    records = read(data).images
    return np.stack([load_image(record.path, bands=bands) for record in records])


def test_a_network_learns_what_the_fifth_channel_alone_shows(tmp_path: Path) -> None:
    data = str(drawn(tmp_path, Bands(5, "uint16")))
    heatpoint.train(data, **options(tmp_path / "run", val=data, epochs=50, eval_every=50))
    metrics = heatpoint.evaluate(str(tmp_path / "run" / "last.safetensors"), data)
    assert metrics.boxes is not None
    assert metrics.boxes.ap50 > 0.9


def test_files_are_read_as_they_are(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (20, 30, 5)).astype(np.uint16)
    planar, contiguous = tmp_path / "planar.tif", tmp_path / "contiguous.tif"
    write(planar, pixels)
    tifffile.imwrite(contiguous, pixels, photometric="rgb", compression="zlib")
    np.save(tmp_path / "first.npy", np.moveaxis(pixels, -1, 0))
    np.save(tmp_path / "last.npy", pixels)
    for name in ("planar.tif", "contiguous.tif", "first.npy", "last.npy"):
        for source in (tmp_path / name, (tmp_path / name).read_bytes()):
            np.testing.assert_array_equal(load_image(source, bands=Bands(5, "uint16")), pixels)
            header = read_header(source)
            assert (header.size, header.bands, header.rgb) == ((20, 30), Bands(5, "uint16"), False)
    assert load_shown(planar).shape == (20, 30, 3)
    mapped = array_of(tmp_path / "last.npy", "")
    assert isinstance(mapped.base, np.memmap)  # type: ignore[union-attr]


@pytest.mark.parametrize("bands", [Bands(1, "uint16"), Bands(5), Bands(5, "uint16")], ids=str)
@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_files_are_read_part_by_part(tmp_path: Path, bands: Bands, order: str) -> None:
    """Parts equal those of the whole picture, whatever the layout."""
    rng, path = np.random.default_rng(0), tmp_path / "a.tif"
    pixels = rng.integers(0, bands.largest, (70, 90, bands.channels)).astype(bands.dtype)
    layouts: list[dict[str, Any]] = [
        {},
        {"rowsperstrip": 16, "compression": "zlib", "predictor": True},
        {"tile": (32, 48), "compression": "zlib"},
        {"tile": (32, 48)},
    ]
    for layout in layouts:
        for planes in (False, True):
            values = np.moveaxis(pixels, -1, 0) if planes else pixels
            config: dict[str, Any] = {"planarconfig": "separate" if planes else "contig"}
            if bands.channels == 1:
                values, config = pixels[..., 0], {}
            config |= {"byteorder": order, "photometric": "minisblack"}
            tifffile.imwrite(path, values, **config, **layout)
            raster = Source(path, bands=bands).open(whole=False)
            assert isinstance(raster, TiffParts)
            assert raster.size == (70, 90)
            for left, top, right, bottom in ((0, 0, 90, 70), (40, 25, 70, 69), (89, 69, 90, 70)):
                part = raster.region(left, top, right, bottom)
                assert part.dtype == bands.dtype
                np.testing.assert_array_equal(part, pixels[top:bottom, left:right])
    assert open_parts(path, Bands(4)) is None


@pytest.mark.parametrize("channels", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_no_layout_of_a_tiff_file_loses_channels(tmp_path: Path, channels: int, dtype: str) -> None:
    """Pillow takes many of these for grey, and some of five channels for RGB."""
    path, bands = tmp_path / "a.tif", Bands(channels, dtype)
    shape = (40, 60, channels)
    pixels = np.random.default_rng(0).integers(0, bands.largest, shape).astype(dtype)
    layouts: list[dict[str, Any]] = [{}, {"compression": "zlib"}, {"tile": (16, 32)}]
    means = ["minisblack", *(["rgb"] if channels > 4 else [])]
    for layout, photometric in itertools.product(layouts, means):
        for planes in ("contig", "separate"):
            values = np.moveaxis(pixels, -1, 0) if planes == "separate" else pixels
            config: dict[str, Any] = {"planarconfig": planes, "photometric": photometric}
            tifffile.imwrite(path, values, **config, **layout)
            assert read_header(path).bands == bands
            np.testing.assert_array_equal(load_image(path, bands=bands), pixels)
    if channels == 4:
        assert open_parts(path, RGB) is None  # which would pass over the fourth


def test_a_header_is_read_without_the_pixels(tmp_path: Path) -> None:
    """A picture of four gigabytes, of which the file holds none, has a size and parts."""
    path, shape = tmp_path / "a.tif", (20_000, 20_000, 5)
    layout: dict[str, Any] = {"tile": (1008, 1008), "compression": "zlib", "dtype": np.uint16}
    layout |= {"photometric": "minisblack", "planarconfig": "contig"}
    tifffile.imwrite(path, (b"" for _ in range(400)), shape=shape, **layout)
    header = read_header(path)
    assert (header.size, header.bands) == (shape[:2], Bands(5, "uint16"))
    raster = Source(path, bands=header.bands).open(whole=False)
    assert not raster.region(19_900, 900, 20_000, 1100).any()
    with pytest.raises(HeatpointError, match="claims 4,000,000,000 bytes; cut it into tiles"):
        load_image(path, bands=header.bands)


def test_grey_and_colour_stay_rgb_unless_asked_for(tmp_path: Path) -> None:
    grey = np.arange(600, dtype=np.uint16).reshape(20, 30) * 100
    for name in ("grey.png", "grey.npy"):
        write(tmp_path / name, grey[..., None] if name.endswith("png") else grey)
        assert load_image(tmp_path / name).shape == (20, 30, 3)
        kept = load_image(tmp_path / name, bands=Bands(1, "uint16"))
        np.testing.assert_array_equal(kept[..., 0], grey)
        assert read_header(tmp_path / name).rgb
    colour = np.zeros((20, 30, 4), np.uint8)
    colour[..., 3] = 7
    write(tmp_path / "rgba.png", colour)
    assert load_image(tmp_path / "rgba.png", bands=Bands(4)).max() == 7
    assert load_image(tmp_path / "rgba.png").max() == 0


@pytest.mark.parametrize("shape", [(5, 5, 30), (30, 5, 30), (30, 40, 2, 2), (7,), (200, 300, 100)])
def test_axes_that_are_not_clear_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    with pytest.raises(HeatpointError, match="no axis is clearly that of the channels"):
        load_image(tmp_path / "a.npy")


def test_objects_in_npy_files_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}, print]), allow_pickle=True)
    with pytest.raises(HeatpointError, match=r"no \.npy file of plain numbers"):
        load_image(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("second", "channels", "said"),
    [
        (Bands(5, "uint8"), 0, r"0\.npy is read as 2 channels of uint8, but .*1\.npy as 5"),
        (Bands(2, "uint16"), 0, r"0\.npy is read as 2 .*1\.npy as 2 channels of uint16"),
        (Bands(2, "uint8"), 4, r"0\.npy has 2 channels of uint8, not 4"),
        (None, 0, "values must be uint8 or uint16"),
    ],
)
def test_mixtures_are_refused(
    tmp_path: Path, second: Bands | None, channels: int, said: str
) -> None:
    data = read(drawn(tmp_path, Bands(2, "uint8"), count=2))
    if second is None:
        for n in range(2):
            write(tmp_path / f"{n}.npy", np.zeros((SIDE, SIDE, 2), np.float32))
    else:
        write(tmp_path / "1.npy", np.zeros((SIDE, SIDE, second.channels), second.dtype))
    with pytest.raises(HeatpointError, match=said):
        clean(replace(data, channels=channels))


@pytest.mark.parametrize("name", ["centernet_resnet18", "cornernet_squeeze", "centerface"])
def test_a_network_adapts_to_other_channels(name: str) -> None:
    """Equal channels, however many, give what grey shown as RGB gives."""
    network = zoo.build(name, ["a"], skeleton=SKELETONS["face5"]).network.double().eval()
    side = network.multiple - network.trim
    grey = torch.rand(1, 1, side, side, dtype=torch.float64) * 255
    network.set_normalisation((100.0,) * 3, (50.0,) * 3)
    with torch.inference_mode():
        expected = network(grey.expand(-1, 3, -1, -1))[-1]
        for channels in (1, 5, 2):
            other = zoo.build(name, ["a"], skeleton=SKELETONS["face5"]).network.double().eval()
            other.load_state_dict(network.state_dict())
            take_channels(other, channels)
            found = other(grey.expand(-1, channels, -1, -1))[-1]
            for key, value in expected.items():
                torch.testing.assert_close(found[key], value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "channels"), [("centernet_mobilenetv2", 16), ("centernet_resnet18", 64)]
)
def test_only_what_sees_the_images_is_adapted_ever(name: str, channels: int) -> None:
    """Convolutions within take as many channels, and stay."""
    detector = zoo.build(name, ["a"])
    detector.take(Bands(channels))
    shapes = {key: value.shape for key, value in detector.network.state_dict().items()}
    detector.take(Bands(4))
    now = {key: value.shape for key, value in detector.network.state_dict().items()}
    changed = [key for key in now if now[key] != shapes[key]]
    assert [shapes[key][1] for key in changed if len(shapes[key]) == 4] == [channels]
    picture = torch.zeros(1, 4, 64, 64, dtype=torch.uint8)
    assert detector.network.eval()(picture)


@pytest.mark.parametrize("bands", [Bands(1), Bands(2, "uint16"), Bands(7, "uint16")], ids=str)
def test_every_channel_is_warped_alike(bands: Bands) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, bands.largest + 1, (40, 50, bands.channels)).astype(bands.dtype)
    turned = Affine((0.3, 0.1, 2.0, -0.1, 0.3, 5.0))
    drawn = turned.warp(image, (20, 22))
    assert (drawn.shape, drawn.dtype) == ((20, 22, bands.channels), image.dtype)
    for n in range(bands.channels):
        np.testing.assert_array_equal(drawn[..., n], turned.warp(image[..., n], (20, 22)))


def test_colours_change_channel_by_channel() -> None:
    image = np.full((8, 9, 4), 30000, np.uint16)
    image[:4] //= 2
    changed = replace(Augment(), colour=0.4).recolour(image, np.random.default_rng(1))
    assert (changed.shape, changed.dtype) == (image.shape, image.dtype)
    ratios = changed[0, 0].astype(float) / changed[-1, -1]
    assert len(set(ratios.round(4).tolist())) == 4
    shown = stretched(image)
    assert (shown[0, 0].tolist(), shown[-1, -1].tolist()) == ([0] * 3, [255] * 3)


def test_older_headers_mean_rgb() -> None:
    detector = zoo.build("centernet_tiny", ["a"])
    assert (detector.bands, "bands" in detector.meta) == (RGB, False)


def test_channels_that_are_drawn_can_be_chosen(tmp_path: Path) -> None:
    """In the first three the objects are not to be seen."""
    data = drawn(tmp_path, Bands(5, "uint16"), count=2)
    first, (x1, y1, x2, y2) = tmp_path / "0.npy", read(data).images[0].boxes[0].astype(int)
    usual, last = load_shown(first), load_shown(first, (5,))
    assert usual[y1:y2, x1:x2].mean() < 1.2 * usual.mean()
    assert last[y1:y2, x1:x2].mean() > 1.5 * last.mean()
    assert (last == last[..., :1]).all()
    np.testing.assert_array_equal(load_shown(first, (2, 5, 1))[..., 1], last[..., 0])
    for shown in ((6,), (0,), (1, 2)):
        with pytest.raises(HeatpointError, match="each from 1 to the 5 that the pictures have"):
            load_shown(first, shown)


def test_shown_channels_are_drawn_by_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, model = drawn(tmp_path, Bands(5, "uint16"), count=2), tmp_path / "m.safetensors"
    detector = zoo.build("centernet_tiny", ["cell"])
    detector.take(Bands(5, "uint16"))
    for weights in detector.network.parameters():  # so that it finds nothing
        weights.data.zero_()
    detector.save(model)
    look = ["predict", str(model), str(tmp_path / "0.npy"), "--score", "0.9"]
    assert main([*look, "--draw", str(tmp_path / "drawn"), "--shown", "5"]) == 0
    off = load_image(tmp_path / "drawn" / "0.jpg") - load_shown(tmp_path / "0.npy", (5,)) * 1.0
    assert np.abs(off).mean() < 10
    assert main([*look, "--shown", "5"]) != 0
    assert "shown is what --draw and --heatmap show" in capsys.readouterr().err
    assert main([*look, "--draw", str(tmp_path / "other"), "--shown", "7"]) != 0
    assert "from 1 to the 5" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
    out = tmp_path / "look"
    assert main(["inspect", str(data), "--size", "96", "--shown", "5", "--out", str(out)]) == 0
    tile = load_image(out / "targets.png")[20:360, 20:360]
    assert (tile == tile[..., :1]).mean() > 0.8


def test_tags_that_make_no_sense_are_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for tag, value in (("TileLength", 0), ("TileWidth", 64.5), ("TileOffsets", 1 << 31)):
        layout: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "contig"}
        tifffile.imwrite(path, np.ones((40, 60, 5), np.uint16), tile=(64, 64), **layout)
        with tifffile.TiffFile(path, mode="r+") as file:
            kind = "f" if isinstance(value, float) else None
            file.pages.first.tags[tag].overwrite(value, dtype=kind)  # type: ignore[union-attr]
        with pytest.raises(HeatpointError, match=r"a\.tif"):
            Source(path, bands=Bands(5, "uint16")).open(whole=False).region(0, 0, 60, 40)


def test_one_channel_that_calls_itself_planar_is_not_turned(tmp_path: Path) -> None:
    path, pixels = tmp_path / "a.tif", np.arange(2400, dtype=np.uint16).reshape(40, 60)
    data = zstd_encode(pixels.tobytes())  # by a number that Pillow does not know
    tags = {256: 60, 257: 40, 258: 16, 259: 34926, 262: 1, 273: 8, 277: 1, 278: 40, 284: 2}
    path.write_bytes(tiff(tags | {279: len(data)}, data))
    assert read_header(path).size == (40, 60)
    np.testing.assert_array_equal(load_image(path, bands=Bands(1, "uint16"))[..., 0], pixels)
