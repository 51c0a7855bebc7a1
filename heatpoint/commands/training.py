"""The way to a model: ``heatpoint demo``, ``inspect`` and ``train``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from heatpoint.demonstration import DemoOptions
from heatpoint.inspection import InspectOptions
from heatpoint.options import as_keywords
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

    options: DemoOptions = field(default_factory=DemoOptions)

    def run(self) -> None:
        """Runs the demo."""
        from heatpoint.demonstration.demo import demo

        demo(**as_keywords(self.options))


@dataclass
class Inspect:
    """Says what is in the data, what is wrong with it, and what a model can reach on it.

    Examples:
        heatpoint inspect train.json --val val.json --size 384
        heatpoint inspect train.json --model runs/a/best.safetensors
    """

    options: InspectOptions

    def run(self) -> None:
        """Inspects and prints the report."""
        from heatpoint.commands.display import Progress
        from heatpoint.inspection.inspect import inspect

        with Progress("inspecting") as progress:
            inspection = inspect(**as_keywords(self.options), progress=progress.step)
        print(inspection.summary())
        if self.options.out:
            print(f"report and pictures: {self.options.out}")


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
