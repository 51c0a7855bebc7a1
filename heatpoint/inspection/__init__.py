"""Says what is in a data set, what is wrong with it, and what a model can reach on it.

Run it before training: it finds boxes in the wrong format, missing images and classes without
objects, shows the targets exactly as training sees them, and scores a perfect network on the data,
which tells how many objects the representation cannot tell apart at the chosen input size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from heatpoint import zoo
from heatpoint.codecs import Codec
from heatpoint.data import Annotations
from heatpoint.data.augment import Augment
from heatpoint.data.readers import read
from heatpoint.data.scene import subject_name, with_skeleton
from heatpoint.data.validate import Progress, Report, clean, validate
from heatpoint.errors import HeatpointError, check_choice
from heatpoint.inspection.drawing import draw_charts, draw_joint_charts, draw_mirrored, draw_targets
from heatpoint.inspection.maps import CornerReport, JointReport, inspect_corners, measure_joints
from heatpoint.inspection.oracle import OracleReport, oracle
from heatpoint.inspection.report import DataReport, Spread, evenly, measure
from heatpoint.system.files import write_json
from heatpoint.views import input_size
from heatpoint.views.fields import BOXES
from heatpoint.views.pictures import Crops, Picture
from heatpoint.weights import PUBLISHED
from heatpoint.zoo.detector import SIZE, Detector
from heatpoint.zoo.families import RELEASED, fitted

__all__ = ["Inspection", "inspect"]


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
                findings.append(asdict(finding))
        counts, searched = self.problems.counts(), list(self.problems.searched)
        return {
            "source": self.source,
            "problems": {"counts": counts, "findings": findings, "searched": searched},
            **{name: report and report.as_dict() for name, report in self._reports.items()},
            "files": [str(path) for path in self.files],
        }

    def verdict(self) -> list[str]:
        """Returns in words what a perfect network would reach, one statement per line."""
        parts = (self.oracle, self.corners, self.joints)
        return [line for part in parts if part for line in part.lines()]

    def summary(self) -> str:
        """Returns the inspection in words, for people."""
        parts = {name: report.lines() for name, report in self._reports.items() if report}
        if self.files:
            parts["files"] = [str(path) for path in self.files]
        lines = [self.problems.summary()]
        for title, statements in parts.items():
            lines.append("\n  ".join([f"{title}:", *statements]))
        return "\n".join(lines)

    @property
    def _reports(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("data", "oracle", "corners", "joints")}


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
    skeleton: str = "",
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
        skeleton: Name or JSON file of the skeleton of the joints; "" for the data's own.
        progress: Told how far each step is.

    Raises:
        HeatpointError: The data cannot be read, not one image is usable, or an argument does not
            fit the model.
    """
    if limit < 1 or samples < 0:
        raise HeatpointError(f"limit must be at least 1 and samples 0, not {limit} and {samples}")
    check_choice("augment", augment, ("published", "mild", "none"))
    annotations = data if isinstance(data, Annotations) else read(data, images)
    if skeleton:
        annotations = with_skeleton(annotations, skeleton)
    codec, view = _representation(annotations, model, size, stride, max_detections, padding)
    problems = validate(annotations, progress=_step(progress, "checking"))
    usable, _ = clean(annotations, skip_bad=True, progress=_step(progress, "measuring"))
    scoring = _step(progress, "scoring")
    report, measured = measure(usable, view.size, view.multiple, view.trim)
    verdict = joints = seen = corners = None
    if isinstance(view, Crops):
        joints, seen = measure_joints(usable, codec, view, limit, scoring)
        # What counts is the size in the crop, not in a whole picture brought to the input.
        report = replace(report, input_sides=Spread.of(seen.sides * seen.zooms))
    elif BOXES in codec.answer:
        chosen = usable.subset(evenly(len(usable), limit).tolist())
        verdict = oracle(chosen, codec, view.size, scoring, view.multiple, view.trim)
    if codec.pairs:
        views = Augment.named(augment)
        corners = inspect_corners(usable, codec, view.size, views, augment, seed)
    found = Inspection(annotations.source, problems, report, verdict, joints, corners=corners)
    if out is None:
        return found
    files = [Path(out) / "report.json", Path(out) / "charts.png"]
    if joints is not None and seen is not None:
        draw_joint_charts(files[1], joints, seen)
    else:
        draw_charts(files[1], report, measured, codec.stride, codec.capacity)
    if samples:
        files.append(Path(out) / "targets.png")
        draw_targets(files[-1], usable, codec, view, augment, samples, seed)
    if samples and isinstance(view, Crops):
        files.append(Path(out) / "mirrored.png")
        draw_mirrored(files[-1], usable, view, min(samples, 4), seed)
    found = replace(found, files=tuple(files))
    write_json(files[0], found.as_dict())
    return found


def _step(progress: StepProgress | None, name: str) -> Progress | None:
    return None if progress is None else partial(progress, name)


def _representation(
    annotations: Annotations,
    model: str | Path | None,
    size: int | tuple[int, int] | None,
    stride: int | None,
    max_detections: int | None,
    padding: float | None,
) -> tuple[Codec, Picture | Crops]:
    """Returns codec and view: the model's, changed by what the user said.

    Raises:
        HeatpointError: The model has another stride, cannot take the size, or finds other joints
            than there are; or an option is not for such a model.
    """
    called, own, multiple, trim = "the representation of CenterNet", (SIZE, SIZE), 1, 0
    codec, skeleton = RELEASED["centernet"], None
    settings: dict[str, float] = {}
    if model is not None:
        detector = _detector(model, annotations)
        codec, skeleton, settings = detector.codec, detector.skeleton, detector.settings
        multiple, trim = detector.network.multiple, detector.network.trim
        called, own = str(model), detector.size
        if stride is not None and stride != codec.stride:
            raise HeatpointError(
                f"this model works at stride {codec.stride}, not {stride}; leave out model or "
                "stride"
            )
    if codec.view.asks and (stride is not None or max_detections is not None):
        raise HeatpointError(
            f"{called} finds the joints of one subject; leave out stride and max_detections"
        )
    given = {"stride": stride, "max_detections": max_detections}
    chosen = {name: value for name, value in given.items() if value is not None}
    codec = fitted(codec, annotations.names, skeleton).tuned(called, chosen)
    sides = input_size(size, own, max(multiple, codec.stride), trim)
    if padding is not None and "padding" not in settings:
        raise HeatpointError("padding is about crops of subjects; name a model of joints with it")
    if codec.view.asks:
        padding = settings["padding"] if padding is None else padding
        return codec, Crops(sides, multiple, trim, padding)
    return codec, Picture(sides, multiple, trim)


def _detector(model: str | Path, annotations: Annotations) -> Detector:
    """Returns the detector of a model; of one of joints, the data must have just those.

    Raises:
        HeatpointError: There is no such model, or the data has no joints, or others.
    """
    # What does not look like a file is meant as a name, so that a misspelt one gets a suggestion.
    path = Path(model)
    is_file = path is model or path.suffix == ".safetensors" or path.is_file()
    if is_file or model in PUBLISHED:
        detector = Detector.load(model)
    else:
        joints = zoo.learns_joints(str(model))
        if joints:
            annotations = with_skeleton(annotations, "")
        names = [subject_name(annotations)] if joints else annotations.names
        detector = zoo.build(str(model), names, skeleton=annotations.skeleton)
    if detector.skeleton is None:
        return detector
    known, skeleton = detector.skeleton.joints, with_skeleton(annotations, "").skeleton
    if skeleton is not None and known != skeleton.joints:
        raise HeatpointError(
            f"the model finds {len(known)} joints ({', '.join(known)}), but {annotations.source} "
            f"has {len(skeleton.joints)} ({', '.join(skeleton.joints)}); give a model by its "
            "architecture's name to look at the data alone"
        )
    return detector
