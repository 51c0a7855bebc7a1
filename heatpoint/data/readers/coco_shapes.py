"""What COCO's polygons and masks say: four corners, and boxes of objects that carry none."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Box

_EIGHT_EACH = msgspec.json.Decoder(
    list[tuple[tuple[float, float, float, float, float, float, float, float]]]
)

_LONGEST = 7
"""Characters that a number of a compressed mask has at most: five bits each, of 32."""


def is_empty(segmentation: Any) -> bool:
    """Tells whether a ``segmentation``, which may be text still, says nothing."""
    if isinstance(segmentation, msgspec.Raw):
        return bytes(segmentation) in (b"null", b"[]", b"[[]]")
    return segmentation in (None, [], [[]])


def four_corners(outlines: Sequence[Any]) -> NDArray[np.float64] | None:
    """Returns the corners (N, 4, 2) of outlines that are one polygon of four points each.

    Those of outlines that say nothing are NaN. None where one is anything else.
    """
    whole = _fours(outlines)
    if whole is not None:
        return whole
    there = np.array([not is_empty(outline) for outline in outlines])
    some = [outline for outline, said in zip(outlines, there.tolist(), strict=True) if said]
    if not all(map(may_be_four, some)):  # long outlines are not read
        return None
    whole = _fours(some)
    if whole is None:
        each = [four_points(plain(outline)) for outline in some]
        if any(corners is None for corners in each):
            return None
        whole = np.array(each).reshape(-1, 4, 2)
    found = np.full((len(outlines), 4, 2), np.nan)
    found[there] = whole
    return found


def _fours(outlines: Sequence[Any]) -> NDArray[np.float64] | None:
    """Returns the corners of outlines that are texts of eight numbers each, None of others."""
    try:
        polygons = _EIGHT_EACH.decode(b"[%b]" % b",".join(outlines))
    except (TypeError, msgspec.DecodeError):
        return None
    numbers = chain.from_iterable(chain.from_iterable(polygons))
    corners = np.fromiter(numbers, float, 8 * len(outlines)).reshape(-1, 4, 2)
    return corners if np.isfinite(corners).all() else None


def plain(given: Any) -> Any:
    """Returns a value that may be text still."""
    return msgspec.json.decode(given) if isinstance(given, msgspec.Raw) else given


def may_be_four(segmentation: Any) -> bool:
    """Tells whether a ``segmentation`` has as many numbers as four or five points.

    Of text the commas are counted, for polygons of many numbers take long to be read.
    """
    return not isinstance(segmentation, msgspec.Raw) or bytes(segmentation).count(b",") in (7, 9)


def four_points(segmentation: Any) -> NDArray[np.float64] | None:
    """Returns the corners (4, 2) of a ``segmentation`` that is one polygon of four points.

    The first point may be there again as the fifth. None where it is anything else.
    """
    try:
        (ring,) = np.array(segmentation, np.float64).reshape(1, -1, 2)
    except (TypeError, ValueError, OverflowError):
        return None
    if len(ring) == 5 and (ring[0] == ring[4]).all():
        ring = ring[:4]
    return ring if len(ring) == 4 and np.isfinite(ring).all() else None


def extent(segmentation: Any) -> Box | None:
    """Returns the box around a ``segmentation``, xyxy in image pixels, continuous.

    Args:
        segmentation: Polygons (lists of numbers, or of pairs of them), one polygon alone, or a
            mask with its run lengths, compressed or not.

    Returns:
        None where it is none of these, damaged, or empty.
    """
    if isinstance(segmentation, dict):
        return _mask_box(segmentation.get("counts"), segmentation.get("size"))
    if not isinstance(segmentation, list) or not segmentation:
        return None
    alone = not isinstance(segmentation[0], list)
    try:
        rings = [np.array(r, np.float64) for r in ([segmentation] if alone else segmentation) if r]
        points = np.concatenate([ring.reshape(-1, 2) for ring in rings])
    except (TypeError, ValueError, OverflowError):
        return None
    x1, y1 = points.min(0).tolist()
    x2, y2 = points.max(0).tolist()
    # NaN compares as False.
    return (x1, y1, x2, y2) if -np.inf < x1 < x2 < np.inf and -np.inf < y1 < y2 < np.inf else None


def _mask_box(counts: Any, size: Any) -> Box | None:
    """Returns the box around a mask.

    Args:
        counts: Lengths of runs of pixels, column by column, the first outside of the mask; a list,
            or a text that compresses it.
        size: Height and width in pixels.
    """
    try:
        height, width = map(int, size)
        runs = _expanded(counts) if isinstance(counts, str) else np.array(counts, np.int64)
        if runs.ndim != 1:
            return None
        ends = np.cumsum(runs)
    except (TypeError, ValueError, OverflowError):
        return None
    if not runs.size or min(height, width) < 1 or runs.min() < 0 or ends[-1] != height * width:
        return None
    starts, ends = (ends - runs)[1::2], ends[1::2]
    starts, ends = starts[ends > starts], ends[ends > starts]
    if not len(starts):
        return None
    columns, last = starts // height, (ends - 1) // height
    within = columns == last
    top = np.where(within, starts % height, 0).min()
    bottom = np.where(within, (ends - 1) % height, height - 1).max()
    return float(columns.min()), float(top), float(last.max() + 1), float(bottom + 1)


def _expanded(text: str) -> NDArray[np.int64]:
    """Returns the run lengths that COCO's compressed text stands for.

    A character from ``0`` on has five bits and says whether more follow, the lowest come first;
    from the fourth run on, the difference to the run before the last is stored.

    Raises:
        ValueError: It is no such text.
    """
    runs: list[int] = []
    value = bits = 0
    for character in text.encode("ascii"):
        part = character - 48
        if not 0 <= part < 64 or bits >= 5 * _LONGEST:
            raise ValueError(text)
        value |= (part & 31) << bits
        bits += 5
        if part & 32:
            continue
        if part & 16:
            value -= 1 << bits
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = bits = 0
    if bits:
        raise ValueError(text)
    return np.array(runs, np.int64)
