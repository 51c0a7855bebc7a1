"""Runs an inspection and gathers what it finds."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from heatpoint.codecs.center import CenterCodec
from heatpoint.data.annotations import Annotations
from heatpoint.data.augment import Augment
from heatpoint.data.read import read
from heatpoint.data.validate import Progress, Report, clean, validate
from heatpoint.errors import HeatpointError
from heatpoint.files import write_json
from heatpoint.inspection.oracle import OracleReport, oracle
from heatpoint.inspection.report import DataReport, measure

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
        oracle: What a perfect network would reach.
        files: The report and the pictures that were written; empty if none were asked for.
    """

    source: str
    problems: Report
    data: DataReport
    oracle: OracleReport
    files: tuple[Path, ...] = ()

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
            "oracle": self.oracle.as_dict(),
            "files": [str(path) for path in self.files],
        }

    def summary(self) -> str:
        """Returns the inspection in words, for people."""
        parts = [
            ("data", self.data.lines()),
            ("oracle", self.oracle.lines()),
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
    progress: StepProgress | None = None,
) -> Inspection:
    """Reports on a data set: content, mistakes, targets in pictures, and the oracle's AP.

    Nothing about the data is changed. Images that cannot be read are reported and left out.

    Example:
        >>> from heatpoint.data.synthetic import write_shapes
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
        out: Folder for report.json, charts.png and targets.png; None writes nothing.
        samples: Number of images in targets.png.
        augment: Augmentation that targets.png shows, named as in training.
        limit: The oracle scores at most this many images, evenly spread.
        seed: Chooses images and augmentation of targets.png.
        progress: Told how far each step is.

    Raises:
        HeatpointError: The data cannot be read, not one image is usable, or an argument does not
            fit the model.
    """
    if limit < 1 or samples < 0:
        raise HeatpointError(f"limit must be at least 1 and samples 0, not {limit} and {samples}")
    annotations = data if isinstance(data, Annotations) else read(data, images)
    codec, size = _representation(annotations, model, size, stride, max_detections)
    problems = validate(annotations, progress=_step(progress, "checking"))
    usable, _ = clean(annotations, skip_bad=True, progress=_step(progress, "measuring"))
    report, measured = measure(usable, size)
    chosen = usable
    if len(usable) > limit:
        chosen = usable.subset(np.linspace(0, len(usable) - 1, limit).round().astype(int).tolist())
    verdict = oracle(chosen, codec, size, _step(progress, "scoring"))
    found = Inspection(annotations.source, problems, report, verdict)
    if out is None:
        return found
    from heatpoint.inspection.charts import draw_charts
    from heatpoint.inspection.targets import draw_targets

    files = [Path(out) / name for name in ("report.json", "charts.png", "targets.png")]
    draw_charts(files[1], report, measured, codec.stride, verdict.max_detections)
    if samples:
        views = {"published": Augment(), "mild": Augment.mild(), "none": Augment.none()}[augment]
        draw_targets(files[2], usable, codec, size, views, samples, seed)
    else:
        del files[2]
    found = dataclasses.replace(found, files=tuple(files))
    write_json(files[0], found.as_dict())
    return found


def _step(progress: StepProgress | None, name: str) -> Progress | None:
    if progress is None:
        return None
    told = progress  # mypy forgets the narrowing inside the function below
    return lambda done, total: told(name, done, total)


def _representation(
    annotations: Annotations,
    model: str | Path | None,
    size: int | tuple[int, int] | None,
    stride: int | None,
    max_detections: int | None,
) -> tuple[CenterCodec, tuple[int, int]]:
    """Returns codec and input size: the model's, changed by what the user said."""
    codec, own, multiple = CenterCodec(len(annotations.names)), (512, 512), 1
    if model is not None:
        detector = _detector(model, annotations)
        codec = dataclasses.replace(detector.codec, classes=len(annotations.names))
        own, multiple = detector.size, detector.network.multiple
    if stride is not None:
        if model is not None and stride != codec.stride:
            raise HeatpointError(
                f"{model} works at stride {codec.stride}, not {stride}; leave out model or stride"
            )
        codec = dataclasses.replace(codec, stride=stride)
    if max_detections is not None:
        codec = dataclasses.replace(codec, max_detections=max_detections)
    sides = own if size is None else (size, size) if isinstance(size, int) else tuple(size)
    step = max(multiple, codec.stride)
    if len(sides) != 2 or any(side < 1 or side % step for side in sides):
        raise HeatpointError(f"size must be one or two multiples of {step} pixels, not {size}")
    return codec, (sides[0], sides[1])


def _detector(model: str | Path, annotations: Annotations) -> Any:
    from heatpoint import zoo
    from heatpoint.detector import Detector

    # What does not look like a file is meant as a name, so that a misspelt one gets a suggestion.
    if isinstance(model, Path) or Path(model).suffix == ".safetensors" or Path(model).is_file():
        return Detector.load(model)
    return zoo.build(model, annotations.names)
