"""Draws what is known about the joints of a data set as one page of charts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from heatpoint.inspection.joints import Crops, JointReport
from heatpoint.system.files import atomic_write

_VISIBLE, _HIDDEN, _NOTHING, _TEXT = "#4c78a8", "#9ecae9", "#e4e4e4", "#333333"


def draw_joint_charts(path: str | Path, report: JointReport, crops: Crops) -> None:
    """Writes a PNG of four charts: labels by joint, their number, sizes, and where joints lie.

    Args:
        path: Where to write.
        report: The counts.
        crops: The subjects.
    """
    # Figure without pyplot: no global state, no display, no backend chosen for the user.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.5), dpi=110, layout="constrained")
    (labels, sides), (places, numbers) = figure.subplots(2, 2)
    _draw_labels(labels, report)
    _draw_sides(sides, crops)
    _draw_places(places, report, crops)
    _draw_numbers(numbers, report, crops)
    for axes in (labels, sides, places, numbers):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9, colors=_TEXT)
        axes.title.set_color(_TEXT)
    figure.suptitle(
        f"{report.subjects:,} subjects, {report.labelled:,} labelled joints",
        fontsize=13,
        color=_TEXT,
    )
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png")


def _draw_labels(axes: Any, report: JointReport) -> None:
    places = range(len(report.joints))
    left = np.zeros(len(report.joints))
    for name, colour in (("visible", _VISIBLE), ("hidden", _HIDDEN), ("unlabelled", _NOTHING)):
        widths = np.array([getattr(counts, name) for counts in report.joints.values()])
        axes.barh(places, widths, left=left, color=colour, label=name)
        left += widths
    axes.set_yticks(places, list(report.joints), fontsize=7 if len(left) > 20 else 9)
    axes.invert_yaxis()
    axes.legend(fontsize=8, loc="lower right")
    axes.set_title("labels by joint", fontsize=11)


def _draw_sides(axes: Any, crops: Crops) -> None:
    axes.set_title("longer side of a subject, image pixels", fontsize=11)
    if not len(crops.sides):
        return
    low, high = max(0.5, float(crops.sides.min())) / 1.1, float(crops.sides.max()) * 1.1
    axes.hist(crops.sides, bins=np.geomspace(low, max(high, 2 * low), 40).tolist(), color=_VISIBLE)
    axes.set_xscale("log")
    ticks = [side for side in (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096) if low <= side]
    ticks = [side for side in ticks if side <= high]
    axes.set_xticks(ticks, [str(side) for side in ticks], minor=False)
    axes.minorticks_off()


def _draw_places(axes: Any, report: JointReport, crops: Crops) -> None:
    axes.set_title("where labelled joints lie at the input; outside of the frame they are lost")
    axes.title.set_fontsize(11)
    height, width = report.size
    shown = crops.joints[crops.joints[..., 2] > 0][:20000]
    axes.scatter(shown[:, 0], shown[:, 1], s=2, alpha=0.3, color=_VISIBLE, linewidths=0)
    axes.plot([0, width, width, 0, 0], [0, 0, height, height, 0], color="#d1495b", linewidth=1.2)
    axes.set(xlim=(-0.25 * width, 1.25 * width), ylim=(1.25 * height, -0.25 * height))
    axes.set_aspect("equal")


def _draw_numbers(axes: Any, report: JointReport, crops: Crops) -> None:
    axes.set_title("labelled joints per subject", fontsize=11)
    numbers = (crops.joints[..., 2] > 0).sum(1)
    edges = np.arange(0.5, len(report.joints) + 1)
    axes.hist(numbers, bins=edges.tolist(), color=_VISIBLE, rwidth=0.9)
    axes.set_ylabel("subjects", fontsize=9, color=_TEXT)
    axes.locator_params(axis="x", integer=True)
