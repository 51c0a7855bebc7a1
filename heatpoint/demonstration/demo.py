"""Proves an installation: draws a data set, trains on it, scores it and shows what was found."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from heatpoint.data import Annotations
from heatpoint.data.draw import montage, write_picture
from heatpoint.data.readers import read
from heatpoint.data.validate import clean
from heatpoint.demonstration import DemoOptions
from heatpoint.errors import HeatpointError, check_choice
from heatpoint.inference.engines.torch import pick_device
from heatpoint.inference.evaluate import evaluate
from heatpoint.inference.metrics import score_title
from heatpoint.inspection.inspect import inspect
from heatpoint.options import keywords
from heatpoint.synthetic.cells import write_cells
from heatpoint.synthetic.figures import write_figures
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.synthetic.slips import write_slips
from heatpoint.system import locked
from heatpoint.system.files import atomic_write, write_json
from heatpoint.system.outputs import check_outputs
from heatpoint.training import train
from heatpoint.training.processes import native_precision, quickest_threads
from heatpoint.training.report import compared
from heatpoint.wording import amount
from heatpoint.zoo.detector import Detector

_REST = 0.6
"""Time for starting to train and for scoring, over that of drawing and inspecting: 0.4 to 0.6."""

_SHORTEST = 1 / 60
"""Minutes of training at least, however little time the rest leaves."""

_RECIPE = {
    **{"batch_size": 8, "optimizer": "muon", "ema": 0.998},
    **{"augment": "none", "cache": 1, "workers": 0},
}
"""Options of training that all demos share."""

_SHEET = 12
"""Pictures on the sheet of truth and predictions."""

_NEXT = """\
Now your own {show.data}:
  heatpoint inspect train.json{show.asks}
  heatpoint train train.json --val val.json{show.asks}
  heatpoint evaluate runs/train/best.safetensors val.json
  heatpoint predict runs/train/best.safetensors photos {show.places}--draw found
This {show.result} is a checkpoint like any other:
  heatpoint predict {checkpoint} {images} --draw found"""


@dataclass(frozen=True)
class Show:
    """One demo.

    Attributes:
        model: Architecture.
        images: Default number of training pictures.
        write: Draws pictures into a folder, so many, of a size, by a seed, and returns the path of
            their COCO JSON file.
        recipe: Options of training that were found to learn most within the time.
        scores: Names of the scores that are told, the main one first.
        data: Kinds of data that a user may have.
        result: What was made.
        asks: Options that ask for such a model, where data alone does not.
        places: How the model is told where to look.
        step: What the pictures' side must be a multiple of; the input's is of 32.
    """

    model: str
    images: int
    write: Callable[[str | Path, int, tuple[int, int], int], Path]
    recipe: dict[str, Any]
    scores: tuple[str, ...]
    data: str
    result: str
    asks: str = ""
    places: str = ""
    step: int = 32


_SHOWS = {
    "boxes": Show(
        model="centernet_tiny",
        images=2000,
        write=write_shapes,
        # Every picture is a new one already, so that none is varied.
        recipe={"lr": 0.014, "giou_weight": 8, "eval_every": 4},
        scores=("ap", "ap50"),
        data="data (COCO JSON, a Pascal VOC or YOLO folder)",
        result="detector of shapes",
    ),
    "points": Show(
        model="points_tiny",
        images=1500,
        write=write_cells,
        recipe={"lr": 0.014, "eval_every": 3},
        scores=("f1@4", "f1@8"),
        data="points (a table image,x,y,label, COCO, LabelMe, napari) or boxes",
        result="model of cells",
        asks=" --points",
    ),
    "quads": Show(
        model="quads_tiny",
        images=1500,
        write=write_slips,
        recipe={"lr": 0.014, "eval_every": 3},
        scores=("quad_ap50", "quad_ap"),
        data="four corners (COCO polygons, YOLO OBB, DOTA, LabelMe, CVAT)",
        result="model of slips",
    ),
    "pose": Show(
        model="pose_tiny",
        images=1500,
        write=write_figures,
        # Sides are told by colour, so that a mirror image would lie.
        recipe={"lr": 0.01, "eval_every": 2, "schedule": "cosine"},
        scores=("pck@0.1", "pck@0.05"),
        data="keypoints (COCO, MPII, LSP, FLIC or DeepLabCut)",
        result="model of figures",
        places="--boxes boxes.json ",
        step=64,  # a crop at half the picture's side is sharp enough, and four times as quick
    ),
    "crowd": Show(
        model="centerpose_tiny",
        images=1000,
        write=partial(write_figures, crowd=True),
        recipe={"lr": 0.01, "eval_every": 4},
        scores=("oks_ap", "ap"),
        data="boxes and keypoints (COCO, YOLO pose, CVAT)",
        result="model of figures",
        asks=" --model centerpose_mobilenetv2",
    ),
}
"""The demos by name."""


@dataclass(frozen=True)
class DemoResult:
    """What a demo came to.

    Attributes:
        out: Folder of everything.
        checkpoint: The detector; ``predict`` takes it.
        scores: Scores in [0, 1] on the validation pictures, which were never trained on: "ap" and
            "ap50" (COCO) of boxes; "pck@0.1", "pck@0.05" of joints, shares of a person's extent;
            "oks_ap" and "ap" of joints and boxes that are found together; "f1@4" and "f1@8" of
            points, within so many pixels; "quad_ap50" and "quad_ap" of four corners.
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


@keywords(DemoOptions, positional=1)
def demo(options: DemoOptions, *, say: Callable[[str], None] = print) -> DemoResult:
    """Trains a small network on drawn pictures from scratch and shows what it finds.

    Nothing is fetched and no data is needed. The folder receives ``data`` (pictures and COCO
    JSON), ``inspect``, ``train`` with ``best.safetensors``, and beside them ``metrics.json``,
    ``curves.png`` and ``predictions.png``.

    Args:
        options: Say what is drawn and found, and for how long; ``minutes`` is None if only
            ``epochs`` limit it.
        say: Told each step in words.

    Raises:
        HeatpointError: The folder holds a demo, an argument is out of range, or something cannot
            be written.
    """
    task, minutes, size, seed = options.task, options.minutes, options.size, options.seed
    check_choice("task", task, tuple(_SHOWS))
    show = _SHOWS[task]
    out = Path(options.out or ("runs/demo" if task == "boxes" else f"runs/demo-{task}"))
    count = show.images if options.images is None else options.images
    scored = max(8, count // 25)
    files = {
        "metrics": out / "metrics.json",
        "curves": out / "curves.png",
        "predictions": out / "predictions.png",
        "targets": out / "inspect" / "targets.png",
    }
    drawn = [path for name, path in files.items() if name != "metrics"]
    check_outputs({"numbers": [files["metrics"]], "pictures": drawn})
    if (out / "train").exists():
        raise HeatpointError(f"{out} already holds a demo; remove it or choose another folder")
    if minutes is None and options.epochs is None:
        raise HeatpointError("the demo needs an end: give minutes or epochs")
    if size < show.step or size % show.step:
        raise HeatpointError(f"size must be a multiple of {show.step}, not {size}")

    with locked(out / ".lock", f"another demo is writing into {out}; choose another out"):
        start, seconds = time.monotonic(), dict[str, float]()

        def ends(step: str) -> None:
            seconds[step] = round(time.monotonic() - start - sum(seconds.values()), 2)

        say(f"drawing {amount(count, 'picture')} to train on and {scored} to score")
        # Seeds 2 n and 2 n + 1: no picture of one set is in the other, whatever the seed.
        data = show.write(out / "data" / "train", count, (size, size), 2 * seed)
        val = show.write(out / "data" / "val", scored, (size, size), 2 * seed + 1)
        ends("draw")

        side = size * 32 // show.step
        inspection = inspect(
            data, model=show.model, size=side, out=out / "inspect", augment="none", limit=100
        )
        say("\n".join(inspection.verdict()))
        ends("inspect")

        say(f"training {show.model} from random weights")
        left = None
        if minutes is not None:
            left = max(_SHORTEST, minutes - (1 + _REST) * sum(seconds.values()) / 60)
        trained = train(
            str(data),
            str(val),
            model=show.model,
            out=str(out / "train"),
            size=side,
            minutes=left,
            epochs=options.epochs,
            threads=quickest_threads(),
            precision=native_precision(pick_device("auto").type),
            seed=seed,
            **_RECIPE,
            **show.recipe,
        )
        ends("train")

        truth, _ = clean(read(val))
        metrics = evaluate(trained.best, truth)
        scores = {name: metrics.scores[name] for name in show.scores}
        ends("evaluate")

        _write_sheet(files["predictions"], trained.best, truth)
        ends("predict")
        with atomic_write(files["curves"]) as temporary:
            temporary.write_bytes((trained.out / "curves.png").read_bytes())
        seconds["total"] = round(sum(seconds.values()), 2)
        report = {"updates": trained.updates, "seconds": seconds, **metrics.as_dict()}
        write_json(files["metrics"], report)
        numbers = ", ".join(f"{score_title(name)} {value:.3f}" for name, value in scores.items())
        say(
            f"{numbers} on {amount(metrics.images, 'picture')} never trained on, "
            f"after {seconds['total']:.0f} s in all\n"
            f"truth and predictions side by side: {files['predictions']}\n"
        )
        say(_NEXT.format(checkpoint=trained.best, images=val.parent / "images", show=show))
        return DemoResult(out, trained.best, scores, trained.updates, seconds, files)


def _write_sheet(path: Path, checkpoint: Path, truth: Annotations) -> None:
    """Writes truth and prediction of the first pictures, three pairs in a row.

    Those with at least two objects come first. They are chosen before anything is known about how
    well the model does on them.

    Args:
        path: A file that ends in .png or .jpg.
        checkpoint: The model; one that asks about places gets the annotated ones.
        truth: Pictures with their objects.
    """
    detector = Detector.load(checkpoint)
    least = 1 if detector.codec.view.asks else 2
    records = [record for record in truth.images if len(record) >= least] or truth.images
    pairs = compared(detector, replace(truth, images=records[:_SHEET]))
    write_picture(path, montage(pairs, columns=3, gap=24))
