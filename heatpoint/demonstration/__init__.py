"""The options of demo, which proves an installation without data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from heatpoint.options import Folder, Minutes

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class DemoOptions:
    """Draws a data set, trains on it, evaluates, predicts and saves pictures."""

    out: Folder | Path | None = None
    """folder for everything; by default runs/demo or, of other tasks, runs/demo-points and so on;
    a demo that is there already is not written over"""

    task: Literal["boxes", "points", "quads", "pose", "crowd"] = "boxes"
    """what to find: boxes of shapes, cells to be counted, the four corners of slips of paper, the
    joints of one figure at a time, or boxes and joints of many figures"""

    minutes: Minutes | None = 1.7
    """time for everything, of which training takes what the rest leaves"""

    epochs: int | None = None
    """passes over the training pictures; whichever ends first"""

    seed: int = 0
    """seed of the pictures and of the training"""

    images: int | None = None
    """pictures to train on, by default what suits two minutes; a 25th as many, at least 8, are
    scored"""

    size: int = 128
    """height and width of the pictures, a multiple of 32; of 64 for pose, whose crops are brought
    to half of it"""
