"""Puts looks of pictures that wait together into one run of the network, in turn and in threads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from heatpoint.data.results import Detections
from heatpoint.inference.runner import Job, Runner


@dataclass(eq=False)
class Work:
    """One picture that waits for its answer.

    Attributes:
        runner: Runs the model as its request asks for.
        job: Its looks.
        left: Numbers of the looks that nobody has taken yet.
        future: Becomes the result; a request that is given up cancels it.
        concluded: Whether somebody makes the result.
    """

    runner: Runner
    job: Job
    left: deque[int]
    future: Future[Detections] = field(default_factory=Future)
    concluded: bool = False

    def end(self, result: Detections | Exception) -> None:
        """Tells the result, or why there is none, to whoever still waits."""
        if self.future.done() or not self.future.set_running_or_notify_cancel():
            return
        if isinstance(result, Exception):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


class Batches:
    """The pictures that wait, and the threads that answer them.

    A thread takes what is there when the network is free and waits for no more: alone, a picture
    is answered at once; of many, each run takes ``size``. Every picture has one look taken in turn,
    so that one of a thousand tiles does not hold up the others.

    Args:
        streams: Runs of the network at once.
        size: Most looks per run.
        told: Called with the number of looks of each run.

    Attributes:
        turn: Held by whoever runs the network.
    """

    def __init__(self, streams: int, size: int, told: Callable[[int], None]) -> None:
        self._size, self._told, self._closed = size, told, False
        self._works: deque[Work] = deque()
        self._changed = threading.Condition()
        self.turn = threading.Semaphore(streams)
        self._threads = [
            threading.Thread(target=self._run, name=f"heatpoint-serve-{number}", daemon=True)
            for number in range(streams)
        ]
        for thread in self._threads:
            thread.start()

    def look(self, runner: Runner, job: Job) -> Future[Detections]:
        """Returns what will be the result of a picture; safe in threads."""
        work = Work(runner, job, deque(range(len(job.looks))))
        if not job.looks:
            work.end(runner.conclude(job))
            return work.future
        with self._changed:
            self._works.append(work)
            self._changed.notify()
        return work.future

    def close(self) -> None:
        """Ends the threads after the runs under way; what still waits is given up."""
        with self._changed:
            self._closed = True
            for work in self._works:
                work.future.cancel()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._closed:
            if taken := self._next():
                self._told(len(taken))
                self._answer(taken)

    def _next(self) -> list[tuple[Work, int]]:
        """Waits for looks and returns those of the next run, all for one runner."""
        taken: list[tuple[Work, int]] = []
        with self._changed:
            self._changed.wait_for(lambda: self._works or self._closed)
            others: list[Work] = []
            while self._works and len(taken) < self._size:
                work = self._works.popleft()
                if work.future.done():  # given up, or one of its looks has failed
                    continue
                if taken and work.runner is not taken[0][0].runner:
                    others.append(work)
                    continue
                taken.append((work, work.left.popleft()))
                if work.left:
                    self._works.append(work)
            self._works.extendleft(reversed(others))
            if self._works:
                self._changed.notify()
        return taken

    def _answer(self, taken: Sequence[tuple[Work, int]]) -> None:
        """Runs the network over some looks, and concludes the pictures that are complete."""
        runner, works = taken[0][0].runner, list(dict.fromkeys(work for work, _ in taken))
        try:
            with self.turn:
                runner.answer([(work.job, number) for work, number in taken])
        except Exception as error:
            if len(works) == 1:
                works[0].end(error)
                return
            for each in works:  # what is wrong with one shall not cost the others
                self._answer([pair for pair in taken if pair[0] is each])
            return
        for work in works:
            with self._changed:
                mine = work.job.done and not work.concluded
                work.concluded |= mine
            if mine:
                try:
                    with self.turn:  # a view may look again
                        work.end(runner.conclude(work.job))
                except Exception as error:
                    work.end(error)
