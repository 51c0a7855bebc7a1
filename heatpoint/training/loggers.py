"""Where the numbers of a run go while it lasts: TensorBoard, Weights & Biases, MLflow.

Each is a logger as Lightning Fabric defines it. Fabric's own for TensorBoard writes in a thread,
which prints a traceback where a folder is gone or a disk is full. Lightning has those of wandb and
mlflow in its trainer's package only, which is a framework more than a few lines need.
"""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from lightning_fabric.loggers.logger import Logger

from heatpoint.errors import HeatpointError

PROJECT = "heatpoint"
"""Where a service keeps runs of which nobody has said where they belong."""


class RunLogger(Logger):
    """Is told the numbers of a run, in its first process, after ``start``.

    Args:
        folder: That of the run, whose name is the run's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._id, self._resumed = folder, "", False

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.folder.resolve().name

    @property
    def version(self) -> str:
        """What a service calls the run; "" where there is none, and before the start."""
        return self._id

    def log_hyperparams(self, params: object) -> None:
        """Does nothing: ``start`` is told the options."""

    def start(self, options: Mapping[str, Any], version: str, resumed: bool) -> None:
        """Begins, or goes on.

        Args:
            options: Those of the run.
            version: What it was called before, for a resumed run that was told then.
            resumed: Whether it goes on.
        """
        self._id, self._resumed = version, resumed


class Events(RunLogger):
    """Writes TensorBoard events, by its record writer alone.

    The package is imported with the first number. From the first step of a resumed run on, what an
    earlier, interrupted one wrote is void.
    """

    _writer: Any = None

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Adds numbers under their names; ``save`` tells what went wrong."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        numbers = [{"tag": name, "simple_value": value} for name, value in metrics.items()]
        events: list[dict[str, Any]] = [{"step": step, "summary": {"value": numbers}}]
        with suppress(OSError):
            if self._writer is None:
                name = f"events.out.tfevents.{time.time():.0f}.{platform.node()}.{os.getpid()}"
                self._writer = RecordWriter(open(self.folder / name, "ab"))  # noqa: SIM115
                events.insert(0, {"file_version": "brain.Event:2"})
                if self._resumed:
                    events.insert(1, {"step": step, "session_log": {"status": "START"}})
            for event in events:
                self._writer.write(Event(wall_time=time.time(), **event).SerializeToString())
            self._writer.flush()

    def save(self) -> None:
        """Makes sure that everything is on the disk.

        Raises:
            HeatpointError: It cannot be written.
        """
        try:
            if self._writer is not None:
                self._writer.flush()
        except OSError as error:
            raise HeatpointError(
                f"cannot write TensorBoard events to {self.folder}: {error.strerror or error}; "
                "resume goes on from what was saved last"
            ) from error


class Wandb(RunLogger):
    """Tells a run of Weights & Biases; its own environment variables (``WANDB_MODE``) hold."""

    _run: Any = None

    def start(self, options: Mapping[str, Any], version: str, resumed: bool) -> None:
        """Begins a run, or goes on with it, whose files go into the folder.

        Raises:
            HeatpointError: wandb refuses, as where nobody is logged in.
        """
        import wandb

        with _told(wandb.Error, "wandb login, or WANDB_MODE=offline in the environment, lets it"):
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                name=self.name,
                dir=self.folder,
                config=dict(options),
                id=version or None,
                resume="allow" if version else None,
                # It would take the place of the standard output, and a live line with it.
                settings=wandb.Settings(console="off"),
            )
        # Steps of its own must grow, but a run that goes on repeats some of them.
        self._run.define_metric("*", step_metric="updates")
        self._id = self._run.id

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Adds numbers under their names."""
        self._run.log({**metrics, "updates": step})

    def finalize(self, status: str) -> None:
        """Ends the run: "success", or what kept it from that."""
        if self._run is not None:
            self._run.finish(exit_code=int(status != "success"))


class Mlflow(RunLogger):
    """Tells a run of MLflow, at ``MLFLOW_TRACKING_URI`` or in the folder's ``mlflow.db``."""

    _client: Any = None

    def start(self, options: Mapping[str, Any], version: str, resumed: bool) -> None:
        """Begins a run of the experiment ``MLFLOW_EXPERIMENT_NAME``, or goes on with it.

        Raises:
            HeatpointError: Its store cannot be used.
        """
        from mlflow import MlflowClient
        from mlflow.entities import Param

        place = os.environ.get("MLFLOW_TRACKING_URI")
        place = place or f"sqlite:///{(self.folder / 'mlflow.db').resolve().as_posix()}"
        with _mlflow():
            self._client = MlflowClient(tracking_uri=place)
            self._id = version
            if version:
                self._client.update_run(version, status="RUNNING")
            else:
                name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
                known = self._client.get_experiment_by_name(name)
                home = known.experiment_id if known else self._client.create_experiment(name)
                self._id = self._client.create_run(home, run_name=self.name).info.run_id
                said = [Param(key, str(value)[:500]) for key, value in options.items()]
                self._client.log_batch(self._id, params=said)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Adds numbers under their names, with ``.`` for ``/`` and ``_`` for signs it refuses.

        In stores of files ``loss`` and a folder ``loss`` exclude each other.

        Raises:
            HeatpointError: Its store does not take them.
        """
        from mlflow.entities import Metric

        now = round(1000 * time.time())
        said = [
            Metric(re.sub(r"[^\w\-. ]", "_", name.replace("/", ".")), value, now, step or 0)
            for name, value in metrics.items()
        ]
        with _mlflow():
            self._client.log_batch(self._id, metrics=said)

    def finalize(self, status: str) -> None:
        """Ends the run: "success", or what kept it from that."""
        if self._client is not None:
            with _mlflow():
                ended = {"success": "FINISHED", "interrupted": "KILLED"}.get(status, "FAILED")
                self._client.set_terminated(self._id, ended)


_KINDS: dict[str, type[RunLogger]] = {"tensorboard": Events, "wandb": Wandb, "mlflow": Mlflow}


def make_loggers(names: Sequence[str], folder: Path) -> list[Logger]:
    """Returns the loggers of these names; ``csv`` is no logger, for log.csv is written as a whole.

    Args:
        names: Of ``options.LOGGERS``.
        folder: That of the run.
    """
    return [kind(folder) for name, kind in _KINDS.items() if name in names]


def start(
    loggers: Sequence[Logger], options: Mapping[str, Any], known: Mapping[str, str], resumed: bool
) -> dict[str, str]:
    """Lets all loggers begin or go on.

    Args:
        loggers: Those of ``make_loggers``.
        options: Those of the run.
        known: What the services called the run before, by the classes of their loggers.
        resumed: Whether it goes on.

    Returns:
        What they call it, likewise.
    """
    found = {}
    for logger in cast(Sequence[RunLogger], loggers):
        kind = type(logger).__name__
        logger.start(options, known.get(kind, ""), resumed)
        found[kind] = logger.version
    return found


def finalize(loggers: Sequence[Logger], status: str) -> None:
    """Tells all loggers how a run has ended: "success", "interrupted" or "failed"."""
    for logger in loggers:
        logger.finalize(status)


def _mlflow() -> Any:
    from mlflow.exceptions import MlflowException

    return _told(
        MlflowException,
        "a server is named by MLFLOW_TRACKING_URI, and what a local database needs comes with "
        "pip install 'heatpoint[mlflow]'",
    )


@contextmanager
def _told(kind: type[Exception], remedy: str) -> Iterator[None]:
    """Makes one sentence of an error of a service."""
    try:
        yield
    except (kind, OSError) as error:
        reason = " ".join(str(error).split())
        raise HeatpointError(
            f"cannot log to {kind.__module__.split('.')[0]}: {reason}; {remedy}"
        ) from error
