"""Scores a perfect network on the user's own annotations: what representation and size allow."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from heatpoint.codecs import Codec, Target
from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.results import Detections
from heatpoint.data.validate import Progress
from heatpoint.geometry import box_iou, next_multiple
from heatpoint.geometry.polygons import quad_iou
from heatpoint.inference import RADII
from heatpoint.inference.finish import Keep, conclude, in_image
from heatpoint.inspection.report import Counted, known_size, perfect, side_text, sought
from heatpoint.scoring.boxes import coco_metrics, score_quads
from heatpoint.scoring.keypoints import score_joints
from heatpoint.scoring.points import score_points
from heatpoint.scoring.subjects import is_subject
from heatpoint.views import Look
from heatpoint.views.pictures import Picture
from heatpoint.wording import amount

RADIUS = RADII[len(RADII) // 2]
"""Image pixels within which a point counts as found."""

_FOUND = 0.5  # overlap at which an object counts as found, as in AP50
_SURE = 0.5  # a perfect network is sure of what it found; the rest of the K rows is padding
_LIMITS = {
    "centre": "max_detections",
    "corner": "the codec's corners",
    "point": "--max-detections of train, or look at pictures in --tiles,",
}
_LARGER = (1.25, 1.5, 2.0, 3.0)
_STEP = 32  # pixels: sizes that are advised are multiples of it, where the model has no other


@dataclass(frozen=True)
class OracleReport(Counted):
    """What a network could reach that answers every map exactly right.

    Objects are those that training sees: without crowd regions and those marked difficult. They
    are found by their centre, the middle of a box at the network's input, by both corners, or by
    whatever the codec says.

    Attributes:
        size: (H, W) of the input in pixels.
        place: "centre", "corner" or the like, which is what a cell can hold only one of.
        stride: Input pixels per cell.
        max_detections: Objects that can be found per image at most: candidates that are decoded,
            K, or corners that are paired.
        images: Images that were scored.
        objects: Objects in them.
        ap: AP averaged over overlaps 0.5 to 0.95 (COCO), of boxes or of four corners, in [0, 1];
            NaN without objects.
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
        oks_ap: AP by the similarity of joints (OKS); NaN where no joint is labelled or found.
        joint_error: Mean distance in image pixels of the joints of objects that are found, NaN
            likewise.
        f1: F1 of points within ``RADIUS`` image pixels; NaN where boxes are found.
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
    oks_ap: float
    joint_error: float
    f1: float = math.nan

    @property
    def reached(self) -> float:
        """The score that decides: AP of boxes, F1 of points."""
        return self.ap if math.isnan(self.f1) else self.f1

    def lines(self) -> list[str]:
        """Returns the verdict in words, one statement per line."""
        at = f"at {side_text(self.size)} px and stride {self.stride}"
        if not self.objects:
            return [f"{at} there is no object to be found on {amount(self.images, 'image')}"]
        score = f"AP {self.ap:.3f} (AP50 {self.ap50:.3f})"
        if not math.isnan(self.f1):
            score = f"F1 {self.f1:.3f} within {RADIUS:g} image pixels"
        lines = [f"a perfect network reaches {score} {at} on {amount(self.images, 'image')}"]
        if not math.isnan(self.oks_ap):
            lines[0] += (
                f"; of joints OKS AP {self.oks_ap:.3f}, off by {self.joint_error:.2f} image pixels"
            )
        causes = {
            f"a {self.place} in the cell of another object of the same class": self.same_class_cell,
            f"a {self.place} in the cell of an object of another class": self.other_class_cell,
            f"more than {self.max_detections} objects in one image": self.over_limit,
        }
        why = "; ".join(f"{cause} ({count:,})" for cause, count in causes.items() if count)
        lost = f"{self.missed:,} of {amount(self.objects, 'object')} cannot be found"
        found = lost if self.missed else f"all {amount(self.objects, 'object')} can be found"
        lines.append(f"{found}; in the way: {why}" if why else found)
        if self.remedy is not None:
            lines.append(
                f"try --size {side_text(self.remedy)}: there, "
                f"{amount(self.remedy_lost, 'object')} would meet these obstacles"
            )
        if self.over_limit:
            limit = _LIMITS.get(self.place, "what the codec decodes of an image")
            lines.append(f"raise {limit} to reach the objects beyond it")
        if self.below_cell:
            lines.append(
                f"{amount(self.below_cell, 'object')} narrower or lower than a cell "
                f"({self.stride} input pixels): not lost, but there is little to see"
            )
        if self.neighbours:
            lines.append(
                f"{amount(self.neighbours, 'object')} with a {self.place} of the same class in the "
                "next cell: a trained network often merges the two"
            )
        return lines


def oracle(
    annotations: Annotations,
    codec: Codec,
    view: Picture,
    progress: Progress | None = None,
) -> OracleReport:
    """Encodes every image, decodes what a perfect network would answer, and scores the result.

    The way is that of ``evaluate``: the view's look, ``decode``, finish, scores; only the network
    is replaced by ``codec.ideal``.

    Args:
        annotations: Cleaned annotations, not empty; every image has its size.
        codec: Representation to be judged, which finds boxes, points or four corners.
        view: How a picture is seen; the larger size that may be advised is one that it may have.
        progress: Called after every batch with the number of images done and of all images.
    """
    keep = Keep(_SURE, max_detections=None, weights=codec.suppression.weights)
    size, records = view.size, annotations.images
    skeleton = annotations.skeleton if "keypoints" in codec.learns else None
    by_points, counts = "points" in codec.learns, Counter[str]()
    looks = [view.looks(known_size(record))[0] for record in records]
    number = None if skeleton is None else len(skeleton)
    targets = [_target(*seen, number) for seen in zip(records, looks, strict=True)]
    results: list[Detections] = []
    answers = perfect(codec, targets, size, progress)
    for record, look, target, rows in zip(records, looks, targets, answers, strict=True):
        found = in_image(rows, codec.answer, look, known_size(record), where=str(record.path))
        results.append(conclude(found, codec.answer, annotations.names, skeleton, keep))
        counts.update(_count(target, codec, size))
        if not by_points:
            counts.update(missed=_missed(record, results[-1]))
    ap = ap50 = f1 = math.nan
    if by_points:
        within = score_points(results, annotations, (RADIUS,), _SURE).within[f"{RADIUS:g}"]
        f1 = within.f1
        counts.update(missed=round((1 - within.recall) * counts["objects"]) if f1 == f1 else 0)
    else:
        score = score_quads if annotations.cornered else coco_metrics
        scores = score(results, annotations)
        ap, ap50 = scores.ap, scores.ap50
    joints = None
    if skeleton is not None and any(is_subject(record).any() for record in records):
        joints = score_joints(annotations, results, False, "extent", (), None)
    remedy, left = _remedy(records, codec, view)
    return OracleReport(
        size=size,
        place=codec.place,
        stride=codec.stride,
        max_detections=codec.capacity,
        images=len(results),
        ap=ap,
        ap50=ap50,
        f1=f1,
        remedy=remedy,
        remedy_lost=left,
        oks_ap=math.nan if joints is None else joints.oks.ap,
        joint_error=math.nan if joints is None else joints.mean_error,
        **counts,
    )


def _target(record: ImageRecord, look: Look, joints: int | None) -> Target:
    """Returns the objects of an image that training looks for, in input pixels.

    Args:
        record: The image.
        look: How it is seen.
        joints: J, the joints that each of them has; None where none are learnt.
    """
    wanted = sought(record)
    boxes = torch.from_numpy(look.to_input.boxes(record.boxes[wanted])).float().reshape(-1, 4)
    target = Target(boxes, torch.from_numpy(record.labels[wanted]))
    if joints is not None:
        points = record.joints(joints)[wanted]
        points[..., :2] = look.to_input.points(points[..., :2])
        target.keypoints = torch.from_numpy(points).float()
    if record.points is not None:
        target.points = torch.from_numpy(look.to_input.points(record.points[wanted])).float()
    return target


def _count(target: Target, codec: Codec, size: tuple[int, int]) -> dict[str, int]:
    """Returns what happens in the cells of one image, by the names of ``OracleReport``."""
    boxes, labels = target.boxes.double().numpy(), target.labels.numpy()
    cells = codec.claims(boxes, size)
    places, kinds = _numbered(cells, np.zeros_like(labels)), _numbered(cells, labels)
    twin = _follows(kinds)
    around = [_numbered(cells + step, labels, cells) for step in _AROUND]
    near = [np.isin(one, every) for each in around for one, every in zip(each, kinds, strict=True)]
    # The first of several in a cell follows no other, but the last of them does so backwards.
    own = twin | _follows(kinds[:, ::-1])[::-1]
    return {
        "objects": len(boxes),
        "same_class_cell": int(twin.sum()),
        "other_class_cell": int((_follows(places) & ~twin).sum()),
        "neighbours": int((np.any(near, 0) & ~own).sum()),
        "below_cell": 0
        if target.points is not None and target.points.shape[1] == 1
        else int((boxes[:, 2:] - boxes[:, :2] < codec.stride).any(1).sum()),
        "over_limit": max(0, len(boxes) - codec.capacity),
    }


_AROUND = [np.array((x, y)) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y]
"""Steps to the eight cells around one."""


def _numbered(
    cells: NDArray[np.int64], labels: NDArray[np.int64], among: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Returns (M, N): a number for each class and cell of (M, N, 2), comparable if ``among`` is."""
    among = cells if among is None else among
    low = among.min((0, 1), initial=0) - 1
    width = int((among - low).max(initial=0)) + 2
    x, y = np.moveaxis(cells - low, -1, 0)
    numbers: NDArray[np.int64] = (labels * width + y) * width + x
    return numbers


def _follows(numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Returns (N,): which objects have one of (M, N) numbers in common with an earlier one."""
    found = np.zeros(numbers.shape[1], np.bool_)
    for row in numbers:
        _, first, place = np.unique(row, return_index=True, return_inverse=True)
        found |= first[place] < np.arange(len(row))
    return found


def _missed(record: ImageRecord, found: Detections) -> int:
    """Counts objects that find no detection of their own, best overlaps paired first."""
    wanted = record.keep(sought(record))
    if wanted.quads is not None and found.quads is not None:
        overlap = quad_iou(wanted.quads, found.quads)
    else:
        overlap = box_iou(wanted.boxes.astype(np.float32), found.boxes)
    overlap *= wanted.labels[:, None] == found.labels
    missed = len(wanted)
    while overlap.size and overlap.max() >= _FOUND:
        row, column = np.unravel_index(overlap.argmax(), overlap.shape)
        overlap[row] = overlap[:, column] = 0
        missed -= 1
    return missed


def _remedy(
    records: Sequence[ImageRecord], codec: Codec, view: Picture
) -> tuple[tuple[int, int] | None, int]:
    """Returns the first larger input at which fewer objects are lost to cells, and how many.

    Its sides are multiples of ``_STEP``, too.
    """
    now, step = _lost(records, codec, view), next_multiple(_STEP, view.multiple)
    for factor in _LARGER if now else ():
        height, width = (
            next_multiple(math.ceil(factor * side), step, view.trim) for side in view.size
        )
        left = _lost(records, codec, replace(view, size=(height, width)))
        if left <= now // 2:
            return (height, width), left
    return None, now


def _lost(records: Sequence[ImageRecord], codec: Codec, view: Picture) -> int:
    """Counts objects that share a cell with an earlier one, or exceed the limit."""
    lost = 0
    for record in records:
        look = view.looks(known_size(record))[0]
        boxes = look.to_input.boxes(record.boxes[sought(record)])
        cells = codec.claims(boxes, look.size)
        shared = _follows(_numbered(cells, np.zeros(len(boxes), np.int64)))
        lost += len(boxes) - min(int((~shared).sum()), codec.capacity)
    return lost
