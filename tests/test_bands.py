"""Pictures that are not 8-bit RGB: one to many channels, uint8 or uint16, end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image as PIL

import heatpoint
from heatpoint import zoo
from heatpoint.data.bands import array_of, stretched
from heatpoint.data.images import load_image, load_shown, read_header
from heatpoint.data.readers import read
from heatpoint.data.scene import Scene
from heatpoint.data.augment import Augment
from heatpoint.data.validate import clean
from heatpoint.errors import HeatpointError
from heatpoint.geometry import RGB, Affine, Bands
from heatpoint.networks.bands import take_channels
from heatpoint.system.files import atomic_write  # noqa: F401

FIVE = Bands(5, "uint16")


def picture(bands: Bands, boxes: NDArray[np.int64], seed: int, side: int = 96) -> NDArray:
    """Returns noise of equal look in all channels, with bright squares in the last one alone."""
    rng, top = np.random.default_rng(seed), bands.largest
    image = rng.integers(0, top // 4, (side, side, bands.channels))
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2, -1] += top // 2
    return image.astype(bands.dtype)


def drawn(folder: Path, bands: Bands, ending: str = "npy", count: int = 8) -> Path:
    """Writes a small data set in COCO's format and returns its annotations."""
    rows, images = [], []
    for n in range(count):
        rng = np.random.default_rng(n)
        x, y = rng.integers(8, 60, 2).tolist()
        box = [x, y, x + 26, y + 22]
        pixels, path = picture(bands, np.array([box]), n), folder / f"{n}.{ending}"
        save(path, pixels)
        images.append({"id": n, "file_name": path.name, "width": 96, "height": 96})
        rows.append({"id": n, "image_id": n, "category_id": 1, "bbox": [x, y, 26, 22]})
    content = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "cell"}]}
    path = folder / "train.json"
    path.write_text(json.dumps(content))
    return path


def save(path: Path, pixels: NDArray) -> None:
    if path.suffix == ".npy":
        np.save(path, pixels)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, np.moveaxis(pixels, -1, 0), photometric="minisblack",
                         planarconfig="separate")
    else:
        PIL.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(path)


@pytest.mark.parametrize(
    ("channels", "dtype", "ending", "asked"),
    [(1, "uint16", "png", 1), (2, "uint8", "npy", 0), (5, "uint16", "tif", 0)],
)
def test_a_model_learns_what_one_channel_alone_shows(
    tmp_path: Path, channels: int, dtype: str, ending: str, asked: int
) -> None:
    bands = Bands(channels, dtype)
    data = drawn(tmp_path, bands, ending)
    out = tmp_path / "run"
    options = {
        "model": "centernet_tiny", "size": 96, "batch_size": 8, "lr": 3e-3, "ema": 0.9,
        "augment": "none", "channels": asked, "eval_every": 60, "accelerator": "cpu", "precision": "fp32",
        "workers": 0, "epochs": 60, "warmup": 0.0, "seed": 0,
    }
    heatpoint.train(str(data), val=str(data), out=str(out), **options)
    detector = heatpoint.Detector.load(out / "best.safetensors")
    assert detector.bands == bands
    assert detector.network.mean.shape == (channels,)
    assert float(detector.network.mean[0]) > 0.05 * bands.largest
    found = heatpoint.evaluate(detector, str(data), size=96)
    assert found.scores["ap50"] > 0.9
    file = tmp_path / f"model.{'xml' if channels == 2 else 'onnx'}"
    about = heatpoint.export(detector, file, size=96, flip=channels == 5)
    assert about.bands == bands
    pictures = sorted(map(str, tmp_path.glob(f"*.{ending}")))
    from_file, own = heatpoint.predict(file, pictures), heatpoint.predict(detector, pictures, flip=channels == 5, size=96)
    for one, other in zip(from_file, own, strict=True):
        assert len(one) and len(other)
        np.testing.assert_allclose(one.boxes[0], other.boxes[0], atol=0.05)
    assert own[0].plot(pictures[0]).shape == (96, 96, 3)
