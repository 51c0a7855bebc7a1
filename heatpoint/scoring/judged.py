"""What became of every result, kept so that scores can be computed again for other pictures.

A score has an error: other pictures of the same kind would give another one. It is estimated by
drawing as many pictures as there are, with replacement, again and again (bootstrap, Efron 1979).
Results and annotations are matched once; a picture that is drawn twice counts twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.results import Detections
from heatpoint.geometry import box_iou
from heatpoint.geometry.polygons import quad_iou
from heatpoint.scoring import Floats, alike, known_mean, tabulated
from heatpoint.scoring.boxes import compared, image_numbers
from heatpoint.scoring.points import by_class

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Judged:
    """The results of all pictures and what became of them; N results, M objects, T overlaps.

    Attributes:
        names: Class names.
        images: (N,) place of the picture.
        labels: (N,) class.
        scores: (N,) in [0, 1].
        right: (T, N) bool, belongs to an object of its class that no better one belongs to.
        counted: (T, N) bool, is about no crowd region or difficult object.
        pairs: (N,) number of the object of what is right at the first overlap, else -1.
        alike: For each picture (n, m), how much its results and objects are alike: 0.5 from where
            they may belong together.
        objects: For each picture (m,) class of its objects.
        wanted: For each picture (m,) bool, which of them are to be found.
        order: (N,) the results by descending score.
        main: Names of the scores: the mean over overlaps, and that of single ones.
        sure: Points: least score of what F1 counts; else None.
    """

    names: tuple[str, ...]
    images: Ints
    labels: Ints
    scores: Floats
    right: Bools
    counted: Bools
    pairs: Ints
    alike: list[Floats]
    objects: list[Ints]
    wanted: list[Bools]
    order: Ints
    main: tuple[str, ...]
    sure: float | None = None

    @cached_property
    def firsts(self) -> Ints:
        """(images + 1,) number of the first object of each picture, and of all objects."""
        return np.cumsum([0, *map(len, self.objects)])

    @cached_property
    def annotated(self) -> Ints:
        """(images, classes) objects to be found."""
        pairs = zip(self.objects, self.wanted, strict=True)
        counts = [np.bincount(each[mask], minlength=len(self.names)) for each, mask in pairs]
        return np.array(counts, np.int64).reshape(-1, len(self.names))

    @cached_property
    def _classes(self) -> list[tuple[Bools, Bools, Ints]]:
        """Right and wrong, (T, n) each, and picture of each class's results, the best first.

        What comes behind the last right one changes no score.
        """
        parts = []
        for label in range(len(self.names)):
            rows = self.order[self.labels[self.order] == label]
            hits = np.flatnonzero(self.right[:, rows].any(0))
            rows = rows[: hits[-1] + 1 if len(hits) else 0]
            right = self.right[:, rows]
            parts.append((right, self.counted[:, rows] & ~right, self.images[rows]))
        return parts

    def ap(self, weights: Ints | None = None) -> Floats:
        """Returns (T, classes) average precision, NaN of classes without objects.

        Args:
            weights: (images,) how often each picture counts; once by default.
        """
        times = np.ones(len(self.annotated), np.int64) if weights is None else weights
        totals = times @ self.annotated
        found = np.full((len(self.right), len(self.names)), np.nan)
        for label, (right, wrong, images) in enumerate(self._classes):
            if totals[label]:
                own = times[images]
                found[:, label] = area(right * own, wrong * own, int(totals[label]), self.pointed)
        return found

    @property
    def pointed(self) -> bool:
        """Whether these are points, whose AP is the whole area, not the mean at 101 recalls."""
        return self.sure is not None

    def numbers(self, weights: Ints | None = None) -> dict[str, float]:
        """Returns the scores by name, as ``evaluate`` computes them."""
        by_overlap = [known_mean(row) for row in self.ap(weights)]
        if self.sure is None:
            ap, ap50, ap75 = self.main
            return {ap: known_mean(by_overlap), ap50: by_overlap[0], ap75: by_overlap[5]}
        times = np.ones(len(self.annotated), np.int64) if weights is None else weights
        own = times[self.images] * (self.scores >= self.sure)
        rows, annotated = int((own * self.counted[0]).sum()), int((times @ self.annotated).sum())
        f1 = 2 * int((own * self.right[0]).sum()) / (rows + annotated) if annotated else math.nan
        return dict(zip(self.main, (f1, by_overlap[0]), strict=True))


def area(right: NDArray[np.integer], wrong: NDArray[np.integer], total: int, whole: bool) -> Floats:
    """Returns (T,) the area under precision over recall.

    Args:
        right: (T, n) how often each result counts as right, the best first.
        wrong: (T, n) likewise.
        total: Objects.
        whole: Return the area; else the mean of the precision at recalls 0, 0.01, ..., 1, as COCO.
    """
    hits, misses = right.cumsum(1), wrong.cumsum(1)
    recall, precision = hits / total, hits / np.maximum(hits + misses, 1)
    highest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    if whole:
        return np.asarray((highest * np.diff(recall, axis=1, prepend=0.0)).sum(1))
    padded = np.concatenate((highest, np.zeros((len(highest), 1))), 1)
    levels = np.linspace(0.0, 1.0, 101)
    return np.array([p[r.searchsorted(levels)].mean() for p, r in zip(padded, recall, strict=True)])


def judge(
    found: Sequence[Detections], truth: Annotations, sigmas: Sequence[float] | None, quads: bool
) -> Judged:
    """Returns boxes, four corners or poses as COCO's rules match them, for ten overlaps.

    Args:
        found: One result per image.
        truth: The annotations.
        sigmas: One per joint to compare joints; None compares boxes or corners.
        quads: Compare corners.

    Raises:
        HeatpointError: The results do not belong to the annotations.
    """
    skeleton = truth.skeleton if sigmas is not None else None
    table = tabulated(found, truth, None if skeleton is None else len(skeleton), quads)
    evaluator, _ = compared(table, truth, None if sigmas is None else np.array(sigmas))
    levels, most = evaluator.params.iouThrs, evaluator.params.maxDets[-1]
    count, numbers = len(table.images), image_numbers(truth)
    right, counted = np.zeros((2, len(levels), count), np.bool_)
    pairs, likeness, wanted, rows = np.full(count, -1), [], [], np.arange(count)
    start = first = 0
    for number, one, record in zip(numbers, found, truth.images, strict=True):
        seen = rows[start : start + len(one)]
        many = record.crowd if skeleton else record.crowd | record.difficult
        spared = many
        if skeleton is not None:
            spared = many | ~(record.joints(len(skeleton))[..., 2] > 0).any(1)
        near = _near(one, record, quads)
        for label in np.unique(one.labels).tolist():
            own = np.flatnonzero(one.labels == label)
            own = own[np.argsort(-table.scores[start + own], kind="stable")][:most]
            theirs = np.flatnonzero(record.labels == label)
            counted[:, start + own] = skeleton is None or bool(
                skeleton.joints[skeleton.joints_of(label)]
            )
            exact = evaluator.ious.get((number, label + 1), ())
            if len(exact) and len(theirs):
                near[np.ix_(own, theirs)] = exact
                taken = _matched(np.asarray(exact), spared[theirs], many[theirs], levels)
                hits = taken >= 0
                spare = hits & spared[theirs][taken]
                right[:, start + own], counted[:, start + own] = hits & ~spare, ~spare
                pairs[start + own] = np.where(right[0, start + own], first + theirs[taken[0]], -1)
        likeness.append(near)
        wanted.append(~spared)
        start, first = start + len(seen), first + len(record)
    kind = "oks_ap" if skeleton else "quad_ap" if quads else "ap"
    ties = np.array(numbers, np.int64)[table.images]
    order = np.lexsort((ties, -table.scores))
    main = (kind, f"{kind}50", f"{kind}75")
    objects = [record.labels for record in truth.images]
    return Judged(
        truth.names, *table[:3], right, counted, pairs, likeness, objects, wanted, order, main
    )


def judge_points(
    found: Sequence[Detections], truth: Annotations, radius: float, sure: float
) -> Judged:
    """Returns points, or the middles of boxes, as ``score_points`` pairs them within a radius.

    Args:
        found: One result per image.
        truth: The annotations, with points.
        radius: In image pixels.
        sure: Least score of a point that counts as found.

    Raises:
        HeatpointError: The results do not belong to the annotations.
    """
    table = tabulated(found, truth)
    right, counted = np.zeros((2, 1, len(table.images)), np.bool_)
    pairs, objects = np.full(len(table.images), -1), [record.labels for record in truth.images]
    firsts = np.cumsum([0, *map(len, objects)])
    for image, _, rows, one in by_class(table, truth, (radius,), sure):
        right[:, rows], counted[:, rows] = one.right, one.counted
        hits = one.pairs[0] >= 0
        pairs[rows[hits]] = firsts[image] + one.goals[one.pairs[0, hits]]
    pictures = zip(found, truth.images, strict=True)
    near = [alike(each.boxes, record.boxes, radius) for each, record in pictures]
    wanted = [~(record.crowd | record.difficult) for record in truth.images]
    order = np.argsort(-table.scores, kind="stable")
    main = (f"f1@{radius:g}", f"ap@{radius:g}")
    return Judged(
        truth.names, *table[:3], right, counted, pairs, near, objects, wanted, order, main, sure
    )


def _near(found: Detections, record: ImageRecord, quads: bool) -> Floats:
    """Returns (n, m) overlaps of what was found in a picture and its objects of any class."""
    if not quads:
        return np.asarray(box_iou(found.boxes.astype(np.float64), record.boxes))
    if found.quads is None or record.quads is None:
        return np.zeros((len(found), len(record)))
    return np.asarray(quad_iou(found.quads.astype(np.float64), record.quads))


def _matched(overlaps: Floats, spared: Bools, many: Bools, levels: Floats) -> Ints:
    """Returns (T, D) which object each result belongs to, -1 for none, by COCO's rules.

    Args:
        overlaps: (D, G), the best results first.
        spared: (G,) objects that count neither way, which are chosen last.
        many: (G,) those of them that any number of results may belong to.
        levels: (T,) least overlap.
    """
    least = np.minimum(levels, 1 - 1e-10)[:, None]
    taken = np.zeros((len(levels), len(spared)), np.bool_)
    found = np.full((len(levels), len(overlaps)), -1)
    last = len(spared) - 1
    for place in np.flatnonzero(overlaps.max(1) >= least[0]):
        free = (overlaps[place] >= least) & ~(taken & ~many)
        for mask in (~spared, spared):
            values = np.where(free & mask, overlaps[place], -1.0)
            best = last - values[:, ::-1].argmax(1)  # of equal ones the last
            new = (values.max(1) >= 0) & (found[:, place] < 0)
            found[new, place] = best[new]
            taken[new, best[new]] = True
    return found


class Sample(Protocol):
    """What scores can be computed of again."""

    def numbers(self, weights: Ints | None = None) -> dict[str, float]:
        """Returns the scores by name, pictures counting so often each, or once."""


def resampled(samples: Sequence[Sample], images: int, count: int) -> Floats:
    """Returns (count, samples, scores) of pictures that are drawn anew, the same for all samples.

    Args:
        samples: Scores of the same pictures, with the same names.
        images: Number of pictures.
        count: How often they are drawn.
    """
    generator = np.random.default_rng(0)
    rows = []
    for _ in range(count):
        weights = np.bincount(generator.integers(images, size=images), minlength=images)
        rows.append([list(sample.numbers(weights).values()) for sample in samples])
    return np.array(rows, np.float64)
