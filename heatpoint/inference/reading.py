"""Reads images ahead of the network: threads decode and prepare while it runs."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from heatpoint.engines.timings import Timings
from heatpoint.errors import HeatpointError, HeatpointWarning
from heatpoint.geometry.affine import Image
from heatpoint.inference.sources import Source

Prepared = TypeVar("Prepared")


def read_ahead(
    sources: Sequence[Source],
    prepare: Callable[[int, Image], Prepared],
    *,
    ahead: int,
    workers: int,
    timings: Timings,
    skipped: list[tuple[str, str]] | None,
) -> Iterator[tuple[int, Prepared]]:
    """Yields place and prepared form of each readable image, in order.

    Args:
        sources: The images.
        prepare: Turns the place among ``sources`` and the (h, w, 3) uint8 RGB pixels into what the
            network takes; runs in the threads.
        ahead: At most this many images beyond the current one are in memory.
        workers: Threads; 0 reads each image when it is asked for.
        timings: Its ``load`` and ``prepare`` grow.
        skipped: Takes path and reason of each unreadable image, which is warned of and left out;
            None makes the first one an error.

    Raises:
        HeatpointError: An image cannot be read or prepared and ``skipped`` is None.
    """

    def read(index: int) -> Prepared:
        with timings.stage("load"):
            image = sources[index].load(f"image {index}")
        with timings.stage("prepare"):
            return prepare(index, image)

    pool = ThreadPoolExecutor(workers, "heatpoint-read") if workers else None
    pending: deque[Future[Prepared]] = deque()
    submitted = 0
    try:
        for index in range(len(sources)):
            while pool and submitted < min(len(sources), index + 1 + ahead):
                pending.append(pool.submit(read, submitted))
                submitted += 1
            try:
                prepared = pending.popleft().result() if pool else read(index)
            except HeatpointError as error:
                if skipped is None:
                    raise HeatpointError(f"{error}; skip_bad goes on without it") from None
                skipped.append((sources[index].path or f"image {index}", str(error)))
                warnings.warn(f"skipped: {error}", HeatpointWarning, stacklevel=2)
                continue
            yield index, prepared
    finally:
        if pool:
            pool.shutdown(wait=True, cancel_futures=True)


def check_stream(batch_size: int, workers: int) -> None:
    """Makes sure that both numbers are in range.

    Raises:
        HeatpointError: One is not.
    """
    if batch_size < 1 or workers < 0:
        raise HeatpointError(
            f"batch_size must be at least 1 and workers at least 0, not {batch_size} and {workers}"
        )
