"""What a run shows while it lasts, and leaves: options, numbers, curves, pictures."""

from __future__ import annotations

import math
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from heatpoint.data import Annotations
from heatpoint.data.bands import stretched
from heatpoint.data.dataset import varied
from heatpoint.data.draw import draw_truth, enlarge, montage, write_picture
from heatpoint.data.images import load_image
from heatpoint.geometry import Affine, Image
from heatpoint.inference.charts import new_figure, write_figure
from heatpoint.inference.metrics import score_title
from heatpoint.inference.predict import predict
from heatpoint.system.files import write_json, write_table
from heatpoint.training.state import Row
from heatpoint.zoo.detector import Detector

COUNT = 4
ROW_WIDTH = 1000
TILE = 256
"""Least height in pixels of a picture on which boxes and joints are drawn."""


def is_first() -> bool:
    """Tells whether this is the process that says things, of those that torchrun or SLURM start."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "SLURM_PROCID"))


def waiting(text: str) -> AbstractContextManager[object]:
    """Shows on a terminal that something goes on that takes its time."""
    return Console(stderr=True).status(text) if is_first() else nullcontext()


def draw_predictions(
    path: Path, detector: Detector, shown: Annotations, device: torch.device
) -> None:
    """Writes rows of truth and prediction, each 1000 pixels wide; nothing if there is no object.

    Args:
        path: PNG file to write, atomically.
        detector: What is to be seen at work.
        shown: Cleaned data, some images of which are drawn.
        device: Where the network runs.

    Raises:
        HeatpointError: The file cannot be written.
    """
    wanted, codec = [np.zeros(len(record), bool) for record in shown.images], detector.codec
    for index, objects in varied(codec.view)().samples(shown, "keypoints" in codec.learns).places:
        wanted[index][objects] = True
    spread = range(0, len(shown), max(1, len(shown) // COUNT))
    chosen = [index for index in spread if wanted[index].any()][:COUNT]
    records = [shown.images[index].keep(wanted[index]) for index in chosen]
    if records:
        pairs = compared(detector, replace(shown, images=records), device)
        write_picture(path, montage(pairs, 1, width=ROW_WIDTH))


def compared(
    detector: Detector, truth: Annotations, device: str | torch.device = "auto"
) -> list[Image]:
    """Returns each image twice in one picture: its truth, and what a detector says about it.

    Args:
        detector: The model; where it asks about places, it gets the annotated ones.
        truth: The images; small ones are enlarged, so that boxes and joints can be told.
        device: Where the network runs.
    """
    images = [load_image(r.path, bits=truth.bits, bands=truth.bands) for r in truth.images]
    asks = detector.codec.view.asks
    boxes = [record.boxes for record in truth.images] if asks else None
    found = predict(detector, images, boxes=boxes, device=device, workers=0)
    joints = truth.skeleton if "keypoints" in detector.codec.learns else None
    pairs = []
    for image, record, one in zip(images, truth.images, found, strict=True):
        large, zoom = enlarge(stretched(image), TILE)
        to_large = Affine.scale(zoom, zoom)
        drawn = draw_truth(large, record.moved(to_large), truth.names, joints, not asks)
        pair = [drawn, one.moved(to_large).plot(large)]
        pairs.append(montage(pair, 2, ["truth", "prediction"]))
    return pairs


LIVE_EVERY = 0.5
"""Seconds between two changes of the live line on a terminal."""

PLAIN_EVERY = 30.0
"""Seconds between two lines elsewhere."""

LINES, LINE_EVERY = 20, 5.0
"""Epochs of which each has a line, and seconds between lines from then on: windows in few pictures
make thousands of epochs in a run."""


class _Lasting(Console):
    """A console that outlives its reader: hours of training do not end with a pager."""

    def on_broken_pipe(self) -> None:
        """Shows nothing from now on, and says so on standard error."""
        with suppress(SystemExit):
            super().on_broken_pipe()
        said = "nobody reads standard output any more; the run goes on without it"
        print(f"heatpoint: {said}", file=sys.stderr)


class Display:
    """Shows loss, best score, images per second and time left, on the standard output.

    Args:
        quiet: Show nothing; for every process but the first.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._console = _Lasting(quiet=quiet, highlight=False, soft_wrap=True, emoji=False)
        self._images, self._since = 0, time.monotonic()
        self._epochs, self._said = 0, -math.inf

    def say(self, *lines: str) -> None:
        """Prints lines, above the live one if there is one."""
        for line in lines:
            self._console.print(line, markup=False)

    @contextmanager
    def epoch(self, title: str, steps: int, done: int, best: str) -> Iterator[None]:
        """Shows an epoch of ``steps`` updates while it runs, of which ``done`` are behind.

        Args:
            title: What the epoch is called.
            steps: Updates in it.
            done: Updates of it that were taken before.
            best: The best score so far, as ``score_text`` says it; "" before the first one.
        """
        self._title, self._best, self._images = title, best and f"best {best}", 0
        self._shown = self._since = time.monotonic()
        line: AbstractContextManager[Progress | None] = nullcontext()
        if self._console.is_terminal and not self._console.quiet:
            line = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=20),
                TextColumn("{task.completed}/{task.total}  {task.fields[numbers]}"),
                console=self._console,
                transient=True,
            )
            line.add_task(title, total=steps, completed=done, numbers="")
        with line as self._live:
            yield

    def ended(self, line: str, is_scored: bool) -> None:
        """Prints the line of an epoch, of very short ones without a score only some.

        Args:
            line: What to print.
            is_scored: Whether the epoch was validated.
        """
        self._epochs, now = self._epochs + 1, time.monotonic()
        if is_scored or self._epochs <= LINES or now - self._said >= LINE_EVERY:
            self.say(line)
            self._said = now
        elif self._epochs == LINES + 1:
            self.say(f"epochs are short: one line in {LINE_EVERY:g} s; log.csv has them all")

    def is_due(self, images: int) -> bool:
        """Counts the images of an update, and tells whether it is time to ``show`` numbers."""
        self._images += images
        passed = time.monotonic() - self._shown
        return not self._console.quiet and passed >= (LIVE_EVERY if self._live else PLAIN_EVERY)

    def show(self, step: int, loss: float, left: float | None) -> None:
        """Shows how the epoch goes.

        Args:
            step: Updates of this epoch so far.
            loss: The mean loss of the running epoch.
            left: An estimate of the seconds left, or None.
        """
        self._shown = time.monotonic()
        remaining = "" if left is None else f"{duration(left)} left"
        numbers = (f"loss {loss:.3f}", f"{self.speed():.1f} images/s", self._best, remaining)
        text = "  ".join(part for part in numbers if part)
        if self._live is not None:
            self._live.update(self._live.task_ids[0], completed=step, numbers=text)
        else:
            self.say(f"{self._title}  update {step}  {text}")

    def speed(self) -> float:
        """Returns the images per second of the running epoch."""
        return self._images / max(time.monotonic() - self._since, 1e-9)


def score_text(name: str, score: float) -> str:
    """Returns a score in [0, 1] as people write it: "AP50 61.3" for the column "ap50"."""
    return f"{score_title(name)} {100 * score:.1f}"


def duration(seconds: float) -> str:
    """Returns a time span in words a person reads at a glance: "45 s", "12 min", "3 h 5 min"."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


_PACKAGES = ("heatpoint", "torch", "torchvision", "timm", "lightning-fabric", "numpy")


def versions() -> dict[str, str]:
    """Returns what the run depends on: Python, machine and packages by version."""
    found = {"python": platform.python_version(), "machine": platform.platform()}
    for name in (*_PACKAGES, "opencv-python-headless"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed as a package"
    found["torch"] = str(torch.__version__)  # with the kind of build, which the package's lacks
    return found


def write_options(folder: Path, options: Mapping[str, Any], derived: Mapping[str, Any]) -> None:
    """Writes ``options.json``: what was asked, what followed from it, and all versions."""
    record = {"options": options, "derived": derived, "versions": versions()}
    write_json(folder / "options.json", record)


def write_csv(folder: Path, history: Sequence[Row]) -> None:
    """Writes ``log.csv`` with one row per epoch; an epoch without validation has empty cells."""
    columns = list(dict.fromkeys(name for row in history for name in row))
    rows = [[row.get(name) for name in columns] for row in history]
    write_table(folder / "log.csv", columns, rows)


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
    figure = new_figure(10, 4)
    left, right = figure.subplots(1, 2)
    losses = {"loss": "all", **{f"loss/{name}": name for name in terms}}
    for axes, columns in ((left, losses), (right, {name: score_title(name) for name in scores})):
        for name, label in columns.items():
            rows = [row for row in history if row.get(name) is not None]
            if rows:
                x, y = [row["epoch"] for row in rows], [row[name] for row in rows]
                axes.plot(x, y, label=label, marker="o", markersize=3)
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    left.set(title="training loss", xlabel="epoch", yscale="log")
    right.set(title="validation", xlabel="epoch", ylim=(0, 1))
    write_figure(path, figure)
