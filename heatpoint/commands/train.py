"""``heatpoint train``: trains a model on one's own data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from heatpoint.commands import parse
from heatpoint.training import TrainOptions
from heatpoint.training import run as train

EXAMPLES = (
    "heatpoint train train.json --val val.json --minutes 30",
    "heatpoint train voc:train --val voc:val --model centernet_mobilenetv2 --size 320",
)


def run(words: Sequence[str]) -> int:
    """Trains; the options are the keywords of ``heatpoint.train``.

    Published weights named by ``--weights`` are fetched: naming them there is asking for them. A
    resumed run needs them no more.
    """
    options = parse(words, "train", TrainOptions, EXAMPLES)
    if not options.resume:
        _fetch(options.weights)
    train(options)
    return 0


def _fetch(weights: str) -> None:
    """Fetches published weights that are not here, unless other processes would do it as well."""
    from heatpoint.weights import PUBLISHED

    record = None if Path(weights).is_file() else PUBLISHED.get(weights)
    several = any(int(os.environ.get(name, "1")) > 1 for name in ("WORLD_SIZE", "SLURM_NTASKS"))
    if record is None or record.cached.is_file() or several:
        return
    from heatpoint.commands.display import Progress
    from heatpoint.convert import fetch

    with Progress(f"fetching {weights}") as progress:
        path = fetch(weights, progress=progress)
    print(f"{weights}: {path} (licence: {record.licence})")
