"""Files that are no pictures, or claim too much: one sentence, little time and little memory."""

from __future__ import annotations

import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest
from encoded import blocks, chunk, encode, tiff, turned
from PIL import Image as PIL

from heatpoint.data.images import deep_file, image_size, load_image, read_header
from heatpoint.errors import HeatpointError

FOREIGN = {
    "eps": encode(PIL.fromarray(blocks()), "EPS"),
    "pdf": encode(PIL.fromarray(blocks()), "PDF"),
    "ico": encode(PIL.fromarray(blocks()), "ICO"),
    "tga": encode(PIL.fromarray(blocks()), "TGA"),
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_the_list_of_formats_is_closed(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", start)
    path = tmp_path / "a.jpg"
    path.write_bytes(FOREIGN[kind])
    for read in (load_image, image_size, read_header, deep_file):
        with pytest.raises(HeatpointError, match=r"a\.jpg is not an image in a known format"):
            read(path)


def png(width: int, height: int, *more: bytes) -> bytes:
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    chunks = (chunk(b"IHDR", size + b"\x08\2\0\0\0"), *more, chunk(b"IDAT", zlib.compress(b"")))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")


BOMB = zlib.compress(bytes(1 << 28), 9)

DAMAGED = {
    "terabytes.png": png(1_000_000, 1_000_000),
    "at-the-limit.png": png(13_000, 13_000),
    "text.png": png(8, 8, chunk(b"zTXt", b"a\0\0" + BOMB)),
    "profile.png": png(8, 8, chunk(b"iCCP", b"a\0\0" + BOMB)),
    "terabytes.tif": tiff({256: 1 << 20, 257: 1 << 20, 258: 8, 262: 1, 273: 8, 279: 4}, b"abcd"),
    "tags.tif": tiff({256: 800, 257: 800, 258: 8, 262: 1, 273: 8, 279: (1 << 32) - 1}, b"abcd"),
    "terabytes.pgm": b"P5\n9999999 9999999\n255\n",
    "terabytes.gif": b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2",
    "terabytes.bmp": b"BM" + bytes(12) + b"\x28\0\0\0" + b"\xff\xff\xff\x7f" * 2 + b"\1\0\x18\0",
    "terabytes.jxl": b"\xff\x0a" + b"\xff" * 40,
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_costs_little(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(DAMAGED[name])
    start = time.process_time()
    with pytest.raises(HeatpointError, match=name.replace(".", r"\.")):
        load_image(path)
    assert time.process_time() - start < 2


PEAK = """
import resource, sys, warnings
warnings.simplefilter("ignore")
from heatpoint.data.images import load_image
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
pixels = load_image(sys.argv[1])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(peak * 1024 / (pixels.shape[0] * pixels.shape[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss counts other units elsewhere")
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_eight_bytes_per_pixel_are_the_most(form: str, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(encode(PIL.new("RGB", (4000, 3000), 7), form, exif=turned(6)))
    run = subprocess.run([sys.executable, "-c", PEAK, path], capture_output=True, text=True)
    assert float(run.stdout) < 9, run.stderr
