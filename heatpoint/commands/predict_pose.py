"""The half of ``heatpoint predict`` that finds joints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from heatpoint.commands.display import print_table, track
from heatpoint.commands.kinds import refuse
from heatpoint.data.images import load_image
from heatpoint.engines import open_engine
from heatpoint.errors import HeatpointError
from heatpoint.inference.draw import drawing_paths, write_picture
from heatpoint.inference.draw_poses import draw_poses
from heatpoint.inference.predict_pose import iter_predict_pose, write_poses
from heatpoint.inference.sources import Source

if TYPE_CHECKING:
    from heatpoint.commands.predict import Predict
    from heatpoint.engines import Engine

BOXES_ONLY = {
    "keep_resolution": "subjects are cropped to the input's size",
    "scales": "only detectors of boxes are tested at several",
    "max_detections": "there is one pose for each box",
    "soft_nms": "there is one pose for each box",
}
DETECTOR_ONLY = {
    "nms": "it needs --detector, whose boxes it chooses from",
}
FOUND_ONLY = {
    "score": "it needs --detector or --boxes, whose boxes it chooses from",
}


def run_pose(options: Predict, engine: Engine, sources: Sequence[Source]) -> None:
    """Predicts poses, and writes what was asked for."""
    what = f"{options.checkpoint} finds joints"
    refuse(options, BOXES_ONLY, what)
    if not options.detector:
        refuse(options, DETECTOR_ONLY, what)
        if not options.boxes:
            refuse(options, FOUND_ONLY, what)
    if options.boxes and options.detector:
        raise HeatpointError("give either --boxes or --detector, which finds them")
    boxes_from = None
    if options.detector:
        boxes_from = open_engine(
            options.detector, device=options.device, precision=options.precision
        )
    stream = iter_predict_pose(
        engine,
        options.images,
        boxes=options.boxes or None,
        boxes_from=boxes_from,
        box_score=options.score,
        box_nms=options.nms,
        size=options.size,
        batch_size=options.batch_size,
        workers=options.workers,
        skip_bad=options.skip_bad,
    )
    drawn = drawing_paths([source.path for source in sources], options.draw) if options.draw else []
    found = []
    for one in track(stream, total=len(sources), text="predicting"):
        found.append(one)
        if options.draw:
            write_picture(drawn[one.index], draw_poses(load_image(one.path), one.poses))
    subjects = sum(len(one.poses) for one in found)
    if options.json:
        write_poses(options.json, found)
        print(f"{subjects} poses in {len(found)} pictures: {options.json}")
    elif not options.draw:
        print_table(
            ("picture", "subject", "joint", "score", "x", "y"),
            [
                (Path(one.path).name, str(place), joint, f"{score:.2f}", f"{x:.1f}", f"{y:.1f}")
                for one in found
                for place, joints in enumerate(one.poses.keypoints.tolist())
                for joint, (x, y, score) in zip(one.poses.skeleton.joints, joints, strict=True)
            ],
        )
        print(f"{subjects} poses in {len(found)} pictures")
    if options.draw:
        print(f"{len(found)} pictures drawn in {options.draw}")
