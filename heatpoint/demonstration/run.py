"""The steps of a demo, whatever it is that is drawn and found."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, Protocol

from heatpoint.errors import HeatpointError
from heatpoint.system.files import atomic_write, write_json

if TYPE_CHECKING:
    from heatpoint.data.annotations import Annotations
    from heatpoint.training.loop import TrainResult

TASKS = ("boxes", "pose")

_REST = 0.6
"""Time for starting to train and for scoring, over that of drawing and inspecting: 0.4 to 0.6."""

_SHORTEST = 1 / 60
"""Minutes of training at least, however little time the rest leaves."""

_TRIALS = 5
"""Turns in which numbers of threads are compared."""


@dataclass(frozen=True)
class DemoResult:
    """What a demo came to.

    Attributes:
        out: Folder of everything.
        checkpoint: The detector; ``predict`` takes it, ``predict_pose`` one of joints.
        scores: Scores in [0, 1] on the validation pictures, which were never trained on: "ap" and
            "ap50" (COCO) of boxes; "pck@0.1", "pck@0.05" of joints, shares of a person's extent.
        updates: Updates of the weights that the time sufficed for.
        seconds: Wall-clock time by step: draw, inspect, train, evaluate, predict, total.
        files: What was written, by name: metrics, curves, predictions and targets.
    """

    out: Path
    checkpoint: Path
    scores: dict[str, float]
    updates: int
    seconds: dict[str, float]
    files: dict[str, Path]


@dataclass(frozen=True)
class Settings:
    """What the user chose, for training.

    Attributes:
        size: Height and width of the input.
        minutes: Time to train, validation included, or None.
        epochs: Passes over the pictures, or None.
        seed: Seed of training.
        threads: Threads of torch.
    """

    size: int
    minutes: float | None
    epochs: int | None
    seed: int
    threads: int


@dataclass(frozen=True)
class Scored:
    """What evaluation said.

    Attributes:
        scores: As in ``DemoResult``, the main one first.
        report: Everything, ready for JSON.
        summary: A few lines for people.
        pictures: Number of pictures.
    """

    scores: dict[str, float]
    report: dict[str, Any]
    summary: str
    pictures: int


class Show(Protocol):
    """What a demo draws and finds."""

    @property
    def out(self) -> str:
        """Default folder."""

    @property
    def model(self) -> str:
        """Architecture."""

    @property
    def images(self) -> int:
        """Default number of training pictures."""

    @property
    def step(self) -> int:
        """What the pictures' side must be a multiple of; the input's is of 32."""

    @property
    def closing(self) -> str:
        """Commands to go on with; takes ``checkpoint`` and ``images``."""

    def draw(self, folder: Path, count: int, size: int, seed: int) -> Path:
        """Writes pictures and returns the annotations' path."""

    def train(self, data: Path, val: Path, out: Path, settings: Settings) -> TrainResult:
        """Trains."""

    def score(self, checkpoint: Path, truth: Annotations) -> Scored:
        """Evaluates."""

    def sheet(self, path: Path, checkpoint: Path, truth: Annotations) -> None:
        """Draws truth and prediction of some pictures side by side."""


def demo(
    out: str | Path | None = None,
    *,
    task: Literal["boxes", "pose"] = "boxes",
    minutes: float | None = 1.7,
    epochs: int | None = None,
    seed: int = 0,
    images: int | None = None,
    size: int = 128,
    say: Callable[[str], None] = print,
) -> DemoResult:
    """Trains a small network on drawn pictures from scratch and shows what it finds.

    Nothing is fetched and no data is needed. The folder receives ``data`` (pictures and COCO
    JSON), ``inspect``, ``train`` with ``best.safetensors``, and beside them ``metrics.json``,
    ``curves.png`` and ``predictions.png``.

    Args:
        out: The folder, runs/demo or runs/demo-pose by default; a demo that is there already is
            not written over.
        task: "boxes" finds shapes of five classes, "pose" the joints of articulated figures.
        minutes: Time for everything, of which training takes what the rest leaves; None if only
            ``epochs`` limit it.
        epochs: Passes over the training pictures; whichever ends first.
        seed: Seed of pictures and training.
        images: Number of training pictures, chosen for two minutes by default; a 25th as many, at
            least 8, are for validation.
        size: Height and width of the pictures, a multiple of 32; of 64 for "pose", whose crops are
            brought to half of it.
        say: Told each step in words.

    Raises:
        HeatpointError: The folder holds a demo, an argument is out of range, or something cannot
            be written.
    """
    show = _show(task)
    out = Path(out or show.out)
    count = show.images if images is None else images
    if (out / "train").exists():
        raise HeatpointError(f"{out} already holds a demo; remove it or choose another folder")
    if minutes is None and epochs is None:
        raise HeatpointError("the demo needs an end: give minutes or epochs")
    if size < show.step or size % show.step:
        raise HeatpointError(f"size must be a multiple of {show.step}, not {size}")
    from heatpoint.data.read import read
    from heatpoint.data.validate import clean
    from heatpoint.inspection import inspect

    side = size * 32 // show.step
    clock = _Clock()
    say(f"drawing {count} pictures to train on and {max(8, count // 25)} to score")
    # Seeds 2 n and 2 n + 1: no picture of one set is in the other, whatever the seed.
    data = show.draw(out / "data" / "train", count, size, 2 * seed)
    val = show.draw(out / "data" / "val", max(8, count // 25), size, 2 * seed + 1)
    clock.lap("draw")

    inspection = inspect(
        data, model=show.model, size=side, out=out / "inspect", augment="none", limit=100
    )
    say("\n".join(inspection.verdict()))
    clock.lap("inspect")

    say(f"training {show.model} from random weights")
    left = None if minutes is None else _left(minutes, clock)
    settings = Settings(side, left, epochs, seed, _quickest_threads())
    trained = show.train(data, val, out / "train", settings)
    clock.lap("train")

    truth, _ = clean(read(val))
    scored = show.score(trained.best, truth)
    say(scored.summary)
    clock.lap("evaluate")

    files = {
        "metrics": out / "metrics.json",
        "curves": out / "curves.png",
        "predictions": out / "predictions.png",
        "targets": out / "inspect" / "targets.png",
    }
    show.sheet(files["predictions"], trained.best, truth)
    clock.lap("predict")
    with atomic_write(files["curves"]) as temporary:
        temporary.write_bytes((trained.out / "curves.png").read_bytes())
    seconds = clock.seconds()
    report = {"updates": trained.updates, "seconds": seconds, **scored.report}
    write_json(files["metrics"], report)
    numbers = ", ".join(f"{name.upper()} {value:.3f}" for name, value in scored.scores.items())
    say(
        f"{numbers} on {scored.pictures} pictures never trained on, "
        f"after {seconds['total']:.0f} s in all\n"
        f"truth and predictions side by side: {files['predictions']}\n"
    )
    say(show.closing.format(checkpoint=trained.best, images=val.parent / "images"))
    return DemoResult(out, trained.best, scored.scores, trained.updates, seconds, files)


def _show(task: str) -> Show:
    if task == "boxes":
        from heatpoint.demonstration.shapes import Shapes

        return Shapes()
    if task == "pose":
        from heatpoint.demonstration.figures import Figures

        return Figures()
    raise HeatpointError(f"task is one of {', '.join(map(repr, TASKS))}, not {task!r}")


def _left(minutes: float, clock: _Clock) -> float:
    """Returns the minutes that training may take for the demo to take ``minutes`` in all."""
    return max(_SHORTEST, minutes - (1 + _REST) * clock.total() / 60)


def _quickest_threads() -> int:
    """Returns with how many threads small layers are trained fastest now: torch's number or one.

    The threads of small layers wait for each other all the time. Where other programs keep one of
    two cores busy, two threads have been seen to be ten times slower than one. What the machine's
    load says about that comes too late: installing this package counts for a minute.
    """
    import torch

    most = torch.get_num_threads()
    layer = torch.nn.Conv2d(32, 32, 3, padding=1).to(memory_format=torch.channels_last)
    features = torch.rand(8, 32, 32, 32).to(memory_format=torch.channels_last)
    taken: dict[int, list[float]] = {most: [], 1: []}
    for _ in range(_TRIALS):
        for threads, times in taken.items():
            torch.set_num_threads(threads)
            start = time.perf_counter()
            for _ in range(4):
                layer(features).sum().backward()
            times.append(time.perf_counter() - start)
    torch.set_num_threads(most)
    return min(taken, key=lambda threads: median(taken[threads]))


class _Clock:
    """Measures steps that follow each other."""

    def __init__(self) -> None:
        self._start = self._last = time.monotonic()
        self._laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """Ends a step."""
        now = time.monotonic()
        self._laps[name] = round(now - self._last, 2)
        self._last = now

    def total(self) -> float:
        """Returns the seconds of all steps so far."""
        return self._last - self._start

    def seconds(self) -> dict[str, float]:
        """Returns the seconds of each step so far and of all together."""
        return {**self._laps, "total": round(self.total(), 2)}
