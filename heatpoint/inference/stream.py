"""Reads ahead of the network and keeps several stages busy without ever changing the order."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from heatpoint.errors import HeatpointError, HeatpointWarning
from heatpoint.inference.engines.timings import Timings
from heatpoint.inference.sources import Source
from heatpoint.views.base import Raster

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")
Result = TypeVar("Result")


def read_ahead(
    sources: Sequence[Source],
    prepare: Callable[[int, Raster], Prepared],
    *,
    whole: bool,
    ahead: int,
    workers: int,
    timings: Timings,
    skipped: list[tuple[str, str]] | None,
) -> Iterator[Prepared]:
    """Yields the prepared form of each readable image, in order.

    Args:
        sources: The images.
        prepare: Turns the place among ``sources`` and the pixels into what the network takes;
            runs in the threads.
        whole: The picture is wanted in memory; else it is opened to be read part by part.
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
            raster = sources[index].open(f"image {index}", whole)
        with timings.stage("prepare"):
            return prepare(index, raster)

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
            yield prepared
    finally:
        if pool:
            pool.shutdown(wait=True, cancel_futures=True)


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], streams: int
) -> Iterator[tuple[Item, Result]]:
    """Yields each item with what is made of it, in order, while later ones are worked on.

    Args:
        work: Runs in ``streams`` threads.
        items: Asked for in the caller's thread, at most ``streams`` beyond the one yielded.
        streams: Calls of ``work`` at once.

    Raises:
        Exception: What ``work`` or ``items`` raises, when it is that item's turn.
    """
    pending: deque[tuple[Item, Future[Result]]] = deque()
    iterator = iter(items)
    broken: Exception | None = None
    with ThreadPoolExecutor(streams, "heatpoint-run") as pool:
        try:
            while True:
                try:
                    item = next(iterator)
                except StopIteration:
                    break
                except Exception as error:
                    # The results of the items before it come first.
                    broken = error
                    break
                pending.append((item, pool.submit(work, item)))
                if len(pending) > streams:
                    first, future = pending.popleft()
                    yield first, future.result()
            while pending:
                first, future = pending.popleft()
                yield first, future.result()
            if broken is not None:
                raise broken
        finally:
            for _, future in pending:
                future.cancel()


def prefetch(items: Iterable[Item], ahead: int) -> Iterator[Item]:
    """Yields the items, which a thread of its own fetches ``ahead`` of time.

    Raises:
        Exception: What ``items`` raises, when it is that item's turn.
    """
    iterator, end = iter(items), object()
    pending: deque[Future[Item | object]] = deque()
    with ThreadPoolExecutor(1, "heatpoint-fetch") as pool:
        try:
            pending.extend(pool.submit(next, iterator, end) for _ in range(ahead))
            while (item := pending.popleft().result()) is not end:
                pending.append(pool.submit(next, iterator, end))
                yield item  # type: ignore[misc]
        finally:
            for future in pending:
                future.cancel()
