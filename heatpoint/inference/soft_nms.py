"""The in-place algorithm of soft-NMS: which row is visited when, and what that does to the others.

Soft-NMS: Bodla et al., "Soft-NMS: Improving Object Detection With One Line of Code", ICCV 2017,
equations 2 (linear) and 3 (gaussian).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

SoftMethod = Literal["gaussian", "linear", "hard"]

Watch = Callable[[int, int, NDArray[np.int64], NDArray[np.int64]], None]
"""Called with the place that is visited, the number of its row, the numbers of the rows behind it,
and the place at which each of these was met."""


def decay(
    boxes: NDArray[np.float32], method: SoftMethod, sigma: float, iou: float, extra: float
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Returns which pairs of boxes touch, and the factors by which row i lowers row j; both (N, N).

    ``extra`` is added to every width and height: 1 where a box includes its last pixel.
    """
    x1, y1, x2, y2 = boxes.T
    one = np.float32(extra)
    areas = (x2 - x1 + one) * (y2 - y1 + one)
    # In place, because fresh (N, N) arrays cost more than the arithmetic on them.
    width = np.minimum(x2[:, None], x2)
    width -= np.maximum(x1[:, None], x1) - one
    height = np.minimum(y2[:, None], y2)
    height -= np.maximum(y1[:, None], y1) - one
    touching = (width > 0) & (height > 0)
    shared = np.multiply(width, height, out=width)
    shared *= touching
    union = np.subtract(areas[:, None] + areas, shared, out=height)
    np.maximum(union, np.finfo(np.float32).tiny, out=union)
    overlap = np.divide(shared, union, out=shared)
    if method == "gaussian":
        overlap *= overlap
        overlap *= np.float32(-1 / sigma)
        return touching, np.exp(overlap, out=overlap)
    lowered = 1 - overlap if method == "linear" else np.float32(0)
    return touching, np.where(overlap > iou, lowered, np.float32(1))


def visit(
    scores: NDArray[np.float32],
    touching: NDArray[np.bool_],
    factors: NDArray[np.float32],
    drop_below: float,
    watch: Watch | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32], int]:
    """Runs the in-place algorithm on row numbers instead of rows.

    Args:
        scores: (N,).
        touching: (N, N), see ``decay``.
        factors: (N, N), see ``decay``.
        drop_below: Touched rows whose score falls below this are dropped.
        watch: Told of every visit.

    Returns:
        The row number and the score at every place, and how many leading places are valid.
    """
    rows = np.arange(len(scores))
    values = scores.copy()
    valid = len(scores)
    place = 0
    while place < valid:
        best = place + int(values[place:valid].argmax())
        if best != place:
            rows[place], rows[best] = rows[best], rows[place]
            values[place], values[best] = values[best], values[place]
        later = rows[place + 1 : valid]
        after = factors[rows[place]].take(later) * values[place + 1 : valid]
        # A row that is not touched never drops, however low its score was to begin with.
        doomed = after < drop_below
        met = np.arange(place + 1, valid)
        if doomed.any():
            # Closing gaps moves rows, and ``later`` is a view of them.
            later = later.copy()
            doomed &= touching[rows[place], later]
            valid = _close_gaps(rows, values, after, doomed, met, valid)
        else:
            values[place + 1 : valid] = after
        if watch is not None:
            watch(place, int(rows[place]), later, met)
        place += 1
    return rows, values, valid


def _close_gaps(
    rows: NDArray[np.int64],
    values: NDArray[np.float32],
    after: NDArray[np.float32],
    doomed: NDArray[np.bool_],
    met: NDArray[np.int64],
    valid: int,
) -> int:
    """Stores decayed scores and fills doomed places with the last valid rows.

    A row that moves forward leaves its undecayed copy behind, as published. ``met`` holds the
    places of the rows before, and afterwards those at which they were met.

    Returns:
        The new number of valid places.
    """
    start, last = valid - len(met), valid - 1
    for gap in np.flatnonzero(doomed) + start:
        if gap > last:
            break
        source = int(gap)
        while doomed[source - start]:
            met[source - start] = gap
            rows[gap], values[gap] = rows[source], after[source - start]
            source, last = last, last - 1
            if source == gap:
                break
        else:
            met[source - start] = gap
            rows[gap], values[gap] = rows[source], after[source - start]
    undoomed = np.flatnonzero(~doomed[: last + 1 - start]) + start
    values[undoomed] = after[undoomed - start]
    return last + 1
