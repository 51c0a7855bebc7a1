"""What an inspection of either kind is asked for and gives back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from heatpoint.inspection.corners import CornerReport
from heatpoint.inspection.joints import JointReport
from heatpoint.inspection.oracle import OracleReport
from heatpoint.inspection.report import DataReport


@dataclass(frozen=True)
class Pictures:
    """Which pictures are drawn.

    Attributes:
        out: Folder to write to; None draws nothing.
        samples: Number of samples in the picture of targets.
        augment: How they vary, named as in training.
        seed: Chooses samples and augmentation.
    """

    out: Path | None
    samples: int
    augment: Literal["published", "mild", "none"]
    seed: int


@dataclass(frozen=True)
class Part:
    """What the inspection for one kind of model found; attributes as in ``Inspection``."""

    data: DataReport
    oracle: OracleReport | None
    joints: JointReport | None
    files: tuple[Path, ...]
    corners: CornerReport | None = None
