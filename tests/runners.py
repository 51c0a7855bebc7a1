"""Runners and places from the options that users give, without the images."""

from __future__ import annotations

from typing import Any

from heatpoint.inference import KeepOptions, RunOptions
from heatpoint.inference.engines.engine import Engine, Timings
from heatpoint.inference.predict import open_runner
from heatpoint.inference.runner import Runner
from heatpoint.options import built, leaves
from heatpoint.zoo.detector import Detector


def runner_of(
    model: Detector | Engine | str, timings: Timings | None = None, **options: Any
) -> Runner:
    """Returns what ``predict`` runs a model with, and keeps every result however unsure.

    Args:
        model: What to run.
        timings: Filled as it works.
        **options: Fields of ``RunOptions`` and ``KeepOptions``.
    """
    known = {field.name for kind in (RunOptions, KeepOptions) for field in leaves(kind)}
    assert options.keys() <= known, options.keys() - known
    run, keep = built(RunOptions, options), built(KeepOptions, options)
    return open_runner(model, run, keep, 0.0, timings)
