"""What runs in a worker: one open model that looks at parts and returns them as files' bytes."""

from __future__ import annotations

import os
import socket
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from heatpoint.data.opening import BadImage
from heatpoint.errors import HeatpointError, HeatpointWarning
from heatpoint.inference import RunOptions
from heatpoint.inference.engines import Engine, open_engine
from heatpoint.inference.places import places_among
from heatpoint.inference.predict import (
    check_keep,
    not_everywhere,
    open_finder,
    open_runner,
    result_rows,
)
from heatpoint.inference.runner import Runner
from heatpoint.inference.sources import Source, prefetch
from heatpoint.scale import ScaleOptions
from heatpoint.scale.pictures import Part, Storage, sources_of
from heatpoint.scale.results import Looked, Row
from heatpoint.system import VERSION
from heatpoint.views.fields import USUAL


@dataclass(frozen=True)
class Job:
    """What every worker does.

    Attributes:
        model: Name of the model's file.
        detector: Name of the file of the model that finds places; "" for none.
        storage: Where the pictures are.
        options: Say how it is done.
        version: Of heatpoint, where the run was started.
    """

    model: str
    detector: str
    storage: Storage
    options: ScaleOptions
    version: str = VERSION


class Looker:
    """Looks at parts; opens its model when the first one comes.

    Args:
        job: What to do.
        files: Returns the contents of the models' files by their names.
    """

    def __init__(self, job: Job, files: Callable[[], Mapping[str, bytes]]) -> None:
        self._job, self._files = job, files
        self._runners: tuple[Runner, Runner | None] | None = None

    def look(self, part: Part) -> Looked:
        """Returns what is in the pictures of a part, or why it cannot be told."""
        try:
            self._runners = self._runners or self._opened()
            with warnings.catch_warnings():
                # What cannot be read is told by the rows.
                warnings.simplefilter("ignore", HeatpointWarning)
                return self._look(part, *self._runners)
        except HeatpointError as error:
            return Looked(part.number, mistake=f"{error} (on {socket.gethostname()})")

    def _opened(self) -> tuple[Runner, Runner | None]:
        """Returns what runs the model, and what finds where it looks."""
        job = self._job
        if job.version != VERSION:
            raise HeatpointError(
                f"this worker has heatpoint {VERSION}, but the run was started by {job.version}; "
                "install the same version on every machine of the cluster"
            )
        with tempfile.TemporaryDirectory() as folder:
            for name, content in self._files().items():
                path = Path(folder, name)
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)
            try:
                return self._opened_in(folder)
            except HeatpointError as error:
                # The user knows a file by its name, not by where it lay for a moment.
                told = str(error).replace(os.path.join(folder, "model", ""), "")
                raise HeatpointError(
                    told.replace(os.path.join(folder, "detector", ""), "")
                ) from None

    def _opened_in(self, folder: str) -> tuple[Runner, Runner | None]:
        job, options = self._job, self._job.options
        # What an engine is opened with is not said twice.
        how = replace(options.run, flip=False, device="auto", precision="auto", streams=1)
        model = self._engine(Path(folder, job.model), options.run)
        runner = open_runner(model, how, options.keep)
        if job.detector and not runner.view.asks:
            raise HeatpointError(f"detector {not_everywhere(runner.engine.description)}")
        check_keep(runner, options.keep, bool(job.detector))
        if not job.detector:
            return runner, None
        same = RunOptions(device=options.run.device, precision=options.run.precision)
        finder = self._engine(Path(folder, job.detector), same)
        return runner, open_finder(finder, how, options.keep)

    def _engine(self, path: Path, run: RunOptions) -> Engine:
        return open_engine(
            path,
            flip=run.flip,
            max_detections=self._job.options.keep.max_detections or USUAL,
            device=run.device,
            precision=run.precision,
            streams=run.streams,
            threads=self._job.options.cluster.cores,
        )

    def _look(self, part: Part, runner: Runner, finder: Runner | None) -> Looked:
        rows, told = list[Row](), list[Row]()
        job, runner.full = self._job, 0
        try:
            some = sources_of(
                part, job.storage, job.options.cluster.column, 8 * job.options.read.batch_size
            )
            # The next pictures of a file of many are read while these are looked at.
            for sources in prefetch(some, 1):
                self._add(sources, part.first + len(told), runner, finder, rows, told)
        except BadImage as error:
            told.append({"file_name": part.names[0], "found": 0, "error": str(error)})
        return Looked.of(part.number, rows, told, runner.engine.description.answer, runner.full)

    def _add(
        self,
        sources: Sequence[Source],
        first: int,
        runner: Runner,
        finder: Runner | None,
        rows: list[Row],
        told: list[Row],
    ) -> None:
        """Adds what is in some pictures, and a row for each of them; ``first`` is its number."""
        read = self._job.options.read
        how = read.batch_size, read.workers, True
        places, seen = None, dict[int, Row]()
        for each in (runner, finder):
            if each:
                each.skipped.clear()
        if finder:
            placed = finder.stream(sources, None, *how)
            places = {one.index: places_among(one.detections, runner.names[0]) for one in placed}
        for one in runner.stream(sources, places, *how):
            own = result_rows([replace(one, index=first + one.index)])
            rows += own
            height, width = one.image_size
            seen[one.index] = {"height": height, "width": width, "found": len(own)}
        reasons = dict([*runner.skipped, *(finder.skipped if finder else ())])
        for place, source in enumerate(sources):
            about = seen.get(place) or {"found": 0, "error": reasons[source.path]}
            told.append({"file_name": source.path, "image_id": first + place, **about})
