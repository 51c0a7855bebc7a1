"""Finds the joints of subjects in images: boxes given, found by a detector, or whole pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heatpoint.engines import Engine, open_engine
from heatpoint.engines.timings import Timings
from heatpoint.errors import HeatpointError
from heatpoint.inference.finish import check_thresholds
from heatpoint.inference.pose_runner import FoundPoses, PoseRunner
from heatpoint.inference.poses import Poses
from heatpoint.inference.sources import Images, Source, expand
from heatpoint.system.files import write_json
from heatpoint.views.subjects import ImageBoxes, Subjects, detected_boxes, given_boxes

if TYPE_CHECKING:
    import torch

    from heatpoint.detector.detector import Detector
    from heatpoint.networks.fast import Precision


def predict_pose(
    detector: Detector | Engine | str | Path,
    images: Images,
    *,
    boxes: str | Path | Sequence[ImageBoxes] | None = None,
    boxes_from: Detector | Engine | str | Path | None = None,
    box_score: float = 0.3,
    box_nms: float | None = None,
    size: int | Sequence[int] | None = None,
    flip: bool = False,
    device: str | torch.device = "auto",
    precision: Precision = "auto",
    batch_size: int = 8,
    workers: int = 2,
    streams: int = 1,
    skip_bad: bool = False,
    timings: Timings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Poses]:
    """Returns the poses in each image, in image pixels, in the order of the boxes.

    Without ``boxes`` and ``boxes_from`` each picture shows one subject, which fills it.

    Example:
        >>> poses = predict_pose("pose.safetensors", "runners/*.jpg",
        ...                      boxes_from="people.safetensors")  # doctest: +SKIP
        >>> poses[0].keypoints[:, :, :2]  # doctest: +SKIP

    Args:
        detector: A pose detector, the path of its checkpoint, or a file that ``export`` wrote.
        images: A file, folder, pattern, (h, w, 3) uint8 RGB array, Pillow image or encoded bytes,
            or a list of them. A folder stands for its image files by name, without subfolders.
        boxes: Where the subjects are, xyxy in image pixels: a JSON file (COCO result rows with
            ``file_name``, or ``{file name: [[x1, y1, x2, y2], ...]}``), or one list per image.
        boxes_from: A detector of boxes, or its checkpoint, that finds the subjects first. All
            images are searched before the first pose, and read twice.
        box_score: Least score of a box of ``boxes_from`` or of a file of results.
        box_nms: Overlap above which the worse of two boxes of ``boxes_from`` is removed, or None.
        size: Input (height, width) in pixels, one number for both; None is the detector's own.
        flip: Averages the maps with those of the mirrored crop; twice the work.
        device: "auto" or a torch device.
        precision: "auto", "fp32" or "bf16".
        batch_size: Crops per run of the network, of one image or of several; on a CPU more than 8
            are slower, a GPU likes more.
        workers: Threads that read and crop images while the network runs; 0 for none.
        streams: Batches under way at once, for most people per second; more than one takes an
            exported file.
        skip_bad: Warns of an unreadable image and leaves its result empty.
        timings: Filled with where the time went, that of ``boxes_from`` left out.
        progress: Called with images done and images in all.

    Returns:
        One result per image, whatever happened to it, in the order of ``images``.

    Raises:
        HeatpointError: An image is missing, or unreadable without ``skip_bad``; boxes are those of
            other images, without area or wholly outside; an argument is out of range; a
            checkpoint cannot be read or is of the other kind.
    """
    sources, runner, places, subjects = _prepared(
        detector,
        images,
        boxes,
        boxes_from,
        box_score,
        box_nms,
        size,
        flip,
        device,
        precision,
        workers,
        streams,
        skip_bad,
        timings,
    )
    results = [Poses.empty(runner.skeleton, runner.name) for _ in sources]
    for found in _stream(runner, sources, places, subjects, batch_size, workers, skip_bad):
        results[found.index] = found.poses
        if progress:
            progress(found.index + 1, len(sources))
    return results


def iter_predict_pose(
    detector: Detector | Engine | str | Path,
    images: Images,
    *,
    boxes: str | Path | Sequence[ImageBoxes] | None = None,
    boxes_from: Detector | Engine | str | Path | None = None,
    box_score: float = 0.3,
    box_nms: float | None = None,
    size: int | Sequence[int] | None = None,
    flip: bool = False,
    device: str | torch.device = "auto",
    precision: Precision = "auto",
    batch_size: int = 8,
    workers: int = 2,
    streams: int = 1,
    skip_bad: bool = False,
    timings: Timings | None = None,
) -> Iterator[FoundPoses]:
    """Yields the poses in each image as soon as they are known, however many images there are.

    The arguments are those of ``predict_pose``; images, boxes and checkpoints are looked for at
    once, and ``boxes_from`` is run, before the first result is asked for. An unreadable image that
    ``skip_bad`` leaves out is warned of and not yielded.

    Raises:
        HeatpointError: As ``predict_pose``.
    """
    sources, runner, places, subjects = _prepared(
        detector,
        images,
        boxes,
        boxes_from,
        box_score,
        box_nms,
        size,
        flip,
        device,
        precision,
        workers,
        streams,
        skip_bad,
        timings,
    )
    return _stream(runner, sources, places, subjects, batch_size, workers, skip_bad)


def pose_rows(found: Iterable[FoundPoses], category_id: int = 1) -> list[dict[str, Any]]:
    """Returns COCO keypoint result rows that also say ``file_name`` and ``category_name``.

    Args:
        found: Results of ``iter_predict_pose``; ``image_id`` is the image's place, from 0.
        category_id: The id of the subjects' category; COCO's person is 1.
    """
    return [
        {
            "image_id": row["image_id"],
            "file_name": one.path,
            "category_id": row["category_id"],
            "category_name": one.poses.name,
            "keypoints": row["keypoints"],
            "score": row["score"],
        }
        for one in found
        for row in one.poses.to_coco(one.index, category_id)
    ]


def write_poses(path: str | Path, found: Iterable[FoundPoses], category_id: int = 1) -> None:
    """Writes ``pose_rows`` as JSON, atomically.

    Raises:
        HeatpointError: The file cannot be written.
    """
    write_json(path, pose_rows(found, category_id))


def _prepared(
    detector: Detector | Engine | str | Path,
    images: Images,
    boxes: str | Path | Sequence[ImageBoxes] | None,
    boxes_from: Detector | Engine | str | Path | None,
    box_score: float,
    box_nms: float | None,
    size: int | Sequence[int] | None,
    flip: bool,
    device: str | torch.device,
    precision: Precision,
    workers: int,
    streams: int,
    skip_bad: bool,
    timings: Timings | None,
) -> tuple[list[Source], PoseRunner, list[int], list[Subjects | None]]:
    """Returns the images, the runner, the places of the images to look at and their subjects."""
    check_thresholds(box_score, box_nms, 1)
    if boxes is not None and boxes_from is not None:
        raise HeatpointError("give either boxes or boxes_from, the detector that finds them")
    sources = [] if isinstance(images, list) and not images else expand(images)
    engine = open_engine(
        detector,
        flip=flip,
        device=device,
        precision=precision,
        streams=streams,
        timings=timings,
    )
    runner = PoseRunner(engine, size=size)
    places, subjects = list(range(len(sources))), list[Subjects | None]([None] * len(sources))
    if boxes is not None:
        subjects = [*given_boxes(boxes, sources, runner.name, box_score)]
    elif boxes_from is not None and sources:
        found = detected_boxes(
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
        places = sorted(found)
        subjects = [found[place] for place in places]
    return sources, runner, places, subjects


def _stream(
    runner: PoseRunner,
    sources: Sequence[Source],
    places: Sequence[int],
    subjects: Sequence[Subjects | None],
    batch_size: int,
    workers: int,
    skip_bad: bool,
) -> Iterator[FoundPoses]:
    """Yields what the runner finds, each image with its place among ``sources``."""
    wanted = [sources[place] for place in places]
    for found in runner.stream(wanted, subjects, batch_size, workers, skip_bad):
        yield replace(found, index=places[found.index])
