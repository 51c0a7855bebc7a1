"""Training: options, the loop, and everything a run leaves behind."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from heatpoint.errors import HeatpointError
from heatpoint.options import keywords
from heatpoint.training.options import TrainOptions, check
from heatpoint.training.recipe import Recipe

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from heatpoint.data import Annotations
    from heatpoint.training.data import TrainingData
    from heatpoint.training.state import TrainResult


__all__ = ["Recipe", "TrainOptions", "run", "train"]


def run(options: Recipe) -> TrainResult:
    """Trains as the options say, all of them; ``train`` is this with keywords.

    Raises:
        HeatpointError: Something the user can mend, in the options, the data or the machine.
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP stopped the run, after everything was saved.
    """
    check(options)
    import torch
    from torch.multiprocessing.spawn import ProcessExitedException

    from heatpoint.training.data import check_samples, load_data
    from heatpoint.training.processes import lost, make_fabric, passed_on
    from heatpoint.training.report import waiting
    from heatpoint.training.start import kind_of
    from heatpoint.training.state import load_resume

    torch.set_num_threads(options.threads)
    stored = None
    if options.resume:  # its file holds the network, so that nothing else is read or fetched
        stored = load_resume(Path(options.out) / "resume.pt")["detector"]
    kind = kind_of(options, stored)
    check_samples(options, kind)
    with waiting("reading the data and checking its pictures"):
        data = load_data(options, kind)
    if not options.resume:  # then the folder holds the run already
        check_files(options, [data.train, data.val])
    fabric = make_fabric(options)
    # Data in memory goes to the processes once, not a second time inside of the options.
    options = replace(options, data=data.train.source, val=data.val.source)
    # Bound beforehand, for Fabric takes dataclasses among its own arguments apart on the way.
    work = partial(_train, options, data)
    outcome: TrainResult | HeatpointError
    try:
        with passed_on():
            outcome = fabric.launch(work)
    except ProcessExitedException as error:
        raise lost(error) from None
    if isinstance(outcome, HeatpointError):
        raise outcome
    if outcome.interrupted:
        raise KeyboardInterrupt
    return outcome


@keywords(Recipe, positional=2)
def train(options: Recipe) -> TrainResult:
    """Trains without a plan; takes every field of ``Recipe`` as a keyword.

    What the folder ``out`` receives, and how several devices are used, is as for
    ``heatpoint.train``, which plans what is left open and then comes here.

    Raises:
        HeatpointError: Something the user can mend, in the options, the data or the machine.
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP stopped the run, after everything was saved.
    """
    return run(options)


def check_files(options: Recipe, parts: Sequence[Annotations], sources: Sequence[str] = ()) -> None:
    """Makes sure that the run's files can be written and replace nothing that counts.

    Args:
        options: What the run is told.
        parts: The data that it reads.
        sources: What the user named, where a plan has joined or divided it.

    Raises:
        HeatpointError: They cannot, or would.
    """
    from heatpoint.system.outputs import check_outputs
    from heatpoint.training.data import several

    out = Path(options.out)
    given: list[object] = [options.weights, options.backbone_weights, options.skeleton]
    given += [getattr(each, "source", each) for each in several(options.data)]
    check_outputs(
        {
            "numbers": [out / "options.json", out / "log.csv"],
            "checkpoints": [out / "best.safetensors", out / "last.safetensors"],
            "pictures": [out / "curves.png", out / "val_predictions.png"],
        },
        [*given, *sources, *(part.source for part in parts)],
        [record.path for part in parts for record in part.images],
    )


def _train(options: Recipe, data: TrainingData, fabric: Fabric) -> TrainResult | HeatpointError:
    """Trains in one of the processes; a mistake is returned, for an exception loses its type."""
    import torch

    from heatpoint.system import locked, memory_kept
    from heatpoint.training.loggers import finalize
    from heatpoint.training.loop import fit
    from heatpoint.training.processes import is_cut_off, lost, on_first
    from heatpoint.training.setup import Run

    torch.set_num_threads(options.threads)  # a process of its own has its own number
    out = Path(options.out)
    busy = f"another run is writing into {out}; wait for its end, or choose another out"
    try:
        with ExitStack() as stack:
            on_first(fabric, lambda: stack.enter_context(locked(out / ".lock", busy)))
            stack.enter_context(memory_kept())
            return fit(Run(options, data, fabric))
    except HeatpointError as error:
        with suppress(HeatpointError):  # the first error says more
            finalize(fabric.loggers, "failed")
        if fabric.world_size == 1:
            raise
        return error
    except RuntimeError as error:
        if not is_cut_off(error):
            raise
        return lost(error)
