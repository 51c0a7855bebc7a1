"""Looks at very many pictures on a cluster, and writes what is missing of the results."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from heatpoint.data.opening import BadImage
from heatpoint.errors import HeatpointError
from heatpoint.options import keywords
from heatpoint.scale import ScaleOptions
from heatpoint.scale.pictures import divided, find, sources_of
from heatpoint.scale.results import Looked, Results
from heatpoint.scale.work import check, job_of, work


@dataclass(frozen=True)
class Done:
    """What a run has done.

    Attributes:
        pictures: Pictures looked at now.
        found: Objects, points or subjects in these.
        bad: Pictures of these that could not be looked at.
        reason: Why the first of them could not; "" without one.
        parts: Parts written now.
        before: Parts that an earlier run had written.
        full: Looks that may have held more than the model gives at once.
    """

    pictures: int = 0
    found: int = 0
    bad: int = 0
    reason: str = ""
    parts: int = 0
    before: int = 0
    full: int = 0

    def more(self, one: Looked) -> Done:
        """Returns the counts with those of one more part."""
        return replace(
            self,
            pictures=self.pictures + one.pictures,
            found=self.found + one.found,
            bad=self.bad + one.bad,
            reason=self.reason or one.reason,
            parts=self.parts + 1,
            full=self.full + one.full,
        )


@keywords(ScaleOptions, positional=2)
def predict(options: ScaleOptions, *, progress: Callable[[int, int], None] | None = None) -> Done:
    """Writes what is in very many pictures; takes every field of ``ScaleOptions``.

    Results are rows as ``result_rows`` gives them, in ``out/parquet`` and ``out/jsonl``, a file
    for each part; ``out/pictures`` has a row for each picture, with the reason where it could not
    be looked at. A cluster that the program is connected to is used as it is.

    Example:
        >>> predict("model.onnx", "s3://bucket/photos", out="results")  # doctest: +SKIP

    Args:
        options: Say which model, which pictures, and where.
        progress: Called with pictures done and pictures in all; files, where these hold many.

    Returns:
        Counts of this run.

    Raises:
        HeatpointError: Ray is not installed or not reached, there is no picture, the folder holds
            other results, a worker cannot run the model, or what is written finds no room.
    """
    return predict_parts(options, progress)


def predict_parts(
    options: ScaleOptions, progress: Callable[[int, int], None] | None = None
) -> Done:
    """Does what ``predict`` does, for options as one object."""
    ray, cluster = check(options), options.cluster
    images = [options.images] if isinstance(options.images, str | Path) else options.images
    storage, names, kind = find(list(map(str, images)), options.recursive, cluster.out)
    # Runs of the network have the pictures that they would have in one process.
    batch = options.read.batch_size
    parts = divided(names, kind, -(-cluster.part // batch) * batch)
    job, files = job_of(options, storage)
    if kind == "parquet":
        # Which column it is, is asked before a cluster is started; a damaged file is a row.
        with suppress(BadImage):
            next(sources_of(parts[0], storage, cluster.column, 1), None)
    with Results(Path(cluster.out)) as results:
        results.plan(options, files, names, parts)
        sizes = {part.number: len(part.names) for part in parts}
        missing = [part for part in parts if not results.has(part.number)]
        done = Done(before=len(parts) - len(missing))
        left = sum(sizes[part.number] for part in missing)
        if not missing:
            return done
        with closing(work(ray, job, files, missing, options)) as looked:
            for one in looked:
                if one.mistake:
                    raise HeatpointError(one.mistake)
                results.write(one)
                done = done.more(one)
                left -= sizes[one.number]
                if progress:
                    progress(len(names) - left, len(names))
    return done
