"""What ``evaluate`` says of scores beyond their values: chance, mistakes, the best score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from heatpoint.data import Annotations
from heatpoint.data.quads import as_points
from heatpoint.data.results import Detections
from heatpoint.errors import HeatpointError
from heatpoint.geometry import box_iou
from heatpoint.inference import MeasureOptions
from heatpoint.inference.match import Match
from heatpoint.inference.metrics import Metrics, null_for_nan, percent, score_title
from heatpoint.scoring import Floats
from heatpoint.scoring.faults import Curves, Faults, calibration
from heatpoint.scoring.judged import Judged, judge, judge_points, resampled
from heatpoint.scoring.keypoints import default_sigmas
from heatpoint.scoring.subjects import JointRates, Subjects

if TYPE_CHECKING:
    from heatpoint.inference.limits import Limits

SEEN = 0.05
"""Score from which results are looked at for calibration; below lie very many."""

FEW = 30
"""Pictures below which intervals are too narrow."""

_MOST, _LEAST, _CELLS = 1000, 200, 400_000_000  # how often pictures are drawn anew

Groups = dict[str, dict[str, tuple[int, float]]]
"""By what is divided and by the group: how many there are, and a share of them."""


@dataclass(frozen=True, eq=False)
class Evaluated:
    """A model, and what it found in annotated pictures.

    Attributes:
        called: The model, as the user wrote it.
        metrics: Its scores.
        match: How its answers are compared.
        truth: The pictures that were scored.
        found: One result for each.
        in_order: Results are those of the annotated subjects in their order.
        how: How scores are computed.
    """

    called: str
    metrics: Metrics
    match: Match
    truth: Annotations
    found: list[Detections]
    in_order: bool
    how: MeasureOptions

    @cached_property
    def subjects(self) -> Subjects:
        """The annotated subjects and how far off their joints are."""
        return Subjects.of(self.truth, self.found, self.in_order, self.how.normaliser)

    @cached_property
    def judged(self) -> Judged | None:
        """What became of every result; None where each is about a given subject."""
        match, how, truth = self.match, self.how, self.truth
        if self.in_order:
            return None
        if match.points or tuple(how.metric) == ("points",):
            radius = how.radii[len(how.radii) // 2]
            return judge_points(self.found, as_points(truth), radius, how.sure)
        sigmas = None
        if match.joints and not match.quads and truth.skeleton is not None:
            sigmas = how.sigmas or default_sigmas(truth.skeleton)[0]
        return judge(self.found, truth, sigmas, match.quads)

    @property
    def sample(self) -> Judged | JointRates:
        """What scores can be computed of again, for other pictures."""
        return self.judged or JointRates.of(self.subjects, self.how.thresholds)


@dataclass(frozen=True, eq=False)
class Analysis:
    """What is wrong with what a model found, and how certain its scores are.

    Attributes:
        model: The model.
        other: Another one for the same pictures, or None.
        limits: What each kind of map costs, or None.

    Raises:
        HeatpointError: The two models are scored by different numbers, or on different pictures.
    """

    model: Evaluated
    other: Evaluated | None = None
    limits: Limits | None = None

    def __post_init__(self) -> None:
        if self.other is None:
            return
        pictures = [[record.path for record in each.truth.images] for each in self._both]
        if pictures[0] != pictures[1]:
            raise HeatpointError(
                f"{self.model.called} could read {len(pictures[0])} pictures and "
                f"{self.other.called} {len(pictures[1])}, not the same; mend the unreadable ones"
            )

    @property
    def _both(self) -> list[Evaluated]:
        return [self.model, *([self.other] if self.other else ())]

    @cached_property
    def faults(self) -> Faults | None:
        """What is wrong with each result; None for joints in crops."""
        return None if self.model.judged is None else Faults.of(self.model.judged)

    @cached_property
    def best(self) -> tuple[float, float]:
        """The least score with the highest F1, and that; NaN where there is none."""
        judged = self.model.judged
        return (math.nan, math.nan) if judged is None else Curves.of(judged).best()

    @cached_property
    def shares(self) -> dict[str, float]:
        """What each kind of mistake costs; empty for joints in crops."""
        return {} if self.faults is None else self.faults.shares()

    @cached_property
    def draws(self) -> Floats:
        """(R, models, scores) of pictures drawn anew, R as many as take seconds."""
        samples = [each.sample for each in self._both]
        cells = sum(each.right.size if isinstance(each, Judged) else 1 for each in samples)
        count = min(_MOST, max(_LEAST, _CELLS // max(1, cells)))
        return resampled(samples, len(self.model.truth), count)

    @property
    def intervals(self) -> dict[str, list[float]]:
        """Between what 95 % of the draws lie, by the name of the score."""
        return self._between(self.draws[:, 0])

    @property
    def differences(self) -> dict[str, list[float]]:
        """The same of the other model's score less this one's; empty without another one."""
        return {} if self.other is None else self._between(self.draws[:, 1] - self.draws[:, 0])

    def _between(self, draws: Floats) -> dict[str, list[float]]:
        known = [column[np.isfinite(column)] for column in draws.T]
        ends = [np.quantile(each if len(each) else math.nan, (0.025, 0.975)) for each in known]
        names = self.model.sample.numbers()
        return {name: two.tolist() for name, two in zip(names, ends, strict=True)}

    @cached_property
    def classes(self) -> dict[str, dict[str, float]]:
        """Scores by class: objects, AP, AP50; precision, recall and F1 from the best score on."""
        judged = self.model.judged
        if judged is None:
            return {}
        ap, counts, found = judged.ap(), judged.annotated.sum(0), {}
        for label, name in enumerate(judged.names):
            curves = Curves.of(judged, label)
            place = int((curves.scores >= self.best[0]).sum()) - 1
            values = [float(each[place]) if place >= 0 else math.nan for each in curves.all]
            own = {"ap": float(ap[:, label].mean())}
            if not judged.pointed:
                own["ap50"] = float(ap[0, label])
            numbers = zip(("precision", "recall", "f1"), values, strict=True)
            found[name] = {"objects": int(counts[label])} | own
            found[name] |= dict(numbers) | {"best_score": curves.best()[0]}
        return found

    @cached_property
    def groups(self) -> Groups:
        """Shares of objects found from the best score on by size and crowding; AP by number."""
        judged, faults, truth = self.model.judged, self.faults, self.model.truth
        if judged is None or faults is None:
            return {}
        wanted = np.concatenate([np.zeros(0, np.bool_), *judged.wanted])
        hits, sure = np.zeros(len(wanted), np.bool_), judged.scores >= self.best[0]
        hits[judged.pairs[sure & (judged.pairs >= 0)]] = True
        lengths, near = [np.zeros(0)], [np.zeros(0)]
        for record in truth.images:
            lengths.append(np.sqrt(record.areas))
            overlaps = box_iou(record.boxes, record.boxes)
            if judged.pointed:
                middles = record.boxes.reshape(-1, 2, 2).mean(1)
                overlaps = -np.linalg.norm(middles[:, None] - middles, axis=2)
            np.fill_diagonal(overlaps, -np.inf)
            near.append(np.abs(overlaps.max(1, initial=-np.inf if judged.pointed else 0.0)))
        sizes, crowding = np.concatenate(lengths)[wanted], np.concatenate(near)[wanted]
        groups: Groups = {}
        if judged.pointed:
            groups["found, %, by distance to the next in px"] = _parts(crowding, hits[wanted])
        else:
            groups["found, %, by side (√area) in px"] = _parts(sizes, hits[wanted])
            groups["found, %, by overlap with others (IoU)"] = {
                name: _share(mask, hits[wanted])
                for name, mask in (
                    ("none", crowding <= 0),
                    ("to 0.1", (crowding > 0) & (crowding <= 0.1)),
                    ("to 0.3", (crowding > 0.1) & (crowding <= 0.3)),
                    ("more", crowding > 0.3),
                )
                if mask.any()
            }
        numbers = judged.annotated.sum(1)
        title = f"{score_title(judged.main[-1 if judged.pointed else 0])} by objects in a picture"
        groups[title] = {}
        for name, mask in _thirds(numbers):
            scores = list(judged.numbers(mask.astype(np.int64)).values())
            groups[title][name] = int(mask.sum()), scores[-1 if judged.pointed else 0]
        return groups

    def as_dict(self) -> dict[str, Any]:
        """Returns everything ready for JSON, with null for NaN."""
        told: dict[str, Any] = {"scores": self.model.sample.numbers()}
        told |= {"resamples": len(self.draws), "intervals": self.intervals}
        if self.other is not None:
            told["against"] = {
                "model": self.other.called,
                "scores": self.other.sample.numbers(),
                "differences": self.differences,
            }
        judged, faults = self.model.judged, self.faults
        if judged is not None and faults is not None:
            score, f1 = self.best
            count, means, right, error = calibration(judged, SEEN)
            told |= {
                "best_score": score,
                "best_f1": f1,
                "lost": self.shares,
                "mistakes": faults.counts(score),
                "confusion": faults.confusion(score).tolist(),
                "per_class": self.classes,
                "groups": self.groups,
                "calibration": {
                    "results": count.tolist(),
                    "score": means.tolist(),
                    "right": right.tolist(),
                    "error": error,
                },
            }
        if self.limits is not None:
            told["limits"] = self.limits.as_dict()
        plain: dict[str, Any] = null_for_nan(told)
        return plain

    def lines(self) -> list[str]:
        """Returns what matters in words."""
        name = self.main
        low, high = self.intervals[name]
        between = f"95 % interval {_points(low)} to {_points(high)}"
        lines = [f"{score_title(name)}: {between} ({self.resamples})"]
        if self.shares:
            lost = "  ".join(f"{kind} {percent(share)}" for kind, share in self.shares.items())
            of = score_title(self.model.sample.main[1])  # type: ignore[union-attr]
            lines.append(f"lost of {of}: {lost}")
        if not math.isnan(self.best[0]):
            lines.append(f"F1 is highest from score {self.best[0]:g} on: {percent(self.best[1])}")
        if self.other is not None:
            lines.append(self.verdict())
        return lines

    @property
    def main(self) -> str:
        """Name of the score that decides, of those that can be computed for other pictures."""
        names = list(self.model.sample.numbers())
        return self.model.metrics.main if self.model.metrics.main in names else names[0]

    @property
    def resamples(self) -> str:
        """How intervals were found."""
        count = len(self.model.truth)
        few = "; too narrow, for so few pictures" if count < FEW else ""
        return f"bootstrap, {len(self.draws):,} resamples of {count:,} pictures{few}"

    def verdict(self) -> str:
        """Returns in a sentence whether the other model differs by more than chance."""
        assert self.other is not None
        name = self.main
        low, high = self.differences[name]
        one, two = (each.sample.numbers()[name] for each in self._both)
        gap = f"{score_title(name)} {_points(one)} and {_points(two)}: {100 * (two - one):+.1f}"
        within = f"95 % interval {100 * low:+.1f} to {100 * high:+.1f}"
        if low <= 0 <= high or math.isnan(low):
            return f"{gap} for {self.other.called}, which may be chance ({within})"
        better = self.other.called if low > 0 else self.model.called
        return f"{gap} for {self.other.called} ({within}); {better} is better on such pictures"


def _points(value: float) -> str:
    return percent(value).strip()


def _share(mask: Any, hits: Any) -> tuple[int, float]:
    return int(mask.sum()), float(hits[mask].mean()) if mask.any() else math.nan


def _parts(values: Floats, hits: Any) -> dict[str, tuple[int, float]]:
    """Returns the share of hits in quarters of the objects, named by the values they end at."""
    known = np.isfinite(values)
    if not known.any():
        return {}
    ends = np.unique(np.quantile(values[known], (0.25, 0.5, 0.75, 1)))
    place = np.searchsorted(ends, values)
    return {f"to {end:.3g}": _share(place == part, hits) for part, end in enumerate(ends.tolist())}


def _thirds(numbers: Any) -> list[tuple[str, Any]]:
    """Returns pictures by their number of objects, about a third each, those without left out."""
    some: Sequence[int] = numbers[numbers > 0]
    if not len(some):
        return []
    ends = np.unique(np.quantile(some, (1 / 3, 2 / 3, 1), method="inverted_cdf")).tolist()
    lows = [1, *(end + 1 for end in ends)]
    return [
        (f"{low}" if low == end else f"{low} to {end}", (numbers >= low) & (numbers <= end))
        for low, end in zip(lows, ends, strict=False)
    ]
