"""Objects by four corners or by points: which data has them, and how boxes stand beside them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.findings import Finding
from heatpoint.data.scene import with_skeleton
from heatpoint.errors import HeatpointError
from heatpoint.geometry.polygons import polygon_area
from heatpoint.views.fields import Part

Quads = NDArray[np.float64]
"""(N, 4, 2) x and y of corners, clockwise as seen (y points down)."""

NONE = np.full((4, 2), np.inf)
"""What readers give for an object whose outline is neither a box nor has four corners."""

_UPRIGHT = 1e-6
"""Share of an object's extent by which sides of an upright box may be off."""

_STRAY = 0.05
"""Share of turned objects below which the drawn boxes around them tell what the data is."""

_FLAT = 1e-4
"""Share of the square of its box's longer side below which a quad has no area."""

_STALE = ("polygon read as its box", "rotated box read as upright")
"""What readers say of outlines, and does not hold where four corners are kept."""


def upright(boxes: NDArray[np.floating]) -> Quads:
    """Returns the corners of boxes (N, 4) xyxy, from the upper left one on."""
    corners: Quads = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].astype(np.float64).reshape(-1, 4, 2)
    return corners


def around(quads: NDArray[np.floating]) -> NDArray[np.float64]:
    """Returns the upright boxes (N, 4) xyxy around quads (N, 4, 2)."""
    corners = quads.transpose(1, 0, 2).copy()  # NumPy is slow along short axes
    return np.concatenate((corners.min(0), corners.max(0)), 1).astype(np.float64)


def clockwise(quads: Quads) -> tuple[Quads, NDArray[np.bool_]]:
    """Returns quads whose corners go round clockwise; the first one of each stays the first.

    Those whose sides cross are put in order by the direction from their middle.

    Returns:
        The (N, 4, 2) quads, and (N,) which of them crossed themselves.
    """
    along = np.roll(quads, -1, 1) - quads
    then = np.roll(along, -1, 1)
    turns = along[..., 0] * then[..., 1] - along[..., 1] * then[..., 0]
    # Sides of a quad cross where two of its corners turn one way and two the other.
    crossed = ((turns > 0).sum(1) == 2) & ((turns < 0).sum(1) == 2)
    ordered, against = quads.copy(), ~crossed & (polygon_area(quads) < 0)
    ordered[against] = quads[against][:, [0, 3, 2, 1]]
    away = quads[crossed] - quads[crossed].mean(1, keepdims=True)
    angle = np.arctan2(away[..., 1], away[..., 0])
    order = np.argsort((angle - angle[:, :1]) % (2 * np.pi), 1)
    ordered[crossed] = np.take_along_axis(quads[crossed], order[..., None], 1)
    return ordered, crossed


def settled(annotations: Annotations) -> Annotations:
    """Returns what a reader collected, with four corners for all objects or for none.

    Data is labelled by four corners where every object has four, an upright box among them, and
    one at least is no upright box, or one in twenty where others were drawn as boxes. Elsewhere the
    boxes are what all have; four corners are then told as a finding. Crowd regions count for
    neither.

    Args:
        annotations: Records have corners, (N, 4, 2), where the format gives any; a row is NaN for a
            box, and infinite for another outline.
    """
    if not annotations.cornered:
        return annotations
    crowd, lacking = _column(annotations.images, "crowd"), np.full((1, 4, 2), np.nan)
    given = np.concatenate(
        [r.quads if r.quads is not None else lacking.repeat(len(r), 0) for r in annotations.images]
    )
    corners = given[~crowd]
    told = corners[np.isfinite(corners).all((1, 2))]
    turned = int((~_is_upright(told)).sum())
    stray = len(told) < len(corners) and turned < _STRAY * len(corners)
    if not turned or stray or np.isinf(corners).all((1, 2)).any():
        plain = without_corners(annotations)
        if turned:
            detail = f"{turned:,} of {len(corners):,} objects have four corners: all are boxes"
            plain.say("four corners among other outlines", "", detail)
        return plain
    findings = [each for each in annotations.findings if each.kind not in _STALE]
    return _ordered(replace(annotations, images=[], findings=findings), annotations.images, given)


def _column(images: Sequence[ImageRecord], name: str) -> NDArray[Any]:
    """Returns an array of all records, one after another."""
    return np.concatenate([getattr(record, name) for record in images])


def _ordered(data: Annotations, images: Sequence[ImageRecord], given: Quads) -> Annotations:
    """Adds records with four corners of all objects that have an area; the others are told.

    Args:
        data: The data set without images.
        images: Its images.
        given: (N, 4, 2) corners of all their objects; NaN of boxes.
    """
    boxes, crowd, areas = (_column(images, name) for name in ("boxes", "crowd", "areas"))
    quads, crossed = upright(boxes), np.zeros(len(boxes), np.bool_)
    mine = np.isfinite(given).all((1, 2)) & ~crowd
    quads[mine], crossed[mine] = clockwise(given[mine])
    boxes, areas = around(quads), np.where(crowd, areas, polygon_area(quads))
    with np.errstate(invalid="ignore"):
        wide, high = (boxes[:, 2:] - boxes[:, :2]).T
        flat = (areas <= _FLAT * np.maximum(wide, high) ** 2) & (wide > 0) & (high > 0) & ~crowd
    ends = np.cumsum([len(record) for record in images])
    for row in np.flatnonzero(crossed | flat).tolist():
        image = str(images[int(np.searchsorted(ends, row, "right"))].path)
        detail = f"from ({quads[row, 0, 0]:.6g}, {quads[row, 0, 1]:.6g}) on"
        if flat[row]:
            data.leave_out("four corners without area", image, detail)
        else:
            data.say("corners swapped", image, detail)
    joints = None if images[0].keypoints is None else _column(images, "keypoints")
    marks = _column(images, "labels"), crowd, _column(images, "difficult"), areas
    every = ImageRecord(Path(data.source), None, boxes, *marks, keypoints=joints, points=quads)
    owner = np.repeat(np.arange(len(images)), [len(record) for record in images])
    counts = np.bincount(owner[~flat], minlength=len(images)).tolist()
    rows = [(one.path, one.size, one.image_id, n) for one, n in zip(images, counts, strict=True)]
    data.images = (every.keep(~flat) if flat.any() else every).divided(rows)
    return data


def as_quads(annotations: Annotations) -> Annotations:
    """Returns a data set with four corners for each object, those of boxes where it has boxes.

    Args:
        annotations: The data set; it is not changed.

    Raises:
        HeatpointError: It holds points.
    """
    if annotations.cornered:
        return annotations
    if annotations.pointed:
        raise HeatpointError(
            f"{annotations.source} holds points, which have no corners; choose a model that finds "
            "points, such as points_mobilenetv2 (heatpoint models lists them)"
        )
    images = [replace(record, points=upright(record.boxes)) for record in annotations.images]
    detail = "the objects are boxes: their corners are learnt, and nothing about turned ones"
    findings = [*annotations.findings, Finding("boxes taken as four corners", "", detail)]
    return replace(annotations, images=images, findings=findings)


def without_corners(annotations: Annotations) -> Annotations:
    """Returns a data set that is labelled by the upright boxes around its objects."""
    if not annotations.cornered:
        return annotations
    return replace(annotations, images=[replace(r, points=None) for r in annotations.images])


def all_cornered(parts: Iterable[Annotations]) -> list[Annotations]:
    """Returns data sets of boxes and of four corners with four corners each, if one has some."""
    every = list(parts)
    if not any(part.cornered for part in every) or any(part.pointed for part in every):
        return every
    return [as_quads(part) for part in every]


def _is_upright(quads: Quads) -> NDArray[np.bool_]:
    """Returns which quads (N, 4, 2) are upright boxes, (N,)."""
    boxes = around(quads)
    sides = boxes[:, 2:] - boxes[:, :2]
    reach = _UPRIGHT * np.maximum(*sides.T)[:, None]
    # (N, 4) which corners are at x1, at x2, at y1, at y2: there must be one at each pair of them.
    at = [np.abs(quads[..., n % 2] - boxes[:, n, None]) <= reach for n in range(4)]
    there = [(at[x] & at[y]).any(1) for x in (0, 2) for y in (1, 3)]
    return np.asarray(np.logical_and.reduce(there))


def as_points(annotations: Annotations) -> Annotations:
    """Returns a data set with one point for each object.

    That is the middle of the points it has, or of the box that it has instead. Of an object with
    one joint it is this joint, where it is labelled. Crowd regions stay what they are.

    Args:
        annotations: The data set; it is not changed.
    """
    images = [_pointed(record) for record in annotations.images]
    return replace(annotations, images=images, skeleton=None)


def as_learnt(
    annotations: Annotations, learns: Collection[Part], skeleton: str = ""
) -> Annotations:
    """Returns a data set with what is learnt: joints that have names, points, or four corners.

    Args:
        annotations: The data set; it is not changed.
        learns: Parts of targets that are learnt.
        skeleton: Name or file of a skeleton; "" for the data's own.

    Raises:
        HeatpointError: The data lacks what is learnt.
    """
    if "points" in learns:
        return as_points(annotations)
    if "quads" in learns:
        return as_quads(annotations)
    if annotations.pointed:
        raise HeatpointError(
            f"{annotations.source} holds points, of which no size can be learnt; choose a model "
            "that finds points, such as points_mobilenetv2 (heatpoint models lists them)"
        )
    boxed = without_corners(annotations)
    return with_skeleton(boxed, skeleton) if "keypoints" in learns else boxed


def are_points(annotations: Annotations) -> bool:
    """Tells whether all objects of a data set, and there are some, are boxes without extent.

    Labelling tools and readers write points so where a format knows boxes only.
    """
    if any(record.keypoints is not None for record in annotations.images):
        return False
    boxes = np.concatenate([record.boxes for record in annotations.images])
    crowd = np.concatenate([record.crowd for record in annotations.images])
    boxes = boxes[np.isfinite(boxes).all(1) & ~crowd]
    return len(boxes) > 0 and bool((boxes[:, :2] == boxes[:, 2:]).all())


def _pointed(record: ImageRecord) -> ImageRecord:
    points: NDArray[np.float64] = record.boxes.reshape(-1, 2, 2).mean(1)
    if record.points is not None:
        points = record.points.mean(1)
    elif record.keypoints is not None and record.keypoints.shape[1] == 1:
        joint = record.keypoints[:, 0]
        points = np.where(joint[:, 2:] > 0, joint[:, :2], points)
    boxes = np.where(record.crowd[:, None], record.boxes, np.tile(points, 2))
    areas = np.where(record.crowd, record.areas, 0.0)
    return replace(record, boxes=boxes, areas=areas, points=points[:, None], keypoints=None)
