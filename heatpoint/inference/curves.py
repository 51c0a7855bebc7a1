"""Draws how points are found and counted: precision and recall, F1 by score, found by annotated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from heatpoint.scoring.points import PointScores
from heatpoint.system.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def point_curves(points: PointScores) -> Figure:
    """Returns three charts, with a line for each radius in the first two."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.2), dpi=110, layout="constrained")
    tradeoff, by_score, counts = figure.subplots(1, 3)
    for name, curve in points.curves.items():
        # Where nothing is found, there is no precision.
        some = np.array(curve["recall"]) > 0
        recall, precision = (np.array(curve[key])[some] for key in ("recall", "precision"))
        within = points.within[name]
        tradeoff.plot(recall, precision, label=f"{name} px: AP {within.ap:.3f}")
        by_score.plot(curve["score"], curve["f1"], label=f"{name} px: F1 {within.f1:.3f}")
    by_score.axvline(points.sure, color="#d1495b", linewidth=1)
    annotated, found = np.array(points.pictures, np.int64).reshape(-1, 2).T
    most = max(1, int(annotated.max(initial=1)), int(found.max(initial=1)))
    counts.plot((0, most), (0, most), color="#d1495b", linewidth=1)
    counts.scatter(annotated, found, s=18, alpha=0.5, linewidths=0)
    tradeoff.set(title="precision over recall", xlabel="recall", ylabel="precision")
    by_score.set(title="F1 by least score", xlabel="score", ylabel="F1")
    off = f"off by {points.counts.mae:.2f} (bias {points.counts.bias:+.2f})"
    counts.set(title=f"counts: {off}", xlabel="annotated in a picture", ylabel="found")
    for axes in (tradeoff, by_score):
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
        axes.legend(loc="lower left", fontsize=9)
    for axes in (tradeoff, by_score, counts):
        axes.grid(alpha=0.3)
    return figure


def draw_point_curves(path: str | Path, points: PointScores) -> None:
    """Writes a picture of ``point_curves``.

    Args:
        path: PNG file to write, atomically.
        points: The scores.

    Raises:
        HeatpointError: The file cannot be written.
    """
    figure = point_curves(points)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png")
