"""Unpacks the pictures that a SLEAP package holds into files, as everything else reads files."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from heatpoint.data.readers import hdf5
from heatpoint.errors import HeatpointError
from heatpoint.system.files import atomic_write

_NUMBERED = re.compile(r"video(\d+)(?:/video)?")
_TOLD = 1.4
"""First format that says in which order the colours are; before, blue came first."""


class Frame(NamedTuple):
    """A frame of a video: the number of the video in the file, and of the frame in the video."""

    video: int
    number: int


def embedded(
    file: Any, videos: Sequence[Mapping[str, Any]], frames: Sequence[Frame], path: Path
) -> dict[int, str]:
    """Returns the dataset of the pictures of each video; nothing if the file holds none.

    Args:
        file: The open ``h5py.File``.
        videos: What it says of its videos.
        frames: The frames that are wanted.
        path: The file, for messages.

    Raises:
        HeatpointError: It holds the pictures of some videos only.
    """
    found: dict[int, str] = {}
    numbers: dict[int, str] = {}
    for place, video in enumerate(videos):
        name = str(video.get("backend", {}).get("dataset") or "")
        name = name if name.endswith("/video") or not name else f"{name}/video"
        if name in file:
            found[place] = name
            if match := _NUMBERED.fullmatch(name):
                numbers[int(match[1])] = name
    wanted = {frame.video for frame in frames}
    # Packages of chosen videos number them as the whole project did.
    found = found if wanted <= found.keys() else numbers
    lost = wanted - found.keys()
    if found and lost:
        raise HeatpointError(
            f"{path} holds the pictures of {len(found)} videos, but not of video {min(lost)}; "
            "export all labelled frames in one package"
        )
    return found


def unpack(
    file: Any, frames: Sequence[Frame], inside: Mapping[int, str], folder: Path, path: Path
) -> tuple[int, list[Path]]:
    """Writes the pictures that are not there yet as PNG files.

    A checksum in their names makes sure that a file is that very picture; nothing is replaced.

    Args:
        file: The open ``h5py.File``.
        frames: The frames.
        inside: Dataset of the pictures of each video.
        folder: Where to write to; made if missing.
        path: The file, for messages.

    Returns:
        How many were written, and the picture of each frame.

    Raises:
        HeatpointError: A frame or its picture is missing or damaged, or the folder is no folder.
    """
    if folder.exists() and not folder.is_dir():
        raise HeatpointError(f"{folder} is not a folder; expected one for the pictures of {path}")
    places = {video: _places(file, name) for video, name in inside.items()}
    written, pictures = 0, []
    for frame in frames:
        dataset = file[inside[frame.video]]
        where = f"{path}: frame {frame.number} of video {frame.video}"
        place = places[frame.video].get(frame.number)
        if place is None or place >= len(dataset):
            raise HeatpointError(f"{where} is not among its pictures; export the package again")
        raw = np.asarray(dataset[place])
        name = f"video{frame.video}-{frame.number:06d}-{zlib.crc32(raw.tobytes()):08x}.png"
        pictures.append(folder / name)
        if not pictures[-1].is_file():
            image = Image.fromarray(_decoded(raw, dataset, file, where))
            with atomic_write(pictures[-1]) as temporary:
                image.save(temporary)
            written += 1
    return written, pictures


def _places(file: Any, name: str) -> dict[int, int]:
    """Returns where each frame of a video is in its dataset."""
    group = file[name].parent
    if "frame_numbers" not in group:
        return {number: number for number in range(len(file[name]))}
    numbers = hdf5.values(group, "frame_numbers").astype(np.int64).tolist()
    return {number: place for place, number in enumerate(numbers)}


def _decoded(raw: NDArray[Any], dataset: Any, file: Any, where: str) -> NDArray[np.uint8]:
    """Returns a picture (H, W) or (H, W, 3), in the order red, green, blue."""
    if raw.ndim > 1:
        return np.asarray(raw.squeeze(-1) if raw.shape[-1] == 1 else raw, np.uint8)
    try:
        with Image.open(io.BytesIO(raw.tobytes()), formats=("PNG", "JPEG")) as image:
            grey = image.mode in ("1", "L", "I;16", "I")
            pixels = np.asarray(image.convert("L" if grey else "RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise HeatpointError(f"{where} holds no whole picture: {error}") from None
    known = float(file["metadata"].attrs.get("format_id", 0.0)) >= _TOLD
    order = dataset.attrs.get("channel_order", "RGB" if known else "BGR")
    order = order.decode() if isinstance(order, bytes) else order
    return pixels[..., ::-1].copy() if order == "BGR" and pixels.ndim == 3 else pixels
