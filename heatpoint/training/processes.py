"""The processes of a run: on which devices, in which precision, and what they tell each other."""

from __future__ import annotations

import logging
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing import active_children
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any, Literal, TypeVar, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn

from heatpoint.errors import HeatpointError
from heatpoint.networks.fast import choose_precision
from heatpoint.system import VERSION
from heatpoint.training.loggers import make_loggers
from heatpoint.training.recipe import FREE_AMONG_PROCESSES, Recipe, differences

Result = TypeVar("Result")

_TRIALS = 5
"""Turns in which numbers of threads are compared."""

PATIENCE = timedelta(days=7)
"""How long processes wait for each other.

The first one validates while the others wait, which with large data takes longer than the 10
or 30 minutes after which torch gives a process up for lost. One that dies is noticed all the same:
its connections close, and whoever started the processes (this program, torchrun, SLURM) ends the
others. A sign of life sent from a thread would not say more: a process that hangs has threads, too.
"""

_LOADING = "DataLoader worker"
"""How torch's errors call a process that loads pictures."""

_STARTS: dict[str, Literal["popen", "spawn", "fork"]]
_STARTS = {"ddp": "popen", "ddp_spawn": "spawn", "ddp_fork": "fork"}


def make_fabric(options: Recipe) -> Fabric:
    """Returns Lightning Fabric for the machine: devices, processes, precision and loggers.

    Raises:
        HeatpointError: The accelerator or the devices asked for are not there.
    """
    devices, nodes, accelerator = options.devices, options.nodes, options.accelerator
    torchrun = "TORCHELASTIC_RUN_ID" in os.environ
    if torchrun:
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    strategy = options.strategy
    if strategy == "auto" and devices * nodes > 1:
        strategy = "ddp" if torchrun or "SLURM_NTASKS" in os.environ else "ddp_spawn"
    start = _STARTS.get(strategy)
    # Its advice is not for whoever trains, and device and precision are said by the run itself.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    try:
        return Fabric(
            accelerator=accelerator,
            strategy=DDPStrategy(start_method=start, timeout=PATIENCE) if start else strategy,
            devices=devices,
            num_nodes=nodes,
            precision="bf16-mixed" if options.precision == "bf16" else "32-true",
            loggers=make_loggers(options.logger, Path(options.out)),
        )
    # How Fabric reports devices, or packages for a strategy, that are not there.
    except (RuntimeError, ValueError, ImportError) as error:
        raise HeatpointError(
            f"cannot use accelerator={accelerator!r}, devices={devices}, "
            f"strategy={strategy!r}: {error}"
        ) from error


def native_precision(device: str) -> Literal["bf16", "fp32"]:
    """Returns the quicker arithmetic of a kind of device: bfloat16 where it gains."""
    return "bf16" if choose_precision("auto", torch.device(device)) == "bf16" else "fp32"


def describe_device(fabric: Fabric) -> str:
    """Returns where and in which precision a run computes."""
    name = fabric.device.type
    if name == "cuda":
        name = torch.cuda.get_device_name(fabric.device)
    many = f"{fabric.world_size} x " if fabric.world_size > 1 else ""
    return f"{many}{name}, {fabric.strategy.precision.precision}"


def combined(fabric: Fabric, values: Tensor, how: Literal["sum", "mean"]) -> Tensor:
    """Returns the sum or mean over all processes of a tensor of any shape; copies nothing alone."""
    return cast(Tensor, fabric.all_reduce(values, reduce_op=how))


def any_process(fabric: Fabric, here: bool) -> bool:
    """Tells whether something is so in any process; all must ask at the same moment."""
    if fabric.world_size == 1:
        return here
    return bool(combined(fabric, torch.tensor(float(here), device=fabric.device), "sum") > 0)


def check_alike(fabric: Fabric, options: dict[str, Any], data: dict[str, Any]) -> None:
    """Makes sure that all processes train alike, for each has read its own options and data.

    Raises:
        HeatpointError: In all of them, if one has other options, data or versions than the first.
    """
    if fabric.world_size == 1:
        return
    versions = {"torch": torch.__version__, "heatpoint": VERSION}
    mine: dict[str, Any] = {"data": data, "versions": versions}
    first = fabric.broadcast((options, mine))
    found = differences(first[0], options, FREE_AMONG_PROCESSES)
    found += [f"{n} were {first[1][n]} and are {v}" for n, v in mine.items() if first[1][n] != v]
    text = f"process {fabric.global_rank}: {'; '.join(found)}" if found else ""
    if any_process(fabric, bool(found)):
        told = [fabric.broadcast(text, src=rank) for rank in range(fabric.world_size)]
        raise HeatpointError(
            "the processes of this run do not train alike, as the first one does; "
            f"{next(filter(None, told))}; start all with the same options, plan, data and versions"
        )


@contextmanager
def passed_on() -> Iterator[None]:
    """Passes SIGTERM on to the processes that this one has started, which save and return.

    So ``kill`` and ``timeout`` stop a run on several devices as one on a single device. Without
    such processes, and outside of the main thread, nothing changes. Ctrl-C and a terminal that
    hangs up reach all processes by themselves.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.getsignal(signal.SIGTERM)

    def handle(number: int, frame: FrameType | None) -> None:
        started = [child for child in active_children() if child.pid is not None]
        for child in started:
            os.kill(cast(int, child.pid), number)
        if not started and callable(former):
            former(number, frame)

    signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def is_cut_off(error: RuntimeError) -> bool:
    """Tells whether an error of torch means that another process is gone."""
    # gloo reports it as a bare RuntimeError that names a line of its source.
    marks = "/gloo/", _LOADING
    return isinstance(error, torch.distributed.DistError) or any(m in str(error) for m in marks)


def lost(error: Exception) -> HeatpointError:
    """Returns what to say of a run of which a process is gone."""
    reason = re.sub(r"^\[\S+\] ", "", str(error).splitlines()[0]).partition(". ")[0]
    if _LOADING in reason:
        return HeatpointError(
            f"a process that loads pictures has died ({reason}), often for lack of memory: fewer "
            "workers and a smaller cache need less; resume goes on from what was saved last"
        )
    return HeatpointError(
        f"a process of this run has died, so that the others stopped ({reason}); resume goes on "
        "from what was saved last"
    )


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


def quickest_threads() -> int:
    """Returns with how many threads small layers are trained fastest now: torch's number or one.

    The threads of small layers wait for each other all the time. Where other programs keep one of
    two cores busy, two threads have been seen to be ten times slower than one. What the machine's
    load says about that comes too late: installing this package counts for a minute.
    """
    taken = _taken(32)
    return min(taken, key=lambda threads: taken[threads])


def is_crowded() -> bool:
    """Tells whether one thread alone computes a layer twice as fast as all now."""
    taken = _taken(64)
    return taken[max(taken)] > 2 * taken[1]


def _taken(channels: int) -> dict[int, float]:
    """Returns median seconds of training a layer, by number of threads: torch's own and one."""
    most = torch.get_num_threads()
    layer = nn.Conv2d(channels, channels, 3, padding=1).to(memory_format=torch.channels_last)
    features = torch.rand(8, channels, 32, 32).to(memory_format=torch.channels_last)
    taken: dict[int, list[float]] = {most: [], 1: []}
    for _ in range(_TRIALS):
        for threads, times in taken.items():
            torch.set_num_threads(threads)
            start = time.perf_counter()
            for _ in range(4):
                layer(features).sum().backward()
            times.append(time.perf_counter() - start)
    torch.set_num_threads(most)
    return {threads: median(times) for threads, times in taken.items()}
