"""Draws the picture of accuracy beside time in the README.md beside it from the table above it.

    python benchmarks/overview.py

Nothing is measured: the rows between the two marks of the table are all that it knows.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

HERE = Path(__file__).resolve().parent
PICTURE = HERE.parent / "docs" / "accuracy-and-time.png"
COLOURS = ("#1565c0", "#d1495b", "#2e7d32", "#e67e00")


class Row(NamedTuple):
    """One row of the table, AP in [0, 1] and milliseconds for a picture."""

    data: str
    model: str
    way: str
    ap: float
    ms: float


def rows_of(text: str) -> list[Row]:
    """Returns the rows of the table in a document."""
    found = re.search(r"<!-- overview -->\n(.*?)<!-- end of overview -->", text, re.DOTALL)
    if not found:
        raise SystemExit("README.md has no table between its two marks")
    rows = []
    for line in found[1].splitlines()[2:]:
        data, model, way, ap, _, ms = (cell.strip() for cell in line.strip("|").split("|"))
        rows.append(Row(data, model.strip("`"), way, float(ap), float(ms)))
    return rows


def draw(rows: list[Row]) -> Figure:
    """Returns AP over milliseconds, a panel for each data set, a colour for each model."""
    sets = list(dict.fromkeys(row.data for row in rows))
    models = list(dict.fromkeys(row.model for row in rows))
    figure = Figure(figsize=(4 * len(sets), 4.2), layout="constrained")
    panels = figure.subplots(1, len(sets), sharey=True, squeeze=False)[0]
    for axis, data in zip(panels, sets, strict=True):
        # The best one's words stand above it; those of the others by turns above and below.
        these = sorted((row for row in rows if row.data == data), key=lambda row: row.ms)
        best = max(these, key=lambda row: row.ap)
        others = [row for row in these if row is not best]
        for row in these:
            colour = COLOURS[models.index(row.model)]
            axis.plot(row.ms, row.ap, "o", ms=9, color=colour, mec="white")
            above = row is best or others.index(row) % 2 == 0
            axis.annotate(
                row.way,
                (row.ms, row.ap),
                (0, 8 if above else -10),
                textcoords="offset points",
                ha="center",
                va="bottom" if above else "top",
                fontsize=10,
                color=colour,
            )
        axis.set_xscale("log")
        axis.set_xlim(min(row.ms for row in these) / 3, max(row.ms for row in these) * 2.5)
        axis.set_title(data, fontsize=11)
        axis.set_xlabel("ms for a picture, one core of an AMD EPYC")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_ylim(0, 1.1)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("AP")
    for model, colour in zip(models, COLOURS, strict=False):
        panels[0].plot([], [], "o", color=colour, label=model)
    figure.legend(loc="outside lower center", ncols=len(models), frameon=False)
    return figure


if __name__ == "__main__":
    draw(rows_of((HERE / "README.md").read_text("utf-8"))).savefig(PICTURE, dpi=100)
