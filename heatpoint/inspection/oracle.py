"""Scores a perfect network on the user's own annotations: what representation and size allow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from heatpoint.codecs.types import Codec, Maps, Target
from heatpoint.data.annotations import Annotations, ImageRecord
from heatpoint.data.validate import Progress
from heatpoint.detector.file import BoxCodec
from heatpoint.engines.torch import arrays
from heatpoint.geometry.affine import box_iou, letterbox
from heatpoint.inference.finish import finish
from heatpoint.inference.results import Detections
from heatpoint.inspection.cells import cells_of, distances, earlier_in_cell, most_objects, place_of
from heatpoint.inspection.report import known_size, sought
from heatpoint.views.picture import Frame

_FOUND = 0.5  # overlap at which an object counts as found, as in AP50
_SURE = 0.5  # a perfect network is sure of what it found; the rest of the K rows is padding
_CELLS = 1 << 24  # cells of all maps of a batch: 64 MiB in float32
_LARGER = (1.25, 1.5, 2.0, 3.0)


@dataclass(frozen=True)
class OracleReport:
    """What a network could reach that answers every map exactly right.

    Objects are those that training sees: without crowd regions and those marked difficult. They
    are found by their centre, the middle of a box at the network's input, or by both corners.

    Attributes:
        size: (H, W) of the input in pixels.
        place: "centre" or "corner", which is what a cell can hold only one of.
        stride: Input pixels per cell.
        max_detections: Objects that can be found per image at most: candidates that are decoded,
            K, or corners that are paired.
        images: Images that were scored.
        objects: Objects in them.
        ap: AP averaged over overlaps 0.5 to 0.95 (COCO), in [0, 1]; NaN without objects.
        ap50: AP at overlap 0.5.
        missed: Objects without a detection of their class that overlaps them by 0.5.
        same_class_cell: Objects whose place lies in the cell of an earlier one of their class.
        other_class_cell: Objects whose place lies in the cell of an earlier one, all of them of
            other classes: both share one size and offset, or one embedding and offset.
        neighbours: Objects with a place of their class in one of the eight cells around theirs
            (and none in their own): the oracle tells them apart, a trained network seldom does.
        below_cell: Objects narrower or lower than a cell.
        over_limit: Objects beyond the first K of their image.
        remedy: (H, W) of the smallest larger input tried at which at most half as many objects
            share a cell or exceed K; None where none of them helps.
        remedy_lost: Objects that would share a cell or exceed K there.
    """

    size: tuple[int, int]
    place: str
    stride: int
    max_detections: int
    images: int
    objects: int
    ap: float
    ap50: float
    missed: int
    same_class_cell: int
    other_class_cell: int
    neighbours: int
    below_cell: int
    over_limit: int
    remedy: tuple[int, int] | None
    remedy_lost: int

    def as_dict(self) -> dict[str, Any]:
        """Returns plain numbers, ready for JSON, which has no NaN but null."""
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return {k: None if v != v else v for k, v in plain.items()}

    def lines(self) -> list[str]:
        """Returns the verdict in words, one statement per line."""
        at = f"at {_side(self.size)} px and stride {self.stride}"
        if not self.objects:
            return [f"{at} there is no object to be found on {_many(self.images, 'image')}"]
        lines = [
            f"a perfect network reaches AP {self.ap:.3f} (AP50 {self.ap50:.3f}) {at} "
            f"on {_many(self.images, 'image')}"
        ]
        causes = [
            (
                self.same_class_cell,
                f"a {self.place} in the cell of another object of the same class",
            ),
            (self.other_class_cell, f"a {self.place} in the cell of an object of another class"),
            (self.over_limit, f"more than {self.max_detections} objects in one image"),
        ]
        why = "; ".join(f"{cause} ({count:,})" for count, cause in causes if count)
        found = (
            f"{self.missed:,} of {_many(self.objects)} cannot be found"
            if self.missed
            else f"all {_many(self.objects)} can be found"
        )
        lines.append(f"{found}; in the way: {why}" if why else found)
        if self.remedy is not None:
            lines.append(
                f"try --size {_side(self.remedy)}: there, {_many(self.remedy_lost)} would meet "
                "these obstacles"
            )
        if self.over_limit:
            limit = "max_detections" if self.place == "centre" else "the codec's corners"
            lines.append(f"raise {limit} to reach the objects beyond it")
        if self.below_cell:
            lines.append(
                f"{_many(self.below_cell)} narrower or lower than a cell ({self.stride} input "
                "pixels): not lost, but there is little to see"
            )
        if self.neighbours:
            lines.append(
                f"{_many(self.neighbours)} with a {self.place} of the same class in the next cell: "
                "a trained network often merges the two"
            )
        return lines


def oracle(
    annotations: Annotations,
    codec: BoxCodec,
    size: tuple[int, int],
    progress: Progress | None = None,
) -> OracleReport:
    """Encodes every image, decodes what a perfect network would answer, and scores the result.

    The way is that of ``evaluate``: letterbox to ``size``, ``decode``, ``finish``, COCO metrics;
    only the network is replaced by ``codec.ideal``. Memory is bounded by the batch, which is
    chosen such that its maps stay near 64 MiB.

    Args:
        annotations: Cleaned annotations; every image has its size.
        codec: Representation to be judged.
        size: (H, W) of the input.
        progress: Called after every batch with the number of images done and of all images.
    """
    from heatpoint.scoring.coco import coco_metrics

    channels = sum(spec.channels for spec in codec.maps)
    cells = (size[0] // codec.stride) * (size[1] // codec.stride)
    batch = max(1, _CELLS // (channels * cells))
    results: list[Detections] = []
    tally = _Tally(codec, size)
    for records in _batches(annotations.images, batch):
        frames, targets = _at_input(records, size)
        with torch.inference_mode():
            candidates = codec.decode(_ideal(codec, targets, size))
        found = finish(
            arrays(candidates),
            frames,
            annotations.names,
            _SURE,
            max_detections=candidates.scores.shape[1],
        )
        for record, target, detections in zip(records, targets, found, strict=True):
            tally.add(target)
            tally.missed += _missed(record, detections)
        results += found
        if progress is not None:
            progress(len(results), len(annotations))
    scores = coco_metrics(results, annotations)
    remedy, left = _remedy(annotations, codec, size)
    return OracleReport(
        size=size,
        place=place_of(codec),
        stride=codec.stride,
        max_detections=tally.limit,
        images=len(results),
        objects=tally.objects,
        ap=scores.ap,
        ap50=scores.ap50,
        missed=tally.missed,
        same_class_cell=tally.same_class_cell,
        other_class_cell=tally.other_class_cell,
        neighbours=tally.neighbours,
        below_cell=tally.below_cell,
        over_limit=tally.over_limit,
        remedy=remedy,
        remedy_lost=left,
    )


def _ideal(codec: Codec, targets: Sequence[Target], size: tuple[int, int]) -> Maps:
    return codec.ideal(codec.encode(targets, size))


class _Tally:
    """Adds up what happens in the cells of each image."""

    def __init__(self, codec: BoxCodec, size: tuple[int, int]) -> None:
        self.codec, self.size, self.limit = codec, size, most_objects(codec)
        self.objects = self.missed = self.below_cell = self.over_limit = 0
        self.same_class_cell = self.other_class_cell = self.neighbours = 0

    def add(self, target: Target) -> None:
        """Counts one image whose boxes are in input pixels."""
        boxes, labels = target.boxes.double().numpy(), target.labels.numpy()
        self.objects += len(boxes)
        self.over_limit += max(0, len(boxes) - self.limit)
        self.below_cell += int((boxes[:, 2:] - boxes[:, :2] < self.codec.stride).any(1).sum())
        apart = distances(cells_of(boxes, self.codec, self.size))
        alike = labels[:, None] == labels[None]
        earlier = np.tri(len(boxes), k=-1, dtype=bool)
        twin = ((apart == 0) & alike & earlier).any(1)
        self.same_class_cell += int(twin.sum())
        self.other_class_cell += int((((apart == 0) & earlier).any(1) & ~twin).sum())
        own = ((apart == 0) & alike).sum(1) > 1
        self.neighbours += int((((apart == 1) & alike).any(1) & ~own).sum())


def _batches(records: Sequence[ImageRecord], batch: int) -> Iterator[Sequence[ImageRecord]]:
    for start in range(0, len(records), batch):
        yield records[start : start + batch]


def _at_input(
    records: Sequence[ImageRecord], size: tuple[int, int]
) -> tuple[list[Frame], list[Target]]:
    frames, targets = [], []
    for record in records:
        image_size = known_size(record)
        to_input = letterbox(image_size, size)
        frames.append(Frame(str(record.path), image_size, to_input.inverse()))
        wanted = sought(record)
        boxes = to_input.boxes(record.boxes[wanted])
        targets.append(
            Target(
                torch.from_numpy(boxes).float().reshape(-1, 4),
                torch.from_numpy(record.labels[wanted]),
            )
        )
    return frames, targets


def _missed(record: ImageRecord, detections: Detections) -> int:
    """Counts objects that find no detection of their own, best overlaps paired first."""
    wanted = sought(record)
    boxes = record.boxes[wanted].astype(np.float32)
    if not len(boxes):
        return 0
    labels = record.labels[wanted]
    overlap = box_iou(boxes, detections.boxes) * (labels[:, None] == detections.labels)
    found = 0
    while overlap.size and float(overlap.max()) >= _FOUND:
        row, column = divmod(int(overlap.argmax()), overlap.shape[1])
        overlap[row] = 0
        overlap[:, column] = 0
        found += 1
    return len(boxes) - found


def _remedy(
    annotations: Annotations, codec: BoxCodec, size: tuple[int, int]
) -> tuple[tuple[int, int] | None, int]:
    """Returns the first larger input at which fewer objects are lost to cells, and how many."""
    now = _lost(annotations, codec, size)
    for factor in _LARGER if now else ():
        larger = (_multiple(size[0] * factor), _multiple(size[1] * factor))
        left = _lost(annotations, codec, larger)
        if left <= now // 2:
            return larger, left
    return None, now


def _lost(annotations: Annotations, codec: BoxCodec, size: tuple[int, int]) -> int:
    """Counts objects that share a cell with an earlier one, or exceed the limit."""
    lost, limit = 0, most_objects(codec)
    for record in annotations.images:
        boxes = letterbox(known_size(record), size).boxes(record.boxes[sought(record)])
        alone = ~earlier_in_cell(cells_of(boxes, codec, size))
        lost += len(boxes) - min(int(alone.sum()), limit)
    return lost


def _multiple(pixels: float, step: int = 32) -> int:
    return int(-(-pixels // step) * step)


def _side(size: tuple[int, int]) -> str:
    return str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"


def _many(count: int, noun: str = "object") -> str:
    return f"1 {noun}" if count == 1 else f"{count:,} {noun}s"
