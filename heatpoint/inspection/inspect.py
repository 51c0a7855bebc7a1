"""Inspects a data set: its content, its mistakes, its targets, and what a model can reach on it.

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
from typing import Any

from heatpoint.data import Annotations
from heatpoint.data.augment import Augment
from heatpoint.data.bands import visible
from heatpoint.data.dataset import varied
from heatpoint.data.duplicates import picture_findings
from heatpoint.data.quads import as_learnt, as_points
from heatpoint.data.readers import read
from heatpoint.data.scene import with_skeleton
from heatpoint.data.suspects import split_findings
from heatpoint.data.validate import Progress, Report, clean, validate
from heatpoint.errors import HeatpointError, check_choice
from heatpoint.inference.engines import Engine
from heatpoint.inspection import InspectOptions
from heatpoint.inspection.charts import draw_charts, draw_joint_charts
from heatpoint.inspection.corners import CornerReport, inspect_corners
from heatpoint.inspection.disagreement import Disagreement, disagreement, write_disputed
from heatpoint.inspection.drawing import draw_mirrored, draw_targets
from heatpoint.inspection.joints import JointLabels, JointReport, count_labels, measure_joints
from heatpoint.inspection.oracle import OracleReport, oracle
from heatpoint.inspection.report import DataReport, Spread, evenly, measure
from heatpoint.inspection.representation import codec_and_view, models_of
from heatpoint.options import keywords
from heatpoint.system.files import write_json
from heatpoint.system.outputs import check_outputs
from heatpoint.system.signs import Kind
from heatpoint.views.fields import BOXES
from heatpoint.views.pictures import Crops, Picture

_PICTURES = ("charts.png", "targets.png", "mirrored.png")


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
        oracle: What a perfect network of boxes or points would reach, and of joints where it finds
            both; None for a model of joints in crops.
        joints: What there is of joints, and, for crops, what a perfect network would reach; None
            unless the model finds joints.
        files: The report and the pictures that were written; empty if none were asked for.
        corners: What is hard for corners; None unless the model finds boxes by them.
        disagreement: Where a trained model and the labels differ; None without one.
    """

    source: str
    problems: Report
    data: DataReport
    oracle: OracleReport | None
    joints: JointReport | JointLabels | None = None
    files: tuple[Path, ...] = ()
    corners: CornerReport | None = None
    disagreement: Disagreement | None = None

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
        names = ("data", "oracle", "corners", "joints", "disagreement")
        return {name: getattr(self, name) for name in names}


@keywords(InspectOptions, positional=1)
def inspect(options: InspectOptions, *, progress: StepProgress | None = None) -> Inspection:
    """Reports on a data set: content, mistakes, targets in pictures, and what a model can reach.

    For boxes that is the oracle's AP (and, for a model of corners, which of these share a cell,
    are cut off in training views, or could pair wrongly), for joints in whole pictures its OKS AP
    too, for a model of joints in crops the error floor of its heatmaps and what the crops lose.
    Nothing about the data is changed. Images that cannot be read are reported and left out.

    Example:
        >>> from heatpoint.synthetic.pictures import write_shapes
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> found = inspect(write_shapes(folder, 8), size=192, out=None)
        >>> round(found.oracle.ap, 2)
        1.0

    Args:
        options: Say which data, which model, and what is drawn; without ``out`` nothing is
            written. The folder receives report.json, charts.png, targets.png, of a model of
            joints mirrored.png, and of a trained one disagreements.html.
        progress: Told how far each step is.

    Raises:
        HeatpointError: The data cannot be read, not one image is usable, or an argument does not
            fit the model.
    """
    limit, samples, seed, augment = options.limit, options.samples, options.seed, options.augment
    data, val, model, size = options.data, options.val, options.model, options.size
    out = None if options.out is None else Path(options.out)
    shown = options.shown or ()
    if limit < 1 or samples < 0:
        raise HeatpointError(f"limit must be at least 1 and samples 0, not {limit} and {samples}")
    check_choice("augment", augment, ("published", "mild", "none"))
    annotations = data if isinstance(data, Annotations) else read(data, options.images)
    if options.points:
        annotations = as_points(annotations)
    if options.skeleton:
        annotations = with_skeleton(annotations, options.skeleton)
    other = val if isinstance(val, Annotations) or val is None else read(val, options.val_images)
    if out is not None:
        files = [out / name for name in (*_PICTURES, "report.json", "disagreements.html")]
        pictures = [record.path for record in annotations.images]
        kinds: dict[Kind, list[Path]] = {
            "pictures": files[:-2],
            "numbers": files[-2:-1],
            "pages": files[-1:],
        }
        check_outputs(kinds, [annotations.source, options.images, model], pictures)
    detector, trained = models_of(model, annotations)
    if size is None and isinstance(trained, Engine):
        size = trained.description.size
    called = "the representation that is usual for the data" if detector is None else str(model)
    codec, view = codec_and_view(
        annotations, detector, called, size, options.stride, options.max_detections, options.padding
    )
    annotations = replace(as_learnt(annotations, codec.learns), channels=options.channels)
    problems = validate(annotations, progress=_step(progress, "checking"))
    problems.findings += picture_findings(annotations, other, _step(progress, "comparing"))
    if other is not None:
        problems.findings += split_findings(annotations, other)
    usable, _ = clean(annotations, skip_bad=True, progress=_step(progress, "measuring"))
    visible(shown, usable.bands.channels)
    scoring = _step(progress, "scoring")
    plain = Picture(view.size, view.multiple, view.trim)
    whole = view if isinstance(view, Picture) else plain
    report, measured = measure(usable, whole)
    chosen = usable.subset(evenly(len(usable), limit).tolist())
    verdict = seen = corners = differing = None
    joints: JointReport | JointLabels | None = None
    if isinstance(view, Crops):
        joints, seen = measure_joints(usable, codec, view, limit, scoring)
        # What counts is the size in the crop, not in a whole picture brought to the input.
        report = replace(report, input_sides=Spread.of(seen.sides * seen.zooms))
    elif BOXES in codec.answer or "points" in codec.learns:
        verdict = oracle(chosen, codec, whole, scoring)
        if "keypoints" in codec.learns:
            joints = count_labels(usable)
    if codec.pairs:
        views = varied(codec.view).named(augment)
        assert isinstance(views, Augment)
        views = replace(views, margin=whole.margin)
        corners = inspect_corners(usable, codec, view.size, views, augment, seed)
    if trained is not None:
        differing = disagreement(trained, chosen, view.size, _step(progress, "disagreeing"))
    found = Inspection(
        annotations.source,
        problems,
        report,
        verdict,
        joints,
        corners=corners,
        disagreement=differing,
    )
    if out is None:
        return found
    files = [out / "report.json", out / "charts.png"]
    if isinstance(joints, JointReport) and seen is not None:
        draw_joint_charts(files[1], joints, seen)
    else:
        labels = None if joints is None else joints.joints
        draw_charts(files[1], report, measured, codec.stride, codec.capacity, labels)
    if samples:
        files.append(out / "targets.png")
        draw_targets(files[-1], usable, codec, view, augment, samples, seed, shown)
    if samples and "keypoints" in codec.learns:
        files.append(out / "mirrored.png")
        draw_mirrored(files[-1], usable, view, min(samples, 4), seed, shown)
    if differing is not None and differing.disputed:
        files.append(out / "disagreements.html")
        write_disputed(files[-1], annotations.source, str(model), differing)
    found = replace(found, files=tuple(files))
    write_json(files[0], found.as_dict())
    return found


def _step(progress: StepProgress | None, name: str) -> Progress | None:
    return None if progress is None else partial(progress, name)
