"""Lets the processes of the contenders take turns, so that a machine's noise hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heatpoint.benchmarking.contenders import NAIVE, Contender
from heatpoint.benchmarking.passage import Row
from heatpoint.benchmarking.processes import Process
from heatpoint.benchmarking.report import Result, spread
from heatpoint.errors import HeatpointError

if TYPE_CHECKING:
    from heatpoint.benchmarking.worker import Task

PER_ROUND = 4
"""Pictures of one contender's turn at most."""

MANY = 32
"""Pictures that throughput is measured on, the given ones over and over."""

_PAUSE = 0.02  # seconds; the threads of the last contender go on spinning for a while


@dataclass
class Race:
    """The processes of the contenders, and what they have measured so far.

    Attributes:
        size: Input (height, width) in pixels.
        threads: Of each contender.
        paths: The pictures.
        tell: Told of progress.
        failed: A sentence by name; grows as contenders die.
        processes: Those alive, in order.
        operations: What the naive contender counted and measured at the end.
    """

    size: tuple[int, int]
    threads: int
    paths: list[str]
    tell: Callable[[str, int, int], None]
    failed: dict[str, str]
    processes: dict[Contender, Process] = field(default_factory=dict)
    operations: dict[str, Any] = field(default_factory=dict)
    _started: dict[Contender, list[tuple[float, float]]] = field(default_factory=dict)
    _rounds: dict[Contender, list[list[Row]]] = field(default_factory=dict)
    _memory: dict[Contender, int | None] = field(default_factory=dict)
    _rates: dict[Contender, dict[str, float]] = field(default_factory=dict)

    def start(self, files: dict[Contender, Path], starts: int, stack: ExitStack) -> None:
        """Starts the processes one after the other, each as often as said; the last ones stay."""
        for attempt in range(starts):
            for place, (contender, path) in enumerate(files.items()):
                self.tell(
                    f"starting {contender.name}", attempt * len(files) + place, starts * len(files)
                )
                if contender.name in self.failed:
                    continue
                task: Task = {
                    "engine": contender.engine,
                    "precision": contender.precision,
                    "path": str(path),
                    "size": list(self.size),
                    "threads": self.threads,
                    "picture": self.paths[0],
                }
                try:
                    process = Process(contender.name, task)
                except HeatpointError as error:
                    self.failed[contender.name] = str(error)
                    continue
                times = self._started.setdefault(contender, [])
                times.append((process.ready, process.first))
                if attempt < starts - 1:
                    process.close()
                else:
                    self.processes[contender] = stack.enter_context(process)
        self._check()

    def run(self, rounds: int) -> None:
        """Gives every contender its turn in every round; each round begins with another one."""
        for turn in range(rounds):
            self.tell("timing", turn, rounds)
            first = turn * PER_ROUND
            count = min(PER_ROUND, len(self.paths))
            pictures = [self.paths[(first + i) % len(self.paths)] for i in range(count)]
            order = list(self.processes)
            shift = turn % len(order)
            for contender in order[shift:] + order[:shift]:
                time.sleep(_PAUSE)
                answer = self._ask(contender, {"do": "round", "pictures": pictures})
                if answer is not None:
                    self._rounds.setdefault(contender, []).append(answer["rows"])
            self._check()
        self.tell("timing", rounds, rounds)

    def measure(self, throughput: bool) -> None:
        """Asks for memory, then for what would have changed it: throughput, and the peaks."""
        for contender in list(self.processes):
            answer = self._ask(contender, {"do": "memory"})
            if answer is not None:
                self._memory[contender] = answer["memory"]
        if throughput:
            many = [self.paths[i % len(self.paths)] for i in range(MANY)]
            for place, contender in enumerate(list(self.processes)):
                self.tell(f"throughput of {contender.name}", place, len(self.processes))
                answer = self._ask(contender, {"do": "rates", "pictures": many})
                if answer is not None:
                    self._rates[contender] = answer["rates"]
        if NAIVE in self.processes:
            self.tell("the processor's peak", 0, 1)
            precisions = sorted({contender.precision for contender in self.processes} | {"fp32"})
            answer = self._ask(NAIVE, {"do": "operations", "precisions": precisions})
            self.operations = answer or {}
        self._check()

    def results(self) -> list[Result]:
        """Returns what was measured of those who are still alive."""
        found = []
        for contender in self.processes:
            ready, first = (min(times) for times in zip(*self._started[contender], strict=True))
            share, share_of = self._share(contender)
            found.append(
                Result(
                    contender,
                    ready,
                    first,
                    self._rounds[contender],
                    self._memory[contender],
                    self._rates.get(contender, {}),
                    share,
                    share_of,
                )
            )
        return found

    def _share(self, contender: Contender) -> tuple[float | None, str]:
        if not self.operations:
            return None, ""
        peaks = self.operations["peaks"]
        which = contender.precision if contender.precision in peaks else "fp32"
        rows = [row for rows in self._rounds[contender] for row in rows]
        seconds = spread([row["network"] for row in rows]).median
        count = self.operations["naive" if contender == NAIVE else "network"]
        return count / seconds / peaks[which], which

    def _ask(self, contender: Contender, request: dict[str, Any]) -> dict[str, Any] | None:
        """Returns the answer, or None if the contender died of the request."""
        try:
            return self.processes[contender].ask(request)
        except HeatpointError as error:
            self.failed[contender.name] = str(error)
            del self.processes[contender]
            return None

    def _check(self) -> None:
        """Raises HeatpointError if nobody is left."""
        if not self.processes:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self.failed.items())
            raise HeatpointError(f"no contender could run; {reasons}")
