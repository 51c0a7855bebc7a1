"""Charts of a data set: whole numbers on their axes, names in any script."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from heatpoint.data import Annotations, ImageRecord
from heatpoint.inference.charts import Letters
from heatpoint.inspection.charts import draw_charts
from heatpoint.inspection.report import measure
from heatpoint.views.pictures import Picture


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Returns the figures that are saved."""
    kept: list[Figure] = []
    save = Figure.savefig

    def keep(self: Figure, *args: Any, **kwargs: Any) -> None:
        kept.append(self)
        save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", keep)
    return kept


def draw(path: Path, names: tuple[str, ...], images: int, objects: int) -> None:
    rng = np.random.default_rng(images)
    records = []
    for number in range(images):
        low, sides = rng.uniform(0, 200, (objects, 2)), rng.uniform(10, 200, (objects, 2))
        boxes = np.hstack((low, low + sides))
        labels = rng.integers(0, len(names), objects)
        records.append(ImageRecord(Path(f"{number}.jpg"), (480, 640), boxes, labels))
    report, measured = measure(Annotations(names, records), Picture((512, 512)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_charts(path, report, measured, 4, 100)


@pytest.mark.parametrize("images", [1, 2, 7])
@pytest.mark.parametrize("objects", [0, 1, 4])
def test_counts_are_whole_numbers(
    figures: list[Figure], tmp_path: Path, images: int, objects: int
) -> None:
    draw(tmp_path / "c.png", ("cat", "dog"), images, objects)
    classes, sides, aspects, per_image = figures[0].axes
    for axis in (classes.xaxis, sides.yaxis, aspects.yaxis, per_image.xaxis, per_image.yaxis):
        ticks = axis.get_ticklocs()
        assert len(ticks) >= 1
        assert (ticks == np.round(ticks)).all()


def test_names_that_no_font_can_write_become_numbers(
    figures: list[Figure], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.font_manager import fontManager

    own = [entry for entry in fontManager.ttflist if "matplotlib" in entry.fname]
    monkeypatch.setattr(fontManager, "ttflist", own)
    draw(tmp_path / "c.png", ("猫", "собака", "a$b$c", "a\nb"), 1, 0)
    shown = [label.get_text() for label in figures[0].axes[0].get_yticklabels()]
    assert shown == ["class 0", "собака", "a$b$c", "class 3"]


def test_another_font_helps_out() -> None:
    # U+0359 is in STIXGeneral, which comes with matplotlib, and not in DejaVu Sans.
    letters = Letters(["plain", "\u0359"])
    assert letters.families[0] == "DejaVu Sans"
    assert len(letters.families) == 2
    assert letters.spell("\u0359")
    assert Letters(["plain"]).families == ["DejaVu Sans"]
