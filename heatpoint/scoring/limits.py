"""What limits a trained detector: its maps are replaced by the true ones, one kind after another.

The error analysis of Law and Deng, "CornerNet: Detecting Objects as Paired Keypoints", ECCV 2018,
section 4.4 (table 6), for every detector of boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from heatpoint.codecs.corners import CORNERS, CornerCodec
from heatpoint.codecs.types import Maps, Target
from heatpoint.data.annotations import Annotations, ImageRecord
from heatpoint.data.read import read
from heatpoint.data.validate import clean
from heatpoint.detector.detector import Detector
from heatpoint.detector.file import BoxCodec
from heatpoint.engines import is_exported
from heatpoint.engines.torch import TorchEngine
from heatpoint.errors import HeatpointError
from heatpoint.inference.reading import check_stream, read_ahead
from heatpoint.inference.results import Detections
from heatpoint.inference.runner import Inputs, Runner
from heatpoint.inference.sources import Source
from heatpoint.inference.suppress import SoftNms
from heatpoint.inspection.report import sought
from heatpoint.networks.fast import Precision
from heatpoint.scoring.coco import coco_metrics
from heatpoint.scoring.evaluate import match_names, null_for_nan, percent
from heatpoint.views.picture import Frame


@dataclass(frozen=True)
class LimitRow:
    """The scores with some of the network's maps replaced.

    Attributes:
        replaced: Kinds of maps that are the true ones; empty for the network's own answer.
        ap: AP averaged over overlaps 0.5 to 0.95 (COCO), in [0, 1]; NaN without objects.
        ap50: AP at overlap 0.5.
    """

    replaced: tuple[str, ...]
    ap: float
    ap50: float


@dataclass(frozen=True)
class Limits:
    """What ``limits`` found.

    Attributes:
        rows: First the network's own answer, last the answer with all maps replaced.
        protocol: What the numbers hold for, as in ``Metrics``.
        images: Number of images scored.
        objects: Number of annotated objects in them, ignored ones included.
    """

    rows: tuple[LimitRow, ...]
    protocol: dict[str, Any]
    images: int
    objects: int

    def as_dict(self) -> dict[str, Any]:
        """Returns everything ready for JSON, with null for NaN."""
        plain = asdict(self)
        plain["rows"] = [
            null_for_nan({**row, "replaced": list(row["replaced"])}) for row in plain["rows"]
        ]
        return plain

    def table(self) -> list[tuple[str, str, str, str]]:
        """Returns for each row, in words and percent: what is true, AP, AP50 and the AP gained."""
        cells, before = [], None
        for row in self.rows:
            name = f"true {', '.join(row.replaced)}" if row.replaced else "the network's own maps"
            gain = "" if before is None else f"{100 * (row.ap - before):+.1f}"
            cells.append((name, percent(row.ap), percent(row.ap50), gain))
            before = row.ap
        return cells

    def verdict(self) -> str:
        """Returns in one sentence what costs the most AP."""
        if any(row.ap != row.ap for row in self.rows):
            return "there is no object to be found, so nothing can be said"
        costs = {
            f"the {row.replaced[-1]} maps": row.ap - before.ap
            for before, row in zip(self.rows, self.rows[1:], strict=False)
        }
        costs["the representation itself (see heatpoint inspect)"] = 1 - self.rows[-1].ap
        what = max(costs, key=lambda name: costs[name])
        if costs[what] <= 0:
            return "nothing is left to be gained"
        return f"most is lost to {what}: {100 * costs[what]:.1f} points of AP"


def limits(
    detector: Detector | str | Path,
    annotations: Annotations | str | Path,
    *,
    size: int | Sequence[int] | None = None,
    nms: float | None = None,
    soft_nms: SoftNms | None = None,
    max_detections: int = 100,
    device: str | torch.device = "auto",
    precision: Precision = "auto",
    batch_size: int = 8,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Limits:
    """Scores a detector with its own maps, then with ever more of them replaced by the true ones.

    Replaced are the heatmaps, then the offsets too, then the embeddings of corners or the sizes
    of centres. The first row is what ``evaluate`` says, the last what ``inspect`` says of a
    perfect network. A large step names the part that is worth working on: the heatmaps find and
    classify, the offsets place to the pixel, the embeddings group and the sizes measure.

    The network runs once; images are letterboxed, and neither mirrored nor scaled.

    Args:
        detector: A detector of boxes or the path of its checkpoint.
        annotations: The truth, or where to read it, with the detector's classes.
        size: Input (height, width) in pixels, one number for both; None is the detector's own.
        nms: As for ``evaluate``.
        soft_nms: As for ``evaluate``.
        max_detections: Most results per image; COCO looks at 100.
        device: "auto" or a torch device.
        precision: "auto", "fp32" or "bf16".
        batch_size: Images per run of the network.
        workers: Threads that read and resize images while the network runs; 0 for none.
        progress: Called with images done and images in all.

    Raises:
        HeatpointError: The detector finds joints, classes differ, images are missing or
            unreadable, or an argument is out of range.
    """
    check_stream(batch_size, workers)
    truth = annotations if isinstance(annotations, Annotations) else read(annotations)
    if not truth.images:
        raise HeatpointError(f"{truth.source or 'the annotations'} hold no image to score")
    if is_exported(detector):
        raise HeatpointError(f"{detector} keeps its maps to itself; analyse the checkpoint instead")
    engine = TorchEngine(
        detector if isinstance(detector, Detector) else Detector.load(detector),
        max_detections=max_detections,
        device=device,
        precision=precision,
    )
    runner = Runner(engine, size=size, nms=nms, soft_nms=soft_nms, max_detections=max_detections)
    label_map = np.array(match_names(runner.names, truth.names), np.int64)
    # Boxes that training leaves out cannot be encoded; they count as not found in every row.
    records = clean(truth)[0].images
    steps = _steps(engine.box_codec)
    found: list[list[Detections]] = [[] for _ in steps]
    loaded = read_ahead(
        [Source(record.path, str(record.path)) for record in truth.images],
        lambda index, image: runner.prepare(image, str(records[index].path)),
        ahead=2 * batch_size,
        workers=workers,
        timings=runner.timings,
        skipped=None,
    )
    while batch := list(islice(loaded, batch_size)):
        chosen = [records[index] for index, _ in batch]
        for results, one in zip(
            found,
            _batch(engine, runner, chosen, [i for _, i in batch], steps, label_map),
            strict=True,
        ):
            results += [
                Detections(r.boxes, r.scores, label_map[r.labels], truth.names) for r in one
            ]
        if progress:
            progress(len(found[0]), len(records))
    rows = []
    for replaced, results in zip(steps, found, strict=True):
        scores = coco_metrics(results, truth)
        rows.append(LimitRow(tuple(replaced), scores.ap, scores.ap50))
    return Limits(tuple(rows), runner.protocol(), len(truth), truth.objects)


def _steps(codec: BoxCodec) -> list[dict[str, tuple[str, ...]]]:
    """Returns the kinds of maps that each row replaces, with the names of their maps."""
    kinds: dict[str, tuple[str, ...]] = {"heatmap": ("heatmap",)}
    if isinstance(codec, CornerCodec):
        parts = {"heatmap": "", "offset": "_offset", "embedding": "_embedding"}
        kinds = {kind: tuple(c + part for c in CORNERS) for kind, part in parts.items()}
    else:
        kinds |= {"offset": ("offset",)} if codec.offset else {}
        kinds["size"] = ("size",)
    names = list(kinds)
    return [{name: kinds[name] for name in names[:count]} for count in range(len(names) + 1)]


def _batch(
    engine: TorchEngine,
    runner: Runner,
    records: Sequence[ImageRecord],
    inputs: Sequence[Inputs],
    steps: Sequence[Mapping[str, tuple[str, ...]]],
    label_map: NDArray[np.int64],
) -> list[list[Detections]]:
    """Returns the results of a batch for each step."""
    pixels = torch.from_numpy(np.stack([scales[0][0] for scales in inputs]))
    frames = [scales[0][1] for scales in inputs]
    own_label = label_map.argsort()
    targets = [_target(r, f, own_label) for r, f in zip(records, frames, strict=True)]
    with torch.inference_mode():
        maps = engine.forward(pixels)
        encoded: Any = engine.codec.encode(targets, (pixels.shape[-2], pixels.shape[-1]))
        true: Maps = engine.codec.ideal(encoded)
    results = []
    for replaced in steps:
        names = [name for maps_of_kind in replaced.values() for name in maps_of_kind]
        # In float32 whatever the network's precision, or the true maps would not be true.
        mixed = {**maps, **{name: true[name].to(maps[name].device) for name in names}}
        results.append(
            [runner.conclude(mapped) for mapped in runner.read(engine.read(mixed), frames)]
        )
    return results


def _target(record: ImageRecord, frame: Frame, own_label: NDArray[np.int64]) -> Target:
    """Returns the objects of an image in input pixels, with the detector's labels."""
    wanted = sought(record)
    boxes = frame.to_image.inverse().boxes(record.boxes[wanted])
    labels = torch.from_numpy(own_label[record.labels[wanted]])
    return Target(torch.from_numpy(boxes).float().reshape(-1, 4), labels)
