"""Scores of points: found within a radius or not, how far off, and how well they are counted.

Found and annotated points of a class are paired one to one so that as many as possible are paired.
Precision, recall and F1 are those of all classes together; AP is the mean over classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.quads import as_points
from heatpoint.data.results import Detections
from heatpoint.scoring import Floats, Results, Table, known_mean, tabulated

STEPS = 50
"""Parts of [0, 1] at whose ends the curves are told."""


@dataclass(frozen=True, kw_only=True)
class Within:
    """What is found within a radius, NaN where there is nothing to find.

    Attributes:
        precision: Share of the found points that are paired.
        recall: Share of the annotated points that are paired.
        f1: Harmonic mean of both.
        ap: Area under precision over recall, for all scores.
    """

    precision: float
    recall: float
    f1: float
    ap: float


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How well points are counted, picture by picture.

    Attributes:
        annotated: Points in all pictures.
        found: Found ones; of a density map its sum.
        mae: Mean over pictures of how many are counted too many or too few.
        rmse: Root of the mean square of the same.
        bias: Mean of found less annotated: above 0, too many are found.
    """

    annotated: int
    found: float
    mae: float
    rmse: float
    bias: float


@dataclass(frozen=True, kw_only=True)
class PointScores:
    """Scores of points.

    Attributes:
        sure: Least score of a point that counts as found; AP and curves know all scores.
        within: What is found within each radius, by its name, such as "8" pixels.
        within_per_class: The same by class.
        best_sure: The least score at which F1 within the middle radius is highest, of the ends of
            ``STEPS`` parts of [0, 1]; where several are, the one in their middle.
        error_median: Median distance in image pixels of paired points, within the largest radius
            and with the least sum of distances.
        error_90: Distance that nine in ten of them do not exceed.
        counts: Of all classes together.
        counts_per_class: By class.
        density: Counts by the sum of the density map, of all classes together; None without one.
            It knows of no score, and no crowd region is left out.
        density_per_class: By class.
        curves: By radius "precision", "recall" and "f1" at each of the least scores "score".
        pictures: Annotated and found points of each picture.
    """

    sure: float
    within: dict[str, Within]
    within_per_class: dict[str, dict[str, Within]]
    best_sure: float
    error_median: float
    error_90: float
    counts: Counts
    counts_per_class: dict[str, Counts]
    curves: dict[str, dict[str, list[float]]]
    pictures: list[list[int]]
    density: Counts | None = None
    density_per_class: dict[str, Counts] = field(default_factory=dict)


class _Judged(NamedTuple):
    """The found points of one class, of one picture or of all, and what became of them.

    Attributes:
        scores: (N,).
        pairs: (R, N) place in ``goals`` of the one that each is paired with within each radius,
            -1 where there is none.
        counted: (R, N) bool, neither in a crowd region nor at a difficult object.
        errors: (M,) distances of the sure ones that are paired.
        goals: (G,) points to be found, as numbers of the picture's objects.
    """

    scores: Floats
    pairs: NDArray[np.int64]
    counted: NDArray[np.bool_]
    errors: Floats
    goals: NDArray[np.int64]

    @property
    def right(self) -> NDArray[np.bool_]:
        """(R, N) bool, paired within each radius."""
        return self.pairs >= 0

    @property
    def annotated(self) -> int:
        """Points to be found."""
        return len(self.goals)


def score_points(
    results: Results, truth: Annotations, radii: Sequence[float], sure: float
) -> PointScores:
    """Returns the scores of points, or of the middles of boxes.

    Crowd regions and difficult objects count neither for nor against what is found at them.

    Args:
        results: What was found.
        truth: The annotations.
        radii: In image pixels, ascending; a point is right up to and at this distance.
        sure: Least score of a point that counts as found.

    Raises:
        HeatpointError: Results and annotations do not belong together.
    """
    table, truth = tabulated(results, truth), as_points(truth)
    none, goals = np.full((len(radii), 0), -1), np.zeros(0, np.int64)
    nothing = _Judged(np.zeros(0), none, none >= 0, np.zeros(0), goals)
    judged = [[nothing] for _ in truth.names]
    numbers = np.zeros((len(truth), len(truth.names), 2), np.int64)
    for image, label, _, one in by_class(table, truth, radii, sure):
        judged[label].append(one)
        sure_ones = (one.scores >= sure) & one.counted[-1]
        numbers[image, label] = one.annotated, int(sure_ones.sum())
    classes = [_together(each) for each in judged]
    whole, names = _together(classes), [f"{radius:g}" for radius in radii]
    per_class = {
        name: dict(zip(names, _within(each, sure), strict=True))
        for name, each in zip(truth.names, classes, strict=True)
    }
    within = {
        name: Within(
            **vars(each) | {"ap": known_mean([own[name].ap for own in per_class.values()])}
        )
        for name, each in zip(names, _within(whole, sure), strict=True)
    }
    curves = {name: _curve(whole, place) for place, name in enumerate(names)}
    middle = curves[names[len(names) // 2]]
    highest = np.flatnonzero(np.array(middle["f1"]) == max(middle["f1"]))
    dense = _densities(results, numbers[..., 0])
    errors = whole.errors if len(whole.errors) else np.array([math.nan])
    return PointScores(
        sure=sure,
        within=within,
        within_per_class=per_class,
        best_sure=middle["score"][highest[len(highest) // 2]],
        error_median=float(np.median(errors)),
        error_90=float(np.quantile(errors, 0.9)),
        counts=_counts(numbers.sum(1)),
        counts_per_class={
            name: _counts(numbers[:, label]) for label, name in enumerate(truth.names)
        },
        curves=curves,
        pictures=numbers.sum(1).tolist(),
        density=None if dense is None else _counts(dense.sum(1)),
        density_per_class={}
        if dense is None
        else {name: _counts(dense[:, label]) for label, name in enumerate(truth.names)},
    )


def by_class(
    table: Table, truth: Annotations, radii: Sequence[float], sure: float
) -> Iterator[tuple[int, int, NDArray[np.int64], _Judged]]:
    """Yields picture, class, rows of the table, and what became of them, of all that have any.

    Args:
        table: What was found, as boxes.
        truth: The annotations, with points.
        radii: In image pixels, ascending.
        sure: Least score of a point that counts as found.
    """
    places = table.values[:, :2] + table.values[:, 2:] / 2
    order = np.argsort(table.images, kind="stable")
    ends = np.searchsorted(table.images[order], np.arange(len(truth) + 1))
    for image, record in enumerate(truth.images):
        rows = order[ends[image] : ends[image + 1]]
        for label in np.union1d(table.labels[rows], record.labels).tolist():
            own = rows[table.labels[rows] == label]
            one = _judged(places[own], table.scores[own], record, label, radii, sure)
            yield image, label, own, one


def _densities(results: Results, annotated: NDArray[np.int64]) -> Floats | None:
    """Returns (images, C, 2) annotated objects and sums of density maps; None without such maps."""
    sums = [one.density for one in results if isinstance(one, Detections)]
    known = [each for each in sums if each is not None]
    if not known or len(known) < len(annotated):
        return None
    return np.stack((annotated, np.stack(known)), -1)


def _judged(
    places: Floats,
    scores: Floats,
    record: ImageRecord,
    label: int,
    radii: Sequence[float],
    sure: float,
) -> _Judged:
    """Pairs the found points of one class in one picture."""
    assert record.points is not None
    mine, points = record.labels == label, record.points[:, 0]
    goals = np.flatnonzero(mine & ~(record.crowd | record.difficult))
    true = points[goals]
    order = np.argsort(-scores, kind="stable")
    found, goal, away = _near(places, true, radii[-1])
    pairs = np.full((len(radii), len(places)), -1)
    for place, radius in enumerate(radii):
        close = away <= radius
        pairs[place] = paired(found[close], goal[close], order)
    errors = _errors(found, goal, away, scores >= sure, len(true), radii[-1])
    spared = np.zeros_like(pairs, np.bool_)
    for x1, y1, x2, y2 in record.boxes[mine & record.crowd].tolist():
        spared |= ((places >= (x1, y1)) & (places <= (x2, y2))).all(1)
    beside, _, away = _near(places, points[mine & record.difficult & ~record.crowd], radii[-1])
    for place, radius in enumerate(radii):
        spared[place, beside[away <= radius]] = True
    return _Judged(scores, pairs, (pairs >= 0) | ~spared, errors, goals)


def _near(
    places: Floats, true: Floats, radius: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Returns all pairs of found and true points up to a radius: numbers of both, and distances."""
    from scipy.spatial import cKDTree

    # The tree leaves out points at exactly the radius now and then, by rounding.
    reach = radius * (1 + 1e-9)
    pairs = cKDTree(places).sparse_distance_matrix(cKDTree(true), reach, output_type="ndarray")
    return pairs["i"].astype(np.int64), pairs["j"].astype(np.int64), pairs["v"]


def paired(
    found: NDArray[np.int64], goal: NDArray[np.int64], order: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Pairs points, the best first, as many as possible at every least score.

    A point is paired if the pairs of better ones can be changed so that it gets one as well, none
    of them losing its own. So those above any score are as many as can be paired at all (Kuhn
    1955; sets that can be paired are a matroid, of which the greedy choice is the best).

    Args:
        found: (E,) number of the found point of each possible pair.
        goal: (E,) number of the true point.
        order: (N,) the found points by descending score.

    Returns:
        (N,) number of the true point of each found one, -1 where there is none.
    """
    options: dict[int, list[int]] = {}
    for one, other in zip(found.tolist(), goal.tolist(), strict=True):
        options.setdefault(one, []).append(other)
    owner: dict[int, int] = {}
    held: dict[int, int] = {}
    hopeless: set[int] = set()  # true points from which no way leads to a free one
    for row in order.tolist():
        came: dict[int, int] = {}
        queue, free = [row], -1
        for one in queue:
            for other in options.get(one, ()):
                if other in came or other in hopeless:
                    continue
                came[other] = one
                if other not in owner:
                    free = other
                    break
                queue.append(owner[other])
            if free >= 0:
                break
        if free < 0:
            hopeless |= came.keys()
            continue
        while free >= 0:
            one = came[free]
            before = held.get(one, -1)
            owner[free], held[one] = one, free
            free = before
    pairs = np.full(len(order), -1)
    pairs[list(held)] = list(held.values())
    return pairs


def _errors(
    found: NDArray[np.int64],
    goal: NDArray[np.int64],
    away: Floats,
    wanted: NDArray[np.bool_],
    count: int,
    radius: float,
) -> Floats:
    """Returns the distances of as many pairs as possible, of the least sum, of wanted points."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    kept = wanted[found]
    if not kept.any():
        return np.zeros(0)
    rows, own = np.unique(found[kept], return_inverse=True)
    n = len(rows)
    # Each may stay alone, which costs more than all distances together; weights are above 0.
    alone = 1 + radius * (n + 1)
    weights = np.concatenate((1 + away[kept], np.full(n, alone)))
    places = np.concatenate((own, np.arange(n))), np.concatenate((goal[kept], count + np.arange(n)))
    graph = csr_array((weights, places), shape=(n, count + n))
    row, column = min_weight_full_bipartite_matching(graph)
    with_one = column < count
    distances: Floats = graph[row[with_one], column[with_one]] - 1
    return np.asarray(distances, np.float64).reshape(-1)


def _together(parts: Sequence[_Judged]) -> _Judged:
    """Returns several parts as one."""
    return _Judged(*(np.concatenate(column, -1) for column in zip(*parts, strict=True)))


def _within(judged: _Judged, sure: float) -> list[Within]:
    """Returns what is found within each radius."""
    is_sure, found = judged.scores >= sure, []
    for right, counted in zip(judged.right, judged.counted, strict=True):
        pairs, rows = int((right & is_sure).sum()), int((counted & is_sure).sum())
        precision = pairs / rows if rows else math.nan
        recall = pairs / judged.annotated if judged.annotated else math.nan
        both = rows + judged.annotated
        found.append(
            Within(
                precision=precision,
                recall=recall,
                f1=2 * pairs / both if judged.annotated else math.nan,
                ap=_ap(judged.scores[counted], right[counted], judged.annotated),
            )
        )
    return found


def _ap(scores: Floats, right: NDArray[np.bool_], annotated: int) -> float:
    """Returns the area under the highest precision that each recall, or a higher one, is had at."""
    if not annotated:
        return math.nan
    hits = right[np.argsort(-scores, kind="stable")]
    precision = hits.cumsum() / np.arange(1, len(hits) + 1)
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    return float(highest[hits].sum() / annotated)


def _curve(judged: _Judged, place: int) -> dict[str, list[float]]:
    """Returns precision, recall and F1 within one radius, at least scores from 0 to 1."""
    least = np.linspace(0, 1, STEPS + 1)
    sums = []
    for rows in (judged.right[place], judged.counted[place]):
        ordered = np.sort(judged.scores[rows])
        sums.append(len(ordered) - np.searchsorted(ordered, least))
    pairs, rows, annotated = sums[0], sums[1], max(1, judged.annotated)
    values: dict[str, Any] = {
        "score": least,
        "precision": pairs / np.maximum(rows, 1),
        "recall": pairs / annotated,
        "f1": 2 * pairs / (rows + annotated),
    }
    return {name: each.tolist() for name, each in values.items()}


def _counts(numbers: NDArray[np.int64] | Floats) -> Counts:
    """Returns how well is counted, from (images, 2) annotated and found points."""
    off = (numbers[:, 1] - numbers[:, 0]).astype(np.float64)
    annotated, found = numbers.sum(0).tolist()
    return Counts(
        annotated=int(annotated),
        found=round(found, 2),
        mae=known_mean(np.abs(off)),
        rmse=math.sqrt(known_mean(off**2)) if len(off) else math.nan,
        bias=known_mean(off),
    )
