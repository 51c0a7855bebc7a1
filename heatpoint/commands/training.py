"""``heatpoint train`` and ``demo``: a model from one's own data, or from drawn ones."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from heatpoint.options import Folder, Minutes, passed
from heatpoint.training import TrainOptions, run


@dataclass
class Train:
    """Trains a model on your own data."""

    EXAMPLES = (
        "heatpoint train train.json --val val.json --minutes 30",
        "heatpoint train voc:train --val voc:val --model centernet_mobilenetv2 --size 320",
    )

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
    several = any(int(os.environ.get(name, "1")) > 1 for name in ("WORLD_SIZE", "SLURM_NTASKS"))
    if record is None or record.cached.is_file() or several:
        return
    from heatpoint.commands.weights import get

    print(f"{weights}: {get(weights)} (licence: {record.licence})")


@dataclass
class Demo:
    """Draws a data set, trains on it, evaluates, predicts and saves pictures."""

    EXAMPLES = ("heatpoint demo", "heatpoint demo --task pose --minutes 1")

    task: Literal["boxes", "pose"] = "boxes"
    """what to find: boxes of shapes, or the joints of articulated figures"""

    out: Folder | None = None
    """folder for everything; runs/demo or runs/demo-pose by default"""

    minutes: Minutes = 1.7
    """time for everything, of which training takes what the rest leaves"""

    seed: int = 0
    """seed of the pictures and of the training"""

    def run(self) -> None:
        """Runs the demo."""
        from heatpoint.demonstration import demo

        demo(**passed(self))
