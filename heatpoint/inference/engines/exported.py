"""What the engines of exported files share: finding the file, filling batches, naming answers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.errors import HeatpointError
from heatpoint.inference.engines import older
from heatpoint.inference.engines.description import Description
from heatpoint.inference.engines.engine import Answer, Pixels


def check_file(path: str | Path, suffixes: tuple[str, ...]) -> None:
    """Makes sure that there is a file of one of the ``suffixes``.

    Raises:
        HeatpointError: There is none, or it is called otherwise.
    """
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise HeatpointError(
            f"{path} should end in {' or '.join(suffixes)}; give the file that heatpoint export "
            "has written"
        )
    if not path.is_file():
        raise HeatpointError(f"{path} does not exist; export a checkpoint with heatpoint export")


def check_cores(streams: int, threads: int | None) -> int:
    """Returns the number of processor cores to use: ``threads``, or all this process may use.

    Raises:
        HeatpointError: One of the numbers is not positive.
    """
    if streams < 1 or (threads is not None and threads < 1):
        raise HeatpointError(
            f"streams and threads must be at least 1, not {streams} and {threads}; leave threads "
            "out for all cores"
        )
    if threads is not None:
        return threads
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS and Windows


def check_ends(
    path: str | Path, description: Description, inputs: Sequence[bool], outputs: Sequence[str]
) -> Description:
    """Makes sure that a graph takes one batch of pixels and gives what its description promises.

    Args:
        path: The file.
        description: What it says about itself.
        inputs: Of each input, whether it is of type uint8.
        outputs: Names of the outputs.

    Returns:
        The description, with what files of the first edition did not say.

    Raises:
        HeatpointError: It does not.
    """
    promised = tuple(field.name for field in description.answer)
    if description.older:
        fields, promised = older.completed(description.answer, outputs)
        description = replace(description, answer=fields)
    if set(promised) != set(outputs):
        raise HeatpointError(
            f"{path} gives {', '.join(outputs)}, but its description promises "
            f"{', '.join(promised)}; export the checkpoint again"
        )
    if list(inputs) != [True]:
        raise HeatpointError(
            f"{path} should have images of type uint8 as its one input; export the checkpoint again"
        )
    return description


def in_batches(
    images: Pixels,
    description: Description,
    path: str | Path,
    run: Callable[[Pixels], Answer],
) -> Answer:
    """Returns the answer to any number of images of a network that may take a fixed number only.

    A batch that falls short is filled up with black images, whose rows are cut off again.

    Args:
        images: (B, 3, H, W) uint8 RGB.
        description: Says which sizes and how many images the network takes.
        path: Its file, for messages.
        run: Runs one batch that the network takes.

    Raises:
        HeatpointError: The network does not take images of this size.
    """
    description.check_size((images.shape[2], images.shape[3]), str(path))
    images = np.ascontiguousarray(images)
    batch = description.batch
    if batch is None or batch == len(images):
        return run(images)
    parts = []
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        black = np.zeros((batch - len(part), *part.shape[1:]), np.uint8)
        answer = run(np.concatenate([part, black]))
        parts.append({name: rows[: len(part)] for name, rows in answer.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def to_answer(
    arrays: dict[str, NDArray[Any]], description: Description, count: int, path: str | Path
) -> Answer:
    """Returns what a graph gave for ``count`` images in the types of an ``Answer``.

    Raises:
        HeatpointError: An array has another shape than its field says.
    """
    if description.older:
        arrays = older.answer(arrays)
    rows = arrays["scores"].shape[1:2]
    for field in description.answer:
        if arrays[field.name].shape != (count, *rows, *field.tail):
            shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
            raise HeatpointError(
                f"{path} does not give what its description promises for {count} images, but "
                f"{shapes}; export the checkpoint again"
            )
    return {
        field.name: arrays[field.name].astype(field.type, copy=False)
        for field in description.answer
    }


def unreadable(path: str | Path, runtime: str, error: Exception) -> HeatpointError:
    """Returns what to say when ``runtime`` cannot load a file."""
    return HeatpointError(
        f"{runtime} cannot load {path}: {_reason(error)}; the file is damaged or cut off, or needs "
        f"a newer {runtime}: export the checkpoint again"
    )


def not_run(images: Pixels, path: str | Path, runtime: str, error: Exception) -> HeatpointError:
    """Returns what to say when ``runtime`` fails on images that should fit."""
    count, _, height, width = images.shape
    return HeatpointError(
        f"{runtime} cannot run {path} on {count} images of {height}x{width} pixels at once: "
        f"{_reason(error)}; if memory is short, lower batch_size or size, otherwise export the "
        "checkpoint again"
    )


def _reason(error: Exception) -> str:
    """Returns the last line of a runtime's message; those before name places in its source."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].rstrip(".!;")
