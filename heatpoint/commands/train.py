"""``heatpoint train``: trains a model on one's own data."""

from __future__ import annotations

from collections.abc import Sequence

from heatpoint.commands.arguments import CommandParser
from heatpoint.training import TrainOptions
from heatpoint.training import run as train


def run(words: Sequence[str]) -> int:
    """Trains; the options are the keywords of ``heatpoint.train``."""
    train(CommandParser("train", TrainOptions, "Trains a model on your own data.").parse(words))
    return 0
