"""Stages that overlap: the order stays, errors come in their turn, and little is read ahead."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from heatpoint.inference.sources import in_order, prefetch

PATIENCE = 30.0
"""Seconds after which a thread that nobody wakes makes a test fail."""


class Asked:
    """Counts from 0 and says how often it was asked; item ``broken`` is an error."""

    def __init__(self, count: int | None = None, broken: int | None = None) -> None:
        self.count, self.broken, self.asked = count, broken, 0
        self.threads: set[int] = set()

    def __iter__(self) -> Iterator[int]:
        for item in itertools.count() if self.count is None else range(self.count):
            self.asked += 1
            self.threads.add(threading.get_ident())
            if item == self.broken:
                raise OSError(f"item {item} cannot be read")
            yield item


def collect(stream: Iterator[tuple[int, object]] | Iterator[int], seen: list[object]) -> None:
    for one in stream:
        seen.append(one[0] if isinstance(one, tuple) else one)


def own_threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("heatpoint-")]


@pytest.mark.parametrize("streams", [1, 2, 5])
def test_the_order_stays_whatever_takes_longest(streams: int) -> None:
    delays = np.random.default_rng(streams).uniform(0, 0.006, 40).tolist()

    def work(item: int) -> str:
        time.sleep(delays[item])
        return f"made of {item}"

    done = list(in_order(work, range(40), streams))
    assert done == [(item, f"made of {item}") for item in range(40)]
    assert own_threads() == []


@pytest.mark.parametrize("streams", [1, 3])
def test_as_many_are_worked_on_at_once_as_there_are_streams(streams: int) -> None:
    # No call gets past the barrier before there are as many, and none more may be under way.
    barrier, lock, busy, most = threading.Barrier(streams), threading.Lock(), 0, 0

    def work(item: int) -> int:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        barrier.wait(PATIENCE)
        with lock:
            busy -= 1
        return item

    assert [item for item, _ in in_order(work, range(4 * streams), streams)] == [
        *range(4 * streams)
    ]
    assert most == streams


def test_the_next_item_is_worked_on_while_one_is_in_the_callers_hands() -> None:
    started = [threading.Event() for _ in range(3)]
    stream = in_order(lambda item: started[item].set(), range(3), 1)
    next(stream)
    assert started[1].wait(PATIENCE)
    assert not started[2].is_set()
    assert [item for item, _ in stream] == [1, 2]


@pytest.mark.parametrize("streams", [1, 2, 4])
def test_no_more_is_asked_for_than_streams_beyond_the_one_yielded(streams: int) -> None:
    items = Asked()
    stream = in_order(str, items, streams)
    assert items.asked == 0
    for place in range(10):
        assert next(stream) == (place, str(place))
        assert items.asked == place + 1 + streams
    assert items.threads == {threading.get_ident()}
    stream.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("streams", [1, 3])
def test_an_error_of_the_work_waits_for_its_turn(streams: int) -> None:
    def work(item: int) -> float:
        if item < 3:
            time.sleep(0.01)
        return 1 / (item - 3)

    items, seen = Asked(), list[object]()
    with pytest.raises(ZeroDivisionError):
        collect(in_order(work, items, streams), seen)
    assert seen == [0, 1, 2]
    assert items.asked == 4 + streams
    assert own_threads() == []


@pytest.mark.parametrize("streams", [1, 3])
def test_an_error_of_the_items_waits_for_its_turn(streams: int) -> None:
    seen = list[object]()
    with pytest.raises(OSError, match="item 5 cannot be read"):
        collect(in_order(str, Asked(9, broken=5), streams), seen)
    assert seen == [0, 1, 2, 3, 4]
    assert own_threads() == []


def test_an_error_of_the_work_comes_before_a_later_one_of_the_items() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda item: 1 / (item - 4), Asked(9, broken=5), 3))


def test_who_leaves_early_stops_the_work() -> None:
    items, begun = Asked(), []
    stream = in_order(begun.append, items, 2)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert items.asked == 3
    assert own_threads() == []
    assert sorted(begun) == [0, 1, 2][: len(begun)]
    with pytest.raises(StopIteration):
        next(stream)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_items_or_none(count: int) -> None:
    assert list(in_order(str, range(count), 2)) == [(item, str(item)) for item in range(count)]
    assert list(prefetch(range(count), 2)) == list(range(count))


@pytest.mark.parametrize("ahead", [1, 2, 7])
def test_prefetch_keeps_the_order_and_asks_in_one_thread_of_its_own(ahead: int) -> None:
    items = Asked(50)
    assert list(prefetch(items, ahead)) == list(range(50))
    assert len(items.threads) == 1
    assert threading.get_ident() not in items.threads
    assert own_threads() == []


def test_prefetch_reads_ahead_but_not_far() -> None:
    last, most = threading.Event(), 0

    def items() -> Iterator[int]:
        nonlocal most
        for item in itertools.count():
            most = item
            if item == 3:
                last.set()
            yield item

    stream = prefetch(items(), 3)
    assert next(stream) == 0
    assert last.wait(PATIENCE)
    for place in range(1, 20):
        assert next(stream) == place
        assert most <= place + 3
    stream.close()  # type: ignore[attr-defined]
    assert most <= 19 + 3
    assert own_threads() == []


def test_an_error_while_fetching_waits_for_its_turn() -> None:
    seen = list[object]()
    with pytest.raises(OSError, match="item 3 cannot be read"):
        collect(prefetch(Asked(9, broken=3), 2), seen)
    assert seen == [0, 1, 2]
    assert own_threads() == []


def test_one_stage_feeds_the_other() -> None:
    fetched = prefetch(Asked(30), 2)
    assert list(in_order(lambda item: item**2, fetched, 3)) == [(i, i**2) for i in range(30)]
