"""Times soft-NMS of all kinds, and the pairing of 100 x 100 corners, beside plain loops.

The loops are the published in-place algorithm, row by row, and the published tests of every pair,
one after the other, on Python's own numbers. That both find the same is checked first; then they
take turns, so that a busy machine slows both; ``--processor-time`` counts what the process itself
has used, for a machine that others use too.

    python benchmarks/suppress.py
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from heatpoint.codecs.corner_pairs import FoundCorners, pair_corners
from heatpoint.inference.finish import soften

Kind = Literal["gaussian", "linear", "merge"]
Row = list[float]
"""x1, y1, x2, y2, score, number, score of the top-left corner, of the bottom-right one."""


def overlap(a: Row, b: Row) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def lowered(shared: float, kind: Kind) -> float:
    if kind in ("gaussian", "merge"):
        return math.exp(-shared * shared / 0.5)
    if shared <= 0.5:
        return 1.0
    return 1 - shared


def suppressed(rows: list[Row], kind: Kind) -> list[Row]:
    """Returns the rows of one class that stay, their scores lowered and, for "merge", moved."""
    place = 0
    while place < len(rows):
        best = max(range(place, len(rows)), key=lambda index: rows[index][4])
        rows[place], rows[best] = rows[best], rows[place]
        row = rows[place]
        total = [row[6], row[6], row[7], row[7]]
        pulled = [row[side] * total[side] for side in range(4)]
        later = place + 1
        while later < len(rows):
            other = rows[later]
            shared = overlap(row, other)
            factor = lowered(shared, kind)
            if kind == "merge" and factor < 1:
                for side in range(4):
                    weight = other[6 + side // 2] * (1 - factor) ** 8
                    total[side] += weight
                    pulled[side] += weight * other[side]
            other[4] *= factor
            if shared > 0 and other[4] < 0.001:
                rows[later] = rows[-1]
                rows.pop()
            else:
                later += 1
        if kind == "merge":
            row = [p / t for p, t in zip(pulled, total, strict=True)] + row[4:]
            rows[place] = row
        place += 1
    return rows


def plain_soft_nms(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    corners: NDArray[np.float32],
    labels: NDArray[np.int64],
    kind: Kind,
) -> list[Row]:
    kept: list[Row] = []
    for label in sorted(set(labels.tolist())):
        rows = [
            [*box, score, float(number), *ends]
            for number, (box, score, ends, own) in enumerate(
                zip(boxes.tolist(), scores.tolist(), corners.tolist(), labels.tolist(), strict=True)
            )
            if own == label
        ]
        kept += suppressed(rows, kind)
    return kept


def ours(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    corners: NDArray[np.float32],
    labels: NDArray[np.int64],
    kind: Kind,
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    return soften(boxes, scores, labels, corners, kind=kind, max_detections=len(boxes))


def plain_pairs(upper: FoundCorners, lower: FoundCorners, threshold: float) -> list[Row]:
    """Returns boxes and scores of the 1000 best pairs of the first image's corners."""
    firsts, seconds = (
        list(zip(*(p[0].tolist() for p in end), strict=True)) for end in (upper, lower)
    )
    pairs: list[Row] = []
    for value, label, embedding, x, y in firsts:
        score = 1 / (1 + math.exp(-value))
        for other_value, other_label, other_embedding, right, bottom in seconds:
            if label != other_label or abs(embedding - other_embedding) > threshold:
                continue
            if right >= x and bottom >= y:
                pairs.append([x, y, right, bottom, (score + 1 / (1 + math.exp(-other_value))) / 2])
    return sorted(pairs, key=lambda row: -row[4])[:1000]


def drawn_boxes(classes: int, count: int) -> tuple[NDArray[np.float32], ...]:
    """Returns boxes about 60 places of an image of 640 x 480 pixels, scores, corners, labels."""
    generator = np.random.default_rng(0)
    places = generator.uniform((0, 0), (560, 400), (60, 2))[generator.integers(0, 60, count)]
    start = places + generator.normal(0, 6, (count, 2))
    boxes = np.concatenate((start, start + generator.uniform(40, 90, (count, 2))), 1)
    corners = generator.uniform(0.05, 1, (count, 2)).astype(np.float32)
    labels = generator.integers(0, classes, count)
    return boxes.astype(np.float32), corners.mean(1), corners, labels


def drawn_corners(count: int, classes: int) -> tuple[FoundCorners, FoundCorners]:
    generator = torch.Generator().manual_seed(0)
    ends = []
    for low in (0.0, 40.0):
        place = low + 80 * torch.rand(2, 1, count, generator=generator)
        ends.append(
            FoundCorners(
                torch.randn(1, count, generator=generator),
                torch.randint(0, classes, (1, count), generator=generator),
                torch.rand(1, count, generator=generator) * 3,
                *place,
            )
        )
    return ends[0], ends[1]


def race(
    quick: Callable[[], object],
    plain: Callable[[], object],
    turns: int,
    clock: Callable[[], float],
    text: str,
) -> None:
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns + 1):
        for spent, run in zip(times, (quick, plain), strict=True):
            start = clock()
            run()
            if turn:
                spent.append(1e3 * (clock() - start))
    mine, loop = (statistics.median(spent) for spent in times)
    print(f"{text:34} heatpoint {mine:7.2f} ms, loop {loop:8.2f} ms, ratio {loop / mine:5.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--boxes", type=int, default=1000)
    parser.add_argument("--processor-time", action="store_true")
    options = parser.parse_args()
    clock = time.process_time if options.processor_time else time.perf_counter
    torch.set_num_threads(options.threads)
    for classes in (80, 1):
        boxes, scores, corners, labels = drawn_boxes(classes, options.boxes)
        for kind in get_args(Kind):
            given = (boxes, scores, corners, labels, kind)
            order, moved, decayed = ours(*given)
            plain = np.array(plain_soft_nms(*given))
            assert len(plain) == len(order)
            mine = np.column_stack((moved, decayed))[np.argsort(order)]
            wanted = plain[np.argsort(plain[:, 5])][:, :5]
            assert np.abs(mine - wanted).max() < 0.01
            race(
                lambda given=given: ours(*given),
                lambda given=given: plain_soft_nms(*given),
                options.turns,
                clock,
                f"soft-NMS {kind}, {options.boxes} boxes, {classes} classes",
            )
    for classes in (80, 1):
        ends = drawn_corners(100, classes)
        found = pair_corners(*ends, 0.5, 1000)
        plain = plain_pairs(*ends, 0.5)
        kept = found["scores"][0] > 0
        assert int(kept.sum()) == len(plain)
        found_scores = found["scores"][0][kept].tolist()
        assert np.allclose(found_scores, [row[4] for row in plain], atol=1e-5)
        race(
            lambda ends=ends: pair_corners(*ends, 0.5, 1000),
            lambda ends=ends: plain_pairs(*ends, 0.5),
            options.turns,
            clock,
            f"100 x 100 corners, {classes} classes",
        )


if __name__ == "__main__":
    main()
