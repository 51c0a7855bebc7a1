"""Compares the score of an exported file with that of its checkpoint, on annotated pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from heatpoint.data.annotations import Annotations
from heatpoint.errors import HeatpointError
from heatpoint.exporting.parity import counterpart
from heatpoint.inference.engines import open_engine
from heatpoint.inference.evaluate import evaluate
from heatpoint.zoo.detector import Detector


@dataclass(frozen=True)
class Accuracy:
    """The score of a checkpoint and of the file made of it, on the same pictures.

    Attributes:
        name: The main score of what is found: "ap", "pck@0.1".
        pictures: Number of pictures scored.
        checkpoint: Score in [0, 1] of the checkpoint, which torch runs in fp32.
        exported: That of the exported file.
    """

    name: str
    pictures: int
    checkpoint: float
    exported: float

    @property
    def drop(self) -> float:
        """What the export costs; below 0 where it scores higher."""
        return self.checkpoint - self.exported

    def summary(self) -> str:
        """Returns one line for people."""
        return (
            f"{self.name.upper()} on {self.pictures} pictures: checkpoint {self.checkpoint:.4f}, "
            f"exported {self.exported:.4f} ({-self.drop:+.4f})"
        )


def check_accuracy(
    detector: Detector,
    path: str | Path,
    truth: Annotations,
    max_drop: float = 0.01,
    called: str | Path = "",
) -> Accuracy | None:
    """Returns what an export costs in the main score of what the detector finds.

    Args:
        detector: What was exported.
        path: The exported file.
        truth: Annotated pictures.
        max_drop: Loss that is acceptable, in [0, 1].
        called: What messages call the file, if it is at ``path`` for the check only.

    Returns:
        The two scores; None where the pictures hold nothing to find, and so no score.

    Raises:
        HeatpointError: The loss is larger than ``max_drop``, or the annotations are not of the
            detector's classes or joints.
    """
    if not truth.objects:
        return None
    exported = open_engine(path)
    about = exported.description
    checkpoint = counterpart(detector, about)
    most = min(100, about.rows)
    before, after = (
        evaluate(each, truth, size=about.size, max_detections=most, metric=("coco",))
        for each in (checkpoint, exported)
    )
    name = before.main
    if math.isnan(before.scores[name]):
        return None
    accuracy = Accuracy(name, len(truth), before.scores[name], after.scores[name])
    if accuracy.drop > max_drop:
        raise HeatpointError(
            f"{called or path} scores too low: {accuracy.summary()}, a loss of more than "
            f"{max_drop}; calibrate with more and more varied pictures, accept the loss with a "
            "higher --max-drop, or export with --precision fp16 or fp32"
        )
    return accuracy
