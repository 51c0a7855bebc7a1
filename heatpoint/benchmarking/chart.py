"""Draws a benchmark as one bar per contender, stacked of the stages."""

from __future__ import annotations

from pathlib import Path

from heatpoint.benchmarking.passage import STAGES
from heatpoint.benchmarking.report import Report
from heatpoint.system.files import atomic_write

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
    from matplotlib.figure import Figure

    results, first = report.results, report.results[0]
    figure = Figure(figsize=(10, 1.9 + 0.55 * len(results)), dpi=110, layout="constrained")
    axes = figure.subplots()
    lefts = [0.0] * len(results)
    for (name, title), colour in zip(STAGES.items(), _COLOURS, strict=True):
        widths = [result.middle[name] * 1e3 for result in results]
        if any(widths):
            axes.barh(range(len(results)), widths, 0.62, lefts, color=colour, label=title)
        lefts = [left + width for left, width in zip(lefts, widths, strict=True)]
    totals = [result.total for result in results]
    medians = [total.median * 1e3 for total in totals]
    axes.errorbar(
        medians,
        range(len(results)),
        xerr=(
            [(total.median - total.low) * 1e3 for total in totals],
            [(total.high - total.median) * 1e3 for total in totals],
        ),
        fmt="o",
        markersize=3.5,
        color=_TEXT,
        capsize=3,
        linewidth=1.2,
        label="median, quartiles",
    )
    for place, result in enumerate(results):
        times = result.times_as_fast(first).median
        more = "" if result is first else f"   {times:.2f} times as fast"
        end = max(lefts[place], totals[place].high * 1e3)
        axes.annotate(
            f"{medians[place]:.1f} ms{more}",
            (end, place),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=_TEXT,
        )
    axes.set_yticks(range(len(results)), [result.contender.name for result in results])
    axes.set_ylim(len(results) - 0.5, -0.5)
    axes.set_xlim(0, 1.3 * max(max(lefts), *(total.high * 1e3 for total in totals)))
    axes.set_xlabel("milliseconds for one picture, from the file to the results")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9, colors=_TEXT)
    about = report.protocol
    height, width = about["size"]
    threads = f"{about['threads']} thread{'s' if about['threads'] > 1 else ''}"
    axes.set_title(
        f"{about['architecture'] or Path(about['model']).name}, {width} x {height} pixels, "
        f"{threads} of {about['processor']}",
        fontsize=11,
        color=_TEXT,
        loc="left",
    )
    figure.legend(loc="outside lower center", ncols=7, fontsize=8.5, frameon=False)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png")
