"""Proves an installation: draws a data set, trains on it, scores it and shows what was found."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Literal

from heatpoint.demonstration.shows import SHOWS, write_sheet
from heatpoint.errors import HeatpointError, check_choice
from heatpoint.system.files import atomic_write, write_json

if TYPE_CHECKING:
    pass


__all__ = ["DemoResult", "demo"]


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
        checkpoint: The detector; ``predict`` takes it.
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
    check_choice("task", task, tuple(SHOWS))
    show = SHOWS[task]
    out = Path(out or show.out)
    count = show.images if images is None else images
    if (out / "train").exists():
        raise HeatpointError(f"{out} already holds a demo; remove it or choose another folder")
    if minutes is None and epochs is None:
        raise HeatpointError("the demo needs an end: give minutes or epochs")
    if size < show.step or size % show.step:
        raise HeatpointError(f"size must be a multiple of {show.step}, not {size}")
    from heatpoint.data.readers import read
    from heatpoint.data.validate import clean
    from heatpoint.inference.evaluate import evaluate
    from heatpoint.inspection import inspect
    from heatpoint.training import train

    side = size * 32 // show.step
    clock = _Clock()
    say(f"drawing {count} pictures to train on and {max(8, count // 25)} to score")
    # Seeds 2 n and 2 n + 1: no picture of one set is in the other, whatever the seed.
    data = show.write(out / "data" / "train", count, (size, size), 2 * seed)
    val = show.write(out / "data" / "val", max(8, count // 25), (size, size), 2 * seed + 1)
    clock.lap("draw")

    inspection = inspect(
        data, model=show.model, size=side, out=out / "inspect", augment="none", limit=100
    )
    say("\n".join(inspection.verdict()))
    clock.lap("inspect")

    say(f"training {show.model} from random weights")
    left = None if minutes is None else _left(minutes, clock)
    trained = train(
        str(data),
        str(val),
        model=show.model,
        out=str(out / "train"),
        size=side,
        minutes=left,
        epochs=epochs,
        batch_size=8,
        ema=0.998,
        augment="none",
        cache=1,
        workers=0,
        threads=_quickest_threads(),
        seed=seed,
        **show.recipe,
    )
    clock.lap("train")

    truth, _ = clean(read(val))
    metrics = evaluate(trained.best, truth)
    scores = {name: metrics.scores[name] for name in show.scores}
    say(metrics.summary())
    clock.lap("evaluate")

    files = {
        "metrics": out / "metrics.json",
        "curves": out / "curves.png",
        "predictions": out / "predictions.png",
        "targets": out / "inspect" / "targets.png",
    }
    write_sheet(files["predictions"], trained.best, truth)
    clock.lap("predict")
    with atomic_write(files["curves"]) as temporary:
        temporary.write_bytes((trained.out / "curves.png").read_bytes())
    seconds = clock.seconds()
    report = {"updates": trained.updates, "seconds": seconds, **metrics.as_dict()}
    write_json(files["metrics"], report)
    numbers = ", ".join(f"{name.upper()} {value:.3f}" for name, value in scores.items())
    say(
        f"{numbers} on {metrics.images} pictures never trained on, "
        f"after {seconds['total']:.0f} s in all\n"
        f"truth and predictions side by side: {files['predictions']}\n"
    )
    say(show.closing.format(checkpoint=trained.best, images=val.parent / "images"))
    return DemoResult(out, trained.best, scores, trained.updates, seconds, files)


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
