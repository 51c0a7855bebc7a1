"""Draws what is in a data set as a page of charts, whatever script its classes are named in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.inference.charts import Letters, new_figure, plain, spelt, write_figure
from heatpoint.inspection.joints import JointCounts, JointReport, Seen
from heatpoint.inspection.report import DataReport, Measured
from heatpoint.wording import amount

_BAR, _PALE, _NOTHING = "#4c78a8", "#9ecae9", "#e4e4e4"
_LINE, _TEXT = "#d1495b", "#333333"
_CLASSES = 20
_POINTS = 20000
_TICKS = 4  # fewer powers of two on an axis of sides are filled up


def draw_charts(
    path: str | Path,
    report: DataReport,
    measured: Measured,
    stride: int,
    max_detections: int,
    joints: Mapping[str, JointCounts] | None = None,
) -> None:
    """Writes a PNG of four charts: objects by class, size, aspect, and number per image.

    Where joints are learnt too, the labels of each stand in place of the aspect. Of points there
    are the distance to the nearest other one and where they lie instead of size and aspect.

    Sizes are in input pixels, because those decide what can be found; red lines mark the side of
    a cell and the number of detections per image where they fall into view.

    Args:
        path: Where to write.
        report: The counts.
        measured: The numbers behind them.
        stride: Input pixels per cell.
        max_detections: Candidates that are decoded per image.
        joints: Counts of the labels of each joint.
    """
    counts = {"image": report.images, "object": report.objects, "class": len(report.classes)}
    title = ", ".join(amount(number, noun) for noun, number in counts.items())
    sides = "object side at the input: √(width · height), pixels"
    if report.pointed:
        sides = "nearest other point at the input, pixels"
    charts = {
        "objects by class": partial(_draw_classes, report.classes),
        sides: partial(_draw_sides, measured.sides, stride),
    }
    if report.pointed:
        charts["points in all images, laid over each other"] = partial(
            _draw_points, measured.places
        )
    elif joints is None:
        charts["aspect: width / height"] = partial(_draw_aspects, measured.aspects)
    else:
        charts["labels by joint"] = partial(_draw_labels, joints)
    charts["objects per image"] = partial(_draw_counts, measured.per_image, max_detections)
    _write(path, title, charts)


def draw_joint_charts(path: str | Path, report: JointReport, seen: Seen) -> None:
    """Writes a PNG of four charts: labels by joint, their number, sizes, and where joints lie.

    Args:
        path: Where to write.
        report: The counts.
        seen: The subjects.
    """
    title = f"{report.subjects:,} subjects, {report.labelled:,} labelled joints"
    labelled = seen.joints[..., 2] > 0
    edges = np.arange(0.5, len(report.joints) + 1)
    places = "labelled joints at the input; lost outside of the frame"
    charts = {
        "labels by joint": partial(_draw_labels, report.joints),
        "longer side of a subject, image pixels": partial(_draw_sides, seen.sides, None),
        places: partial(_draw_places, seen.joints[labelled][:_POINTS], report.size),
        "labelled joints per subject": partial(_histogram, labelled.sum(1), edges, 0.9, "subjects"),
    }
    _write(path, title, charts)


def _write(path: str | Path, title: str, charts: Mapping[str, Callable[[Any], None]]) -> None:
    """Writes a page of four charts: by title, what draws one into the axes that it is given."""
    figure = new_figure(11, 7.5)
    for axes, (name, draw) in zip(figure.subplots(2, 2).flat, charts.items(), strict=True):
        axes.locator_params(integer=True, min_n_ticks=1)  # nothing here is counted in parts
        draw(axes)
        plain(axes, name)
    figure.suptitle(title, fontsize=13, color=_TEXT)
    write_figure(path, figure)


def _draw_classes(classes: Mapping[str, int], axes: Any) -> None:
    ordered = sorted(classes.items(), key=lambda item: -item[1])
    shown, rest = ordered[:_CLASSES], ordered[_CLASSES:]
    if rest:
        shown.append((f"{len(rest)} more", sum(count for _, count in rest)))
    told, families = spelt([*classes], "class")
    called = dict(zip(classes, told, strict=True))
    bars = axes.barh(range(len(shown)), [count for _, count in shown], color=_BAR)
    if rest:
        bars[-1].set_color(_PALE)
    axes.bar_label(bars, [f"{count:,}" for _, count in shown], padding=3, fontsize=8, color=_TEXT)
    axes.margins(x=0.12)
    _name_bars(axes, [called.get(name, name) for name, _ in shown], 9, families)


def _draw_sides(sides: NDArray[np.float64], stride: int | None, axes: Any) -> None:
    if not len(sides):
        return
    low, high = max(0.5, float(sides.min())), float(sides.max())
    low, high = low / 1.1, max(high, low) * 1.1
    _histogram(sides, np.geomspace(low, high, 40), 1, "", axes)
    axes.set_xscale("log")
    for shares in ((1.0,), (1.0, 1.25, 1.5, 1.75)):  # too few powers of two are filled up
        ticks = np.outer(2.0 ** np.arange(13), shares).ravel()
        ticks = ticks[(low <= ticks) & (ticks <= high)]
        if len(ticks) >= _TICKS:
            break
    axes.set_xticks(ticks, [f"{side:g}" for side in ticks], minor=False)
    axes.minorticks_off()
    if stride is not None and low <= stride <= high:
        _mark(axes, stride, f"one cell: {stride}")


def _draw_aspects(aspects: NDArray[np.float64], axes: Any) -> None:
    if not len(aspects):
        return
    reach = max(2.0, float(np.quantile(np.abs(np.log2(aspects)), 0.99)))
    folded = np.clip(np.log2(aspects), -reach, reach)
    _histogram(folded, np.linspace(-reach, reach, 41), 1, "", axes)
    powers = range(-int(reach), int(reach) + 1)
    axes.set_xticks(list(powers), [f"1:{2**-p}" if p < 0 else f"{2**p}:1" for p in powers])


def _draw_counts(per_image: NDArray[np.int64], max_detections: int, axes: Any) -> None:
    most = int(per_image.max(initial=0))
    step = max(1, -(-(most + 1) // 40))
    edges = np.arange(0, most + 1 + step, step) - 0.5
    _histogram(per_image, edges, 0.9 if step == 1 else 1, "images", axes)
    if most >= max_detections:
        _mark(axes, max_detections, f"detections per image: {max_detections}")


def _draw_labels(joints: Mapping[str, JointCounts], axes: Any) -> None:
    left = np.zeros(len(joints))
    for name, colour in (("visible", _BAR), ("hidden", _PALE), ("unlabelled", _NOTHING)):
        widths = np.array([getattr(counts, name) for counts in joints.values()])
        axes.barh(range(len(joints)), widths, left=left, color=colour, label=name)
        left += widths
    letters = Letters(joints)
    names = [name if letters.spell(name) else f"joint {place}" for place, name in enumerate(joints)]
    _name_bars(axes, names, 7 if len(joints) > 20 else 9, letters.families)
    # Below the bars, which may fill all of the chart.
    axes.legend(fontsize=8, ncols=3, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.06))


def _draw_places(joints: NDArray[np.float64], size: tuple[int, int], axes: Any) -> None:
    height, width = size
    dot = min(12.0, max(2.0, 4000 / max(1, len(joints))))
    axes.scatter(joints[:, 0], joints[:, 1], s=dot, alpha=0.4, color=_BAR, linewidths=0)
    axes.plot([0, width, width, 0, 0], [0, 0, height, height, 0], color=_LINE, linewidth=1.2)
    axes.set(xlim=(-0.25 * width, 1.25 * width), ylim=(1.25 * height, -0.25 * height))
    axes.set_aspect("equal")


def _draw_points(places: NDArray[np.float64], axes: Any) -> None:
    shown = places[:: max(1, len(places) // _POINTS)]
    dot = min(12.0, max(2.0, 4000 / max(1, len(shown))))
    axes.scatter(shown[:, 0], shown[:, 1], s=dot, alpha=0.4, color=_BAR, linewidths=0)
    axes.set(xlim=(0, 1), ylim=(1, 0), xticks=(), yticks=())


def _name_bars(axes: Any, names: Sequence[str], fontsize: int, families: list[str]) -> None:
    """Writes names beside horizontal bars, of which the first is on top.

    Dollars are dollars here, not signs of mathematics.
    """
    axes.set_yticks(range(len(names)), names, fontsize=fontsize, fontfamily=families)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    axes.invert_yaxis()


def _histogram(
    values: NDArray[Any], edges: NDArray[np.floating], width: float, of: str, axes: Any
) -> None:
    """Draws bars, ``width`` of their bins wide; ``of`` says what is counted."""
    axes.hist(values, bins=list(edges), color=_BAR, rwidth=width)
    axes.set_ylabel(of, fontsize=9, color=_TEXT)


def _mark(axes: Any, x: float, text: str) -> None:
    """Draws a line across the chart, its text above the bars and within the chart."""
    axes.margins(y=0.15)
    axes.axvline(x, color=_LINE, linewidth=1.2)
    axes.autoscale_view()
    along = axes.transAxes.inverted().transform(axes.transData.transform((x, 1)))[0]
    side, at = "left" if along < 0.5 else "right", axes.get_xaxis_transform()
    axes.text(x, 0.98, f" {text} ", ha=side, va="top", fontsize=8.5, color=_LINE, transform=at)
