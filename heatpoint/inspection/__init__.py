"""The options of inspect, which says what is in a data set and what a model can reach on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from heatpoint.options import Channels, Data, Folder, Model, Size, Skeletons

if TYPE_CHECKING:
    from pathlib import Path

    from heatpoint.data import Annotations


@dataclass
class InspectOptions:
    """Says what is in the data, what is wrong with it, and what a model can reach on it."""

    data: Data | Path | Annotations
    """a file or folder of annotations in any format of docs/formats.md, with :split where it has
    some"""

    images: Folder | Path | None = None
    """folder of the pictures, if not beside the annotations"""

    val: Data | Path | Annotations | None = None
    """the other split: says which pictures both hold, exactly or nearly, and which classes one of
    them lacks"""

    val_images: Folder | Path | None = None
    """folder of the pictures of val, if not beside its annotations"""

    model: Model | Path | None = None
    """architecture or checkpoint whose size and stride to use; heatpoint models lists them. With
    one of joints, joints are inspected. Where a checkpoint or an exported file and the labels
    disagree is shown in disagreements.html. Centre points by default, or points where these are
    labelled, at stride 4 and 512 x 512 pixels"""

    size: Size | None = None
    """input size, 512 or 384x512 (height x width); the model's own by default"""

    stride: int | None = None
    """input pixels per cell of the maps; the model's by default"""

    max_detections: int | None = None
    """most results that a perfect network gives per picture; the model's by default"""

    padding: float | None = None
    """for models of joints: side of a crop over that of its box; the model's by default"""

    skeleton: Skeletons = ""
    """for models of joints: name (coco17, ...) or file of the skeleton; the data's by default"""

    points: bool = False
    """take objects for the points in their middle"""

    channels: int = 0
    """channels that pictures keep, as in train; 0 for what is usual"""

    limit: int = 1000
    """pictures or subjects, at most, that a perfect network is scored on and a trained one compared
    with the labels on; evenly spread"""

    out: Folder | Path | None = "runs/inspect"
    """folder for report.json and the pictures"""

    samples: int = 8
    """pictures in targets.png"""

    augment: Literal["published", "mild", "none"] = "published"
    """augmentation that targets.png shows and corners are cut off by, named as in train"""

    seed: int = 0
    """chooses pictures and augmentation of targets.png"""

    shown: Channels | Sequence[int] | None = None
    """channels that are drawn, counted from 1: 5,3,2 as red, green and blue, or one as grey; the
    first three by default"""
