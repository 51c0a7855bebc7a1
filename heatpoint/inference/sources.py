"""What a user may call "images": files, folders, patterns, arrays, Pillow images, mixtures."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PIL

from heatpoint.data.images import SUFFIXES, ImageSource, load_image
from heatpoint.data.regions import open_parts
from heatpoint.errors import HeatpointError
from heatpoint.geometry.affine import Image
from heatpoint.views.base import Raster, Whole

Images = ImageSource | Sequence[ImageSource]


@dataclass(frozen=True)
class Source:
    """One image that is not read yet.

    Attributes:
        content: What ``load_image`` takes.
        path: Its file, or "" for an image in memory.
    """

    content: ImageSource
    path: str = ""

    def __str__(self) -> str:
        return self.path

    def load(self, name: str = "") -> Image:
        """Returns the (H, W, 3) uint8 RGB pixels; ``name`` is for messages about memory images."""
        return load_image(self.content, "" if self.path else name)

    def open(self, name: str = "", whole: bool = True) -> Raster:
        """Returns the picture, in memory or, where not ``whole`` and its format allows, by parts.

        Raises:
            HeatpointError: It cannot be read.
        """
        parts = None if whole or not self.path else open_parts(Path(self.path))
        return Whole(self.load(name)) if parts is None else parts


def expand(images: Images) -> list[Source]:
    """Returns one source per image, in the order given.

    A folder stands for the image files directly in it and a pattern (``*``, ``?``, ``[...]``,
    ``**``) for the files it matches, both sorted by name.

    Args:
        images: A path, pattern, folder, array, Pillow image or encoded bytes; or a list of them.

    Raises:
        HeatpointError: A file is missing, a folder or pattern has no image, or nothing is given.
    """
    if isinstance(images, (str, Path, bytes, np.ndarray, PIL.Image)):
        images = [images]
    sources: list[Source] = []
    for entry in images:
        if isinstance(entry, (str, Path)):
            sources += [Source(path, str(path)) for path in _files(entry)]
        else:
            sources.append(Source(entry))
    if not sources:
        raise HeatpointError("no image is given; expected a file, folder, pattern or array")
    return sources


def _files(entry: str | Path) -> list[Path]:
    path = Path(entry).expanduser()
    if path.is_dir():
        found = sorted(
            file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file()
        )
        if not found:
            raise HeatpointError(
                f"the folder {path} holds no image file; subfolders are not searched, "
                f"'{path}/**/*.jpg' does"
            )
        return found
    # A name with brackets may be a file's own; only what does not exist is a pattern.
    if path.exists() or not glob.has_magic(str(path)):
        if not path.exists():
            raise HeatpointError(f"image {path} does not exist (working folder: {os.getcwd()})")
        return [path]
    found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
    found = [file for file in found if file.is_file() and file.suffix.lower() in SUFFIXES]
    if not found:
        raise HeatpointError(f"no image file matches {path} (working folder: {os.getcwd()})")
    return found
