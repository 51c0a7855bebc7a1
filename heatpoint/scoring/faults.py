"""What is wrong with results: each by its kind, what each kind costs, and from which score on.

The kinds are those of Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection
Errors", ECCV 2020. There, what mending one kind brings does not add up to what is lost. Here each
kind has the mean of what mending it brings over all orders in which the kinds can be mended
(Shapley 1953), which adds up to 1 - AP.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from heatpoint.scoring import Floats
from heatpoint.scoring.judged import Bools, Ints, Judged, area

KINDS = (
    "wrong class",
    "badly placed",
    "wrong class and badly placed",
    "double",
    "background",
    "missed",
)
"""What can be wrong. All but "missed" are results; the first two show that an object was seen."""

CLASS, PLACE, BOTH, DOUBLE, BACKGROUND, MISSED = range(len(KINDS))

SAME, NEAR = 0.5, 0.1
"""How much alike a result and its object are at least, and how much where it is badly placed."""


@dataclass(frozen=True, eq=False)
class Faults:
    """What is wrong with N results, at the first overlap.

    Attributes:
        judged: The results.
        kinds: (N,) place in ``KINDS``, -1 of what is right or counts neither way.
        targets: (N,) number of the object that a wrong one is about, else -1.
    """

    judged: Judged
    kinds: Ints
    targets: Ints

    @classmethod
    def of(cls, judged: Judged) -> Faults:
        """Returns what is wrong with the results."""
        kinds, targets = np.full((2, len(judged.labels)), -1)
        wrong, start = judged.counted[0] & ~judged.right[0], 0
        parts = zip(judged.alike, judged.objects, judged.wanted, judged.firsts, strict=False)
        for alike, objects, wanted, first in parts:
            rows = slice(start, start := start + len(alike))
            if not len(objects):
                kinds[rows] = BACKGROUND
                continue
            alike = np.where(wanted, alike, 0)
            mine = judged.labels[rows, None] == objects
            same, other = (np.where(each, alike, 0) for each in (mine, ~mine))
            own, its = same.max(1), other.max(1)
            conditions = [own >= SAME, its >= SAME, own >= NEAR, its >= NEAR]
            kinds[rows] = np.select(conditions, [DOUBLE, CLASS, PLACE, BOTH], BACKGROUND)
            best = np.where(np.isin(kinds[rows], (CLASS, BOTH)), other.argmax(1), same.argmax(1))
            targets[rows] = np.where(kinds[rows] == BACKGROUND, -1, first + best)
        return cls(judged, np.where(wrong, kinds, -1), np.where(wrong, targets, -1))

    def at(self, score: float) -> tuple[Bools, Bools]:
        """Returns (N,) which results are wrong, and (M,) which objects are missed, from a score on.

        An object is missed if no result is about it, not even of another class or badly placed.
        """
        judged, sure = self.judged, self.judged.scores >= score
        missed = np.concatenate([np.zeros(0, np.bool_), *judged.wanted])
        missed[judged.pairs[sure & (judged.pairs >= 0)]] = False
        missed[self.targets[sure & np.isin(self.kinds, (CLASS, PLACE))]] = False
        return sure & (self.kinds >= 0), missed

    def counts(self, score: float) -> dict[str, int]:
        """Returns how many of each kind there are from a score on."""
        wrong, missed = self.at(score)
        numbers = np.bincount(self.kinds[wrong], minlength=len(KINDS))
        numbers[MISSED] = missed.sum()
        return dict(zip(KINDS, numbers.tolist(), strict=True))

    def shares(self) -> dict[str, float]:
        """Returns how much AP at the first overlap each kind costs; the sum is 1 - AP.

        Results of every score count. NaN where there is nothing to find.
        """
        if not self.judged.annotated.any():
            return dict.fromkeys(KINDS, math.nan)
        every = range(len(KINDS))
        value = {
            frozenset(some): self._mended(frozenset(some))
            for size in range(len(KINDS) + 1)
            for some in combinations(every, size)
        }
        shares = dict.fromkeys(KINDS, 0.0)
        for some, before in value.items():
            for kind in set(every) - some:
                orders = math.factorial(len(some)) * math.factorial(len(KINDS) - len(some) - 1)
                gain = value[some | {kind}] - before
                shares[KINDS[kind]] += gain * orders / math.factorial(len(KINDS))
        return shares

    def _mended(self, kinds: frozenset[int]) -> float:
        """Returns the mean AP over classes after some kinds are mended.

        Results of a wrong class or place become right for an object that nothing better is right
        for, else they go; other wrong results go; missed objects go.
        """
        judged, order = self.judged, self.judged.order
        labels, right = judged.labels.copy(), judged.right[0].copy()
        objects = np.concatenate([labels[:0], *judged.objects])
        totals = judged.annotated.sum(0)
        known = totals > 0
        gone = ~judged.counted[0] | np.isin(self.kinds, list(kinds))
        moved = order[np.isin(self.kinds[order], list(kinds & {CLASS, PLACE}))]
        moved = moved[~np.isin(self.targets[moved], judged.pairs[right])]
        taken, first = np.unique(self.targets[moved], return_index=True)
        labels[moved[first]], right[moved[first]] = objects[taken], True
        if MISSED in kinds:
            missed = self.at(-math.inf)[1]
            totals = totals - np.bincount(objects[missed], minlength=len(totals))
        scores = []
        kept = order[(right | ~gone)[order]]
        for label in np.flatnonzero(known).tolist():
            hits = right[kept[labels[kept] == label]][None]
            total = int(totals[label])
            scores.append(float(area(hits, ~hits, total, judged.pointed)[0]) if total else 1.0)
        return float(np.mean(scores))

    def confusion(self, score: float) -> Ints:
        """Returns (C + 1, C + 1) how often objects of each class are found as which.

        Rows are the true classes, last what is background; columns the found classes, last what is
        found as none. Each object and each result that counts is there once.
        """
        judged, count = self.judged, len(self.judged.names)
        objects = np.concatenate([judged.labels[:0], *judged.objects])
        left = np.concatenate([np.zeros(0, np.bool_), *judged.wanted])
        table = np.zeros((count + 1, count + 1), np.int64)
        sure = judged.order[
            (judged.scores >= score)[judged.order] & judged.counted[0][judged.order]
        ]
        for turn in (judged.pairs, np.where(self.kinds == CLASS, self.targets, -1)):
            rows = sure[turn[sure] >= 0]
            rows = rows[left[turn[rows]]]
            taken, first = np.unique(turn[rows], return_index=True)
            np.add.at(table, (objects[taken], judged.labels[rows[first]]), 1)
            left[taken] = False
            sure = np.setdiff1d(sure, rows[first])
            sure = judged.order[np.isin(judged.order, sure)]
        table[:count, count] = np.bincount(objects[left], minlength=count)
        table[count, :count] = np.bincount(judged.labels[sure], minlength=count)
        return table


@dataclass(frozen=True, eq=False)
class Curves:
    """Precision, recall and F1 of results by their least score, at the first overlap.

    Attributes:
        scores: (K,) different scores, falling.
        right: (K,) right results of at least that score.
        rows: (K,) all results that count.
        annotated: Objects to be found.
    """

    scores: Floats
    right: Ints
    rows: Ints
    annotated: int

    @classmethod
    def of(cls, judged: Judged, label: int | None = None) -> Curves:
        """Returns the curves of one class, or of all together."""
        order = judged.order[judged.counted[0][judged.order]]
        if label is not None:
            order = order[judged.labels[order] == label]
        scores = judged.scores[order]
        ends = np.flatnonzero(np.append(np.diff(scores) != 0, True)[: len(scores)])
        annotated = judged.annotated.sum(0)
        total = int(annotated.sum() if label is None else annotated[label])
        return cls(scores[ends], judged.right[0][order].cumsum()[ends], ends + 1, total)

    @property
    def precision(self) -> Floats:
        """(K,) share of the results that are right."""
        return np.asarray(self.right / self.rows)

    @property
    def recall(self) -> Floats:
        """(K,) share of the objects that are found; at most 1."""
        return np.asarray(self.right / max(1, self.annotated))

    @property
    def f1(self) -> Floats:
        """(K,) harmonic mean of both."""
        return np.asarray(2 * self.right / (self.rows + self.annotated))

    @property
    def all(self) -> tuple[Floats, Floats, Floats]:
        """Precision, recall and F1."""
        return self.precision, self.recall, self.f1

    def best(self) -> tuple[float, float]:
        """Returns the least score with the highest F1, and that; NaN and 0 if nothing is right.

        It has as few digits as tell it from the next result.
        """
        if not self.right.any():
            return math.nan, 0.0
        place = int(self.f1.argmax())
        high, low = float(self.scores[place]), 0.0
        if place + 1 < len(self.scores):
            low = float(self.scores[place + 1])
        short = (math.floor(high * 10**digits) / 10**digits for digits in range(1, 7))
        return next((each for each in short if each > low), high), float(self.f1[place])


def calibration(judged: Judged, least: float, bins: int = 10) -> tuple[Ints, Floats, Floats, float]:
    """Returns how often results are right that have about the same score.

    Args:
        judged: The results, of which those in crowd regions and of difficult objects are left out.
        least: Score of a result that is looked at.
        bins: Equal parts of [0, 1].

    Returns:
        For each part the number of results, their mean score and the share of right ones, NaN
        without any; and the mean difference of the last two over all results (expected calibration
        error), NaN without any.
    """
    rows = judged.counted[0] & (judged.scores >= least)
    scores, right = judged.scores[rows], judged.right[0][rows]
    place = np.minimum((scores * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.bincount(place, scores, bins) / count
        shares = np.bincount(place, right, bins) / count
    off = np.abs(means - shares)[count > 0] @ count[count > 0]
    return count, means, shares, float(off / len(scores)) if len(scores) else math.nan
