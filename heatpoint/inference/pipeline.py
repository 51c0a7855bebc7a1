"""Keeps several stages busy at once without ever changing the order of what passes through."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


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
