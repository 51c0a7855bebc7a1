"""What the processes of one run tell each other; with a single one, nothing happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor

from heatpoint.errors import HeatpointError

Result = TypeVar("Result")


def combined(fabric: Fabric, values: Tensor, how: Literal["sum", "mean"]) -> Tensor:
    """Returns the sum or mean over all processes of a tensor of any shape; copies nothing alone."""
    return cast(Tensor, fabric.all_reduce(values, reduce_op=how))


def any_process(fabric: Fabric, here: bool) -> bool:
    """Tells whether something is so in any process; all must ask at the same moment."""
    if fabric.world_size == 1:
        return here
    return bool(combined(fabric, torch.tensor(float(here), device=fabric.device), "sum") > 0)


def on_first(fabric: Fabric, work: Callable[[], Result]) -> Result:
    """Runs work in the first process only and returns its result in all; so it is a barrier, too.

    Raises:
        HeatpointError: In all processes alike, if the work raised one.
    """
    outcome: Result | HeatpointError | None = None
    if fabric.is_global_zero:
        try:
            outcome = work()
        except HeatpointError as error:
            outcome = error
    outcome = fabric.broadcast(outcome)
    if isinstance(outcome, HeatpointError):
        raise outcome
    return cast(Result, outcome)
