"""The cluster: how it is reached, what it is given to do, and what comes back."""

from __future__ import annotations

import logging
import os
import socket
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from heatpoint.errors import HeatpointError, needing
from heatpoint.inference.engines import is_exported
from heatpoint.scale import ClusterOptions, ScaleOptions
from heatpoint.scale.looking import Job, Looker
from heatpoint.scale.pictures import Part, Storage
from heatpoint.scale.results import Looked
from heatpoint.system import usable_cores
from heatpoint.system.files import check_file

_REACHED_IN = 10.0
"""Seconds in which a cluster has to answer."""

_TRIES = 5
"""How often a part is done again whose process has died."""

_STARTS = 3
"""How often a cluster of one's own is started that Ray's half minute was too short for."""

_STORE = 256 * 2**20
"""Bytes of memory that such a cluster shares between processes, for models and results."""

_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # a report of its use would be sent
    # Its C++ parts would write between our lines; what fails for good is raised as well.
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    # Each process would time its own events, which nobody asks for.
    "RAY_event_stats": "0",
    "RAY_enable_metrics_collection": "0",
    # New files of logs would be looked for ten times a second.
    "RAY_LOG_MONITOR_MANY_FILES_THRESHOLD": "0",
    "LOG_NAME_UPDATE_INTERVAL_S": "10",
}
"""What Ray is told by its own variables, where the user has not set them."""


def check(options: ScaleOptions) -> Any:
    """Returns the module of Ray.

    Raises:
        HeatpointError: It is not installed, or a number is out of range.
    """
    cluster = options.cluster
    counts = {name: getattr(cluster, name) for name in ("actors", "cores", "part")}
    for name, number in {**counts, "batch_size": options.read.batch_size}.items():
        if number is not None and number < 1:
            raise HeatpointError(f"{name} must be at least 1, not {number}")
    if cluster.gpus < 0:
        raise HeatpointError(f"gpus must not be negative, but is {cluster.gpus}")
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    with needing("prediction on a cluster needs Ray Data, which cannot be loaded", "ray"):
        import pyarrow
        import ray
        import ray.data
    assert pyarrow
    return ray


def job_of(options: ScaleOptions, storage: Storage) -> tuple[Job, dict[str, bytes]]:
    """Returns what every worker does, and the contents of the models' files by their names.

    Raises:
        HeatpointError: A file is missing, cannot be read, or holds no model.
    """
    files, named = dict[str, bytes](), list[str]()
    for folder, model in (("model", options.model), ("detector", options.detector)):
        path = Path(model or "")
        if model and not is_exported(model):
            from heatpoint.weights import checkpoint_path, read_header

            read_header(path := checkpoint_path(model))  # before a cluster is started for it
        weights = [path.with_suffix(".bin")] if path.suffix.lower() == ".xml" else []
        for each in [path, *weights] if model else ():
            check_file(each, "; workers get the model from here")
            files[f"{folder}/{each.name}"] = each.read_bytes()
        named.append(f"{folder}/{path.name}" if model else "")
    return Job(named[0], named[1], storage, options), files


def work(
    ray: Any, job: Job, files: Mapping[str, bytes], parts: Sequence[Part], options: ScaleOptions
) -> Generator[Looked, None, None]:
    """Yields what is in each part, in whatever order; the cluster is let go of at the end.

    Args:
        ray: Its module.
        job: What every worker does.
        files: Contents of the models' files by their names.
        parts: What is to be done.
        options: Say where, and by how many.

    Raises:
        HeatpointError: The cluster cannot be reached, has no room, or fails for good.
    """
    with _connected(ray, options):
        count = min(len(parts), _room(ray, options.cluster))
        references = {name: ray.put(content) for name, content in files.items()}
        rows = [{"part": msgspec.json.encode(part)} for part in parts]
        with warnings.catch_warnings():
            # Until Ray 2.64, what counts the tries has no other way in.
            warnings.simplefilter("ignore", DeprecationWarning)
            looked = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
                _Actor,
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=count),
                num_cpus=options.cluster.cores,
                num_gpus=options.cluster.gpus or None,
                # A picture that ends its process each time must not do so for ever.
                max_task_retries=_TRIES,
                fn_constructor_kwargs={"job": job, "references": references},
            )
        try:
            for row in looked.iter_rows():
                yield Looked(**row)
        except ray.exceptions.RayError as error:
            told = [line for line in str(error).splitlines() if line.strip()]
            raise HeatpointError(
                f"a worker of the cluster failed: {(told or [type(error).__name__])[-1].strip()}; "
                "every machine needs heatpoint and its extras in the same versions as here; parts "
                "that are written stay, and the same command goes on"
            ) from error


class _Actor:
    """A process of the cluster; Ray Data calls it with one part at a time."""

    def __init__(self, job: Job, references: Mapping[str, Any]) -> None:
        import cv2
        import ray

        # By default each process has a thread for every core of the machine.
        cv2.setNumThreads(job.options.cluster.cores)
        self._looker = Looker(job, lambda: {name: ray.get(references[name]) for name in references})

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Returns the fields of the part's ``Looked``, as columns of one row."""
        looked = self._looker.look(msgspec.json.decode(batch["part"][0], type=Part))
        return {name: [value] for name, value in vars(looked).items()}


def _room(ray: Any, cluster: ClusterOptions) -> int:
    """Returns how many processes work at once.

    Raises:
        HeatpointError: There is no room for a single one, for which Ray would wait.
    """
    there = ray.cluster_resources()
    cpus, gpus = there.get("CPU", 0), there.get("GPU", 0)
    room = int(cpus // cluster.cores)
    if cluster.gpus:
        room = min(room, int(gpus / cluster.gpus + 1e-9))
    if room < 1:
        raise HeatpointError(
            f"the cluster has {cpus:g} processor cores and {gpus:g} GPUs, too few for cores="
            f"{cluster.cores} and gpus={cluster.gpus:g}; lower them"
        )
    return min(room, cluster.actors or room)


def start(ray: Any, how: Mapping[str, Any]) -> None:
    """Connects to a cluster; starts one more than once where a busy machine is late."""
    for left in reversed(range(_STARTS)):
        try:
            ray.init(logging_level=logging.ERROR, **how)
            return
        except Exception as error:
            ray.shutdown()
            if not left or "timed out during startup" not in str(error):
                raise


@contextmanager
def _connected(ray: Any, options: ScaleOptions) -> Iterator[None]:
    """Connects to the cluster, unless the program has; then its settings are left alone, too.

    Raises:
        HeatpointError: It cannot be reached, or has other versions.
    """
    if ray.is_initialized():
        yield
        return
    address = options.address
    how: dict[str, Any] = {"address": address, "log_to_driver": False}
    if address == "local":
        how |= {"num_cpus": usable_cores(), "include_dashboard": False}
        how["object_store_memory"] = _STORE
    host, _, port = address.rpartition(":")
    try:
        if host:
            socket.create_connection((host, int(port)), _REACHED_IN).close()
        start(ray, how)
    except Exception as error:  # Ray raises this very class where its processes are late
        reason = " ".join(str(error).split()) or type(error).__name__
        raise HeatpointError(
            f"the cluster {address} cannot be used: {reason:.400}; give local, auto, or HOST:PORT "
            "of one that `ray start --head` has started with the same versions of Python and Ray"
        ) from None
    context, logger = ray.data.DataContext.get_current(), logging.getLogger("ray.data")
    shown, level = context.enable_progress_bars, logger.level
    context.enable_progress_bars = False  # ours would be torn by them
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        context.enable_progress_bars = shown
        logger.setLevel(level)
        ray.shutdown()
