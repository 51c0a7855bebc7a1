"""The data of a run: read, cleaned, checked against each other, and identified."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from heatpoint.data.annotations import Annotations
from heatpoint.data.read import read
from heatpoint.data.validate import clean, describe
from heatpoint.errors import HeatpointError
from heatpoint.training.options import TrainOptions
from heatpoint.training.tasks import Task


@dataclass
class TrainingData:
    """What a run trains and validates on.

    Attributes:
        train: Cleaned training data.
        val: Validation data as it was read, so that ``evaluate`` gives the same score; without
            unreadable images if those are to be skipped.
        shown: Cleaned validation data, of which some is drawn.
        notes: Sentences about both for the person who trains.
    """

    train: Annotations
    val: Annotations
    shown: Annotations
    notes: list[str]


def load_data(options: TrainOptions, task: Task) -> TrainingData:
    """Reads and cleans the data; all that is left out or clipped is counted in the notes.

    Raises:
        HeatpointError: Data cannot be read, images are bad, nothing is to be learnt from, or the
            validation data is about other things.
    """
    read_train = task.adopt(_read(options.data, options.images), options)
    read_val = task.adopt(_read(options.val, options.val_images), options)
    task.check_pair(read_train, read_val)
    train, notes = _clean(read_train, options.skip_bad, "training", task)
    val, more = _clean(read_val, options.skip_bad, "validation", task)
    if options.skip_bad:
        readable = {record.path for record in val.images}
        kept = [i for i, record in enumerate(read_val.images) if record.path in readable]
        read_val = read_val.subset(kept)
    for data, purpose in ((train, "learn from"), (val, "score the model on")):
        if task.is_empty(data):
            raise HeatpointError(f"{data.source} holds no object to {purpose}")
    return TrainingData(train, read_val, val, notes + more)


def fingerprint(train: Annotations) -> dict[str, Any]:
    """Returns what tells one data set from another, wherever its files lie."""
    total = 0
    for record in train.images:
        total = zlib.crc32(record.path.name.encode(), total)
        for array in (record.boxes, record.labels, record.crowd, record.keypoints):
            if array is not None:
                total = zlib.crc32(np.ascontiguousarray(array).tobytes(), total)
    found = {"names": list(train.names), "images": len(train), "checksum": total}
    if train.skeleton is not None:
        found["skeleton"] = train.skeleton.as_dict()
    return found


def _read(data: str | Annotations, images: str) -> Annotations:
    return data if isinstance(data, Annotations) else read(data, images or None)


def _clean(
    annotations: Annotations, skip_bad: bool, role: str, task: Task
) -> tuple[Annotations, list[str]]:
    cleaned, counts = clean(annotations, skip_bad)
    empty = sum(not len(record) for record in cleaned.images)
    text = (
        f"{role} data {annotations.source}: {len(cleaned):,} images ({empty:,} of them empty), "
        f"{task.content(cleaned)}"
    )
    found = describe(counts)
    return cleaned, [text, f"  {found}"] if found else [text]
