"""The way to a model: ``heatpoint demo``, ``inspect`` and ``train``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from heatpoint.options import Channels, Data, Folder, Minutes, Model, Size, Skeletons, passed
from heatpoint.planning import run
from heatpoint.system import one_of_several
from heatpoint.training import TrainOptions


@dataclass
class Demo:
    """Draws a data set, trains on it, evaluates, predicts and saves pictures.

    Examples:
        heatpoint demo
        heatpoint demo --task pose --minutes 1
    """

    task: Literal["boxes", "points", "quads", "pose", "crowd"] = "boxes"
    """what to find: boxes of shapes, cells to be counted, the four corners of slips of paper, the
    joints of one figure at a time, or boxes and joints of many figures"""

    out: Folder | None = None
    """folder for everything; by default runs/demo or, of other tasks, runs/demo-points and so on"""

    minutes: Minutes = 1.7
    """time for everything, of which training takes what the rest leaves"""

    images: int | None = None
    """pictures to train on, by default what suits two minutes; a 25th as many are scored"""

    seed: int = 0
    """seed of the pictures and of the training"""

    def run(self) -> None:
        """Runs the demo."""
        from heatpoint.demonstration import demo

        demo(**passed(self))


@dataclass
class Inspect:
    """Says what is in the data, what is wrong with it, and what a model can reach on it.

    Examples:
        heatpoint inspect train.json --val val.json --size 384
        heatpoint inspect train.json --model runs/a/best.safetensors
    """

    data: Data
    """COCO json, VOC folder[:split], YOLO folder[:split] or a text-lines file"""

    images: Folder | None = None
    """folder of the pictures, if not beside the annotations"""

    val: Data | None = None
    """the other split: says which pictures both hold and which classes one of them lacks"""

    val_images: Folder | None = None
    """folder of the pictures of val, if not beside its annotations"""

    model: Model | None = None
    """architecture or checkpoint whose size and stride to use; heatpoint models lists them. With
    one of joints, joints are inspected. Where a checkpoint or an exported file and the labels
    disagree is shown in disagreements.html"""

    size: Size | None = None
    """input size, 512 or 384x512 (height x width); the model's own by default"""

    padding: float | None = None
    """for models of joints: side of a crop over that of its box; the model's by default"""

    skeleton: Skeletons = ""
    """for models of joints: name (coco17, ...) or file of the skeleton; the data's by default"""

    points: bool = False
    """take objects for the points in their middle"""

    channels: int = 0
    """channels that pictures keep, as in train; 0 for what is usual"""

    shown: Channels | None = None
    """channels that are drawn, counted from 1: 5,3,2 as red, green and blue, or one as grey; the
    first three by default"""

    out: Folder = "runs/inspect"
    """folder for report.json and the pictures"""

    def run(self) -> None:
        """Inspects and prints the report."""
        from heatpoint.commands.display import Progress
        from heatpoint.inspection import inspect

        with Progress("inspecting") as progress:
            inspection = inspect(**passed(self), progress=progress.step)
        print(inspection.summary())
        print(f"report and pictures: {self.out}")


@dataclass
class Plan:
    """Says what train would do with your data on this machine, and why, without training.

    Examples:
        heatpoint plan train.json
        heatpoint plan voc:train --val voc:val --minutes 30
    """

    options: TrainOptions

    def run(self) -> None:
        """Prints the plan."""
        from heatpoint.commands.display import Progress
        from heatpoint.planning.sheet import draw_up

        with Progress("reading the data"):
            plan = draw_up(self.options)
        print(plan)


@dataclass
class Train:
    """Trains a model on your own data; what is not said is planned by data and machine.

    Examples:
        heatpoint train train.json --minutes 30
        heatpoint train voc:train --val voc:val --model centernet_mobilenetv2 --size 320
    """

    options: TrainOptions

    def run(self) -> None:
        """Trains; the options are the keywords of ``heatpoint.train``.

        Published weights named by ``--weights`` are fetched: naming them there is asking for them.
        A resumed run needs them no more.
        """
        if not self.options.resume:
            _fetch(self.options.weights)
        run(self.options)


def _fetch(weights: str) -> None:
    """Fetches published weights that are not here, unless other processes would do it as well."""
    from heatpoint.weights import PUBLISHED

    record = None if Path(weights).is_file() else PUBLISHED.get(weights)
    if record is None or record.cached.is_file() or one_of_several():
        return
    from heatpoint.commands.weights import get

    print(f"{weights}: {get(weights)} (licence: {record.licence})")
