"""``heatpoint train``: trains a model on one's own data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from heatpoint.commands.arguments import CommandParser
from heatpoint.training import TrainOptions
from heatpoint.training import run as train


def run(words: Sequence[str]) -> int:
    """Trains; the options are the keywords of ``heatpoint.train``.

    Published weights named by ``--weights`` are fetched: naming them there is asking for them.
    """
    options = CommandParser("train", TrainOptions, "Trains a model on your own data.").parse(words)
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
    from heatpoint.weights.fetch import fetch

    with Progress(f"fetching {weights}") as progress:
        path = fetch(weights, progress=progress)
    print(f"{weights}: {path} (licence: {record.licence})")
