"""Finds objects in images: files, folders, patterns, arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heatpoint.engines import Engine, open_engine
from heatpoint.engines.timings import Timings
from heatpoint.inference.finish import check_thresholds
from heatpoint.inference.results import Detections
from heatpoint.inference.runner import Found, Runner
from heatpoint.inference.sources import Images, expand
from heatpoint.inference.suppress import SoftNms
from heatpoint.system.files import write_json

if TYPE_CHECKING:
    import torch

    from heatpoint.detector.detector import Detector
    from heatpoint.networks.fast import Precision


def predict(
    detector: Detector | Engine | str | Path,
    images: Images,
    *,
    size: int | Sequence[int] | None = None,
    score_threshold: float = 0.3,
    nms: float | None = None,
    soft_nms: SoftNms | None = None,
    max_detections: int = 100,
    flip: bool = False,
    scales: Sequence[float] = (1.0,),
    keep_resolution: bool = False,
    device: str | torch.device = "auto",
    precision: Precision = "auto",
    batch_size: int = 8,
    workers: int = 2,
    streams: int = 1,
    skip_bad: bool = False,
    timings: Timings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Detections]:
    """Returns what is in each image, in image pixels, by descending score.

    Example:
        >>> results = predict("cats.safetensors", "photos/*.jpg")  # doctest: +SKIP
        >>> results[0].as_dict()["boxes"]  # doctest: +SKIP

    Args:
        detector: A detector, the path of its checkpoint or of a file that ``export`` wrote, or an
            engine (``open_engine``).
        images: A file, folder, pattern, (h, w, 3) uint8 RGB array, Pillow image or encoded bytes,
            or a list of them. A folder stands for its image files by name, without subfolders.
        size: Input (height, width) in pixels, one number for both; None is the detector's own.
        score_threshold: Least score of a result.
        nms: Overlap above which the worse of two boxes of one class is removed, or None.
        soft_nms: "gaussian" or "linear" lowers the scores of boxes that overlap better ones,
            "merge" also moves these towards them, "none" does nothing. None leaves it to the
            model, unless there is ``nms``: gaussian for pairs of corners, nothing for centres;
            and merges several scales by the gaussian one.
        max_detections: Most results per image.
        flip: Averages the maps with those of the mirrored image; twice the work.
        scales: Test scales; ``soft_nms`` merges several.
        keep_resolution: Pads images to a legal size instead of resizing them.
        device: "auto" or a torch device.
        precision: "auto", "fp32" or "bf16".
        batch_size: Images per run of the network.
        workers: Threads that read and resize images while the network runs; 0 for none.
        streams: Batches under way at once, for most images per second; more than one takes an
            exported file.
        skip_bad: Warns of an unreadable image and leaves its result empty.
        timings: Filled with where the time went.
        progress: Called with images done and images in all.

    Returns:
        One result per image, whatever happened to it, in the order of ``images``.

    Raises:
        HeatpointError: An image is missing, or unreadable without ``skip_bad``; an argument is out
            of range; the checkpoint cannot be read.
    """
    sources = expand(images)
    runner = open_runner(
        detector,
        size=size,
        flip=flip,
        scales=scales,
        nms=nms,
        soft_nms=soft_nms,
        score_threshold=score_threshold,
        max_detections=max_detections,
        keep_resolution=keep_resolution,
        device=device,
        precision=precision,
        streams=streams,
        timings=timings,
    )
    results = [Detections.empty(runner.names) for _ in sources]
    for found in runner.stream(sources, batch_size, workers, skip_bad):
        results[found.index] = found.detections
        if progress:
            progress(found.index + 1, len(sources))
    return results


def iter_predict(
    detector: Detector | Engine | str | Path,
    images: Images,
    *,
    size: int | Sequence[int] | None = None,
    score_threshold: float = 0.3,
    nms: float | None = None,
    soft_nms: SoftNms | None = None,
    max_detections: int = 100,
    flip: bool = False,
    scales: Sequence[float] = (1.0,),
    keep_resolution: bool = False,
    device: str | torch.device = "auto",
    precision: Precision = "auto",
    batch_size: int = 8,
    workers: int = 2,
    streams: int = 1,
    skip_bad: bool = False,
    timings: Timings | None = None,
) -> Iterator[Found]:
    """Yields what is in each image as soon as it is known, however many there are.

    The arguments are those of ``predict``; images and checkpoint are looked for at once, before
    the first result is asked for. An unreadable image that ``skip_bad`` leaves out is warned of
    and not yielded.

    Raises:
        HeatpointError: As ``predict``.
    """
    sources = expand(images)
    runner = open_runner(
        detector,
        size=size,
        flip=flip,
        scales=scales,
        nms=nms,
        soft_nms=soft_nms,
        score_threshold=score_threshold,
        max_detections=max_detections,
        keep_resolution=keep_resolution,
        device=device,
        precision=precision,
        streams=streams,
        timings=timings,
    )
    return runner.stream(sources, batch_size, workers, skip_bad)


def open_runner(
    detector: Detector | Engine | str | Path,
    *,
    size: int | Sequence[int] | None = None,
    score_threshold: float = 0.0,
    nms: float | None = None,
    soft_nms: SoftNms | None = None,
    max_detections: int = 100,
    flip: bool = False,
    scales: Sequence[float] = (1.0,),
    keep_resolution: bool = False,
    device: str | torch.device = "auto",
    precision: Precision = "auto",
    streams: int = 1,
    timings: Timings | None = None,
) -> Runner:
    """Returns a detector, a checkpoint or an exported file made ready to run in one fixed way.

    The arguments are those of ``predict``; the threshold lets everything through.

    Raises:
        HeatpointError: As ``predict``.
    """
    check_thresholds(score_threshold, nms, max_detections)
    engine = open_engine(
        detector,
        flip=flip,
        max_detections=max_detections,
        device=device,
        precision=precision,
        streams=streams,
        timings=timings,
    )
    return Runner(
        engine,
        size=size,
        scales=scales,
        nms=nms,
        soft_nms=soft_nms,
        score_threshold=score_threshold,
        max_detections=max_detections,
        keep_resolution=keep_resolution,
    )


def result_rows(
    found: Iterable[Found], category_ids: Sequence[int] | None = None
) -> list[dict[str, Any]]:
    """Returns COCO result rows that also say ``file_name`` and ``category_name``.

    Args:
        found: Results of ``iter_predict``; ``image_id`` is the image's place, from 0.
        category_ids: The id of class ``i`` at place ``i``; None means 1 to C.
    """
    rows = []
    for one in found:
        names = one.detections.names
        plain = one.detections.to_coco(one.index, category_ids)
        for row, label in zip(plain, one.detections.labels.tolist(), strict=True):
            rows.append(
                {
                    "image_id": row["image_id"],
                    "file_name": one.path,
                    "category_id": row["category_id"],
                    "category_name": names[label],
                    "bbox": row["bbox"],
                    "score": row["score"],
                }
            )
    return rows


def write_results(
    path: str | Path, found: Iterable[Found], category_ids: Sequence[int] | None = None
) -> None:
    """Writes ``result_rows`` as JSON, atomically; ``evaluate(results=path)`` reads the file.

    Raises:
        HeatpointError: The file cannot be written.
    """
    write_json(path, result_rows(found, category_ids))
