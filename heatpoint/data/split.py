"""Divides a data set into one part to train on and one to validate on, the same way every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from heatpoint.data.annotations import Annotations
from heatpoint.data.read import read
from heatpoint.data.readers.coco import write_coco
from heatpoint.errors import HeatpointError

TRAIN, VAL = "train.json", "val.json"
"""Names of the files that ``write_split`` writes."""


def split(annotations: Annotations, val: float, seed: int = 0) -> tuple[Annotations, Annotations]:
    """Divides a data set by chance; an image, with everything in it, is on one side.

    The choice depends on the order of the images and on ``seed`` alone. An image that is listed
    twice counts once. Both parts keep the order. Neighbouring frames of one video may land on
    both sides: where that matters, divide by hand.

    Args:
        annotations: The data set.
        val: Images to validate on: a share below 1, or a number of them from 1 on.
        seed: Chooses the images, not negative.

    Returns:
        The part to train on and the part to validate on.

    Raises:
        HeatpointError: A part would be empty, or ``val`` or ``seed`` means nothing.
    """
    paths = list(dict.fromkeys(record.path for record in annotations.images))
    if seed < 0:
        raise HeatpointError(f"seed must not be negative, got {seed}")
    if not val > 0 or (val >= 1 and val != int(val)):
        raise HeatpointError(f"val is a share below 1 or a whole number of images, got {val:g}")
    count = round(val * len(paths)) if val < 1 else int(val)
    if not 0 < count < len(paths):
        raise HeatpointError(
            f"val {val:g} of the {len(paths)} images of {annotations.source} are {count}, which "
            "leaves one part empty; choose another number"
        )
    chosen = np.random.default_rng(seed).permutation(len(paths))[:count]
    held = {paths[index] for index in chosen.tolist()}
    parts: tuple[list[int], list[int]] = ([], [])
    for index, record in enumerate(annotations.images):
        parts[record.path in held].append(index)
    return annotations.subset(parts[0]), annotations.subset(parts[1])


def write_split(
    data: str | Path,
    out: str | Path,
    val: float,
    seed: int = 0,
    images: str | Path | None = None,
) -> tuple[Annotations, Annotations]:
    """Reads a data set of any format, divides it, and writes ``train.json`` and ``val.json``.

    The files are COCO JSON, joints included; images stay where they are and are named relative to
    the files where that is possible. What a reader could not keep is in the results' ``left_out``.

    Args:
        data: As for ``read``.
        out: Folder to write to; made if missing.
        val: As for ``split``.
        seed: As for ``split``.
        images: As for ``read``.

    Returns:
        The part to train on and the part to validate on.

    Raises:
        HeatpointError: As for ``read`` and ``split``; the folder is not writable; or the images
            were not found, so that the files could not name them.
    """
    annotations = read(data, images)
    if annotations.searched:
        raise HeatpointError(
            f"none of the {len(annotations)} images of {data} was found; searched "
            f"{', '.join(annotations.searched)}; give their folder by --images"
        )
    train, held = split(annotations, val, seed)
    for part, name in ((train, TRAIN), (held, VAL)):
        write_coco(part, Path(out) / name)
    return train, held
