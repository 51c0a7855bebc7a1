"""Draws what is in a data set as one page of histograms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from heatpoint.inspection.report import DataReport, Measured
from heatpoint.system.files import atomic_write

_BAR, _LINE, _TEXT = "#4c78a8", "#d1495b", "#333333"
_CLASSES = 20


def draw_charts(
    path: str | Path,
    report: DataReport,
    measured: Measured,
    stride: int,
    max_detections: int,
) -> None:
    """Writes a PNG of four charts: objects by class, size, aspect, and number per image.

    Sizes are in input pixels, because those decide what can be found; red lines mark the side of
    a cell and the number of detections per image where they fall into view.

    Args:
        path: Where to write.
        report: The counts.
        measured: The numbers behind them.
        stride: Input pixels per cell.
        max_detections: Candidates that are decoded per image.
    """
    # Figure without pyplot: no global state, no display, no backend chosen for the user.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.5), dpi=110, layout="constrained")
    (classes, sides), (aspects, counts) = figure.subplots(2, 2)
    _draw_classes(classes, report)
    _draw_sides(sides, measured, stride)
    _draw_aspects(aspects, measured)
    _draw_counts(counts, measured, max_detections)
    for axes in (classes, sides, aspects, counts):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9, colors=_TEXT)
        axes.title.set_color(_TEXT)
    figure.suptitle(
        f"{report.images:,} images, {report.objects:,} objects, {len(report.classes)} classes",
        fontsize=13,
        color=_TEXT,
    )
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png")


def _draw_classes(axes: Any, report: DataReport) -> None:
    ordered = sorted(report.classes.items(), key=lambda item: -item[1])
    shown, rest = ordered[:_CLASSES], ordered[_CLASSES:]
    if rest:
        shown = [*shown, (f"{len(rest)} more", sum(count for _, count in rest))]
    names = [name if len(name) <= 22 else f"{name[:21]}…" for name, _ in shown]
    bars = axes.barh(range(len(shown)), [count for _, count in shown], color=_BAR)
    if rest:
        bars[-1].set_color("#b8c4d0")
    axes.set_yticks(range(len(shown)), names)
    axes.bar_label(bars, [f"{count:,}" for _, count in shown], padding=3, fontsize=8, color=_TEXT)
    axes.margins(x=0.12)
    axes.invert_yaxis()
    axes.set_title("objects by class", fontsize=11)


def _draw_sides(axes: Any, measured: Measured, stride: int) -> None:
    axes.set_title("object side at the input: √(width · height), pixels", fontsize=11)
    if not len(measured.sides):
        return
    low, high = max(0.5, float(measured.sides.min())), float(measured.sides.max())
    low, high = low / 1.1, max(high, low) * 1.1
    axes.hist(measured.sides, bins=np.geomspace(low, high, 40).tolist(), color=_BAR)
    axes.set_xscale("log")
    ticks = [side for side in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024) if low <= side <= high]
    axes.set_xticks(ticks, [str(side) for side in ticks], minor=False)
    axes.minorticks_off()
    if low <= stride <= high:
        _mark(axes, stride, f"one cell: {stride}")


def _draw_aspects(axes: Any, measured: Measured) -> None:
    axes.set_title("aspect: width / height", fontsize=11)
    if not len(measured.aspects):
        return
    reach = max(2.0, float(np.quantile(np.abs(np.log2(measured.aspects)), 0.99)))
    folded = np.clip(np.log2(measured.aspects), -reach, reach)
    axes.hist(folded, bins=np.linspace(-reach, reach, 41).tolist(), color=_BAR)
    powers = range(-int(reach), int(reach) + 1)
    axes.set_xticks(list(powers), [f"1:{2**-p}" if p < 0 else f"{2**p}:1" for p in powers])


def _draw_counts(axes: Any, measured: Measured, max_detections: int) -> None:
    axes.set_title("objects per image", fontsize=11)
    most = int(measured.per_image.max(initial=0))
    step = max(1, -(-(most + 1) // 40))
    edges = np.arange(0, most + 1 + step, step) - 0.5
    axes.hist(measured.per_image, bins=edges.tolist(), color=_BAR, rwidth=0.9 if step == 1 else 1)
    axes.set_ylabel("images", fontsize=9, color=_TEXT)
    axes.locator_params(axis="x", integer=True)
    if most >= max_detections:
        _mark(axes, max_detections, f"detections per image: {max_detections}")


def _mark(axes: Any, x: float, text: str) -> None:
    axes.axvline(x, color=_LINE, linewidth=1.2)
    axes.annotate(
        text,
        (x, 0.97),
        xycoords=("data", "axes fraction"),
        xytext=(4, 0),
        textcoords="offset points",
        va="top",
        fontsize=8.5,
        color=_LINE,
    )
