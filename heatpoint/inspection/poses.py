"""The inspection of a data set for a model of joints: counts, error floor, drawn crops."""

from __future__ import annotations

import dataclasses

from heatpoint.data.annotations import Annotations
from heatpoint.data.pose_augment import PoseAugment
from heatpoint.data.validate import Progress
from heatpoint.detector.detector import Detector
from heatpoint.errors import HeatpointError
from heatpoint.inspection.joints import measure_joints
from heatpoint.inspection.part import Part, Pictures
from heatpoint.inspection.report import Spread, measure
from heatpoint.inspection.sides import input_sides


def inspect_poses(
    annotations: Annotations,
    detector: Detector,
    size: int | tuple[int, int] | None,
    padding: float | None,
    limit: int,
    pictures: Pictures,
    progress: Progress | None,
) -> Part:
    """Counts joints, scores a perfect network, and draws charts, targets and mirrored crops.

    Args:
        annotations: Cleaned annotations.
        detector: A model of joints.
        size: Input size that the user wants, or None for the model's.
        padding: Side of a crop over that of its box; None for the model's.
        limit: The perfect network is scored on at most this many subjects, evenly spread.
        pictures: What to draw.
        progress: Called with subjects scored and subjects to be scored.

    Raises:
        HeatpointError: The data has no joints, or other ones than the model, or the model cannot
            take the size.
    """
    skeleton = annotations.skeleton
    if skeleton is None or all(record.keypoints is None for record in annotations.images):
        raise HeatpointError(
            f"{annotations.source} has no joints; leave model out, or name one that finds boxes"
        )
    codec = detector.joint_codec
    if detector.skeleton is not None and detector.skeleton.joints != skeleton.joints:
        raise HeatpointError(
            f"the model finds {len(detector.skeleton.joints)} joints "
            f"({', '.join(detector.skeleton.joints)}), but {annotations.source} has "
            f"{len(skeleton.joints)} ({', '.join(skeleton.joints)}); give a model by its "
            "architecture's name to look at the data alone"
        )
    sides = input_sides(size, detector.size, max(detector.network.multiple, codec.stride))
    padding = float(detector.meta["padding"]) if padding is None else padding
    report, _ = measure(annotations, sides)
    joints, crops = measure_joints(annotations, codec, sides, padding, limit, progress)
    # What counts is the size in the crop, not in a whole picture brought to the input.
    report = dataclasses.replace(report, input_sides=Spread.of(crops.sides * crops.zooms))
    if pictures.out is None:
        return Part(report, None, joints, ())
    from heatpoint.inspection.crops import draw_crops, draw_mirrored
    from heatpoint.inspection.joint_charts import draw_joint_charts

    files = [pictures.out / "charts.png"]
    draw_joint_charts(files[0], joints, crops)
    if pictures.samples:
        views = {
            "published": PoseAugment.published,
            "mild": PoseAugment.mild,
            "none": PoseAugment.none,
        }
        files += [pictures.out / "targets.png", pictures.out / "mirrored.png"]
        augment, count, seed = views[pictures.augment](), pictures.samples, pictures.seed
        draw_crops(files[1], annotations, codec, sides, augment, padding, count, seed)
        draw_mirrored(files[2], annotations, sides, padding, min(count, 4), seed)
    return Part(report, None, joints, tuple(files))
