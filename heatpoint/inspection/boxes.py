"""The inspection of a data set for a model of boxes: counts, oracle and drawn targets."""

from __future__ import annotations

import dataclasses

import numpy as np

from heatpoint.codecs.center import CenterCodec
from heatpoint.codecs.corners import CornerCodec
from heatpoint.data.annotations import Annotations
from heatpoint.data.augment import Augment
from heatpoint.data.validate import Progress
from heatpoint.detector.detector import Detector
from heatpoint.detector.file import BoxCodec
from heatpoint.errors import HeatpointError
from heatpoint.inspection.corners import inspect_corners
from heatpoint.inspection.oracle import oracle
from heatpoint.inspection.part import Part, Pictures
from heatpoint.inspection.report import measure
from heatpoint.inspection.sides import input_sides

_VIEWS = {"published": Augment, "mild": Augment.mild, "none": Augment.none}


def inspect_boxes(
    annotations: Annotations,
    codec: BoxCodec,
    size: tuple[int, int],
    limit: int,
    pictures: Pictures,
    progress: Progress | None,
) -> Part:
    """Measures the boxes, scores a perfect network, and draws charts and targets.

    For a codec of corners, what these meet is counted too.

    Args:
        annotations: Cleaned annotations.
        codec: Representation to be judged.
        size: (H, W) of the input in pixels.
        limit: The oracle scores at most this many images, evenly spread.
        pictures: What to draw.
        progress: Called with images scored and images to be scored.
    """
    report, measured = measure(annotations, size)
    chosen = annotations
    if len(annotations) > limit:
        spread = np.linspace(0, len(annotations) - 1, limit).round().astype(int)
        chosen = annotations.subset(spread.tolist())
    verdict = oracle(chosen, codec, size, progress)
    augment = _VIEWS[pictures.augment]()
    corners = None
    if isinstance(codec, CornerCodec):
        named = pictures.augment
        corners = inspect_corners(annotations, codec, size, augment, named, pictures.seed)
    if pictures.out is None:
        return Part(report, verdict, None, (), corners)
    from heatpoint.inspection.charts import draw_charts
    from heatpoint.inspection.targets import draw_targets

    files = [pictures.out / "charts.png"]
    draw_charts(files[0], report, measured, codec.stride, verdict.max_detections)
    if pictures.samples:
        files.append(pictures.out / "targets.png")
        draw_targets(files[1], annotations, codec, size, augment, pictures.samples, pictures.seed)
    return Part(report, verdict, None, tuple(files), corners)


def representation(
    annotations: Annotations,
    detector: Detector | None,
    size: int | tuple[int, int] | None,
    stride: int | None,
    max_detections: int | None,
) -> tuple[BoxCodec, tuple[int, int]]:
    """Returns codec and input size: the model's, changed by what the user said.

    Raises:
        HeatpointError: The model has another stride, or cannot take the size.
    """
    codec: BoxCodec = CenterCodec(len(annotations.names))
    own, multiple, trim = (512, 512), 1, 0
    if detector is not None:
        codec = dataclasses.replace(detector.box_codec, classes=len(annotations.names))
        own = detector.size
        multiple, trim = detector.network.multiple, detector.network.trim
    if stride is not None:
        if detector is not None and stride != codec.stride:
            raise HeatpointError(
                f"this model works at stride {codec.stride}, not {stride}; leave out model or "
                "stride"
            )
        codec = dataclasses.replace(codec, stride=stride)
    if max_detections is not None:
        codec = dataclasses.replace(codec, max_detections=max_detections)
    return codec, input_sides(size, own, max(multiple, codec.stride), trim)
