"""Scores a detector, or a file of its results, on annotated images."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from heatpoint.data.annotations import Annotations
from heatpoint.data.read import read
from heatpoint.engines import Engine
from heatpoint.engines.timings import Timings
from heatpoint.errors import HeatpointError, suggest
from heatpoint.inference.predict import open_runner
from heatpoint.inference.results import Detections
from heatpoint.inference.sources import Source
from heatpoint.inference.suppress import SoftNms
from heatpoint.scoring.coco import NUMBERS, CocoScores, coco_metrics, result_rows
from heatpoint.scoring.voc import VocScores, voc_metrics
from heatpoint.system.files import read_json, write_json

if TYPE_CHECKING:
    import torch

    from heatpoint.detector.detector import Detector
    from heatpoint.networks.fast import Precision

Metric = Literal["coco", "voc"]
METRICS: tuple[Metric, ...] = ("coco", "voc")


@dataclass(frozen=True, kw_only=True)
class Metrics(CocoScores):
    """Scores and how they came about; NaN where there is nothing to find or nothing was asked.

    Attributes:
        voc: Pascal VOC's scores.
        protocol: Size, flip, scales, limits, precision and version: what the numbers hold for.
        images: Number of images scored.
        objects: Number of annotated objects in them, ignored ones included.
        skipped: Path and reason of each unreadable image that ``skip_bad`` left out.
        timings: Seconds per stage and images per second; all 0 for a file of results.
    """

    voc: VocScores
    protocol: dict[str, Any]
    images: int
    objects: int
    skipped: list[tuple[str, str]]
    timings: Timings

    def as_dict(self) -> dict[str, Any]:
        """Returns everything ready for JSON, with null for NaN."""
        plain = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("voc", "timings", "skipped")
        }
        plain["voc"] = dataclasses.asdict(self.voc)
        plain["skipped"] = [{"path": path, "reason": reason} for path, reason in self.skipped]
        plain["timings"] = self.timings.as_dict()
        cleaned: dict[str, Any] = null_for_nan(plain)
        return cleaned

    def summary(self) -> str:
        """Returns a few lines for people: scores in percent, classes by name."""
        lines = [f"{self.images} images, {self.objects} objects"]
        if self.skipped:
            lines.append(f"skipped {len(self.skipped)} unreadable images")
        lines.append("  ".join(f"{name} {percent(getattr(self, name))}" for name in NUMBERS[:6]))
        lines.append("  ".join(f"{name} {percent(getattr(self, name))}" for name in NUMBERS[6:]))
        lines.append(
            f"VOC AP50  11-point {percent(self.voc.ap50_11_point)}  "
            f"all points {percent(self.voc.ap50_all_point)}"
        )
        wide = max(map(len, self.per_class), default=0)
        for name, scores in self.per_class.items():
            lines.append(
                f"{name:<{wide}}  ap {percent(scores['ap'])}  ap50 {percent(scores['ap50'])}"
            )
        return "\n".join(lines)


def evaluate(
    detector: Detector | Engine | str | Path | None,
    annotations: Annotations | str | Path,
    *,
    size: int | Sequence[int] | None = None,
    batch_size: int = 8,
    flip: bool = False,
    scales: Sequence[float] = (1.0,),
    nms: float | None = None,
    soft_nms: SoftNms | None = None,
    score_threshold: float = 0.0,
    max_detections: int = 100,
    keep_resolution: bool = False,
    device: str | torch.device = "auto",
    precision: Precision = "auto",
    workers: int = 2,
    streams: int = 1,
    skip_bad: bool = False,
    progress: Callable[[int, int], None] | None = None,
    metric: Sequence[Metric] = ("coco", "voc"),
    results: str | Path | None = None,
    save_results: str | Path | None = None,
) -> Metrics:
    """Returns COCO's and VOC's scores of a detector, or of a file of results.

    The boxes that are scored are those ``predict`` returns with the same arguments; only the
    default threshold differs, because the area under a curve needs its far end.

    Args:
        detector: A detector, its checkpoint or a file that ``export`` wrote; None with ``results``.
        annotations: The truth, or where to read it; its classes are matched by name.
        size: Input (height, width) in pixels, one number for both; None is the detector's own.
        batch_size: Images per run of the network.
        flip: Averages the maps with those of the mirrored image.
        scales: Test scales; ``soft_nms`` merges several.
        nms: Overlap above which the worse of two boxes of one class is removed, or None.
        soft_nms: "gaussian", "linear", "merge" or "none"; see ``predict``.
        score_threshold: Least score of a result; 0, as published, keeps all of them.
        max_detections: Most results per image; COCO looks at 100.
        keep_resolution: Pads images to a legal size instead of resizing them.
        device: "auto" or a torch device.
        precision: "auto", "fp32" or "bf16".
        workers: Threads that read and resize images while the network runs; 0 for none.
        streams: Batches under way at once; more than one takes an exported file.
        skip_bad: Leaves unreadable images and their objects out of the score, and counts them.
        progress: Called with images done and images in all.
        metric: Which scores to compute.
        results: COCO result JSON to score instead of running a detector. Rows with a
            ``file_name`` and a ``category_name``, as ``predict`` writes them, are matched by
            those, others by ``image_id`` and ``category_id``.
        save_results: File to write the detector's results to, as COCO result JSON.

    Raises:
        HeatpointError: Classes differ, images are missing or unreadable, results belong to other
            images, or an argument is out of range.
    """
    unknown = [name for name in metric if name not in METRICS]
    if unknown:
        raise HeatpointError(
            f"metric {unknown[0]!r} is neither 'coco' nor 'voc'{suggest(unknown[0], METRICS)}"
        )
    if (detector is None) == (results is None):
        raise HeatpointError("expected either a detector or results to score, not both or neither")
    truth = annotations if isinstance(annotations, Annotations) else read(annotations)
    if not truth.images:
        raise HeatpointError(f"{truth.source or 'the annotations'} hold no image to score")
    if detector is None:
        rows = _rows_of_file(Path(results or ""), truth)
        protocol: dict[str, Any] = {"results": str(results)}
        return _score(rows, truth, metric, protocol, [], Timings())
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
        timings=None if isinstance(detector, Engine) else Timings(),
    )
    label_map = np.array(match_names(runner.names, truth.names), np.int64)
    if not skip_bad:
        check_files(truth)
    sources = [Source(record.path, str(record.path)) for record in truth.images]
    scored: list[int] = []
    found: list[Detections] = []
    for one in runner.stream(sources, batch_size, workers, skip_bad):
        result = one.detections
        scored.append(one.index)
        found.append(Detections(result.boxes, result.scores, label_map[result.labels], truth.names))
        if progress:
            progress(one.index + 1, len(sources))
    truth = truth.subset(scored)
    rows = result_rows(found, truth)
    if save_results is not None:
        write_json(save_results, rows)
    return _score(rows, truth, metric, runner.protocol(), runner.skipped, runner.timings)


def match_names(mine: Sequence[str], theirs: Sequence[str]) -> list[int]:
    """Returns the place in ``theirs`` of each of the detector's class names.

    Raises:
        HeatpointError: The names are not the same set; lists the differences.
    """
    missing = [name for name in theirs if name not in mine]
    extra = [name for name in mine if name not in theirs]
    if missing or extra:
        parts = [
            f"{words} {', '.join(map(repr, names[:10]))}" + (" ..." if len(names) > 10 else "")
            for words, names in (
                ("the detector lacks", missing),
                ("the annotations lack", extra),
            )
            if names
        ]
        raise HeatpointError(
            f"the detector's {len(mine)} classes are not the annotations' {len(theirs)}: "
            f"{'; '.join(parts)}; evaluate on data with the classes it was trained on"
        )
    return [list(theirs).index(name) for name in mine]


def check_files(truth: Annotations) -> None:
    """Makes sure that every annotated image exists.

    Raises:
        HeatpointError: Some do not; names a few.
    """
    missing = [str(record.path) for record in truth.images if not record.path.is_file()]
    if missing:
        shown = ", ".join(missing[:3]) + (" ..." if len(missing) > 3 else "")
        raise HeatpointError(
            f"{len(missing)} of {len(truth.images)} annotated images do not exist: {shown}; "
            "name their folder, or leave them out with skip_bad"
        )


def _score(
    rows: list[dict[str, Any]],
    truth: Annotations,
    metric: Sequence[Metric],
    protocol: dict[str, Any],
    skipped: list[tuple[str, str]],
    timings: Timings,
) -> Metrics:
    nothing = CocoScores(**dict.fromkeys(NUMBERS, math.nan), per_class={})
    coco = coco_metrics(rows, truth) if "coco" in metric else nothing
    voc = voc_metrics(rows, truth) if "voc" in metric else VocScores()
    return Metrics(
        **{field.name: getattr(coco, field.name) for field in dataclasses.fields(coco)},
        voc=voc,
        protocol=protocol,
        images=len(truth),
        objects=truth.objects,
        skipped=skipped,
        timings=timings,
    )


def _rows_of_file(path: Path, truth: Annotations) -> list[dict[str, Any]]:
    """Returns the rows of a result file with the ids of ``truth``."""
    rows = read_json(path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise HeatpointError(
            f"{path} is no COCO result file: expected a list of objects with image_id, "
            "category_id, bbox and score"
        )
    ids_of_class = dict(zip(truth.names, truth.category_ids, strict=True))
    ids_of_file = _ids_of_files(truth)
    named = []
    for row in rows:
        if "category_name" in row:
            row = row | {"category_id": _known(row, "category_name", ids_of_class, path)}
        if row.get("file_name"):
            row = row | {"image_id": _known(row, "file_name", ids_of_file, path)}
        named.append(row)
    return result_rows(named, truth)


def _ids_of_files(truth: Annotations) -> dict[str, int]:
    """Returns image ids by full path, and by bare name where only one image has it."""
    ids: dict[str, int] = {}
    bare: dict[str, list[int]] = {}
    for record in truth.images:
        bare.setdefault(record.path.name, []).append(record.image_id)
    ids.update({name: found[0] for name, found in bare.items() if len(found) == 1})
    ids.update({str(record.path): record.image_id for record in truth.images})
    return ids


def _known(row: Mapping[str, Any], key: str, ids: Mapping[str, int], path: Path) -> int:
    value = str(row[key])
    found = ids.get(value, ids.get(Path(value).name) if key == "file_name" else None)
    if found is None:
        raise HeatpointError(
            f"{path} has results for {key} {value!r}, which the annotations do not"
            + suggest(value, ids)
        )
    return found


def percent(value: float) -> str:
    """Returns a share in percent, or n/a for NaN."""
    return "  n/a" if math.isnan(value) else f"{100 * value:5.1f}"


def null_for_nan(value: Any) -> Any:
    """Returns nested dictionaries with None in place of NaN, which JSON lacks."""
    if isinstance(value, dict):
        return {key: null_for_nan(inner) for key, inner in value.items()}
    if isinstance(value, float) and math.isnan(value):
        return None
    return value
