"""What the released programs compute, to the digit, where the library does it in another way.

Tests compare these with the published numbers, and the library with these where the two agree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from heatpoint.data.skeleton import Skeleton, name_side
from heatpoint.geometry import Affine
from heatpoint.scoring.keypoints import PckScores

# ---- CenterNet's geometry (Zhou et al., Objects as Points, section 5)


def center_scale(
    center: tuple[float, float], scale: float, size: tuple[int, int], rotation: float = 0.0
) -> Affine:
    """Returns the crop map of CenterNet: image to a crop.

    ``center`` goes to the middle of the crop, and ``scale`` image pixels become the crop's width;
    the height never matters, the map is a similarity. The released code applies the same numbers
    to pixel middles counted as integers; here they act on continuous coordinates, which moves
    the picture by ``(1 - width / scale) / 2`` crop pixels, nothing at scale 1.

    Args:
        center: (x, y) in image pixels.
        scale: Image pixels across the crop's width.
        size: (height, width) of the crop.
        rotation: Degrees.
    """
    zoom = size[1] / scale
    cos, sin = math.cos(math.radians(rotation)), math.sin(math.radians(rotation))
    turn = Affine((zoom * cos, zoom * sin, 0.0, -zoom * sin, zoom * cos, 0.0))
    return (
        Affine.translate(size[1] / 2, size[0] / 2) @ turn @ Affine.translate(-center[0], -center[1])
    )


class PublishedInput(NamedTuple):
    """CenterNet's choice of test input for one image.

    Attributes:
        size: (H, W) of the input.
        center: (x, y) in the resized image that lands in the input's middle.
        extent: (width, height) of the resized image's window that fills the input.
        to_input: Map from the original image's pixels to input pixels.
    """

    size: tuple[int, int]
    center: tuple[float, float]
    extent: tuple[float, float]
    to_input: Affine


def published_input(
    image_size: tuple[int, int],
    pad: int,
    fixed: tuple[int, int] | None = None,
    scale: float = 1.0,
) -> PublishedInput:
    """Returns the test-time geometry of the released CenterNet.

    Keep-resolution (``fixed`` is None): the image, resized by ``scale``, is padded to
    ``(side | pad) + 1`` about its centre rounded down. Fixed resolution: the longer side of the
    *unscaled* image fills the input's width, so that ``scale`` zooms.

    Args:
        image_size: (height, width) of the image.
        pad: 31, or 127 for the hourglass.
        fixed: (H, W) of a fixed input, or None to keep the resolution.
        scale: Test scale.
    """
    height, width = (int(side * scale) for side in image_size)
    center: tuple[float, float]
    if fixed is None:
        size = ((height | pad) + 1, (width | pad) + 1)
        center = (float(width // 2), float(height // 2))
        extent = (float(size[1]), float(size[0]))
    else:
        size = fixed
        center = (width / 2, height / 2)
        extent = (float(max(image_size)), float(max(image_size)))
    resize = Affine.scale(width / image_size[1], height / image_size[0])
    return PublishedInput(size, center, extent, center_scale(center, extent[0], size) @ resize)


# ---- Crops of Stacked Hourglass (Newell et al. 2016) and its ports

Convention = Literal["one-based", "zero-based"]


def pose_crop(
    center: tuple[float, float], scale: float, size: tuple[int, int], rotation: float = 0.0
) -> Affine:
    """Returns the map from an image to the crop of a person.

    ``x' = W (x - cx) / (200 s) + W / 2``, the same for y with H, then a turn by ``-rotation``
    about the middle. What x counts from differs: see ``pose_points``.

    Args:
        center: (x, y) as the annotation has it, after MPII's rule (``mpii.person_box``).
        scale: Side of the person's square over 200 image pixels, after MPII's rule.
        size: (H, W) of the crop.
        rotation: Degrees.
    """
    height, width = size
    side = 200.0 * scale
    x, y = width * (0.5 - center[0] / side), height * (0.5 - center[1] / side)
    onto = Affine((width / side, 0.0, x, 0.0, height / side, y))
    if rotation == 0:
        return onto
    turn = math.radians(-rotation)
    about = Affine.translate(width / 2, height / 2)
    back = Affine.translate(-width / 2, -height / 2)
    cos, sin = math.cos(turn), math.sin(turn)
    return about @ Affine((cos, -sin, 0.0, sin, cos, 0.0)) @ back @ onto


def pose_points(
    points: NDArray[np.float64], to_crop: Affine, convention: Convention, invert: bool = False
) -> NDArray[np.int64]:
    """Moves points, (..., 2), as the released code does: to whole pixels, cut towards zero.

    Args:
        points: x and y in the convention's count of pixels.
        to_crop: ``pose_crop``.
        convention: "one-based" (the Torch code and bearpaw's port: 1 is taken away before and
            added after) or "zero-based" (Princeton's port).
        invert: From the crop to the image.
    """
    first = 1.0 if convention == "one-based" else 0.0
    through = to_crop.inverse() if invert else to_crop
    whole: NDArray[np.int64] = np.trunc(through.points(points - first)).astype(np.int64)
    return whole + int(first)


def mirrored(joints: NDArray[np.float64], width: int, flip: Sequence[int]) -> NDArray[np.float64]:
    """Mirrors joints, (J, 3): x becomes ``width - x``, not one less.

    Args:
        joints: x, y and a third column that travels along; all rows are mirrored, labelled or not.
        width: Of the image in pixels.
        flip: ``Skeleton.flip``.
    """
    turned = joints.copy()
    turned[:, 0] = width - turned[:, 0]
    return turned[list(flip)]


# ---- What the released pose programs print


def sides_together(scores: PckScores, skeleton: Skeleton) -> dict[str, float]:
    """Returns the scores per part of the body: the mean of left and right, others as they are."""
    mates = {one: other for pair in skeleton.pairs for one, other in (pair, pair[::-1])}
    parts: dict[str, float] = {}
    for place, name in enumerate(skeleton.joints):
        mate = mates.get(place, place)
        both = (scores.per_joint[name], scores.per_joint[skeleton.joints[mate]])
        parts.setdefault(name_side(name)[1] if mate != place else name, (both[0] + both[1]) / 2)
    return parts


def map_accuracy(
    maps: NDArray[Any], targets: NDArray[Any], threshold: float = 0.5
) -> NDArray[np.float64]:
    """Returns the accuracy of one batch of maps, as the released training loops print it.

    Both maps are reduced to their highest cell. A joint is found within ``threshold`` of a tenth
    of the map's width; one whose target lies in the first row or column, or is empty, is not
    counted (pytorch-pose, after the Torch7 code of Newell et al. 2016).

    Args:
        maps: (B, J, h, w) predicted.
        targets: (B, J, h, w) heatmaps of the truth.
        threshold: Share of a tenth of the width.

    Returns:
        (J + 1,): the mean over the joints that have a target, then each joint; -1 without one.
    """
    found, meant = _highest(maps), _highest(targets)
    apart = np.sqrt(((found - meant) ** 2).sum(-1)) / (maps.shape[-1] / 10)
    counted = (meant > 1).all(-1)
    hits, counts = ((apart < threshold) & counted).sum(0), counted.sum(0)
    each = np.where(counts > 0, hits / np.maximum(counts, 1), -1.0)
    mean = each[counts > 0].mean() if counts.any() else -1.0
    return np.concatenate([[mean], each])


def _highest(maps: NDArray[Any]) -> NDArray[np.float64]:
    """Returns the (B, J, 2) one-based column and row of each maximum, (0, 0) if it is not > 0."""
    flat = maps.reshape(*maps.shape[:2], -1)
    cell = flat.argmax(-1)
    points = np.stack([cell % maps.shape[-1], cell // maps.shape[-1]], -1) + 1.0
    return np.where(flat.max(-1)[..., None] > 0, points, 0.0)


# ---- Soft-NMS (Bodla et al. 2017), as CenterNet, CornerNet and their like run it

INCLUSIVE = np.float32([0, 0, 1, 1])
"""What makes boxes that end on the last pixel they include end behind it."""

Method = Literal["gaussian", "linear", "hard"]


def soft_nms_in_place(
    rows: NDArray[np.float32],
    method: Method = "gaussian",
    *,
    sigma: float = 0.5,
    threshold: float = 0.5,
    drop_below: float = 0.001,
    merge: bool = False,
    weights_stay: bool = True,
) -> int:
    """Lowers scores row by row, as the released programs do, and says how many rows remain.

    A row that falls below ``drop_below`` is replaced by the last one, which is read next. The last
    one's box and score stay where they were too, so that the rows behind those that remain are
    leftovers; the released tests of CenterNet and CornerNet read the whole array.

    Args:
        rows: (N, 5 or more) x1, y1, x2, y2, score; changed in place. Other columns travel along.
        method: How scores decay with the overlap.
        sigma: Width of the gaussian decay.
        threshold: Overlap from which on the others lower a score.
        drop_below: See above.
        merge: Moves boxes towards those that they suppress; columns 5 and 6 are the weights of the
            upper left and the lower right corner.
        weights_stay: With ``merge``, these two columns stay where they are when rows move, so that
            they soon belong to other boxes, as released.
    """
    moving = 5 if merge and weights_stay else rows.shape[1]
    valid, place = len(rows), 0
    while place < valid:
        best = place + int(rows[place:valid, 4].argmax())
        rows[[place, best], :moving] = rows[[best, place], :moving]
        own = rows[place].copy()
        if merge:
            total = own[[5, 5, 6, 6]].astype(np.float64)
            pulled = own[:4] * total
        later = place + 1
        while later < valid:
            other = rows[later]
            overlap = _inclusive_overlap(own, other)
            if overlap > 0:
                factor = _factor(overlap, method, sigma, threshold)
                if merge:
                    weight = other[[5, 5, 6, 6]] * (1 - factor) ** 8
                    total += weight
                    pulled += weight * other[:4]
                other[4] *= factor
                if other[4] < drop_below:
                    valid -= 1
                    rows[later, :5] = rows[valid, :5]
                    rows[[later, valid], 5:moving] = rows[[valid, later], 5:moving]
                    later -= 1
            later += 1
        if merge:
            rows[place, :4] = pulled / total
        place += 1
    return valid


def _inclusive_overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Returns the IoU of boxes that include their last pixel, 0 if they are apart."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return float(width * height / (sum(areas) - width * height))


def _factor(overlap: float, method: Method, sigma: float, threshold: float) -> float:
    if method == "gaussian":
        return math.exp(-overlap * overlap / sigma)
    if overlap <= threshold:
        return 1.0
    return 1 - overlap if method == "linear" else 0.0


def best_rows(scores: NDArray[np.floating[Any]], count: int) -> NDArray[np.bool_]:
    """Returns the released cut: which scores are at least the ``count``-th largest."""
    if len(scores) <= count:
        return np.ones(len(scores), bool)
    stay: NDArray[np.bool_] = scores >= np.sort(scores)[-count]
    return stay
