"""``heatpoint predict``: finds objects, or the joints of subjects, in pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from heatpoint.commands.arguments import CommandParser

if TYPE_CHECKING:
    from heatpoint.engines import Engine
    from heatpoint.inference.sources import Source

POSE_ONLY = dict.fromkeys(("boxes", "detector"), "it is for checkpoints that find joints")


@dataclass
class Predict:
    """Finds objects, or the joints of subjects, in pictures."""

    checkpoint: str
    """a checkpoint of train or convert, a .onnx or .xml file of export, or the name of fetched
    weights; it decides whether boxes or poses are found"""

    images: list[str]
    """picture files, folders or patterns"""

    boxes: str = ""
    """poses: JSON file of the subjects' boxes, as predict writes it for a detector of boxes, or
    {file name: [[x1, y1, x2, y2], ...]}; without it and --detector each picture is one subject"""

    detector: str = ""
    """poses: a checkpoint that finds the subjects' boxes"""

    json: str = ""
    """file for the results, COCO rows with file and class names; printed as a table without it"""

    draw: str = ""
    """folder for the pictures with their boxes or skeletons drawn in"""

    score: float = 0.3
    """least score of a box"""

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
    """average with the mirrored picture"""

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
    """warn of unreadable pictures instead of stopping"""

    profile: bool = False
    """say where the time went"""


def run(words: Sequence[str]) -> int:
    """Predicts, and writes what was asked for."""
    options = CommandParser("predict", Predict, Predict.__doc__ or "").parse(words)
    from heatpoint.commands.kinds import refuse
    from heatpoint.engines import open_engine
    from heatpoint.engines.timings import Timings
    from heatpoint.inference.sources import expand

    sources = expand(options.images)
    engine = open_engine(
        options.checkpoint,
        flip=options.flip,
        max_detections=options.max_detections,
        device=options.device,
        precision=options.precision,
        streams=options.streams,
        timings=Timings() if options.profile else None,
    )
    if engine.description.task == "pose":
        from heatpoint.commands.predict_pose import run_pose

        run_pose(options, engine, sources)
    else:
        refuse(options, POSE_ONLY, f"{options.checkpoint} finds boxes by itself")
        _run_boxes(options, engine, sources)
    if options.profile:
        print(engine.timings.summary())
    return 0


def _run_boxes(options: Predict, engine: Engine, sources: Sequence[Source]) -> None:
    from heatpoint.commands.display import print_table, track
    from heatpoint.data.images import load_image
    from heatpoint.inference.draw import draw_detections, drawing_paths, write_picture
    from heatpoint.inference.predict import iter_predict, write_results

    stream = iter_predict(
        engine,
        options.images,
        size=options.size,
        score_threshold=options.score,
        nms=options.nms,
        soft_nms=options.soft_nms,
        max_detections=options.max_detections,
        scales=options.scales,
        keep_resolution=options.keep_resolution,
        batch_size=options.batch_size,
        workers=options.workers,
        skip_bad=options.skip_bad,
    )
    drawn = drawing_paths([source.path for source in sources], options.draw) if options.draw else []
    found = []
    for one in track(stream, total=len(sources), text="predicting"):
        found.append(one)
        if options.draw:
            picture = draw_detections(load_image(one.path), one.detections)
            write_picture(drawn[one.index], picture)
    objects = sum(len(one.detections) for one in found)
    if options.json:
        write_results(options.json, found)
        print(f"{objects} objects in {len(found)} pictures: {options.json}")
    elif not options.draw:
        print_table(
            ("picture", "class", "score", "x1", "y1", "x2", "y2"),
            [
                (
                    Path(one.path).name,
                    one.detections.names[label],
                    f"{score:.2f}",
                    *(f"{side:.1f}" for side in box),
                )
                for one in found
                for box, score, label in zip(
                    one.detections.boxes.tolist(),
                    one.detections.scores.tolist(),
                    one.detections.labels.tolist(),
                    strict=True,
                )
            ],
        )
        print(f"{objects} objects in {len(found)} pictures")
    if options.draw:
        print(f"{len(found)} pictures drawn in {options.draw}")
