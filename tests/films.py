"""Draws short videos of a spot that moves, and spoils them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from blobs import spot_image

from heatpoint.geometry import Image
from heatpoint.video import Video
from heatpoint.video.writing import video_file

SIZE, RATE, COUNT = (96, 128), 10.0, 12


def spot_at(number: int) -> tuple[float, float]:
    """Returns where the spot of a frame is: it moves to the right."""
    return 20.0 + 6 * number, 50.0


def film(path: Path, count: int = COUNT, size: tuple[int, int] = SIZE) -> Path:
    """Writes a video of a spot that moves to the right."""
    with video_file(path, RATE) as written:
        for number in range(count):
            written.write(spot_image(size, [spot_at(number % COUNT)], radius=8))
    return path


def spoiled(path: Path, number: int) -> Path:
    """Puts zeros over one frame of a Motion JPEG video: of a part, FFmpeg guesses the rest."""
    content = bytearray(path.read_bytes())
    first = content.index(b"movi")
    starts = [at for at in range(first, len(content)) if content[at : at + 4] == b"00dc"]
    start = starts[number] + 8
    size = int.from_bytes(content[start - 4 : start], "little")
    content[start : start + size] = bytes(size)
    path.write_bytes(content)
    return path


def shortened(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


def turned(path: Path) -> Path:
    """Says in an .mp4 that it is to be shown a quarter turned, as phones do."""
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 4 + 20 + 16
    quarter = (0, 1 << 16, 0, -(1 << 16), 0, 0, SIZE[0] << 16, 0, 1 << 30)
    content[matrix : matrix + 36] = struct.pack(">9i", *quarter)
    path.write_bytes(content)
    return path


def pictures(path: Path) -> list[Image]:
    with Video(str(path)) as video:
        return [frame.image for frame in video.frames() if frame.image is not None]


def brightest(image: Image) -> tuple[float, float]:
    """Returns the middle of what is white."""
    rows, columns = np.nonzero(image.min(2) > 200)
    return float(columns.mean() + 0.5), float(rows.mean() + 0.5)


class Camera:
    """Stands for cv2.VideoCapture of a device: it fails now and then, and ends."""

    def __init__(self, device: int) -> None:
        self.reads = 0

    def isOpened(self) -> bool:
        return True

    def get(self, what: int) -> float:
        return -1.0

    def set(self, what: int, value: float) -> bool:
        return False

    def grab(self) -> bool:
        self.reads += 1
        return self.reads <= 8 and self.reads != 3

    def retrieve(self) -> tuple[bool, Image]:
        return True, np.full((*SIZE, 3), self.reads, np.uint8)

    def release(self) -> None:
        self.reads = 99
