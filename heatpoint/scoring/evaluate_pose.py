"""Scores a pose detector on annotated images: PCK, PCKh, pixel errors and COCO's OKS."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from heatpoint.data.annotations import Annotations, ImageRecord
from heatpoint.data.read import read
from heatpoint.data.skeleton import Skeleton
from heatpoint.engines import Engine, open_engine
from heatpoint.engines.timings import Timings
from heatpoint.errors import HeatpointError
from heatpoint.inference.pose_runner import PoseRunner
from heatpoint.inference.poses import Poses
from heatpoint.inference.sources import Source
from heatpoint.scoring.evaluate import check_files
from heatpoint.scoring.oks import default_sigmas
from heatpoint.scoring.pck import NORMALISERS, Normaliser
from heatpoint.scoring.poses import MATCH, PoseMetrics, score_poses, scored
from heatpoint.system.files import write_json
from heatpoint.views.subjects import Subjects, detected_boxes, subjects

if TYPE_CHECKING:
    import torch

    from heatpoint.detector.detector import Detector
    from heatpoint.networks.fast import Precision


def evaluate_pose(
    detector: Detector | Engine | str | Path,
    annotations: Annotations | str | Path,
    *,
    boxes_from: Detector | Engine | str | Path | None = None,
    box_score: float = 0.05,
    box_nms: float | None = None,
    normaliser: Normaliser = "extent",
    thresholds: Sequence[float] = (0.05, 0.1, 0.2),
    sigmas: Sequence[float] | None = None,
    size: int | Sequence[int] | None = None,
    flip: bool = False,
    device: str | torch.device = "auto",
    precision: Precision = "auto",
    batch_size: int = 8,
    workers: int = 2,
    streams: int = 1,
    skip_bad: bool = False,
    progress: Callable[[int, int], None] | None = None,
    save_results: str | Path | None = None,
) -> PoseMetrics:
    """Returns PCK, PCKh, pixel errors and OKS of a pose detector.

    The poses that are scored are those ``predict_pose`` returns for the same boxes.

    Args:
        detector: A pose detector, its checkpoint or a file that ``export`` wrote.
        annotations: The truth, or where to read it. Its joints must be the detector's, in any
            order: they are matched by name.
        boxes_from: A detector of boxes, or its checkpoint, that finds the subjects; None takes the
            annotated boxes, as published PCK and PCKh do.
        box_score: Least score of a box of ``boxes_from``.
        box_nms: Overlap above which the worse of two boxes of ``boxes_from`` is removed, or None.
        normaliser: The length that errors are divided by: "extent" of the labelled joints,
            "torso", "box" or "head".
        thresholds: Shares of that length below which, strictly, a joint is found.
        sigmas: OKS's, one per joint of the annotations; None is COCO's for its 17 joints and 0.1
            for any other skeleton.
        size: Input (height, width) in pixels, one number for both; None is the detector's own.
        flip: Averages the maps with those of the mirrored crop.
        device: "auto" or a torch device.
        precision: "auto", "fp32" or "bf16".
        batch_size: Crops per run of the network.
        workers: Threads that read and crop images while the network runs; 0 for none.
        streams: Batches under way at once; more than one takes an exported file.
        skip_bad: Leaves unreadable images and their subjects out of the score, and counts them.
        progress: Called with images done and images in all.
        save_results: File to write the poses to, as COCO keypoint result JSON.

    Raises:
        HeatpointError: Joints differ, images are missing or unreadable, a box is without area or
            outside its image, the normaliser is not defined here, or an argument is out of range.
    """
    if normaliser not in NORMALISERS:
        raise HeatpointError(
            f"normaliser must be one of {', '.join(NORMALISERS)}, not {normaliser!r}"
        )
    if not thresholds or not all(0 < share < math.inf for share in thresholds):
        raise HeatpointError(f"thresholds must be positive numbers, not {list(thresholds)}")
    truth = annotations if isinstance(annotations, Annotations) else read(annotations)
    where = truth.source or "the annotations"
    if truth.skeleton is None:
        raise HeatpointError(f"{where} hold no keypoints; expected annotated joints to score")
    engine = open_engine(
        detector,
        flip=flip,
        device=device,
        precision=precision,
        streams=streams,
        timings=None if isinstance(detector, Engine) else Timings(),
    )
    runner = PoseRunner(engine, size=size)
    order = match_joints(runner.skeleton, truth.skeleton)
    if not any(scored(record).any() for record in truth.images):
        raise HeatpointError(f"{where} hold no subject with a labelled joint to score")
    if not skip_bad:
        check_files(truth)
    sources = [Source(record.path, str(record.path)) for record in truth.images]
    if boxes_from is None:
        wanted = dict(enumerate(map(_annotated, truth.images)))
    else:
        wanted = detected_boxes(
            boxes_from,
            sources,
            runner.name,
            score_threshold=box_score,
            nms=box_nms,
            device=device,
            precision=precision,
            workers=workers,
            skip_bad=skip_bad,
        )
    places = sorted(wanted)
    done: list[int] = []
    found: list[Poses] = []
    stream = runner.stream(
        [sources[place] for place in places],
        [wanted[place] for place in places],
        batch_size,
        workers,
        skip_bad,
    )
    for one in stream:
        done.append(places[one.index])
        poses = one.poses
        found.append(
            Poses(poses.keypoints[:, order], poses.boxes, poses.scores, truth.skeleton, poses.name)
        )
        if progress:
            progress(done[-1] + 1, len(sources))
    skipped = [(str(sources[i]), "unreadable") for i in range(len(sources)) if i not in wanted]
    truth = truth.subset(done)
    if save_results is not None:
        label = truth.names.index(runner.name) if runner.name in truth.names else 0
        rows = [
            row
            for record, poses in zip(truth.images, found, strict=True)
            for row in poses.to_coco(record.image_id, truth.category_ids[label])
        ]
        write_json(save_results, rows)
    named = "given" if sigmas is not None else default_sigmas(runner.skeleton)[1]
    protocol = runner.protocol() | {
        "boxes": "annotated" if boxes_from is None else "detected",
        "box_score": None if boxes_from is None else box_score,
        "box_nms": box_nms,
        "match_iou": None if boxes_from is None else MATCH,
        "normaliser": f"{normaliser}: {NORMALISERS[normaliser]}",
        "thresholds": list(thresholds),
        "sigmas": named,
    }
    return score_poses(
        truth,
        found,
        boxes_from is None,
        normaliser,
        thresholds,
        sigmas,
        protocol,
        skipped + runner.skipped,
        runner.timings,
    )


def match_joints(mine: Skeleton, theirs: Skeleton) -> list[int]:
    """Returns the place in ``mine`` of each joint of ``theirs``, matched by name.

    Raises:
        HeatpointError: The names are not the same set; lists the differences.
    """
    missing = [name for name in theirs.joints if name not in mine.joints]
    extra = [name for name in mine.joints if name not in theirs.joints]
    if missing or extra:
        parts = [
            f"{words} {', '.join(names[:10])}" + (" ..." if len(names) > 10 else "")
            for words, names in (
                ("the detector lacks", missing),
                ("the annotations lack", extra),
            )
            if names
        ]
        raise HeatpointError(
            f"the detector's {len(mine.joints)} joints are not the annotations' "
            f"{len(theirs.joints)}: {'; '.join(parts)}; evaluate on data with the skeleton it was "
            "trained on"
        )
    return [mine.joints.index(name) for name in theirs.joints]


def _annotated(record: ImageRecord) -> Subjects:
    return subjects(record.boxes[scored(record)], f"{record.path}'s annotation")
