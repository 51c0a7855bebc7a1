"""Proves an installation: draws a data set, trains on it, scores it and shows what was found."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from heatpoint.data.annotations import Annotations, ImageRecord
from heatpoint.errors import HeatpointError
from heatpoint.files import write_json
from heatpoint.geometry import Image
from heatpoint.results import Detections

_SHOWN = 12  # pictures on the contact sheet
_TILE = 256  # least height of a picture on it, in pixels
_SCORE = 0.3  # least score of a drawn prediction

_NEXT = """\
Now your own data (COCO JSON, a Pascal VOC or YOLO folder):
  heatpoint inspect train.json
  heatpoint train train.json --val val.json --model centernet_resnet18 --pretrained
  heatpoint evaluate runs/train/best.safetensors val.json
  heatpoint predict runs/train/best.safetensors photos --draw found
This detector of shapes is a checkpoint like any other:
  heatpoint predict {checkpoint} {images} --draw found"""


@dataclass(frozen=True)
class DemoResult:
    """What a demo came to.

    Attributes:
        out: Folder of everything.
        checkpoint: The detector; ``predict`` takes it.
        ap: COCO AP on the validation pictures, which were never trained on, in [0, 1].
        ap50: AP at overlap 0.5.
        updates: Updates of the weights that the time sufficed for.
        seconds: Wall-clock time by step: draw, inspect, train, evaluate, predict, total.
        files: What was written, by name: metrics, curves, predictions and targets.
    """

    out: Path
    checkpoint: Path
    ap: float
    ap50: float
    updates: int
    seconds: dict[str, float]
    files: dict[str, Path]


def demo(
    out: str | Path = "runs/demo",
    *,
    minutes: float | None = 1.45,
    epochs: int | None = None,
    seed: int = 0,
    images: int = 2000,
    size: int = 128,
    say: Callable[[str], None] = print,
) -> DemoResult:
    """Trains a small detector of drawn shapes from scratch and shows what it finds.

    Nothing is fetched and no data is needed. The folder receives ``data`` (pictures and COCO
    JSON), ``inspect``, ``train`` with ``best.safetensors``, and beside them ``metrics.json``,
    ``curves.png`` and ``predictions.png``.

    Args:
        out: The folder; a demo that is there already is not written over.
        minutes: Time to train, validation included; None if only ``epochs`` limit it.
        epochs: Passes over the training pictures; whichever ends first.
        seed: Seed of pictures and training.
        images: Number of training pictures; a 25th as many, at least 8, are for validation.
        size: Height and width of the pictures, a multiple of 32.
        say: Told each step in words.

    Raises:
        HeatpointError: The folder holds a demo, an argument is out of range, or something cannot
            be written.
    """
    out = Path(out)
    if (out / "train").exists():
        raise HeatpointError(f"{out} already holds a demo; remove it or choose another folder")
    if minutes is None and epochs is None:
        raise HeatpointError("the demo needs an end: give minutes or epochs")
    if size < 32 or size % 32:
        raise HeatpointError(f"size must be a multiple of 32, not {size}")
    from heatpoint.data.read import read
    from heatpoint.data.synthetic import write_shapes
    from heatpoint.data.validate import clean
    from heatpoint.evaluation import evaluate
    from heatpoint.inspection import inspect
    from heatpoint.training import train

    threads = _free_threads()
    clock = _Clock()
    say(f"drawing {images} pictures to train on and {max(8, images // 25)} to score")
    # Seeds 2 n and 2 n + 1: no picture of one set is in the other, whatever the seed.
    data = write_shapes(out / "data" / "train", images, (size, size), 2 * seed)
    val = write_shapes(out / "data" / "val", max(8, images // 25), (size, size), 2 * seed + 1)
    clock.lap("draw")

    inspection = inspect(
        data, model="centernet_tiny", size=size, out=out / "inspect", augment="none", limit=100
    )
    say("\n".join(inspection.oracle.lines()))
    clock.lap("inspect")

    say("training centernet_tiny from random weights")
    trained = train(
        str(data),
        str(val),
        model="centernet_tiny",
        out=str(out / "train"),
        size=size,
        minutes=minutes,
        epochs=epochs,
        batch_size=4,
        lr=0.01,
        ema=0.998,
        augment="none",  # every picture is a new one already
        size_region=0.5,
        giou_weight=1.0,
        eval_every=2,
        cache=True,
        workers=0,
        threads=threads,
        seed=seed,
    )
    clock.lap("train")

    truth, _ = clean(read(val))
    metrics = evaluate(trained.best, truth, metric=("coco",))
    say(metrics.summary())
    clock.lap("evaluate")

    sheet = out / "predictions.png"
    draw_sheet(sheet, trained.best, truth)
    clock.lap("predict")
    curves = out / "curves.png"
    _copy(trained.out / "curves.png", curves)
    seconds = clock.seconds()
    report: dict[str, Any] = {"updates": trained.updates, "seconds": seconds, **metrics.as_dict()}
    write_json(out / "metrics.json", report)
    files = {
        "metrics": out / "metrics.json",
        "curves": curves,
        "predictions": sheet,
        "targets": out / "inspect" / "targets.png",
    }
    say(
        f"AP {metrics.ap:.3f}, AP50 {metrics.ap50:.3f} on {metrics.images} pictures never trained "
        f"on, after {seconds['total']:.0f} s in all\n"
        f"truth and predictions side by side: {sheet}\n"
    )
    say(_NEXT.format(checkpoint=trained.best, images=val.parent / "images"))
    return DemoResult(out, trained.best, metrics.ap, metrics.ap50, trained.updates, seconds, files)


def draw_sheet(path: str | Path, checkpoint: str | Path, truth: Annotations) -> None:
    """Writes a sheet of pictures with the truth on the left and the prediction on the right.

    The first pictures that hold at least two objects are shown, chosen before anything is known
    about how well the detector does on them.

    Args:
        path: A file that ends in .png or .jpg.
        checkpoint: The detector.
        truth: Pictures, all of one size, and what is in them.
    """
    from heatpoint.data.images import load_image
    from heatpoint.draw import write_picture
    from heatpoint.prediction import predict

    records = [record for record in truth.images if len(record) > 1][:_SHOWN]
    records = records or truth.images[:_SHOWN]
    found = predict(checkpoint, [record.path for record in records], score_threshold=_SCORE)
    pairs = [
        _pair(load_image(record.path), record, detections)
        for record, detections in zip(records, found, strict=True)
    ]
    write_picture(path, _grid(pairs, columns=3))


def _pair(image: Image, record: ImageRecord, detections: Detections) -> Image:
    """Returns truth and prediction of one picture side by side, both under a title."""
    from heatpoint.draw import draw_detections, draw_truth, side_by_side

    zoom = max(1, -(-_TILE // image.shape[0]))
    large: Image = np.ascontiguousarray(image.repeat(zoom, 0).repeat(zoom, 1))
    wanted = ImageRecord(record.path, None, record.boxes * zoom, record.labels)
    scaled = Detections(
        detections.boxes * zoom, detections.scores, detections.labels, detections.names
    )
    return side_by_side(
        [draw_truth(large, wanted, detections.names), draw_detections(large, scaled)],
        ["truth", "prediction"],
    )


def _grid(pictures: Sequence[Image], columns: int, gap: int = 24) -> Image:
    """Returns pictures of equal size in rows on white."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    columns = min(columns, len(pictures))
    sheet = np.full(
        (rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, dtype=np.uint8
    )
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        top, left = gap + row * (height + gap), gap + column * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def _copy(source: Path, target: Path) -> None:
    from heatpoint.files import atomic_write

    with atomic_write(target) as temporary:
        temporary.write_bytes(source.read_bytes())


def _free_threads() -> int:
    """Returns how many threads to train with: torch's choice, less what the machine is busy with.

    The threads of small layers wait for each other all the time. Where other programs keep one of
    two cores busy, two threads have been seen to be ten times slower than one.
    """
    import torch

    most = torch.get_num_threads()
    if not hasattr(os, "getloadavg"):  # Windows
        return most
    return max(1, most - int(os.getloadavg()[0]))


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

    def seconds(self) -> dict[str, float]:
        """Returns the seconds of each step so far and of all together."""
        return {**self._laps, "total": round(self._last - self._start, 2)}
