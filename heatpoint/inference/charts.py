"""Draws the charts of scores: curves, what was taken for what, where a score is lost; and names.

Names are written in fonts that have their letters, whatever script these are in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.scoring import Floats
from heatpoint.scoring.faults import Curves, calibration
from heatpoint.scoring.judged import Judged
from heatpoint.scoring.points import PointScores
from heatpoint.system.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BAR, _LOSS, _LINE, _TEXT = "#4c78a8", "#e8a15c", "#d1495b", "#333333"
_LINES = 10  # classes in a chart of curves
_CELLS = 25  # classes in a table of confusion

Bars = Mapping[str, tuple[int, float]]
"""How many there are of a kind, and a share of them."""


def new_figure(width: float, height: float) -> Figure:
    """Returns an empty figure, its sides in inches."""
    # Figure without pyplot: no global state, no display, no backend chosen for the user.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=110, layout="constrained")


def write_figure(path: str | Path, figure: Figure) -> None:
    """Writes a figure as PNG file, atomically.

    Raises:
        HeatpointError: The file cannot be written.
    """
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png")


def plain(axes: Any, title: str) -> None:
    """Gives a chart its title and takes away what frames it."""
    axes.set_title(title, fontsize=11, color=_TEXT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9, colors=_TEXT)


def _words(axes: Any, families: list[str]) -> None:
    """Writes names in fonts that have their letters; dollars are no signs of mathematics."""
    legend = axes.get_legend()
    texts = [*axes.get_xticklabels(), *axes.get_yticklabels()]
    for text in (*texts, *(legend.get_texts() if legend else ())):
        text.set_parse_math(False)
        text.set_fontfamily(families)


def draw_waterfall(title: str, first: tuple[str, float], steps: Mapping[str, float]) -> Figure:
    """Returns a bar for a score, one for what each step adds, and what they add up to.

    Args:
        title: What is shown.
        first: The score and its name, in [0, 1].
        steps: Gains by name.
    """
    figure = new_figure(9, 0.42 * (len(steps) + 2) + 0.9)
    axes, names = figure.subplots(), [first[0], *steps]
    lengths = np.array([first[1], *steps.values()])
    starts = np.concatenate(([0.0], lengths[:-1].cumsum()))
    axes.barh(range(len(names)), lengths, left=starts, color=[_BAR, *[_LOSS] * len(steps)])
    for row, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        text = f"{100 * length:.1f}" if row == 0 else f"{100 * length:+.1f}"
        axes.text(max(start, start + length) + 0.01, row, text, va="center", fontsize=9)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlim=(0, 1.08), xticks=np.linspace(0, 1, 6))
    axes.set_xticklabels([f"{share:.0%}" for share in np.linspace(0, 1, 6)])
    axes.invert_yaxis()
    plain(axes, title)
    return figure


def draw_curves(judged: Judged, score: float) -> Figure:
    """Returns precision over recall, and F1 over the least score, of the classes and of all.

    Args:
        judged: The results; of their classes those with most objects are drawn.
        score: Marked in the second chart; NaN marks none.
    """
    figure = new_figure(12.5, 4.6)
    tradeoff, by_score = figure.subplots(1, 2)
    counts = judged.annotated.sum(0)
    shown = [n for n in np.argsort(-counts, kind="stable")[:_LINES].tolist() if counts[n]]
    names, families = spelt(judged.names, "class")
    for label in [*(sorted(shown) if len(shown) > 1 else ()), None]:
        curves = Curves.of(judged, label)
        if label is None:
            style: dict[str, Any] = {"color": "black", "linewidth": 2, "label": "all together"}
        else:
            style = {"label": names[label], "linewidth": 1.2}
        tradeoff.plot(curves.recall, curves.precision, **style)
        by_score.plot(curves.scores, curves.f1, **style)
    if not math.isnan(score):
        by_score.axvline(score, color=_LINE, linewidth=1, linestyle="--")
    more = f", {len(shown)} of {np.count_nonzero(counts)} classes" if len(shown) == _LINES else ""
    tradeoff.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
    by_score.set(xlabel="least score", ylabel="F1", xlim=(0, 1.02), ylim=(0, 1.02))
    plain(tradeoff, f"precision over recall{more}")
    plain(by_score, "F1 by least score" + ("" if math.isnan(score) else f", best at {score:g}"))
    for axes in (tradeoff, by_score):
        axes.grid(alpha=0.3)
    tradeoff.legend(loc="best", fontsize=8)
    _words(tradeoff, families)
    return figure


def point_curves(points: PointScores) -> Figure:
    """Returns three charts, with a line for each radius in the first two."""
    figure = new_figure(13, 4.2)
    tradeoff, by_score, counts = figure.subplots(1, 3)
    for name, curve in points.curves.items():
        # Where nothing is found, there is no precision.
        some = np.array(curve["recall"]) > 0
        recall, precision = (np.array(curve[key])[some] for key in ("recall", "precision"))
        within = points.within[name]
        tradeoff.plot(recall, precision, label=f"{name} px: AP {within.ap:.3f}")
        by_score.plot(curve["score"], curve["f1"], label=f"{name} px: F1 {within.f1:.3f}")
    by_score.axvline(points.sure, color=_LINE, linewidth=1)
    annotated, found = np.array(points.pictures, np.int64).reshape(-1, 2).T
    most = max(1, int(annotated.max(initial=1)), int(found.max(initial=1)))
    counts.plot((0, most), (0, most), color=_LINE, linewidth=1)
    counts.scatter(annotated, found, s=18, alpha=0.5, linewidths=0)
    tradeoff.set(title="precision over recall", xlabel="recall", ylabel="precision")
    by_score.set(title="F1 by least score", xlabel="score", ylabel="F1")
    off = f"off by {points.counts.mae:.2f} (bias {points.counts.bias:+.2f})"
    counts.set(title=f"counts: {off}", xlabel="annotated in a picture", ylabel="found")
    for axes in (tradeoff, by_score):
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
        axes.legend(loc="best", fontsize=9)
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
    write_figure(path, point_curves(points))


def draw_confusion(names: Sequence[str], table: NDArray[np.int64]) -> Figure:
    """Returns the numbers of ``Faults.confusion``, coloured by their share of the row.

    Args:
        names: Class names; of many, those that are confused most are shown.
        table: (C + 1, C + 1).
    """
    off = table.sum(0) + table.sum(1) - 2 * table.diagonal()
    shown = np.sort(np.argsort(-off[:-1], kind="stable")[:_CELLS])
    cells = table[np.ix_([*shown, -1], [*shown, -1])]
    side = 0.45 * len(cells)
    figure = new_figure(max(5.5, side + 3), max(4.0, side + 2))
    axes = figure.subplots()
    shares = cells / np.maximum(cells.sum(1, keepdims=True), 1)
    shares[-1] = cells[-1] / np.maximum(cells.sum(0), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in zip(*np.nonzero(cells), strict=True):
        ink = "white" if shares[row, column] > 0.6 else "black"
        text = f"{cells[row, column]}"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=ink)
    every, families = spelt(names, "class")
    called = [every[label] for label in shown]
    axes.set_xticks(range(len(cells)), [*called, "(missed)"], rotation=45, ha="right")
    axes.set_yticks(range(len(cells)), [*called, "(background)"])
    axes.set(xlabel="found as", ylabel="labelled as")
    more = f", {len(shown)} of {len(names)} classes" if len(shown) < len(names) else ""
    plain(axes, f"what is taken for what{more}")
    _words(axes, families)
    return figure


def draw_groups(groups: Mapping[str, Bars]) -> Figure:
    """Returns one chart of shares for each way to divide objects or pictures into groups."""
    figure = new_figure(4.2 * len(groups), 3.4)
    parts = figure.subplots(1, len(groups), squeeze=False)[0]
    for axes, (title, bars) in zip(parts, groups.items(), strict=True):
        heights = [0.0 if math.isnan(share) else share for _, share in bars.values()]
        axes.bar(range(len(bars)), heights, color=_BAR, width=0.7)
        for place, share in enumerate(heights):
            axes.text(place, share + 0.02, f"{100 * share:.0f}", ha="center", fontsize=9)
        under = [f"{name}\n({count:,})" for name, (count, _) in bars.items()]
        axes.set_xticks(range(len(bars)), under)
        axes.set(ylim=(0, 1.12), yticks=())
        axes.spines["left"].set_visible(False)
        plain(axes, title)
    return figure


def draw_calibration(judged: Judged, least: float) -> Figure:
    """Returns how often results are right over how sure they are, from a score on."""
    counts, means, shares, error = calibration(judged, least)
    figure = new_figure(6, 4.4)
    axes, some = figure.subplots(), counts > 0
    axes.plot((0, 1), (0, 1), color=_LINE, linewidth=1)
    axes.bar(np.linspace(0.05, 0.95, len(counts)), np.nan_to_num(shares), 0.092, color="#c6d7ea")
    axes.plot(means[some], shares[some], "o-", color=_BAR, markersize=4)
    for place in np.flatnonzero(some).tolist():
        at = (place + 0.5) / len(counts)
        axes.text(at, 1.03, f"{counts[place]:,}", ha="center", fontsize=7.5, color=_TEXT)
    axes.set(xlim=(0, 1), ylim=(0, 1.1), xlabel="score", ylabel="share that is right")
    plain(axes, f"calibration: off by {100 * error:.1f} points on average")
    return figure


def draw_joints(
    title: str, names: Sequence[str], shares: Floats, per_joint: Mapping[str, float]
) -> Figure:
    """Returns how many joints are found within a share of the subject's length.

    Args:
        title: What the score of each joint is called.
        names: Names of the joints.
        shares: (N, J) errors by that length, NaN where not labelled.
        per_joint: The score of each joint by name.
    """
    figure = new_figure(12.5, max(4.2, 0.24 * len(names) + 1.4))
    curve, bars = figure.subplots(1, 2)
    levels, known = np.linspace(0, 0.5, 101), ~np.isnan(shares)
    hits = [((shares < level) & known).sum() / max(1, known.sum()) for level in levels]
    curve.plot(levels, hits, color=_BAR)
    curve.set(xlim=(0, 0.5), ylim=(0, 1.02), ylabel="joints")
    curve.set_xlabel("error, in lengths of the subject")
    curve.grid(alpha=0.3)
    plain(curve, "share of joints within an error")
    values = np.nan_to_num([per_joint[name] for name in names])
    bars.barh(range(len(names)), values, color=_BAR)
    for row, value in enumerate(values):
        bars.text(value + 0.01, row, f"{100 * value:.1f}", va="center", fontsize=8)
    called, families = spelt(names, "joint")
    bars.set_yticks(range(len(names)), called)
    bars.set(xlim=(0, 1.12), xticks=())
    bars.invert_yaxis()
    plain(bars, title)
    _words(bars, families)
    return figure


_MOST = 22  # letters of a name, which is cut behind them


def spelt(names: Sequence[str], what: str) -> tuple[list[str], list[str]]:
    """Returns names as charts can write them, and the font families that do.

    Args:
        names: Any names; those that no font here can write become ``what`` and their number.
        what: What the names are of, such as "class".
    """
    letters = Letters(names)
    short = [name if len(name) <= _MOST else f"{name[: _MOST - 1]}…" for name in names]
    pairs = enumerate(zip(names, short, strict=True))
    told = [cut if letters.spell(name) else f"{what} {number}" for number, (name, cut) in pairs]
    return told, letters.families


class Letters:
    """The fonts of this machine that have the letters of some names.

    Args:
        names: What is to be written. Fonts are opened only for letters that the usual one lacks.

    Attributes:
        families: Font families, the usual one first; each writes what those before it lack.
    """

    def __init__(self, names: Iterable[str]) -> None:
        from matplotlib.font_manager import FontProperties, findfont, fontManager

        usual = FontProperties()
        self.families = [usual.get_name()]
        self._lacking = set(map(ord, "".join(names))) - _letters(findfont(usual))
        for entry in sorted(fontManager.ttflist, key=lambda entry: entry.name):
            if not self._lacking:
                return
            # "Last Resort" draws the same box for all letters of a script.
            plain = entry.style == "normal" and entry.weight in (400, 500)
            if not plain or entry.name in self.families or entry.name.startswith("Last Resort"):
                continue
            found = self._lacking & _letters(entry.fname)
            if found:
                self.families.append(entry.name)
                self._lacking -= found

    def spell(self, name: str) -> bool:
        """Tells whether every letter of a name can be written."""
        return self._lacking.isdisjoint(map(ord, name))


def _letters(path: str) -> set[int]:
    """Returns the characters of a font; none of a broken one, or of one of coloured pictures."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
    except (OSError, RuntimeError):
        return set()
    return set(font.get_charmap()) if font.scalable else set()
