"""From rows to results: mapped into the image, double ones suppressed, the best kept.

Every field is treated by its kind alone (``heatpoint.views.fields``), so that nothing here knows
what a model finds. Soft-NMS: Bodla et al., "Soft-NMS: Improving Object Detection With One Line of
Code", ICCV 2017, equations 2 (linear) and 3 (gaussian).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from heatpoint.data.results import Detections
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError, check_choice
from heatpoint.geometry import box_iou, clip_boxes
from heatpoint.geometry.polygons import quad_iou
from heatpoint.inference import KeepOptions, SoftNms
from heatpoint.views import Look, View, chosen
from heatpoint.views.fields import USUAL, Arrays, Field, Suppression, extents, mapped, of_results
from heatpoint.views.tiles import Tiles

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]
Rows = NDArray[np.int64]
"""Numbers of rows."""

LINEAR_ABOVE = 0.5
"""Overlap from which on the linear decay lowers a score; the gaussian one always does."""

DROP_BELOW = 0.001
"""Rows that overlap a better one, and whose score falls below this, are dropped."""


def nms(
    boxes: Floats, scores: Floats, labels: Labels, iou: float, quads: Floats | None = None
) -> Rows:
    """Returns the rows that greedy suppression within each class keeps, by descending score.

    Args:
        boxes: (N, 4) xyxy, any one frame.
        scores: (N,).
        labels: (N,) integer; boxes of different classes never suppress each other.
        iou: A box is removed when it overlaps a better one of its class by more than this.
        quads: (N, 4, 2) corners, whose overlaps count instead of the boxes'; or None.

    Returns:
        (kept,) int64 indices into the rows.
    """
    if quads is not None:
        order = np.argsort(-scores, kind="stable")
        over = quad_iou(quads[order], quads[order]) > iou
        over &= labels[order, None] == labels[order]
        stays = np.ones(len(order), np.bool_)
        for row in range(len(order)):
            stays[row + 1 :] &= ~(stays[row] & over[row, row + 1 :])
        return np.asarray(order[stays], np.int64)
    sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).astype(np.float64)
    # Only scores above OpenCV's threshold count, which must not be below 0.
    above = scores.astype(np.float32).clip(np.finfo(np.float32).tiny)
    kept = cv2.dnn.NMSBoxesBatched(sides.tolist(), above.tolist(), labels.tolist(), 0.0, iou)
    return np.asarray(kept, np.int64).reshape(-1)


def soften(
    boxes: Floats,
    scores: Floats,
    labels: Labels,
    weights: Floats,
    *,
    kind: Literal["gaussian", "linear", "merge"] = "gaussian",
    sigma: float = 0.5,
    max_detections: int = 100,
    quads: Floats | None = None,
) -> tuple[Rows, NDArray[np.float32], NDArray[np.float32]]:
    """Lowers the scores of boxes that overlap better ones of their class, and keeps the best.

    Both "gaussian" and "linear" leave boxes where they are. "merge" is gaussian and also moves each
    box towards those that it suppresses: a box becomes the mean of itself, with weight 1, and every
    box that remains behind it, with weight ``(1 - factor) ** 8`` where ``factor`` is what that
    one's score is multiplied by. This is the "merge_bbox" of the released CornerNet-Lite, which has
    it for several test scales.

    The released programs differ in three ways: boxes count one pixel more on each side, leftovers
    of dropped rows stay in the array, and merging mixes the weights of different boxes up.

    Args:
        boxes: (N, 4) xyxy, any one frame, the first scale's rows before the second's; meant for up
            to a few thousand rows of a class.
        scores: (N,), above 0.
        labels: (N,) integer.
        weights: (N, 2), above 0, for "merge": of x1 and y1, the score of the top-left corner, and
            of x2 and y2, that of the bottom-right one.
        kind: "gaussian" multiplies scores by ``exp(-iou^2 / sigma)``, "linear" by ``1 - iou`` above
            an overlap of 0.5.
        sigma: Width of the gaussian decay.
        max_detections: How many rows stay; equal scores at the cut all do.
        quads: (N, 4, 2) corners, whose overlaps count instead of the boxes'; or None.

    Returns:
        (M,) int64 indices into the rows, class by class in ascending order, the best first; their
        (M, 4) float32 boxes and (M,) float32 scores.
    """
    boxes, start = boxes.astype(np.float32), scores.astype(np.float32)
    weights = weights.astype(np.float32).repeat(2, axis=1)
    parts = [(np.zeros(0, np.int64), boxes[:0], start[:0])]
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        own, values = boxes[rows], start[rows]
        overlap = box_iou(own, own) if quads is None else quad_iou(quads[rows], quads[rows])
        touching = overlap > 0
        factors = _factors(overlap.astype(np.float32, copy=False), kind, sigma)
        # Scores are 0 of rows that were visited or dropped.
        visited, lowered, there = [], [], []
        while values[best := int(values.argmax())] > 0:
            visited.append(best)
            lowered.append(values[best])
            if kind == "merge":
                there.append(values > 0)
            values[best] = 0
            values *= factors[best]
            # A row that is not touched never drops, however low its score was to begin with.
            values[touching[best] & (values < DROP_BELOW)] = 0
        moved = own[visited]
        if kind == "merge":
            moved = _merge(own, weights[rows], factors, np.asarray(visited), np.stack(there))
        parts.append((rows[visited], moved, np.asarray(lowered, np.float32)))
    order, moved, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
    # The published cut: all scores that are at least the last one that is wanted.
    stay = scores >= np.sort(scores)[-max_detections:].min(initial=np.inf)
    return order[stay], moved[stay], scores[stay]


def _factors(overlap: NDArray[np.float32], kind: str, sigma: float) -> NDArray[np.float32]:
    """Returns (N, N), the factors by which row i lowers row j; ``overlap`` is used up."""
    if kind == "linear":
        return np.where(overlap > LINEAR_ABOVE, 1 - overlap, np.float32(1))
    overlap *= overlap
    overlap *= np.float32(-1 / sigma)
    return np.exp(overlap, out=overlap)


def _merge(
    boxes: NDArray[np.float32],
    weights: NDArray[np.float32],
    factors: NDArray[np.float32],
    visited: Rows,
    there: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Returns (V, 4) means of boxes; ``there``, (V, N), says which rows were left at each visit."""
    shares = 1 - factors[visited]
    for _ in range(3):
        shares *= shares
    shares *= there
    shares[np.arange(len(visited)), visited] = 1
    moved: NDArray[np.float32] = (shares @ (boxes * weights)) / (shares @ weights)
    return moved


@dataclass(frozen=True)
class Keep:
    """Which rows become results.

    Attributes:
        score: Least score of a result.
        nms: Overlap above which the worse of two boxes of one class is removed, or None.
        max_detections: Most results, the best; None for no limit.
        per_look: Most rows of one test scale or tile, the best.
        soft_nms: Kind of soft-NMS, which lowers the scores of boxes that overlap better ones
            before the threshold is applied; see ``suppress.soften``.
        sigma: Width of its gaussian decay.
        weights: Field that weights the corners of boxes that are merged; "" for the score.

    Raises:
        HeatpointError: A number is out of range, or the kind is unknown.
    """

    score: float = 0.0
    nms: float | None = None
    max_detections: int | None = 100
    per_look: int = 100
    soft_nms: SoftNms = "none"
    sigma: float = 0.5
    weights: str = ""

    def __post_init__(self) -> None:
        if not 0.0 <= self.score <= 1.0:
            raise HeatpointError(f"score must lie in [0, 1], not {self.score}")
        if self.nms is not None and not 0.0 < self.nms <= 1.0:
            raise HeatpointError(f"nms must be an overlap in (0, 1] or None, not {self.nms}")
        if self.max_detections is not None and self.max_detections < 1:
            raise HeatpointError(f"max_detections must be at least 1, not {self.max_detections}")
        check_choice("soft_nms", self.soft_nms, get_args(SoftNms))


def in_image(
    rows: Mapping[str, NDArray[Any]],
    fields: Sequence[Field],
    look: Look,
    image_size: tuple[int, int],
    keep_all: bool = False,
    where: str = "",
    least: float = 0.0,
) -> Arrays:
    """Returns the rows of one look in pixels of the image, before anything is suppressed.

    Boxes are clipped to the image; empty rows and boxes wholly outside of it (in the letterbox's
    margin, say) are left out. What the model does not say is filled in: ``boxes`` by the place
    that was asked about, else by the extent of the row's points; ``labels`` by the place's.

    Args:
        rows: (K, *tail) by name, in input pixels.
        fields: Their kinds.
        look: The way back.
        image_size: (height, width) of the image.
        keep_all: Every row is an answer, however sure.
        where: Names the image in messages.
        least: Score below which a row is of no use, whatever becomes of the others.

    Raises:
        HeatpointError: A row holds something that is no finite number.
    """
    fields, scores = of_results(fields), rows["scores"]
    filled = (scores > 0) & ~(scores < least) | keep_all
    # A network that answers NaN must not pass for one that finds nothing.
    numbers = [scores, *(rows[field.name][filled] for field in fields)]
    if not all(np.isfinite(values).all() for values in numbers):
        raise HeatpointError(
            f"the network's answer for {where or 'an image'} is not a finite number; its weights "
            "are damaged or its training diverged, or try precision='fp32'"
        )
    kept = {field.name: rows[field.name][filled] for field in fields}
    found = mapped(kept, fields, look.to_image)
    count = int(filled.sum())
    found.setdefault("labels", np.full(count, look.label, np.int64))
    if "boxes" in found:
        found["boxes"] = clip_boxes(found["boxes"], image_size).astype(np.float32)
        sides = found["boxes"][:, 2:] - found["boxes"][:, :2]
        return chosen(found, (sides > 0).all(1))
    if keep_all and look.box is not None:
        found["boxes"] = np.tile(np.array(look.box, np.float32), (count, 1))
        return found
    found["boxes"] = extents(found, fields).astype(np.float32)
    low, high = found["boxes"][:, :2], found["boxes"][:, 2:]
    inside = (high >= 0).all(1) & (low <= (image_size[1], image_size[0])).all(1)
    return chosen(found, inside)


def conclude(
    rows: Arrays,
    fields: Sequence[Field],
    names: Sequence[str],
    skeleton: Skeleton | None,
    keep: Keep | None,
) -> Detections:
    """Returns the result of one image: what suppression and threshold leave of its rows.

    Args:
        rows: In image pixels, of all looks.
        fields: Their kinds.
        names: Class names of the model.
        skeleton: Its joints.
        keep: What to leave; None keeps every row in its place.
    """
    if keep is not None:
        rows = _kept(rows, keep)
    further = {
        field.name: rows[field.name].astype(field.type)
        for field in of_results(fields)
        if field.name not in ("boxes", "scores", "labels", "keypoints", keep and keep.weights)
    }
    keypoints = rows.get("keypoints") if skeleton is not None else None
    own = keypoints is not None and any(field.name == "boxes" for field in fields)
    found = rows["boxes"], rows["scores"], rows["labels"]
    return Detections(*found, tuple(names), keypoints, skeleton, further, own)


def _kept(rows: Arrays, keep: Keep) -> Arrays:
    if keep.soft_nms == "merge" and "quads" in rows:
        raise HeatpointError(
            "soft_nms='merge' moves boxes, and four corners would stay behind; choose gaussian"
        )
    if keep.soft_nms != "none":
        scores = rows["scores"]
        order, boxes, scores = soften(
            rows["boxes"],
            scores,
            rows["labels"],
            rows.get(keep.weights, scores[:, None].repeat(2, axis=1)),
            kind=keep.soft_nms,
            sigma=keep.sigma,
            max_detections=keep.max_detections or len(scores),
            quads=rows.get("quads"),
        )
        rows = {**chosen(rows, order), "boxes": boxes, "scores": scores}
    rows = chosen(rows, rows["scores"] >= keep.score)
    if keep.nms is not None:
        found = rows["boxes"], rows["scores"], rows["labels"]
        rows = chosen(rows, nms(*found, keep.nms, rows.get("quads")))
    best = np.argsort(-rows["scores"], kind="stable")
    return chosen(rows, best[: keep.max_detections])


def choose_keep(
    options: KeepOptions, least: float, own: Suppression, view: View, most: int = USUAL
) -> Keep:
    """Returns what the options say of a model's rows.

    Args:
        options: The user's; without ``soft_nms``, what the rows need, if they do not say ``nms``.
        least: Least score of a result where they do not say.
        own: What the codec's rows need.
        view: Says how many test scales there are, and whether results are limited per tile.
        most: Most results of a picture or tile where they do not say.

    Raises:
        HeatpointError: A number is out of range, the kind of soft-NMS is unknown, is at odds with
            ``nms``, or leaves the boxes of several scales side by side.
    """
    hard, soft, scales = options.nms, options.soft_nms, view.shapes
    most = most if options.max_detections is None else options.max_detections
    if soft is None:
        needed = scales > 1 or (own.sigma is not None and hard is None)
        soft = "gaussian" if needed else "none"
    elif soft != "none" and hard is not None:
        raise HeatpointError(
            f"nms={hard} removes double boxes and soft_nms={soft!r} lowers their scores; choose "
            "one of them"
        )
    elif soft == "none" and hard is None and scales > 1:
        raise HeatpointError(
            f"{scales} scales find every object {scales} times; leave out soft_nms='none', or "
            "give nms"
        )
    return Keep(
        score=least if options.score is None else options.score,
        nms=hard,
        max_detections=None if isinstance(view, Tiles) else most,
        per_look=most,
        soft_nms=soft,
        sigma=own.sigma or 0.5,
        weights=own.weights,
    )
