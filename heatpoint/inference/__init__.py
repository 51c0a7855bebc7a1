"""The options of predict, load, evaluate, limits and video; what they share is nested in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from heatpoint.errors import HeatpointError
from heatpoint.options import (
    Checkpoint,
    Data,
    File,
    Folder,
    Name,
    Normaliser,
    Pictures,
    Scales,
    Size,
    Words,
)

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from heatpoint.data import Annotations
    from heatpoint.inference.engines.engine import Engine
    from heatpoint.inference.places import ImageBoxes
    from heatpoint.inference.sources import Images
    from heatpoint.zoo.detector import Detector


SoftNms = Literal["gaussian", "linear", "merge", "none"]
"""What can be done about double boxes instead of removing them."""


@dataclass
class RunOptions:
    """How a model is run over pictures."""

    LOOK: ClassVar[str] = "what is looked at"

    size: Size | Sequence[int] | None = None
    """input size in pixels, 512 or 384x512 (height x width); the model's own by default"""

    tiles: Size | Sequence[int] | None = None
    """look at overlapping tiles of this many pixels of the picture, at its own resolution: for
    small objects in large pictures"""

    overlap: float = 0.2
    """share of a tile that the next one shows too"""

    keep_resolution: bool = False
    """pad pictures to a legal size instead of resizing them"""

    flip: bool = False
    """average with the mirrored picture; twice the work"""

    scales: Scales | Sequence[float] = (1.0,)
    """test scales, merged by soft-NMS; 0.5,0.75,1,1.25,1.5 in the paper"""

    MACHINE: ClassVar[str] = "machine"

    device: Name | torch.device = "auto"
    """auto, cpu, cuda, cuda:1, mps; of exported files .onnx: cpu, cuda, tensorrt, gpu and npu
    (Intel's), .xml: cpu, gpu, npu; auto takes the best that is there, all others or nothing"""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """arithmetic of the network; auto is bf16 on CPUs that are faster in it (AMX, AMD's
    AVX512-BF16) and GPUs that multiply it, fp16 on GPUs that have only this (Volta, Turing), else
    fp32; exported files have their own"""

    streams: int = 1
    """batches under way at once, for most pictures per second (exported files)"""


@dataclass
class ReadOptions:
    """How pictures are read."""

    READING: ClassVar[str] = "reading"

    batch_size: int = 8
    """pictures, crops or tiles per run of the network"""

    workers: int = 2
    """threads that read and resize pictures while the network runs; 0 for none"""

    skip_bad: bool = False
    """warn of unreadable pictures instead of stopping"""


@dataclass
class KeepOptions:
    """Which of the things found are results."""

    RESULTS: ClassVar[str] = "what becomes a result"

    score: float | None = field(default=None, metadata={"alias": "conf"})
    """least score of a result; where boxes are looked at, of these. By default 0.3, but 0 to
    evaluate, because the area under a curve needs its far end"""

    nms: float | None = None
    """overlap (IoU) above which the worse of two boxes of one class is removed"""

    soft_nms: SoftNms | None = None
    """instead of nms: lower the scores of boxes that overlap better ones, or merge them; by
    default what the model needs (corners gaussian), and gaussian for several scales"""

    max_detections: int | None = None
    """most results per picture, or per tile; by default what the model was trained to find, and 100
    at least"""


@dataclass
class PredictOptions:
    """Finds what a model was trained to find, in pictures."""

    model: Checkpoint | Path | Detector | Engine
    """a checkpoint of train or convert, a .onnx or .xml file of export, or the name of fetched
    weights"""

    images: list[Pictures] | Images
    """picture files, folders, patterns or http addresses"""

    recursive: bool = False
    """look into the folders of a folder, too"""

    frames: bool = False
    """look at every frame of an animation and every page of a file, not just at the first"""

    PLACES: ClassVar[str] = "where models of joints look"

    boxes: File | Path | Sequence[ImageBoxes] | None = None
    """JSON file of boxes, as predict writes it for a detector of boxes, or {file name: [[x1, y1,
    x2, y2], ...]}; without boxes and detector, one subject fills each picture"""

    detector: Checkpoint | Path | Detector | Engine | None = None
    """a model of boxes that finds where to look"""

    keep: KeepOptions = field(default_factory=KeepOptions)

    run: RunOptions = field(default_factory=RunOptions)

    read: ReadOptions = field(default_factory=ReadOptions)


@dataclass
class LoadOptions:
    """Opens a model, to be called with pictures."""

    model: Checkpoint | Path | Detector | Engine
    """a checkpoint of train or convert, a .onnx or .xml file of export, or the name of fetched
    weights"""

    detector: Checkpoint | Path | Detector | Engine | None = None
    """of a model of joints: a model of boxes that finds where to look"""

    keep: KeepOptions = field(default_factory=KeepOptions)

    run: RunOptions = field(default_factory=RunOptions)


Metric = Literal["coco", "voc", "points"]
METRICS: tuple[Metric, ...] = get_args(Metric)

RADII = (4.0, 8.0, 16.0)
"""Image pixels within which a point counts as found."""


@dataclass
class MeasureOptions:
    """How scores are computed."""

    MEASURE: ClassVar[str] = "how scores are computed"

    metric: Words | Sequence[Metric] = ("coco", "voc")
    """which scores of boxes to compute: coco, voc, and points, which takes them for the points in
    their middle"""

    radii: Scales | Sequence[float] = RADII
    """points: image pixels up to which a found point may be off, ascending"""

    sure: float = 0.3
    """points: least score of a point that counts as found; F1 and counts hold for it, AP for all"""

    curves: File | Path | None = None
    """points: PNG file for curves of precision, recall and F1, and counts picture by picture"""

    normaliser: Normaliser = "extent"
    """joints: the length that PCK's errors are divided by: the extent of the labelled joints, the
    torso, the box or the head"""

    thresholds: Scales | Sequence[float] = (0.05, 0.1, 0.2)
    """joints: shares of that length below which, strictly, a joint is found"""

    sigmas: Scales | Sequence[float] | None = None
    """joints: OKS's, one per joint of the annotations; COCO's for its 17 joints and 0.1 for any
    other skeleton by default"""


@dataclass
class ReportOptions:
    """What is shown of scores beyond their numbers."""

    REPORT: ClassVar[str] = "a page about what is wrong, and why"

    report: Folder | Path | None = None
    """folder for report.html, one page that needs no network: curves, kinds of mistakes, what they
    cost, the worst pictures; and report.json"""

    against: Checkpoint | Path | Detector | Engine | None = None
    """another model to compare with, on the same pictures, as to chance"""

    limits: bool = False
    """report what each kind of map costs, too; runs the network once more (checkpoints)"""

    set_threshold: bool = False
    """write the score with the best F1 into the checkpoint, from which on predict then returns
    results by default"""


@dataclass
class EvaluateOptions:
    """Scores a model on annotated pictures."""

    model: Checkpoint | Path | Detector | Engine | None = field(metadata={"unless": "results"})
    """a checkpoint of train or convert, a .onnx or .xml file of export, or the name of fetched
    weights"""

    data: Data | Path | Annotations
    """a file or folder of annotations in any format of docs/formats.md, with :split where it has
    some"""

    detector: Checkpoint | Path | Detector | Engine | None = None
    """a model of boxes that says where a model of joints looks; the annotated boxes by default, as
    for published PCK and PCKh"""

    results: File | Path | None = None
    """COCO result JSON to score instead of a MODEL, which is left off; rows with file_name and
    category_name, as predict writes them, are matched by those, others by image_id and
    category_id"""

    save_results: File | Path | None = None
    """file to write the model's results to, as COCO result JSON"""

    about: ReportOptions = field(default_factory=ReportOptions)
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


def refuse(options: object, names: Sequence[str], why: str) -> None:
    """Makes sure that none of the named options of a class is given.

    Args:
        options: An instance of one of the classes of options.
        names: Names of options that would change nothing, or too much.
        why: Follows the name in the message, remedy included.

    Raises:
        HeatpointError: One is not what it is by default.
    """
    usual = {each.name: each.default for each in fields(options)}  # type: ignore[arg-type]
    for name in names:
        value = getattr(options, name)
        if usual[name] is None:
            given = value is not None
        else:
            given = (tuple(value) if isinstance(value, list) else value) != usual[name]
        if given:
            raise HeatpointError(f"{name} {why}")
