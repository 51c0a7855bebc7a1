"""Puts the truth of a few validation images beside what the model says about them."""

from __future__ import annotations

import csv
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from heatpoint.data import Annotations
from heatpoint.data.dataset import varied
from heatpoint.data.draw import draw_truth, montage, write_picture
from heatpoint.data.images import load_image
from heatpoint.errors import HeatpointError
from heatpoint.inference.predict import predict
from heatpoint.system.files import atomic_write, write_json
from heatpoint.zoo.detector import Detector

COUNT = 4
ROW_WIDTH = 1000


def draw_predictions(
    path: Path,
    detector: Detector,
    shown: Annotations,
    size: tuple[int, int],
    device: torch.device,
) -> None:
    """Writes rows of truth and prediction, each 1000 pixels wide; nothing if there is no object.

    Args:
        path: PNG file to write, atomically.
        detector: What is to be seen at work; where it asks about places, it gets the annotated.
        shown: Cleaned data, some images of which are drawn.
        size: (H, W) of the input in pixels.
        device: Where the network runs.

    Raises:
        HeatpointError: The file cannot be written.
    """
    view = detector.codec.view
    wanted = [np.zeros(len(record), bool) for record in shown.images]
    for index, objects in varied(view)().samples(shown).places:
        wanted[index][objects] = True
    spread = range(0, len(shown), max(1, len(shown) // COUNT))
    chosen = [index for index in spread if wanted[index].any()][:COUNT]
    records = [shown.images[index].keep(wanted[index]) for index in chosen]
    images = [load_image(record.path) for record in records]
    found = predict(
        detector,
        images,
        boxes=[record.boxes for record in records] if view.asks else None,
        size=size,
        device=device,
        workers=0,
    )
    joints = shown.skeleton if "keypoints" in detector.codec.learns else None
    pictures = [
        picture
        for image, record, one in zip(images, records, found, strict=True)
        for picture in (draw_truth(image, record, shown.names, joints), one.plot(image))
    ]
    if pictures:
        write_picture(path, montage(pictures, 2, ["truth", "predicted"], width=ROW_WIDTH))


LIVE_EVERY = 0.5
"""Seconds between two changes of the live line on a terminal."""

PLAIN_EVERY = 30.0
"""Seconds between two lines elsewhere."""

_PACKAGES = (
    *("heatpoint", "torch", "torchvision", "timm", "lightning-fabric", "numpy"),
    "opencv-python-headless",
)

Row = Mapping[str, float | int | None]
"""What log.csv says about an epoch."""


class Display:
    """Shows loss, best score, images per second and time left, on the standard output.

    Args:
        score: Column of the score that decides which weights are best.
        quiet: Show nothing; for every process but the first.
        console: Where to show it.
    """

    def __init__(self, score: str, quiet: bool = False, console: Console | None = None) -> None:
        self._score = score
        self._console = console or Console(
            quiet=quiet, highlight=False, soft_wrap=True, emoji=False
        )
        self._quiet = quiet
        self._live: Progress | None = None
        self._shown = self._since = time.monotonic()
        self._images = 0
        self._title = ""
        self._best = ""

    def say(self, text: str) -> None:
        """Prints a line, above the live one if there is one."""
        self._console.print(text, markup=False)

    def start_epoch(self, title: str, steps: int, done: int, best: float | None) -> None:
        """Begins an epoch of ``steps`` updates of which ``done`` are behind."""
        self._title, self._images = title, 0
        self._shown = self._since = time.monotonic()
        self._best = "" if best is None else f"best {score_title(self._score)} {100 * best:.1f}"
        if self._console.is_terminal and not self._quiet:
            self._live = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=20),
                TextColumn("{task.completed}/{task.total}  {task.fields[numbers]}"),
                console=self._console,
                transient=True,
            )
            self._live.add_task(title, total=steps, completed=done, numbers="")
            self._live.start()

    def advance(
        self,
        step: int,
        images: int,
        loss: Callable[[], float],
        remaining: Callable[[], float | None],
    ) -> None:
        """Counts an update; asks for the loss, which waits for the device, only when it is shown.

        Args:
            step: Updates of this epoch so far.
            images: Images in this update.
            loss: Returns the mean loss of the running epoch.
            remaining: Returns an estimate of the seconds left, or None.
        """
        self._images += images
        if self._quiet:
            return
        now = time.monotonic()
        if now - self._shown < (LIVE_EVERY if self._live else PLAIN_EVERY):
            return
        self._shown = now
        left = remaining()
        numbers = [f"loss {loss():.3f}", f"{self.speed():.1f} images/s", self._best]
        numbers.append("" if left is None else f"{duration(left)} left")
        text = "  ".join(part for part in numbers if part)
        if self._live is not None:
            self._live.update(self._live.task_ids[0], completed=step, numbers=text)
        else:
            self.say(f"{self._title}  update {step}  {text}")

    def speed(self) -> float:
        """Returns the images per second of the running epoch."""
        return self._images / max(time.monotonic() - self._since, 1e-9)

    def end_epoch(self) -> None:
        """Takes the live line away."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def score_title(score: str) -> str:
    """Returns the name of a score as people write it: "AP50" for the column "ap50"."""
    return score.upper()


def duration(seconds: float) -> str:
    """Returns a time span in words a person reads at a glance: "45 s", "12 min", "3 h 5 min"."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def versions() -> dict[str, str]:
    """Returns what the run depends on: Python, machine and packages by version."""
    found = {"python": platform.python_version(), "machine": platform.platform()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed as a package"
    found["torch"] = str(torch.__version__)  # with the kind of build, which the package's lacks
    return found


def write_options(folder: Path, options: Mapping[str, Any], derived: Mapping[str, Any]) -> None:
    """Writes ``options.json``: what was asked, what followed from it, and all versions."""
    record = {"options": dict(options), "derived": dict(derived), "versions": versions()}
    write_json(folder / "options.json", record)


def write_csv(folder: Path, history: Sequence[Row]) -> None:
    """Writes ``log.csv`` with one row per epoch; an epoch without validation has empty cells."""
    columns = list(dict.fromkeys(name for row in history for name in row))
    with (
        atomic_write(folder / "log.csv") as path,
        path.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(history)


class Events:
    """Writes TensorBoard events, by its record writer alone.

    ``SummaryWriter`` writes in a thread, which prints a traceback where a folder is gone or a disk
    is full. The package is imported with the first number.

    Args:
        folder: Where the event files go.
        purge_from: Step from which an earlier, interrupted run's numbers are void.
    """

    def __init__(self, folder: Path, purge_from: int = 0) -> None:
        self._folder = folder
        self._purge = purge_from
        self._writer: Any = None

    def add(self, values: Mapping[str, float | int | None], step: int) -> None:
        """Adds the numbers that are there, under their names; ``flush`` tells what went wrong."""
        with suppress(OSError):
            if self._writer is None:
                self._open()
            numbers = [{"tag": n, "simple_value": v} for n, v in values.items() if v is not None]
            self._write(step=step, summary={"value": numbers})
            self._writer.flush()

    def flush(self) -> None:
        """Makes sure that everything is on the disk.

        Raises:
            HeatpointError: It cannot be written.
        """
        try:
            if self._writer is not None:
                self._writer.flush()
        except OSError as error:
            raise HeatpointError(
                f"cannot write TensorBoard events to {self._folder}: {error.strerror or error}; "
                "resume goes on from what was saved last"
            ) from error

    def _open(self) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        name = f"events.out.tfevents.{time.time():.0f}.{platform.node()}.{os.getpid()}"
        self._writer = RecordWriter(open(self._folder / name, "ab"))  # noqa: SIM115
        self._write(file_version="brain.Event:2")
        if self._purge:
            self._write(step=self._purge, session_log={"status": "START"})

    def _write(self, **fields: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.write(Event(wall_time=time.time(), **fields).SerializeToString())


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
