"""What a benchmark has measured: as numbers, as tables, and as one bar per contender."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from heatpoint.benchmarking.contenders import Contender
from heatpoint.benchmarking.worker import STAGES, Row
from heatpoint.inference.charts import new_figure, write_figure

_COLOURS = ("#9d9da1", "#72b7b2", "#54a24b", "#4c78a8", "#f2a541", "#d1495b")
_TEXT = "#333333"


def draw_chart(path: str | Path, report: Report) -> None:
    """Writes a PNG: milliseconds of each stage, median and quartiles of the whole, times as fast.

    The stages are those of the middle half of the pictures (``Result.middle``), so that they end
    about where a dot marks the median of the whole.

    Args:
        path: Where to write.
        report: At least one contender.

    Raises:
        HeatpointError: The file cannot be written.
    """
    results, first = report.results, report.results[0]
    names = [result.contender.name for result in results]
    medians, lows, highs = 1e3 * np.array([result.total for result in results]).T
    figure = new_figure(10, 1.9 + 0.55 * len(results))
    axes = figure.subplots()
    ends = np.zeros(len(results))
    for (stage, title), colour in zip(STAGES.items(), _COLOURS, strict=True):
        widths = np.array([result.middle[stage] * 1e3 for result in results])
        if widths.any():
            axes.barh(names, widths, 0.62, ends, color=colour, label=title)
        ends += widths
    axes.errorbar(
        medians,
        names,
        xerr=(medians - lows, highs - medians),
        fmt="o",
        markersize=3.5,
        color=_TEXT,
        capsize=3,
        linewidth=1.2,
        label="median, quartiles",
    )
    ends = np.maximum(ends, highs)
    for place, result in enumerate(results):
        times = f"   {result.times_as_fast(first).median:.2f} times as fast"
        axes.annotate(
            f"{medians[place]:.1f} ms{'' if result is first else times}",
            (ends[place], place),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=_TEXT,
        )
    axes.set_ylim(len(results) - 0.5, -0.5)
    axes.set_xlim(0, 1.3 * ends.max())
    axes.set_xlabel("milliseconds for one picture, from the file to the results")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9, colors=_TEXT)
    about = report.protocol
    height, width = about["size"]
    threads = f"{about['threads']} thread{'s' if about['threads'] > 1 else ''}"
    called = about["architecture"] or Path(about["model"]).name
    title = f"{called}, {width} x {height} pixels, {threads} of {about['processor']}"
    if about["device"] != "cpu":
        title += f", {about['device']}"
    axes.set_title(title, fontsize=11, color=_TEXT, loc="left")
    figure.legend(loc="outside lower center", ncols=7, fontsize=8.5, frameon=False)
    write_figure(path, figure)


Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""Columns, and rows."""

RATES = {"one": "1 by 1", "streams": "streams", "batch": "by 8"}
"""Ways of running many pictures: one at a time; one at a time in as many streams as threads; in
batches of eight."""


class Spread(NamedTuple):
    """Median and quartiles."""

    median: float
    low: float
    high: float


def spread(values: NDArray[np.float64] | Sequence[float]) -> Spread:
    """Returns median and quartiles of one value or more."""
    low, median, high = np.percentile(values, (25, 50, 75)).tolist()
    return Spread(median, low, high)


@dataclass
class Result:
    """What was measured of one contender.

    Attributes:
        contender: Which.
        ready: Seconds from the start of its process until the network could be called.
        first: Seconds from the start of its process until the results of the first picture.
        rounds: Seconds by stage of each picture of each round.
        memory: Most bytes its process has had in the rounds; None where the system does not tell.
        rates: Pictures per second by way of running; see ``RATES``.
        share: Part of the processor's peak that the network reaches; None if not measured.
        share_of: The precision of that peak.
    """

    contender: Contender
    ready: float = math.inf
    first: float = math.inf
    rounds: list[list[Row]] = field(default_factory=list)
    memory: int | None = None
    rates: dict[str, float] = field(default_factory=dict)
    share: float | None = None
    share_of: str = ""

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Seconds of each stage of each picture, (rounds, pictures, stages)."""
        return np.array([[[row[name] for name in STAGES] for row in rows] for rows in self.rounds])

    @property
    def total(self) -> Spread:
        """Seconds from picture to results."""
        return spread(self.seconds.sum(2))

    @property
    def stages(self) -> dict[str, Spread]:
        """Seconds of each stage."""
        return {name: spread(self.seconds[..., i]) for i, name in enumerate(STAGES)}

    @property
    def middle(self) -> Row:
        """Mean seconds of each stage in the middle half of the pictures, from quickest to slowest.

        Unlike the medians of the stages these add up, to about the median of the whole.
        """
        rows = self.seconds.reshape(-1, len(STAGES))
        rows = rows[np.argsort(rows.sum(1), kind="stable")]
        half = rows[len(rows) // 4 : len(rows) - len(rows) // 4]
        return dict(zip(STAGES, half.mean(0).tolist(), strict=True))

    @property
    def by_round(self) -> list[float]:
        """Mean seconds of a picture in each round."""
        means: list[float] = self.seconds.sum(2).mean(1).tolist()
        return means

    def times_as_fast(self, first: Result) -> Spread:
        """Returns how many times as fast it is as another, compared round by round."""
        pairs = zip(first.by_round, self.by_round, strict=True)
        return spread([theirs / ours for theirs, ours in pairs])


@dataclass(frozen=True)
class Report:
    """A whole benchmark.

    Attributes:
        protocol: Everything that decides about the numbers.
        results: One per contender; the others are compared with the first.
        left_out: A sentence by name about who was not expected to take part and does not.
        failed: A sentence by name about who should have, and could not or died.
    """

    protocol: dict[str, Any]
    results: list[Result]
    left_out: dict[str, str]
    failed: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Returns everything, ready for JSON; times are in seconds."""
        return {
            "protocol": self.protocol,
            "contenders": [
                {
                    "engine": result.contender.engine,
                    "precision": result.contender.precision,
                    "total": result.total._asdict(),
                    "stages": {name: each._asdict() for name, each in result.stages.items()},
                    "times_as_fast_as_first": result.times_as_fast(self.results[0])._asdict(),
                    "by_round": result.by_round,
                    "start_to_ready": result.ready,
                    "start_to_first_result": result.first,
                    "peak_memory_bytes": result.memory,
                    "pictures_per_second": result.rates,
                    "share_of_peak": result.share,
                    "peak": result.share_of,
                }
                for result in self.results
            ],
            "left_out": self.left_out,
            "failed": self.failed,
        }

    def totals(self) -> Table:
        """Returns columns and rows: time of a picture, times as fast, start, memory."""
        rows: list[tuple[str, ...]] = []
        for result in self.results:
            total, times = result.total, result.times_as_fast(self.results[0])
            memory = "-" if result.memory is None else f"{result.memory / 2**20:.0f}"
            time = (_ms(total.median), f"{_ms(total.low)} - {_ms(total.high)}")
            ratio = (f"{times.median:.2f}", f"{times.low:.2f} - {times.high:.2f}")
            rows.append((result.contender.name, *time, *ratio, f"{result.first:.1f}", memory))
        return ("contender", "ms", "quartiles", "times", "quartiles", "first s", "MiB"), rows

    def parts(self) -> Table:
        """Returns columns and rows: milliseconds of each stage."""
        return ("ms of", *STAGES.values()), [
            (result.contender.name, *(_ms(each.median) for each in result.stages.values()))
            for result in self.results
        ]

    def throughput(self) -> Table:
        """Returns columns and rows: pictures per second; no rows if that was not measured."""
        rows: list[tuple[str, ...]] = []
        for result in self.results:
            known = {way: f"{rate:.1f}" for way, rate in result.rates.items()}
            if known:
                rows.append((result.contender.name, *(known.get(way, "-") for way in RATES)))
        return ("pictures/s", *RATES.values()), rows

    def shares(self) -> list[str]:
        """Returns sentences about the part of the processor's peak that networks reach."""
        known = [(result, result.share) for result in self.results if result.share is not None]
        if not known:
            return []
        peaks = ", ".join(
            f"{peak / 1e9:.0f} GFLOP/s in {name}" for name, peak in self.protocol["peaks"].items()
        )
        lines = [
            f"the network's {self.protocol['operations'] / 1e9:.2f} GFLOP, against the best product"
            f" of two matrices ({peaks}):"
        ]
        for result, share in known:
            own = result.share_of == result.contender.precision
            which = "" if own else f", of the peak in {result.share_of}"
            lines.append(f"  {result.contender.name}: {share:.0%}{which}")
        return lines


def _ms(seconds: float) -> str:
    """Returns milliseconds, three figures of them."""
    value = seconds * 1e3
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
