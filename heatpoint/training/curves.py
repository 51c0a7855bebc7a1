"""The curves of a run: losses and scores over the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from heatpoint.system.files import atomic_write
from heatpoint.training.logs import Row
from heatpoint.training.progress import score_title


def draw_curves(
    path: Path, history: Sequence[Row], terms: Sequence[str], scores: Sequence[str]
) -> None:
    """Draws the loss terms (logarithmic) and the validation scores over the epochs.

    Args:
        path: PNG file to write, atomically.
        history: One row per epoch, as in log.csv.
        terms: Names of the loss terms; ``loss/NAME`` is the column of one.
        scores: Columns of the scores, all of them in [0, 1].

    Raises:
        HeatpointError: The file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    losses, measured = figure.subplots(1, 2)
    _line(losses, history, "loss", "all")
    for name in terms:
        _line(losses, history, f"loss/{name}", name)
    losses.set(title="training loss", xlabel="epoch", yscale="log")
    for name in scores:
        _line(measured, history, name, score_title(name))
    measured.set(title="validation", xlabel="epoch", ylim=(0, 1))
    for axes in (losses, measured):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=100)


def _line(axes: object, history: Sequence[Row], name: str, label: str) -> None:
    points = [
        (row["epoch"], row[name])
        for row in history
        if row.get(name) is not None and row.get("epoch") is not None
    ]
    if points:
        x, y = zip(*points, strict=True)
        axes.plot(x, y, label=label, marker="o", markersize=3)  # type: ignore[attr-defined]
