"""The entrance: one call that reads the data, starts the processes and trains."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Literal, ParamSpec

from heatpoint.errors import HeatpointError
from heatpoint.training.checks import check
from heatpoint.training.options import TrainOptions

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from heatpoint.training.data import TrainingData
    from heatpoint.training.loop import TrainResult
    from heatpoint.training.tasks import Task

Arguments = ParamSpec("Arguments")


def run(options: TrainOptions) -> TrainResult:
    """Trains as the options say; ``train`` is this with keywords.

    Raises:
        HeatpointError: Something the user can mend, in the options, the data or the machine.
        KeyboardInterrupt: Ctrl-C or SIGTERM stopped the run, after everything was saved.
    """
    check(options)
    import torch

    from heatpoint.training.data import load_data
    from heatpoint.training.tasks import task_of

    if options.threads is not None:
        torch.set_num_threads(options.threads)
    task = task_of(options)
    data = load_data(options, task)
    fabric = make_fabric(options)
    # Data in memory goes to the processes once, not a second time inside of the options.
    options = replace(options, data=data.train.source, val=data.val.source)
    outcome: TrainResult | HeatpointError = fabric.launch(_Process(options, task, data))
    if isinstance(outcome, HeatpointError):
        raise outcome
    if outcome.interrupted:
        raise KeyboardInterrupt
    return outcome


def _keywords(
    build: Callable[Arguments, TrainOptions],
) -> Callable[[Callable[[TrainOptions], TrainResult]], Callable[Arguments, TrainResult]]:
    """Gives a function of options the signature of their constructor, so that it is said once."""

    def decorate(
        function: Callable[[TrainOptions], TrainResult],
    ) -> Callable[Arguments, TrainResult]:
        @wraps(function)
        def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> TrainResult:
            return function(build(*args, **kwargs))

        signature = inspect.signature(build).replace(return_annotation="TrainResult")
        call.__signature__ = signature  # type: ignore[attr-defined]
        return call

    return decorate


@_keywords(TrainOptions)
def train(options: TrainOptions) -> TrainResult:
    """Trains a model of boxes or joints; takes every field of ``TrainOptions`` as a keyword.

    The folder ``out`` receives ``best.safetensors`` (the averaged weights of the highest
    validation score), ``last.safetensors``, ``resume.pt``, ``options.json``, ``log.csv``,
    TensorBoard events, ``curves.png`` and ``val_predictions.png``. The score of ``best``, AP for
    boxes and PCK@0.1 for joints, is what ``evaluate`` or ``evaluate_pose`` gives for it.

    With several ``devices`` the processes are started by this call; a script that makes it needs
    the usual ``if __name__ == "__main__":``. Under torchrun or SLURM it joins theirs.

    Example:
        >>> result = train("train.json", "val.json", size=256, minutes=15)  # doctest: +SKIP
        >>> result.ap  # doctest: +SKIP
        0.62

    Raises:
        HeatpointError: Something the user can mend, in the options, the data or the machine.
        KeyboardInterrupt: Ctrl-C or SIGTERM stopped the run, after everything was saved; the same
            call with ``resume=True`` goes on.
    """
    return run(options)


def make_fabric(options: TrainOptions) -> Fabric:
    """Returns Lightning Fabric for the machine: devices, processes and precision.

    Raises:
        HeatpointError: The accelerator or the devices asked for are not there.
    """
    from lightning_fabric import Fabric

    devices, nodes = options.devices, options.nodes
    torchrun = "TORCHELASTIC_RUN_ID" in os.environ
    if torchrun:
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    strategy = options.strategy
    if strategy == "auto" and devices * nodes > 1:
        strategy = "ddp" if torchrun or "SLURM_NTASKS" in os.environ else "ddp_spawn"
    accelerator = options.accelerator
    try:
        return Fabric(
            accelerator=accelerator,
            strategy=strategy,
            devices=devices,
            num_nodes=nodes,
            precision="bf16-mixed" if wants_bf16(options.precision, accelerator) else "32-true",
        )
    except (RuntimeError, ValueError) as error:  # how Fabric reports what is not there
        raise HeatpointError(
            f"cannot use accelerator={accelerator!r}, devices={devices}, "
            f"strategy={strategy!r}: {error}"
        ) from error


def wants_bf16(precision: Literal["auto", "bf16", "fp32"], accelerator: str) -> bool:
    """Tells whether the network computes in bfloat16: if asked for, or where hardware has it."""
    if precision != "auto":
        return precision == "bf16"
    import torch

    if accelerator in ("auto", "cuda") and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if accelerator == "mps" or (accelerator == "auto" and torch.backends.mps.is_available()):
        return False
    return bool(torch.cpu._is_amx_tile_supported())


class _Process:
    """What one of the processes does; no dataclass, for Fabric takes those apart on the way."""

    def __init__(self, options: TrainOptions, task: Task, data: TrainingData) -> None:
        self._options, self._task, self._data = options, task, data

    def __call__(self, fabric: Fabric) -> TrainResult | HeatpointError:
        """Trains; a mistake is returned, for an exception loses its type."""
        from heatpoint.training.assemble import assemble
        from heatpoint.training.loop import fit

        try:
            return fit(assemble(self._options, self._task, self._data, fabric))
        except HeatpointError as error:
            if fabric.world_size == 1:
                raise
            return error
