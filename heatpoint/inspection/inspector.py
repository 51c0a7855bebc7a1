"""Runs an inspection and gathers what it finds."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from heatpoint.data.annotations import Annotations
from heatpoint.data.read import read
from heatpoint.data.subjects import subject_name
from heatpoint.data.validate import Progress, Report, clean, validate
from heatpoint.detector.detector import Detector
from heatpoint.errors import HeatpointError
from heatpoint.inspection.boxes import inspect_boxes, representation
from heatpoint.inspection.corners import CornerReport
from heatpoint.inspection.joints import JointReport
from heatpoint.inspection.oracle import OracleReport
from heatpoint.inspection.part import Pictures
from heatpoint.inspection.poses import inspect_poses
from heatpoint.inspection.report import DataReport
from heatpoint.system.files import write_json
from heatpoint.weights import PUBLISHED

_FINDINGS = 1000  # of each kind, at most, in report.json

StepProgress = Callable[[str, int, int], None]
"""Called with the name of a step, the number of images done and the number of all images."""


@dataclass(frozen=True)
class Inspection:
    """What ``inspect`` found.

    Attributes:
        source: The data set, as the user wrote it.
        problems: Every finding about the data.
        data: What there is, without what is left out.
        oracle: What a perfect network of boxes would reach; None for a model of joints.
        joints: What there is of joints, and what a perfect network would reach; None unless the
            model is one of joints.
        files: The report and the pictures that were written; empty if none were asked for.
        corners: What is hard for corners; None unless the model finds boxes by them.
    """

    source: str
    problems: Report
    data: DataReport
    oracle: OracleReport | None
    joints: JointReport | None = None
    files: tuple[Path, ...] = ()
    corners: CornerReport | None = None

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as plain numbers and strings, ready for JSON.

        Of each kind of finding at most 1000 are spelt out; ``problems.counts`` has all.
        """
        told: Counter[str] = Counter()
        findings = []
        for finding in self.problems.findings:
            told[finding.kind] += 1
            if told[finding.kind] <= _FINDINGS:
                findings.append(dataclasses.asdict(finding))
        return {
            "source": self.source,
            "data": self.data.as_dict(),
            "problems": {
                "counts": self.problems.counts(),
                "findings": findings,
                "searched": list(self.problems.searched),
            },
            "oracle": None if self.oracle is None else self.oracle.as_dict(),
            "joints": None if self.joints is None else self.joints.as_dict(),
            "corners": None if self.corners is None else self.corners.as_dict(),
            "files": [str(path) for path in self.files],
        }

    def verdict(self) -> list[str]:
        """Returns in words what a perfect network would reach, one statement per line."""
        parts = (self.oracle, self.corners, self.joints)
        return [line for part in parts if part for line in part.lines()]

    def summary(self) -> str:
        """Returns the inspection in words, for people."""
        parts = [
            ("data", self.data.lines()),
            ("oracle", [] if self.oracle is None else self.oracle.lines()),
            ("corners", [] if self.corners is None else self.corners.lines()),
            ("joints", [] if self.joints is None else self.joints.lines()),
            ("files", [str(path) for path in self.files]),
        ]
        lines = [self.problems.summary()]
        for title, statements in parts:
            if statements:
                lines += [f"{title}:", *(f"  {statement}" for statement in statements)]
        return "\n".join(lines)


def inspect(
    data: str | Path | Annotations,
    *,
    images: str | Path | None = None,
    model: str | Path | None = None,
    size: int | tuple[int, int] | None = None,
    stride: int | None = None,
    max_detections: int | None = None,
    out: str | Path | None = "runs/inspect",
    samples: int = 8,
    augment: Literal["published", "mild", "none"] = "published",
    limit: int = 1000,
    seed: int = 0,
    padding: float | None = None,
    progress: StepProgress | None = None,
) -> Inspection:
    """Reports on a data set: content, mistakes, targets in pictures, and what a model can reach.

    For boxes that is the oracle's AP (and, for a model of corners, which of these share a cell,
    are cut off in training views, or could pair wrongly), for a model of joints the error floor of
    its heatmaps and what the crops lose. Nothing about the data is changed. Images that cannot be
    read are reported and left out.

    Example:
        >>> from heatpoint.synthetic.pictures import write_shapes
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> found = inspect(write_shapes(folder, 8), size=192, out=None)
        >>> round(found.oracle.ap, 2)
        1.0

    Args:
        data: A data set in any format ``read`` knows, or annotations that were read already.
        images: Folder of its images, if they are not beside it.
        model: A checkpoint or the name of an architecture, whose representation and input size
            are used; by default centre points at stride 4 and 512 x 512 pixels.
        size: Height and width of the input in pixels, one number for both; the model's by default.
        stride: Input pixels per cell; the model's by default.
        max_detections: Candidates decoded per image; the model's by default.
        out: Folder for report.json, charts.png, targets.png and, of a model of joints,
            mirrored.png; None writes nothing.
        samples: Number of images in targets.png.
        augment: Augmentation that targets.png shows and corners are cut off by, named as in
            training.
        limit: A perfect network is scored on at most this many images or subjects, evenly spread.
        seed: Chooses images and augmentation of targets.png.
        padding: Side of a subject's crop over that of its box; for models of joints, whose own is
            the default.
        progress: Told how far each step is.

    Raises:
        HeatpointError: The data cannot be read, not one image is usable, or an argument does not
            fit the model.
    """
    if limit < 1 or samples < 0:
        raise HeatpointError(f"limit must be at least 1 and samples 0, not {limit} and {samples}")
    annotations = data if isinstance(data, Annotations) else read(data, images)
    detector = None if model is None else _detector(model, annotations)
    pose = detector is not None and detector.task == "pose"
    if pose and (stride is not None or max_detections is not None):
        raise HeatpointError(
            f"{model} finds the joints of one subject; leave out stride and max_detections"
        )
    if padding is not None and not pose:
        raise HeatpointError("padding is about crops of subjects; name a model of joints with it")
    problems = validate(annotations, progress=_step(progress, "checking"))
    usable, _ = clean(annotations, skip_bad=True, progress=_step(progress, "measuring"))
    scoring = _step(progress, "scoring")
    pictures = Pictures(None if out is None else Path(out), samples, augment, seed)
    if detector is not None and pose:
        part = inspect_poses(usable, detector, size, padding, limit, pictures, scoring)
    else:
        codec, sides = representation(usable, detector, size, stride, max_detections)
        part = inspect_boxes(usable, codec, sides, limit, pictures, scoring)
    found = Inspection(
        annotations.source, problems, part.data, part.oracle, part.joints, corners=part.corners
    )
    if out is None:
        return found
    report = Path(out) / "report.json"
    found = dataclasses.replace(found, files=(report, *part.files))
    write_json(report, found.as_dict())
    return found


def _step(progress: StepProgress | None, name: str) -> Progress | None:
    if progress is None:
        return None
    told = progress  # mypy forgets the narrowing inside the function below
    return lambda done, total: told(name, done, total)


def _detector(model: str | Path, annotations: Annotations) -> Detector:
    from heatpoint import zoo

    # What does not look like a file is meant as a name, so that a misspelt one gets a suggestion.
    if isinstance(model, Path) or Path(model).suffix == ".safetensors" or Path(model).is_file():
        return Detector.load(model)
    if model in PUBLISHED:
        return Detector.load(model)
    names = [subject_name(annotations)] if zoo.is_pose(model) else annotations.names
    return zoo.build(model, names, skeleton=annotations.skeleton)
