"""``heatpoint evaluate``: scores a checkpoint on annotated data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from heatpoint.commands.arguments import CommandParser

if TYPE_CHECKING:
    from heatpoint.scoring.evaluate import Metrics
    from heatpoint.scoring.poses import PoseMetrics

POSE_ONLY = dict.fromkeys(("normaliser", "detector"), "it is for checkpoints that find joints")
BOXES_ONLY = {
    "keep_resolution": "subjects are cropped to the input's size",
    "scales": "only detectors of boxes are tested at several",
    "max_detections": "there is one pose for each box",
    "soft_nms": "there is one pose for each box",
}


@dataclass
class Evaluate:
    """Scores a checkpoint on annotated data."""

    checkpoint: str
    """a checkpoint of train or convert, a .onnx or .xml file of export, or the name of fetched
    weights"""

    data: str
    """COCO json, VOC folder[:split], YOLO folder[:split] or a text-lines file; for poses COCO
    keypoints, MPII, LSP, FLIC or DeepLabCut"""

    images: str = ""
    """folder of the pictures, if not beside the annotations"""

    normaliser: Literal["extent", "torso", "box", "head"] = "extent"
    """poses: the length that PCK's errors are divided by"""

    detector: str = ""
    """poses: a checkpoint that finds the subjects' boxes; the annotated boxes by default"""

    json: str = ""
    """file for the numbers and the protocol they were measured by"""

    size: int | tuple[int, int] | None = None
    """input size, 512 or 384x512 (height x width); the checkpoint's own by default"""

    keep_resolution: bool = False
    """pad pictures to a legal size instead of resizing them"""

    nms: float | None = None
    """overlap (IoU) above which the worse of two boxes of one class is removed"""

    soft_nms: Literal["gaussian", "linear", "merge", "none"] | None = None
    """instead of --nms: lower the scores of boxes that overlap better ones, or merge them; by
    default gaussian for models of corners and for several scales, else none"""

    max_detections: int = 100
    """most results per picture"""

    flip: bool = False
    """average with the mirrored picture, as published"""

    scales: tuple[float, ...] = (1.0,)
    """test scales, merged by soft-NMS; 0.5,0.75,1,1.25,1.5 in the paper"""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps"""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto is bf16 where the hardware multiplies it natively"""

    batch_size: int = 8
    """pictures, or crops of subjects, per run of the network"""

    workers: int = 2
    """threads that read pictures while the network runs"""

    streams: int = 1
    """batches under way at once, for most pictures per second (exported files)"""

    skip_bad: bool = False
    """leave unreadable pictures out instead of stopping"""


def run(words: Sequence[str]) -> int:
    """Evaluates and prints the numbers."""
    options = CommandParser("evaluate", Evaluate, "Scores a checkpoint on annotated data.").parse(
        words
    )
    from heatpoint.commands.display import Progress
    from heatpoint.commands.kinds import refuse
    from heatpoint.data.read import read
    from heatpoint.engines import open_engine
    from heatpoint.engines.timings import Timings
    from heatpoint.scoring.evaluate import evaluate
    from heatpoint.scoring.evaluate_pose import evaluate_pose
    from heatpoint.system.files import write_json

    data = read(options.data, options.images or None)
    engine = open_engine(
        options.checkpoint,
        flip=options.flip,
        max_detections=options.max_detections,
        device=options.device,
        precision=options.precision,
        streams=options.streams,
        timings=Timings(),
    )
    pose = engine.description.task == "pose"
    kind = f"{options.checkpoint} finds {'joints' if pose else 'boxes by itself'}"
    refuse(options, BOXES_ONLY if pose else POSE_ONLY, kind)
    if pose and not options.detector:
        refuse(options, {"nms": "it needs --detector, whose boxes it chooses from"}, kind)
    boxes_from = None
    if options.detector:
        boxes_from = open_engine(
            options.detector, device=options.device, precision=options.precision
        )
    with Progress("evaluating") as progress:
        metrics: Metrics | PoseMetrics
        if pose:
            metrics = evaluate_pose(
                engine,
                data,
                boxes_from=boxes_from,
                box_nms=options.nms,
                normaliser=options.normaliser,
                size=options.size,
                batch_size=options.batch_size,
                workers=options.workers,
                skip_bad=options.skip_bad,
                progress=progress,
            )
        else:
            metrics = evaluate(
                engine,
                data,
                size=options.size,
                nms=options.nms,
                soft_nms=options.soft_nms,
                max_detections=options.max_detections,
                scales=options.scales,
                keep_resolution=options.keep_resolution,
                batch_size=options.batch_size,
                workers=options.workers,
                skip_bad=options.skip_bad,
                progress=progress,
            )
    print(metrics.summary())
    if options.json:
        write_json(options.json, metrics.as_dict())
        print(f"numbers and protocol: {options.json}")
    return 0
