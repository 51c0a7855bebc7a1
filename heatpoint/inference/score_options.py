"""The options of evaluate and limits; nothing here imports torch, so that help is quick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from heatpoint.inference.options import KeepOptions, ReadOptions, RunOptions
from heatpoint.options.values import Checkpoint, Data, File, Scales, Words
from heatpoint.scoring import Normaliser

if TYPE_CHECKING:
    from pathlib import Path

    from heatpoint.data.annotations import Annotations
    from heatpoint.inference.engines.engine import Engine
    from heatpoint.zoo.detector import Detector

Metric = Literal["coco", "voc"]
METRICS: tuple[Metric, ...] = get_args(Metric)


@dataclass
class MeasureOptions:
    """How scores are computed."""

    MEASURE: ClassVar[str] = "how scores are computed"

    metric: Words | Sequence[Metric] = METRICS
    """which scores of boxes to compute: coco, voc or both"""

    normaliser: Normaliser = "extent"
    """joints: the length that PCK's errors are divided by: the extent of the labelled joints, the
    torso, the box or the head"""

    thresholds: Scales | Sequence[float] = (0.05, 0.1, 0.2)
    """joints: shares of that length below which, strictly, a joint is found"""

    sigmas: Scales | Sequence[float] | None = None
    """joints: OKS's, one per joint of the annotations; COCO's for its 17 joints and 0.1 for any
    other skeleton by default"""


@dataclass
class EvaluateOptions:
    """Scores a model on annotated pictures."""

    model: Checkpoint | Path | Detector | Engine | None
    """a checkpoint of train or convert, a .onnx or .xml file of export, or the name of fetched
    weights"""

    data: Data | Path | Annotations
    """COCO json, VOC folder[:split], YOLO folder[:split] or a text-lines file; for joints COCO
    keypoints, MPII, LSP, FLIC or DeepLabCut"""

    detector: Checkpoint | Path | Detector | Engine | None = None
    """a model of boxes that says where a model of joints looks; the annotated boxes by default, as
    for published PCK and PCKh"""

    results: File | Path | None = None
    """COCO result JSON to score instead of running a model; rows with file_name and category_name,
    as predict writes them, are matched by those, others by image_id and category_id"""

    save_results: File | Path | None = None
    """file to write the model's results to, as COCO result JSON"""

    measure: MeasureOptions = field(default_factory=MeasureOptions)
    keep: KeepOptions = field(default_factory=KeepOptions)
    run: RunOptions = field(default_factory=RunOptions)
    read: ReadOptions = field(default_factory=ReadOptions)


@dataclass
class LimitsOptions:
    """Says which of a model's maps cost the most, by putting in the true ones one after another."""

    model: Checkpoint | Path | Detector
    """a checkpoint of train or convert"""

    data: Data | Path | Annotations
    """annotated data with the model's classes, in any format that train takes"""

    keep: KeepOptions = field(default_factory=KeepOptions)
    run: RunOptions = field(default_factory=RunOptions)
    read: ReadOptions = field(default_factory=ReadOptions)
